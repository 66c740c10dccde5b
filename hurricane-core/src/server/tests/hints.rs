//! Early hints.

use std::sync::Mutex;

use axum::{Extension, body::Body};
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt as _, channel::Channel};
use tokio::task::yield_now;

use super::*;
use crate::server::EarlyHints;

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";

/// Longer than what sockets and hyper hold.
const LONG_BODY: usize = 16 << 20;

fn link() -> [HeaderValue; 1] {
    [HeaderValue::from_static("</a>; rel=preload")]
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n")
}

async fn start(app: Router) -> Served {
    let config = ServeConfig {
        early_hints: true,
        ..ServeConfig::default()
    };
    Served::start(app, config).await
}

/// A page that tells hints, from a task of its own, and waits until it may answer.
fn hinting() -> (Router, Arc<Notify>) {
    let open = Arc::new(Notify::new());
    let wait = Arc::clone(&open);
    let page = async move |Extension(hints): Extension<EarlyHints>| {
        tokio::spawn(async move { hints.send(link()) });
        wait.notified().await;
        "through"
    };
    (Router::new().route("/", get(page)), open)
}

#[tokio::test]
async fn a_hint_comes_before_the_answer_is_made() {
    let (app, open) = hinting();
    let served = start(app).await;
    let mut client = served.connect().await;
    for _ in 0..3 {
        client.send(&request("/")).await;
        client.expect(HINT).await;
        open.notify_one();
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("through"), "{answer}");
    }
}

#[tokio::test]
async fn several_hints_come_in_order_and_one_without_links_does_not() {
    let page = async |Extension(hints): Extension<EarlyHints>| {
        yield_now().await;
        hints.send(link());
        hints.send([]);
        hints.send([
            HeaderValue::from_static("</b>"),
            HeaderValue::from_static("</c>"),
        ]);
        "done"
    };
    let served = start(Router::new().route("/", get(page))).await;
    let mut client = served.connect().await;
    client.send(&request("/")).await;
    client.expect(HINT).await;
    let second = "HTTP/1.1 103 Early Hints\r\nlink: </b>\r\nlink: </c>\r\n\r\n";
    client.expect(second).await;
    // The answer came right behind them.
    client.expect("HTTP/1.1 200 OK\r\n").await;
}

#[tokio::test]
async fn hints_of_requests_that_came_at_once_come_each_before_its_own_answer() {
    let (app, open) = hinting();
    let served = start(app).await;
    let mut client = served.connect().await;
    client.send(&request("/").repeat(3)).await;
    for _ in 0..3 {
        client.expect(HINT).await;
        open.notify_one();
        assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.expect("through").await;
    }
}

#[tokio::test]
async fn a_hint_waits_for_the_end_of_the_answer_before() {
    let (app, open) = hinting();
    let app = app.route("/long", get(|| async { vec![b'x'; LONG_BODY] }));
    let served = start(app).await;
    let mut client = served.connect().await;
    client.send(&(request("/long") + &request("/"))).await;
    let head = client.head().await;
    assert!(head.contains(&LONG_BODY.to_string()), "{head}");
    client.expect(&"x".repeat(LONG_BODY)).await;
    client.expect(HINT).await;
    open.notify_one();
    assert!(client.answer().await.ends_with("through"));
}

#[tokio::test]
async fn a_hint_that_comes_too_late_is_left_out() {
    let kept = Arc::new(Mutex::new(None::<EarlyHints>));
    let (reached, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let late = {
        let (kept, open) = (Arc::clone(&kept), Arc::clone(&open));
        async move |Extension(hints): Extension<EarlyHints>| {
            let (mut sender, body) = Channel::<Bytes>::new(1);
            tokio::spawn(async move {
                sender.send_data("begun ".into()).await.unwrap();
                open.notified().await;
                hints.send(link());
                sender.send_data("ended".into()).await.unwrap();
                *kept.lock().unwrap() = Some(hints);
            });
            Body::new(body)
        }
    };
    let next = {
        let (reached, open) = (Arc::clone(&reached), Arc::clone(&open));
        async move || {
            reached.notify_one();
            open.notified().await;
            "next"
        }
    };
    let app = Router::new()
        .route("/late", get(late))
        .route("/next", get(next));
    let served = start(app).await;
    let mut client = served.connect().await;
    client.send(&request("/late")).await;
    client.head().await;
    client.expect("6\r\nbegun \r\n").await;
    open.notify_one();
    client.expect("5\r\nended\r\n0\r\n\r\n").await;

    // Nor is it sent with the next answer, when the page before tells one meanwhile.
    client.send(&request("/next")).await;
    reached.notified().await;
    let hints = kept.lock().unwrap().take().unwrap();
    hints.send(link());
    open.notify_one();
    client.expect("HTTP/1.1 200 OK\r\n").await;
    assert!(client.answer().await.ends_with("next"));
}

#[tokio::test]
async fn a_client_that_asks_whether_it_may_go_on_is_told_both() {
    let page = async |Extension(hints): Extension<EarlyHints>, body: Body| {
        hints.send(link());
        let body = body.collect().await.unwrap();
        body.to_bytes()
    };
    let served = start(Router::new().route("/", axum::routing::post(page))).await;
    let mut client = served.connect().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        .await;
    let heads = [client.head().await, client.head().await];
    assert!(heads.contains(&HINT.to_owned()), "{heads:?}");
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n".to_owned();
    assert!(heads.contains(&go_on), "{heads:?}");
    client.send("body").await;
    assert!(client.answer().await.ends_with("body"));
}

async fn has_hints(hints: Option<Extension<EarlyHints>>) -> String {
    hints.is_some().to_string()
}

#[tokio::test]
async fn clients_that_cannot_be_told_have_no_hints() {
    let app = Router::new().route("/", get(has_hints));
    let served = start(app.clone()).await;
    assert!(served.connect().await.get("/").await.ends_with("true"));
    let mut old = served.connect().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.rest().await.ends_with("false"));

    // They are not asked for.
    let served = Served::start(app, ServeConfig::default()).await;
    assert!(served.connect().await.get("/").await.ends_with("false"));
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http2_has_no_hints() {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let config = ServeConfig {
        early_hints: true,
        http2: true,
        ..ServeConfig::default()
    };
    let served = Served::start(Router::new().route("/", get(has_hints)), config).await;
    let stream = TokioIo::new(TcpStream::connect(served.addr).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://app/").body(Body::empty());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "false");
}
