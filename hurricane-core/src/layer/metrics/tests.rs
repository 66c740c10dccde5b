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

fn line(text: &str, name: &str, labels: &str) -> Option<f64> {
    let series = format!("{name}{{{labels}}} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&series))
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
        line(
            &text,
            "http_server_requests_total",
            r#"http_request_method="GET",http_response_status_code="200""#
        ),
        Some(1.0),
        "{text}"
    );
    let bytes = line(
        &text,
        "http_server_response_body_size_bytes_sum",
        r#"http_request_method="GET",http_response_status_code="200""#,
    );
    assert_eq!(bytes, Some(5.0), "{text}");
    let seconds = line(
        &text,
        "http_server_request_duration_seconds_count",
        r#"http_request_method="GET",http_response_status_code="200""#,
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
        line(
            &text,
            "http_server_requests_total",
            r#"http_request_method="POST",http_response_status_code="200""#
        ),
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
    let cancelled = line(
        &text,
        "http_server_requests_total",
        r#"error_type="cancelled",http_request_method="GET""#,
    );
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
        line(
            &text,
            "http_server_requests_total",
            r#"error_type="service",http_request_method="GET""#
        ),
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
        line(
            &text,
            "http_server_requests_total",
            r#"http_request_method="HEAD",http_response_status_code="404""#
        ),
        Some(1.0),
        "{text}"
    );
    let bytes = line(
        &text,
        "http_server_response_body_size_bytes_sum",
        r#"http_request_method="HEAD",http_response_status_code="404""#,
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
        line(
            &text,
            "http_server_requests_total",
            r#"http_request_method="_OTHER",http_response_status_code="200""#
        ),
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
        r#"http_request_method="GET",http_response_status_code="200",http_route="/users/{id}""#,
    );
    assert_eq!(requests, Some(2.0), "{text}");
}

#[test]
fn a_service_without_a_router_tells_the_route() {
    let (_, layer) = traffic();
    let service = service_fn(|request: Request<()>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        let pattern = if request.uri().path() == "/" {
            "/"
        } else {
            "/{page}"
        };
        response.extensions_mut().insert(Route::new(pattern));
        future::ready(Ok::<_, Infallible>(response))
    });
    let text = recorded(|| {
        for path in ["/a", "/b", "/"] {
            let request = Request::get(path).body(()).unwrap();
            let mut answer = task::spawn(layer.layer(service).oneshot(request));
            drop(assert_ready!(answer.poll()));
        }
    });
    let labels =
        r#"http_request_method="GET",http_response_status_code="200",http_route="/{page}""#;
    let requests = line(&text, "http_server_requests_total", labels);
    assert_eq!(requests, Some(2.0), "{text}");
}

#[test]
fn routes_that_are_too_many_share_one_name() {
    let layer = MetricsLayer::new(Arc::new(Traffic::new())).max_routes(2);
    let service = service_fn(|request: Request<()>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        let route = Route::new(request.uri().path());
        response.extensions_mut().insert(route);
        future::ready(Ok::<_, Infallible>(response))
    });
    let text = recorded(|| {
        for path in ["/a", "/b", "/c", "/d", "/a"] {
            let request = Request::get(path).body(()).unwrap();
            let mut answer = task::spawn(layer.layer(service).oneshot(request));
            drop(assert_ready!(answer.poll()));
        }
    });
    for (route, count) in [
        ("/a", Some(2.0)),
        ("/b", Some(1.0)),
        ("/c", None),
        ("_other", Some(2.0)),
    ] {
        let labels = format!(
            r#"http_request_method="GET",http_response_status_code="200",http_route="{route}""#
        );
        let requests = line(&text, "http_server_requests_total", &labels);
        assert_eq!(requests, count, "{route}: {text}");
    }
    let overflow = line(
        &text,
        "hurricane_metrics_overflow_total",
        r#"label="http_route""#,
    );
    assert_eq!(overflow, Some(2.0), "{text}");
}

#[test]
fn errors_have_a_type() {
    let (_, layer) = traffic();
    let broken =
        service_fn(|_: Request<()>| future::ready(Ok::<_, Infallible>(Response::new(BreaksOff))));
    let unavailable = service_fn(|_: Request<()>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        future::ready(Ok::<_, Infallible>(response))
    });
    let text = recorded(|| {
        let mut answer = task::spawn(layer.layer(broken).oneshot(request(Method::GET)));
        let body = assert_ready!(answer.poll()).unwrap().into_body();
        assert!(assert_ready!(task::spawn(body.collect()).poll()).is_err());
        let mut answer = task::spawn(layer.layer(unavailable).oneshot(request(Method::GET)));
        drop(assert_ready!(answer.poll()));
    });
    for (kind, status) in [("body", 200), ("503", 503)] {
        let labels = format!(
            r#"error_type="{kind}",http_request_method="GET",http_response_status_code="{status}""#
        );
        let requests = line(&text, "http_server_requests_total", &labels);
        assert_eq!(requests, Some(1.0), "{text}");
    }
}

#[test]
fn the_names_of_django_hurricane_are_there_for_those_who_want_them() {
    let hello = service_fn(|_: Request<()>| {
        future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
            "hello",
        )))))
    });
    for names in [
        MetricNames::Both,
        MetricNames::DjangoHurricane,
        MetricNames::OpenTelemetry,
    ] {
        let text = recorded(|| {
            let layer = MetricsLayer::new(Arc::new(Traffic::new())).names(names);
            for path in ["/a?x=1", "/a?x=2"] {
                let request = Request::get(path).body(()).unwrap();
                let mut answer = task::spawn(layer.layer(hello).oneshot(request));
                let body = assert_ready!(answer.poll()).unwrap().into_body();
                assert!(assert_ready!(task::spawn(body.collect()).poll()).is_ok());
            }
        });
        let (django, open) = (names.has_django_hurricane(), names.has_open_telemetry());
        let lines = [
            (django, "request_counter_total 2"),
            (django, "response_time_seconds_count 2"),
            (django, "response_size_bytes_sum 10"),
            (django, r#"path_requests_total{method="GET",path="/a"} 2"#),
            (
                open,
                "http_server_requests_total{http_request_method=\"GET\",http_response_status_code=\"200\"} 2",
            ),
        ];
        for (expected, line) in lines {
            assert_eq!(
                text.lines().any(|it| it == line),
                expected,
                "{names:?}: {line} in {text}"
            );
        }
    }
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

/// A body that fails.
#[derive(Debug)]
struct BreaksOff;

impl Body for BreaksOff {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(Err("the application broke off")))
    }
}
