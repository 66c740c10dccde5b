#![cfg(all(feature = "server", feature = "prometheus"))]

use std::{convert::Infallible, future, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::Exposition;

/// What `record` recorded, as text.
fn recorded(record: impl FnOnce()) -> String {
    let exposition = Exposition::new();
    exposition.local(record);
    exposition.render()
}

fn request(method: Method) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    request
}

fn traffic() -> (Arc<Traffic>, MetricsLayer) {
    let traffic = Arc::new(Traffic::new());
    (Arc::clone(&traffic), MetricsLayer::new(traffic))
}

fn line(text: &str, name: &str, method: &str, status: &str, route: &str) -> Option<f64> {
    let labels = format!("{name}{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&labels))
        .map(|value| value.parse().unwrap())
}

#[test]
fn counts_until_the_end_of_the_body() {
    let (traffic, layer) = traffic();
    let hello = service_fn(|_: Request<()>| {
        future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
            "hello",
        )))))
    });
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(hello).oneshot(request(Method::GET)));
        let response = assert_ready!(answer.poll()).unwrap();
        assert_eq!(traffic.in_flight(), 1, "the head is not the end");
        let collected = assert_ready!(task::spawn(response.into_body().collect()).poll()).unwrap();
        assert_eq!(collected.to_bytes(), "hello");
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 1));
    });
    assert_eq!(
        line(&text, "http_server_requests_total", "GET", "2xx", ""),
        Some(1.0),
        "{text}"
    );
    let bytes = line(
        &text,
        "http_server_response_body_size_bytes_sum",
        "GET",
        "2xx",
        "",
    );
    assert_eq!(bytes, Some(5.0), "{text}");
    let seconds = line(
        &text,
        "http_server_request_duration_seconds_count",
        "GET",
        "2xx",
        "",
    );
    assert_eq!(seconds, Some(1.0), "{text}");
}

#[test]
fn a_body_that_is_dropped_counts_down_with_the_status_it_had() {
    let (traffic, layer) = traffic();
    let endless =
        service_fn(|_: Request<()>| future::ready(Ok::<_, Infallible>(Response::new(Endless))));
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(endless).oneshot(request(Method::POST)));
        let mut body = assert_ready!(answer.poll()).unwrap().into_body();
        assert_pending!(task::spawn(body.frame()).poll());
        assert_eq!(traffic.in_flight(), 1);
        drop(body);
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 1));
    });
    assert_eq!(
        line(&text, "http_server_requests_total", "POST", "2xx", ""),
        Some(1.0),
        "{text}"
    );
}

#[test]
fn a_client_that_leaves_before_the_head_is_cancelled() {
    let (traffic, layer) = traffic();
    let never = service_fn(|_: Request<()>| {
        future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(never).oneshot(request(Method::GET)));
        assert_pending!(answer.poll());
        assert_eq!(traffic.in_flight(), 1);
        drop(answer);
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 0));
    });
    let cancelled = line(&text, "http_server_requests_total", "GET", "cancelled", "");
    assert_eq!(cancelled, Some(1.0), "{text}");
    assert!(!text.contains("body_size_bytes_sum"), "{text}");
}

#[test]
fn a_service_that_fails_is_an_error() {
    let (traffic, layer) = traffic();
    let failing =
        service_fn(|_: Request<()>| future::ready(Err::<Response<Empty<Bytes>>, _>("broken")));
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(failing).oneshot(request(Method::GET)));
        assert!(assert_ready!(answer.poll()).is_err());
        assert_eq!(traffic.in_flight(), 0);
    });
    assert_eq!(
        line(&text, "http_server_requests_total", "GET", "error", ""),
        Some(1.0),
        "{text}"
    );
}

#[test]
fn the_answer_to_head_is_counted_though_nobody_reads_its_body() {
    let (traffic, layer) = traffic();
    let service = service_fn(|_: Request<()>| {
        let mut response = Response::new(Full::new(Bytes::from("hello")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        future::ready(Ok::<_, Infallible>(response))
    });
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(service).oneshot(request(Method::HEAD)));
        let response = assert_ready!(answer.poll()).unwrap();
        assert_eq!(
            response.body().size_hint().exact(),
            Some(5),
            "the length is that of GET"
        );
        drop(response);
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 1));
    });
    assert_eq!(
        line(&text, "http_server_requests_total", "HEAD", "4xx", ""),
        Some(1.0),
        "{text}"
    );
    let bytes = line(
        &text,
        "http_server_response_body_size_bytes_sum",
        "HEAD",
        "4xx",
        "",
    );
    assert_eq!(bytes, Some(0.0), "{text}");
}

#[test]
fn clients_cannot_make_up_methods() {
    let (_, layer) = traffic();
    let service = service_fn(|_: Request<()>| {
        future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let text = recorded(|| {
        let method = Method::from_bytes(b"BREW").unwrap();
        let mut answer = task::spawn(layer.layer(service).oneshot(request(method)));
        drop(assert_ready!(answer.poll()));
    });
    assert_eq!(
        line(&text, "http_server_requests_total", "_OTHER", "2xx", ""),
        Some(1.0),
        "{text}"
    );
    assert!(!text.contains("BREW"), "{text}");
}

#[test]
fn the_route_is_the_routers_pattern() {
    let (_, layer) = traffic();
    let app = axum::Router::new()
        .route("/users/{id}", axum::routing::get(|| async { "a user" }))
        .layer(layer);
    let text = recorded(|| {
        for path in ["/users/1", "/users/2"] {
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            let mut answer = task::spawn(app.clone().oneshot(request));
            drop(assert_ready!(answer.poll()));
        }
    });
    let requests = line(
        &text,
        "http_server_requests_total",
        "GET",
        "2xx",
        "/users/{id}",
    );
    assert_eq!(requests, Some(2.0), "{text}");
}

#[test]
fn time_is_counted_to_the_end() {
    let (traffic, layer) = traffic();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let slow = service_fn(|_: Request<()>| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    runtime.block_on(async {
        let response = layer
            .layer(slow)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(response);
    });
    assert_eq!(traffic.average(), Some(Duration::from_millis(50)));
}

/// A body whose frames never come.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
