use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{Router, body, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http_body::Frame;
use ring::hmac;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    client::{trusting, trusting_the_system},
    *,
};
use crate::EventStatus;

/// A receiver that gives the answers one after the other, and then 200.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    answers: Vec<Response>,
    requests: Vec<Request<Bytes>>,
}

// === impl Receiver ===

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = Response>) -> (Self, SocketAddr) {
        let receiver = Self::default();
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        receiver.0.lock().unwrap().answers = answers;
        let app = Router::new().fallback(receive).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });
        (receiver, addr)
    }

    /// What has come, which is not much.
    fn requests(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }
}

async fn receive(State(receiver): State<Receiver>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body::to_bytes(body, usize::MAX).await.unwrap();
    let mut notes = receiver.0.lock().unwrap();
    notes.requests.push(Request::from_parts(head, body));
    notes.answers.pop().unwrap_or_default()
}

fn answer(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn answer_with(status: StatusCode, name: &'static str, value: &str) -> Response {
    let mut response = answer(status);
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// A webhook that does not wait long between attempts, and knows of no proxy.
fn impatient(url: impl AsRef<str>) -> HttpWebhook {
    let client = reqwest::Client::builder().no_proxy();
    by(url, client, trusting_the_system().ok())
}

/// A webhook that uses this client.
fn by(
    url: impl AsRef<str>,
    client: reqwest::ClientBuilder,
    tls: Option<ClientConfig>,
) -> HttpWebhook {
    let mut webhook = HttpWebhook::new(url);
    webhook.backoff = webhook.backoff.with_min_delay(Duration::from_millis(1));
    // Without certificates on this machine nobody is trusted.
    let tls = tls.unwrap_or_else(|| trusting(RootCertStore::empty()).unwrap());
    let target = webhook.target.as_ref().unwrap();
    let client = Client::build(&target.uri, client, tls).unwrap();
    webhook.client = OnceCell::new_with(Some(client));
    webhook
}

fn event() -> Event {
    Event::new(EventKind::Liveness, EventStatus::Succeeded)
}

fn told(error: &WebhookError) -> String {
    super::super::chain(error)
}

#[tokio::test]
async fn posts_the_event_as_json() {
    let (receiver, addr) = Receiver::start([]).await;
    impatient(format!("http://user:word@{addr}/hook?a=b"))
        .header("x-tenant", "blue")
        .deliver(&event())
        .await
        .unwrap();
    let request = receiver.requests().remove(0);
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "/hook?a=b");
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!(header("host"), addr.to_string());
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("authorization"), "Basic dXNlcjp3b3Jk");
    assert_eq!(header("x-tenant"), "blue");
    assert!(header("user-agent").starts_with("hurricane/"));
    assert!(header("webhook-id").starts_with("msg_"));
    assert!(!request.headers().contains_key("webhook-signature"));
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["type"], "liveness");
    assert_eq!(body["status"], "succeeded");
}

#[tokio::test]
async fn sends_what_the_template_says() {
    let (receiver, addr) = Receiver::start([]).await;
    impatient(format!("http://{addr}/"))
        .template(r#"{"text": "{type} {status}", "id": "{id}"}"#)
        .deliver(&event())
        .await
        .unwrap();
    let request = receiver.requests().remove(0);
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["text"], "liveness succeeded");
    assert_eq!(
        body["id"].as_str().unwrap(),
        request.headers()["webhook-id"]
    );
}

#[tokio::test]
async fn signs_each_attempt_under_the_same_id() {
    let (receiver, addr) = Receiver::start([answer(StatusCode::BAD_GATEWAY)]).await;
    let webhook = impatient(format!("http://{addr}/"))
        .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    webhook.deliver(&event()).await.unwrap();
    webhook.deliver(&event()).await.unwrap();
    let requests = receiver.requests();
    let id = |number: usize| &requests[number].headers()["webhook-id"];
    assert_eq!(id(0), id(1), "two attempts at one event");
    assert_ne!(id(1), id(2), "two events");
    for request in &requests {
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        let (new, old) = header("webhook-signature").split_once(' ').unwrap();
        for (signature, secret) in [
            (new, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            (old, "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(secret).unwrap());
            let mut signed =
                format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
            signed.extend_from_slice(request.body());
            let signature = BASE64.decode(signature.strip_prefix("v1,").unwrap());
            hmac::verify(&key, &signed, &signature.unwrap())
                .expect("the receiver finds the signature right");
        }
    }
}

#[tokio::test]
async fn tries_again_after_what_may_pass() {
    let (receiver, addr) = Receiver::start([
        answer(StatusCode::BAD_GATEWAY),
        answer(StatusCode::TOO_MANY_REQUESTS),
        answer(StatusCode::REQUEST_TIMEOUT),
    ])
    .await;
    impatient(format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap();
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn gives_up_after_the_last_attempt() {
    let unavailable = [(); 9].map(|()| answer(StatusCode::SERVICE_UNAVAILABLE));
    let (receiver, addr) = Receiver::start(unavailable).await;
    let error = impatient(format!("http://{addr}/hook"))
        .retries(2)
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the receiver answered 503 Service Unavailable"
    );
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn comes_back_when_the_receiver_says() {
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let (receiver, addr) = Receiver::start([
        answer_with(StatusCode::SERVICE_UNAVAILABLE, "retry-after", "1"),
        answer_with(StatusCode::SERVICE_UNAVAILABLE, "retry-after", &past),
        answer_with(StatusCode::SERVICE_UNAVAILABLE, "retry-after", "soon"),
        answer_with(StatusCode::SERVICE_UNAVAILABLE, "retry-after", "3600"),
    ])
    .await;
    let began = Instant::now();
    impatient(format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .expect_err("an hour is more than the patience");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn does_not_try_again_what_will_not_pass() {
    let (receiver, addr) = Receiver::start([answer(StatusCode::FORBIDDEN)]).await;
    let error = impatient(format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the receiver answered 403 Forbidden");
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn goes_nowhere_else() {
    let (elsewhere, other) = Receiver::start([]).await;
    let url = format!("http://{other}/");
    let redirect = answer_with(StatusCode::TEMPORARY_REDIRECT, "location", &url);
    let (_, addr) = Receiver::start([redirect]).await;
    let error = impatient(format!("http://{addr}/hook"))
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the receiver answered 307 Temporary Redirect"
    );
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone() {
    let (_, addr) = Receiver::start([answer(StatusCode::GONE)]).await;
    let webhook = impatient(format!("http://{addr}/")).only([EventKind::Liveness]);
    assert!(webhook.wants(EventKind::Liveness));
    assert!(!webhook.wants(EventKind::Drain));
    let error = webhook.deliver(&event()).await.unwrap_err();
    assert_eq!(error.to_string(), "the receiver answered 410 Gone");
    assert!(!webhook.wants(EventKind::Liveness));
}

#[tokio::test]
async fn a_receiver_that_hangs_has_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let error = impatient(format!("http://{addr}/"))
        .timeout(Duration::from_millis(20))
        .retries(1)
        .deliver(&event())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no answer within 20ms");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (_, addr) = Receiver::start([Response::new(body::Body::new(Endless))]).await;
    impatient(format!("http://{addr}/"))
        .deliver(&event())
        .await
        .unwrap();
}

struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Frame::data(Bytes::from_static(&[b'x'; 4096]));
        Poll::Ready(Some(Ok(frame)))
    }
}

#[tokio::test]
async fn nothing_tells_secrets() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let webhook = impatient(format!("http://user:hunter2@{free}/hook?token=hunter2"))
        .retries(0)
        .header("x-token", "hunter2")
        .secret("whsec_hunter2hunter2hunter2hunter2hunter2hunte");
    assert_eq!(webhook.name(), format!("http://{free}/hook"));
    assert!(!format!("{webhook:?}").contains("hunter2"), "{webhook:?}");
    let error = webhook.deliver(&event()).await.unwrap_err();
    assert!(
        told(&error).starts_with("the request failed: "),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn what_is_wrong_shows_before_the_first_event() {
    let hook = || HttpWebhook::new("https://ops.example/hooks");
    for (webhook, reason) in [
        (
            HttpWebhook::new("ftp://ops.example/"),
            "the URL is not valid: ftp is neither http nor https",
        ),
        (
            hook().template("text"),
            "the template is not JSON: expected ident at line 1 column 2",
        ),
        (
            hook().secret("hunter2"),
            "a webhook secret begins with whsec_",
        ),
        (
            hook().header("Webhook-Id", "1"),
            "the header webhook-id is part of how webhooks are sent",
        ),
        (hook().header("a b", "1"), r#""a b" is no name of a header"#),
        (
            hook().header("x-token", "hunter2\n"),
            "the value of the header x-token is not valid",
        ),
    ] {
        let error = webhook.validate().unwrap_err();
        assert_eq!(error.to_string(), reason);
        assert_eq!(
            webhook.deliver(&event()).await.unwrap_err().to_string(),
            reason
        );
    }
}

#[cfg(feature = "server")]
#[tokio::test]
async fn a_server_is_not_built_with_a_webhook_that_is_wrong() {
    let error = crate::Hurricane::builder()
        .no_metrics()
        .webhook(HttpWebhook::new("ops.example"))
        .build()
        .unwrap_err();
    assert_eq!(
        super::super::chain(&error),
        "the webhook to an invalid URL cannot be used: the URL is not valid: it does not begin with http:// or https://"
    );
}

/// A receiver behind TLS, and its certificate.
async fn start_tls() -> (TcpListener, TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, TlsAcceptor::from(Arc::new(config)), certificate)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Answers one request on a stream.
async fn serve_one(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let head = read_head(&mut stream).await;
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    head
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn trusting_one(certificate: CertificateDer<'static>) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    trusting(roots).ok()
}

#[tokio::test]
async fn tells_a_receiver_that_it_trusts() {
    let (listener, acceptor, certificate) = start_tls().await;
    let addr = listener.local_addr().unwrap();
    let client = reqwest::Client::builder().no_proxy();
    let url = format!("https://{addr}/hook");
    let webhook = by(url, client, trusting_one(certificate));
    let event = event();
    let (delivered, request) = tokio::join!(webhook.deliver(&event), async {
        let (stream, _) = listener.accept().await.unwrap();
        serve_one(acceptor.accept(stream).await.unwrap()).await
    });
    delivered.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn tells_nothing_to_a_receiver_that_the_system_does_not_trust() {
    let (listener, acceptor, _) = start_tls().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            acceptor
                .accept(stream)
                .await
                .map(drop)
                .expect_err("the client should hang up");
        }
    });
    let error = impatient(format!("https://{addr}/hook"))
        .retries(0)
        .deliver(&event())
        .await
        .unwrap_err();
    let told = told(&error);
    assert!(told.contains("invalid peer certificate"), "{told}");
}

#[tokio::test]
async fn goes_through_the_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:word@{}", proxy.local_addr().unwrap());
    let client = reqwest::Client::builder().proxy(reqwest::Proxy::all(url).unwrap());
    let webhook = by("http://ops.example/hook?a=b", client, None);
    let event = event();
    let (delivered, request) = tokio::join!(webhook.deliver(&event), async {
        serve_one(proxy.accept().await.unwrap().0).await
    });
    delivered.unwrap();
    let request = request.to_lowercase();
    assert!(
        request.starts_with("post http://ops.example/hook?a=b http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: ops.example\r\n"), "{request}");
    assert!(
        request.contains("\r\nproxy-authorization: basic dxnlcjp3b3jk\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn goes_through_a_tunnel_to_a_receiver_behind_tls() {
    let (receiver, acceptor, certificate) = start_tls().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let addr = receiver.local_addr().unwrap();
    let client = reqwest::Client::builder().proxy(reqwest::Proxy::all(url).unwrap());
    let hook = format!("https://{addr}/hook");
    let webhook = by(hook, client, trusting_one(certificate));
    let event = event();
    let through = tokio::spawn(async move {
        let (mut near, _) = proxy.accept().await.unwrap();
        let asked = read_head(&mut near).await;
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut far = TcpStream::connect(addr).await.unwrap();
        // An error is somebody hanging up, when all has been said.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        asked
    });
    let (delivered, request) = tokio::join!(webhook.deliver(&event), async {
        let (stream, _) = receiver.accept().await.unwrap();
        serve_one(acceptor.accept(stream).await.unwrap()).await
    });
    delivered.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    drop((webhook, receiver));
    let asked = through.await.unwrap();
    assert!(asked.starts_with(&format!("CONNECT {addr} ")), "{asked}");
}
