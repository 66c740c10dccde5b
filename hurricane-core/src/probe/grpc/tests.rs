use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Mutex,
};

use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, runtime::Handle};

use super::*;
use crate::{
    CheckResult, Lifecycle, Registry, Traffic, check_fn,
    probe::{ProbeConfig, ProbeServer},
};

/// A probe server whose one check, of readiness, finds what it is told to find.
struct Scene {
    lifecycle: Lifecycle,
    found: Arc<Mutex<CheckResult>>,
    server: ProbeServer,
}

/// A connection of HTTP/2 to it.
#[derive(Clone)]
struct Client(http2::SendRequest<Full<Bytes>>);

impl Scene {
    fn new() -> Self {
        let found = Arc::new(Mutex::new(CheckResult::pass()));
        let finds = Arc::clone(&found);
        let check = check_fn("database", move || {
            let result = finds.lock().unwrap().clone();
            async { result }
        });
        let mut registry = Registry::new();
        registry.add_check(check, [Probe::Readiness]).unwrap();
        let config = ProbeConfig {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            ..ProbeConfig::default()
        };
        let lifecycle = Lifecycle::new();
        let (traffic, handle) = (Arc::new(Traffic::new()), Handle::current());
        let probes = Probes::new(&config, &registry, lifecycle.clone(), traffic, handle).unwrap();
        Self {
            lifecycle,
            found,
            server: config.bind().unwrap().spawn(Arc::new(probes)).unwrap(),
        }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.server.local_addr()).await
    }
}

impl Client {
    async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    async fn call(&mut self, method: &str, message: &'static [u8]) -> Response<Incoming> {
        let request = Request::post(format!("http://probe/grpc.health.v1.Health/{method}"))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(Full::from(message))
            .unwrap();
        self.0.send_request(request).await.unwrap()
    }

    /// The message of an answer and its status, wherever that is.
    async fn unary(&mut self, method: &str, message: &'static [u8]) -> (Bytes, String) {
        let response = self.call(method, message).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc+proto");
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().unwrap_or(&head.headers);
        let mut status = trailers["grpc-status"].to_str().unwrap().to_owned();
        if let Some(reason) = trailers.get("grpc-message") {
            status += ": ";
            status += reason.to_str().unwrap();
        }
        (body.to_bytes(), status)
    }
}

/// The next message of a stream.
async fn next(body: &mut Incoming) -> Bytes {
    let frame = body.frame().await.unwrap().unwrap();
    frame.into_data().unwrap()
}

const READINESS: &[u8] = b"\0\0\0\0\x0b\x0a\x09readiness";
const LIVENESS: &[u8] = b"\0\0\0\0\x0a\x0a\x08liveness";
const NAMELESS: &[u8] = b"\0\0\0\0\0";
const UNKNOWN: &[u8] = b"\0\0\0\0\x05\x0a\x03p%q";

const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";
const SERVICE_UNKNOWN: &[u8] = b"\0\0\0\0\x02\x08\x03";

#[tokio::test]
async fn check_says_what_the_probe_says() {
    let scene = Scene::new();
    let mut client = scene.connect().await;
    for service in [READINESS, LIVENESS, NAMELESS] {
        let (message, status) = client.unary("Check", service).await;
        assert_eq!((&*message, &*status), (NOT_SERVING, "0"), "starting");
    }
    scene.lifecycle.run();
    for service in [READINESS, LIVENESS, NAMELESS] {
        let (message, status) = client.unary("Check", service).await;
        assert_eq!((&*message, &*status), (SERVING, "0"));
    }
    *scene.found.lock().unwrap() = CheckResult::fail("database error");
    for (service, expected) in [
        (READINESS, NOT_SERVING),
        (NAMELESS, NOT_SERVING),
        (LIVENESS, SERVING),
    ] {
        assert_eq!(&*client.unary("Check", service).await.0, expected);
    }
    let (list, status) = client.unary("List", NAMELESS).await;
    assert_eq!(status, "0");
    assert!(list.ends_with(b"\x0a\x0f\x0a\x09readiness\x12\x02\x08\x02"));
    scene.server.shutdown().unwrap();
}

#[tokio::test]
async fn what_cannot_be_answered_has_a_status() {
    let scene = Scene::new();
    let mut client = scene.connect().await;
    let long: &[u8] = Box::leak(vec![0; 2_000].into_boxed_slice());
    for (method, message, expected) in [
        ("Check", UNKNOWN, "5: there is no service \"p%25q\""),
        ("Check", b"", "3: the request cannot be understood"),
        (
            "Check",
            b"\0\0\0\0\x02\x0a\x05",
            "3: the request cannot be understood",
        ),
        (
            "Check",
            b"\0\0\0\0\x09\x0a\x00",
            "3: the request cannot be understood",
        ),
        (
            "Check",
            b"\x01\0\0\0\0",
            "12: requests cannot be compressed",
        ),
        ("Check", long, "8: the request is too long"),
        ("Chuck", NAMELESS, "12: there is no method Chuck"),
    ] {
        let (message, status) = client.unary(method, message).await;
        assert_eq!((&*message, &*status), (&b""[..], expected));
    }
    // Others may ask the probes over HTTP/2 too, and gRPC is nothing without it.
    let get = |path: &str| {
        let request = Request::get(format!("http://probe{path}"));
        request.body(Full::default()).unwrap()
    };
    let plain = client.0.send_request(get("/startup")).await.unwrap();
    assert_eq!(plain.status(), 400);
    let other = get("/grpc.health.v1.Health/Check");
    assert_eq!(client.0.send_request(other).await.unwrap().status(), 415);
    scene.server.shutdown().unwrap();
}

#[tokio::test]
async fn watch_tells_changes_until_the_end() {
    let scene = Scene::new();
    let mut client = scene.connect().await;
    let mut watched = client.call("Watch", READINESS).await.into_body();
    let mut unknown = client.call("Watch", UNKNOWN).await.into_body();
    assert_eq!(&*next(&mut watched).await, NOT_SERVING);
    assert_eq!(&*next(&mut unknown).await, SERVICE_UNKNOWN);
    scene.lifecycle.run();
    assert_eq!(&*next(&mut watched).await, SERVING);
    scene.lifecycle.drain();
    assert_eq!(&*next(&mut watched).await, NOT_SERVING);
    scene.lifecycle.stop();
    for mut body in [watched, unknown] {
        let trailers = body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(trailers["grpc-status"], "14");
    }
    scene.server.shutdown().unwrap();
}

#[tokio::test(start_paused = true)]
async fn watch_looks_for_what_nobody_tells() {
    let found = Arc::new(Mutex::new(CheckResult::pass()));
    let finds = Arc::clone(&found);
    let check = check_fn("database", move || {
        let result = finds.lock().unwrap().clone();
        async { result }
    });
    let mut registry = Registry::new();
    registry.add_check(check, [Probe::Readiness]).unwrap();
    let lifecycle = Lifecycle::new();
    lifecycle.run();
    let (traffic, handle) = (Arc::new(Traffic::new()), Handle::current());
    let config = ProbeConfig::default();
    let probes = Probes::new(&config, &registry, lifecycle, traffic, handle).unwrap();
    let health = GrpcHealth::new(Arc::new(probes)).with_interval(Duration::from_secs(60));
    let request = Request::post("/grpc.health.v1.Health/Watch")
        .version(Version::HTTP_2)
        .header(CONTENT_TYPE, "application/grpc")
        .body(Full::<Bytes>::from(NAMELESS))
        .unwrap();
    let mut body = health.clone().call(request).await.unwrap().into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&*next().await, SERVING);
    *found.lock().unwrap() = CheckResult::fail("database error");
    let before = time::Instant::now();
    assert_eq!(&*next().await, NOT_SERVING);
    assert_eq!(before.elapsed().as_secs(), 60);
}
