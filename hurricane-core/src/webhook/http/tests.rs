use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use tokio::net::TcpListener;

use super::*;
use crate::{EventKind, EventStatus};

/// A receiver that answers with the given statuses, one after the other, and then with 200.
#[derive(Default)]
struct Receiver {
    answers: Vec<StatusCode>,
    requests: AtomicUsize,
    bodies: Mutex<Vec<(Option<String>, serde_json::Value)>>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<serde_json::Value>,
) -> StatusCode {
    let number = receiver.requests.fetch_add(1, SeqCst);
    let content_type = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap().to_owned());
    receiver.bodies.lock().unwrap().push((content_type, body));
    receiver
        .answers
        .get(number)
        .copied()
        .unwrap_or(StatusCode::OK)
}

async fn start(answers: &[StatusCode]) -> (Arc<Receiver>, SocketAddr) {
    let receiver = Arc::new(Receiver {
        answers: answers.to_vec(),
        ..Receiver::default()
    });
    let app = Router::new()
        .route("/hook", post(receive))
        .with_state(Arc::clone(&receiver));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    (receiver, addr)
}

/// A webhook that does not wait long between attempts.
fn impatient(url: &str) -> HttpWebhook {
    let mut webhook = HttpWebhook::new(url);
    webhook.backoff = webhook.backoff.with_min_delay(Duration::from_millis(1));
    webhook
}

fn event() -> Event {
    Event::new(EventKind::Liveness, EventStatus::Succeeded)
}

#[tokio::test]
async fn posts_the_event_as_json() {
    let (receiver, addr) = start(&[]).await;
    HttpWebhook::new(format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap();
    let bodies = receiver.bodies.lock().unwrap();
    assert_eq!(bodies[0].0.as_deref(), Some("application/json"));
    assert_eq!(bodies[0].1["type"], "liveness");
    assert_eq!(bodies[0].1["status"], "succeeded");
}

#[tokio::test]
async fn tries_again_after_what_may_pass() {
    let passing = [StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS];
    let (receiver, addr) = start(&passing).await;
    impatient(&format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap();
    assert_eq!(receiver.requests.load(SeqCst), 3);
}

#[tokio::test]
async fn gives_up_after_four_attempts() {
    let (receiver, addr) = start(&[StatusCode::SERVICE_UNAVAILABLE; 9]).await;
    let error = impatient(&format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the receiver answered 503 Service Unavailable"
    );
    assert_eq!(receiver.requests.load(SeqCst), 4);
}

#[tokio::test]
async fn does_not_try_again_what_will_not_pass() {
    let (receiver, addr) = start(&[StatusCode::FORBIDDEN]).await;
    let error = impatient(&format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the receiver answered 403 Forbidden");
    assert_eq!(receiver.requests.load(SeqCst), 1);
}

#[tokio::test]
async fn an_error_does_not_tell_secrets() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let webhook = impatient(&format!("http://user:secret@{free}/hook?token=secret"));
    assert_eq!(webhook.name(), format!("http://{free}/hook"));
    let error = webhook.deliver(&event()).await.unwrap_err();
    assert_eq!(error.to_string(), "the request failed");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_bad_url_shows_at_delivery() {
    for (url, reason) in [
        (
            "ops.example/hooks",
            "the URL is not valid: relative URL without a base",
        ),
        (
            "ftp://ops.example/",
            "the URL is not valid: ftp is neither http nor https",
        ),
    ] {
        let error = HttpWebhook::new(url).deliver(&event()).await.unwrap_err();
        assert_eq!(error.to_string(), reason);
    }
}

#[tokio::test]
async fn https_brings_its_own_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Hangs up on whoever comes.
        while listener.accept().await.is_ok() {}
    });
    let error = impatient(&format!("https://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap_err();
    let told = error.to_string();
    // Without certificates on this machine the set-up itself fails, in good order.
    assert!(
        ["the request failed", "TLS could not be set up"].contains(&&*told),
        "{told}"
    );
}
