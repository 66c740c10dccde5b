use std::{
    convert::Infallible,
    future, io,
    net::Ipv4Addr,
    sync::Mutex,
    task::{Context, Poll},
};

use axum::{Router, extract::ConnectInfo, routing::get};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tower::{Service, limit::ConcurrencyLimit};

use super::*;
use crate::{
    DrainTimedOut, Event, EventKind, EventStatus, Phase, Webhook, WebhookError, async_trait,
};

const LONG: Duration = Duration::from_secs(20);

/// A server of its own port, and the word that ends it.
struct Served {
    addr: SocketAddr,
    drain: oneshot::Sender<()>,
    task: JoinHandle<Result<(), DrainTimedOut>>,
}

impl Served {
    async fn start<S>(app: S, config: ServeConfig) -> Self
    where
        S: App<axum::body::Body, Error = Infallible, Future: Send>,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (drain, drained) = oneshot::channel();
        let until = async {
            let _ = drained.await;
        };
        let task = tokio::spawn(serve(listener, app, config, until));
        Self { addr, drain, task }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }
}

struct Client(TcpStream);

impl Client {
    async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// One answer, up to the end of a body that has a length.
    async fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return answer;
                }
            }
            let mut buffer = [0; 1024];
            let count = self.0.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the connection ended within: {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// Everything up to the end of the connection.
    async fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

/// A page that says when it was reached and waits until it may answer.
fn gated() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (reached, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reach, wait) = (Arc::clone(&reached), Arc::clone(&open));
    let app = Router::new().route("/", get(|| async { "hello" })).route(
        "/gate",
        get(move || async move {
            reach.notify_one();
            wait.notified().await;
            "through"
        }),
    );
    (app, reached, open)
}

#[tokio::test]
async fn connections_are_kept_until_the_end_begins() {
    let (app, ..) = gated();
    let config = ServeConfig {
        linger: LONG,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    for turn in 0..3 {
        let client = if turn == 1 { &mut second } else { &mut first };
        let answer = client.get("/").await;
        assert!(
            answer.ends_with("hello") && !answer.contains("connection: close"),
            "{answer}"
        );
    }

    served.drain.send(()).unwrap();
    // The idle connections still take a request, and say that it is the last one.
    for mut client in [first, second] {
        let answer = client.get("/").await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(client.rest().await, "");
    }
    served.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.addr).await.is_err());
}

#[tokio::test]
async fn a_request_without_one_host_is_refused_and_ends_its_connection() {
    let (app, ..) = gated();
    let served = Served::start(app, ServeConfig::default()).await;
    for hosts in ["", "host: a\r\nhost: b\r\n", "host: a/b\r\n"] {
        let mut client = served.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        let answer = client.rest().await.to_lowercase();
        assert!(answer.starts_with("http/1.1 400 "), "{hosts:?}: {answer}");
        assert!(answer.contains("connection: close"), "{hosts:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{hosts:?}: {answer}");
    }
    let mut old = served.connect().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.rest().await.ends_with("hello"));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let (app, ..) = gated();
    let config = ServeConfig {
        max_connections: Some(1),
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut first = served.connect().await;
    first.get("/").await;
    let mut second = served.connect().await;
    second.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    // The first is served on, and the second once the first is gone.
    assert!(first.get("/").await.ends_with("hello"));
    drop(first);
    assert!(second.answer().await.ends_with("hello"));
}

#[tokio::test]
async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
    let (app, reached, open) = gated();
    let config = ServeConfig {
        max_connections: Some(2),
        close_idle: true,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut busy = served.connect().await;
    busy.send("GET /gate HTTP/1.1\r\nhost: app\r\n\r\n").await;
    reached.notified().await;
    let mut idle = served.connect().await;
    idle.get("/").await;
    let mut new = served.connect().await;
    assert!(new.get("/").await.ends_with("hello"));
    assert_eq!(idle.rest().await, "", "the idle one was closed");

    // Once all are busy the next one waits until one is not.
    new.send("GET /gate HTTP/1.1\r\nhost: app\r\n\r\n").await;
    reached.notified().await;
    let mut late = served.connect().await;
    late.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    open.notify_one();
    assert!(busy.answer().await.ends_with("through"));
    assert!(late.answer().await.ends_with("hello"));
    assert_eq!(busy.rest().await, "", "the one that became idle was closed");
    open.notify_one();
    assert!(new.answer().await.ends_with("through"));
}

#[tokio::test]
async fn a_connection_on_which_no_request_comes_in_time_is_closed() {
    let (app, reached, open) = gated();
    let config = ServeConfig {
        header_timeout: Duration::from_secs(1),
        // So that the unused one is still waited for to say what it speaks.
        #[cfg(feature = "http2")]
        http2: true,
        ..ServeConfig::default()
    };
    let header_timeout = config.header_timeout;
    let served = Served::start(app, config).await;
    let mut busy = served.connect().await;
    busy.send("GET /gate HTTP/1.1\r\nhost: app\r\n\r\n").await;
    reached.notified().await;

    let before = Instant::now();
    let unused = served.connect().await;
    let mut half = served.connect().await;
    half.send("GET / HTTP/1.1\r\nhost: a").await;
    let mut used = served.connect().await;
    used.get("/").await;
    for client in [unused, half, used] {
        assert_eq!(client.rest().await, "");
    }
    assert!(before.elapsed() >= header_timeout);

    open.notify_one();
    assert!(busy.answer().await.ends_with("through"));
    assert_eq!(busy.rest().await, "", "the one that became idle was closed");
}

/// Nor when the end has begun, which then need not wait for it.
#[tokio::test]
async fn half_a_head_does_not_hold_up_the_end_for_longer() {
    let (app, ..) = gated();
    let config = ServeConfig {
        header_timeout: Duration::from_secs(1),
        linger: Duration::ZERO,
        grace: LONG * 30,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut half = served.connect().await;
    half.send("GET / HTTP/1.1\r\nhost: a").await;
    served.drain.send(()).unwrap();
    served.task.await.unwrap().unwrap();
    assert_eq!(half.rest().await, "");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (app, ..) = gated();
    let config = ServeConfig {
        linger: Duration::from_millis(1),
        grace: LONG,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut used = served.connect().await;
    used.get("/").await;
    let unused = served.connect().await;
    let before = Instant::now();
    served.drain.send(()).unwrap();
    served.task.await.unwrap().unwrap();
    assert!(before.elapsed() < LONG / 2);
    assert_eq!(
        (used.rest().await, unused.rest().await),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn requests_in_flight_finish() {
    let (app, reached, open) = gated();
    let config = ServeConfig {
        linger: Duration::ZERO,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut client = served.connect().await;
    client.send("GET /gate HTTP/1.1\r\nhost: app\r\n\r\n").await;
    reached.notified().await;
    served.drain.send(()).unwrap();
    while TcpStream::connect(served.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.task.is_finished());
    open.notify_one();
    let answer = client.rest().await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("through"),
        "{answer}"
    );
    served.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_in_the_kernels_queue_are_served() {
    let (app, ..) = gated();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    // The end has begun before anything could be accepted.
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(addr).await;
        client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
        clients.push(client);
    }
    serve(listener, app, ServeConfig::default(), async {})
        .await
        .unwrap();
    for client in clients {
        let answer = client.rest().await;
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_cut_and_counted() {
    let (app, reached, _) = gated();
    let grace = Duration::from_millis(50);
    let config = ServeConfig {
        grace,
        ..ServeConfig::default()
    };
    let served = Served::start(app, config).await;
    let mut client = served.connect().await;
    client.send("GET /gate HTTP/1.1\r\nhost: app\r\n\r\n").await;
    reached.notified().await;
    served.drain.send(()).unwrap();
    let error = served.task.await.unwrap().unwrap_err();
    assert_eq!(error, DrainTimedOut { count: 1, grace });
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn pipelined_and_half_sent_requests_do_not_hold_back_answers() {
    let (app, ..) = gated();
    let served = Served::start(app, ServeConfig::default()).await;
    let mut client = served.connect().await;
    client
        .send("GET / HTTP/1.1\r\nhost: app\r\n\r\nGET / HT")
        .await;
    assert!(client.answer().await.ends_with("hello"));
    client
        .send("TP/1.1\r\nhost: app\r\n\r\nnonsense\r\n\r\n")
        .await;
    let rest = client.rest().await;
    assert!(rest.contains("hello"), "{rest}");
    assert!(rest.contains("HTTP/1.1 400 Bad Request"), "{rest}");
}

#[tokio::test]
async fn the_application_sees_the_clients_address() {
    let app = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    );
    let served = Served::start(app, ServeConfig::default()).await;
    let mut client = served.connect().await;
    let addr = client.0.local_addr().unwrap();
    assert!(client.get("/").await.ends_with(&addr.to_string()));
}

/// Tells when the service within has said that it is not ready.
#[derive(Clone)]
struct Watched<S>(S, mpsc::UnboundedSender<()>);

impl<S: Service<R>, R> Service<R> for Watched<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = self.0.poll_ready(cx);
        if ready.is_pending() {
            self.1.send(()).unwrap();
        }
        ready
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn an_application_that_is_not_ready_is_waited_for() {
    let (waits, mut waiting) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(1));
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = ConcurrencyLimit::with_semaphore(app, Arc::clone(&permits));
    let served = Served::start(Watched(app, waits), ServeConfig::default()).await;
    let mut clients = [served.connect().await, served.connect().await];
    let taken = permits.acquire().await.unwrap();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
        waiting.recv().await.unwrap();
    }
    drop(taken);
    for client in &mut clients {
        assert!(client.answer().await.ends_with("hello"));
    }
    // A connection that waits for its client holds no permit.
    for client in &mut clients {
        assert!(client.get("/").await.ends_with("hello"));
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_only() {
    let app = Router::new().route("/", get(|| async { "hello" })).route(
        "/panic",
        get(|| async { panic!("of the application") as &str }),
    );
    let served = Served::start(app, ServeConfig::default()).await;
    let mut client = served.connect().await;
    client
        .send("GET /panic HTTP/1.1\r\nhost: app\r\n\r\n")
        .await;
    assert_eq!(client.rest().await, "");
    assert!(served.connect().await.get("/").await.ends_with("hello"));
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl Webhook for Ear {
    fn name(&self) -> &str {
        "ear"
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

fn builder() -> Builder {
    Hurricane::builder()
        .no_metrics()
        .probe_addr((Ipv4Addr::LOCALHOST, 0))
}

fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[tokio::test]
async fn a_server_lives_from_start_to_end() {
    let ear = Ear::default();
    let hurricane = builder().webhook(ear.clone()).build().unwrap();
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(hurricane.layer());
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |word: &'static str| {
        let order = Arc::clone(&order);
        move || async move {
            order.lock().unwrap().push(word);
            Ok::<_, Infallible>(())
        }
    };
    let (before, stop) = (note("before"), note("stop"));
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let hurricane = hurricane
        .on_startup("first", note("first"))
        .on_startup("gate", move || async move {
            gate.notified().await;
            Ok::<_, Infallible>(())
        })
        .on_startup("second", note("second"))
        .on_shutdown("last", || async {
            let _ = stop().await;
        })
        .on_shutdown("before", || async {
            let _ = before().await;
        });
    let (lifecycle, traffic) = (
        hurricane.lifecycle().clone(),
        Arc::clone(hurricane.traffic()),
    );
    let bound = hurricane.bind(localhost()).unwrap();
    let (addr, probe_addr) = (bound.local_addr(), bound.probe_addr().unwrap());
    let served = tokio::spawn(bound.serve(app));

    // Starting: the probes answer, the application is not there yet.
    assert!(
        Client::connect(probe_addr)
            .await
            .get("/startup")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
    assert!(TcpStream::connect(addr).await.is_err());

    release.notify_one();
    lifecycle.reached(Phase::Running).await;
    let mut client = Client::connect(addr).await;
    assert!(client.get("/").await.ends_with("hello"));
    assert!(
        Client::connect(probe_addr)
            .await
            .get("/ready")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let alive = Client::connect(probe_addr)
        .await
        .get("/alive?verbose")
        .await;
    assert!(alive.contains("[+]main runtime ok"), "{alive}");

    assert!(lifecycle.drain());
    served.await.unwrap().unwrap();
    assert_eq!(lifecycle.phase(), Phase::Stopped);
    assert_eq!(
        *order.lock().unwrap(),
        ["first", "second", "before", "stop"]
    );
    assert_eq!((traffic.completed(), traffic.in_flight()), (1, 0));
    let told: Vec<_> = {
        let events = ear.0.lock().unwrap();
        events
            .iter()
            .map(|event| (event.kind, event.status))
            .collect()
    };
    let well = |kind| (kind, EventStatus::Succeeded);
    assert_eq!(told[0], well(EventKind::Startup), "{told:?}");
    let end = [well(EventKind::Drain), well(EventKind::Shutdown)];
    assert!(told.ends_with(&end), "{told:?}");
    for addr in [addr, probe_addr] {
        assert!(TcpStream::connect(addr).await.is_err());
    }
}

#[tokio::test]
async fn a_failed_start_is_told_and_cleaned_up() {
    let ear = Ear::default();
    let (cleaned, clean) = oneshot::channel();
    let hurricane = builder().webhook(ear.clone()).build().unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let error = hurricane
        .on_startup("migrations", || async {
            Err(io::Error::new(io::ErrorKind::NotFound, "no database"))
        })
        .on_startup("warm-up", || async {
            panic!("not reached") as Result<(), Infallible>
        })
        .on_shutdown("clean", || async { cleaned.send(()).unwrap() })
        .serve(Router::new(), localhost())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the start-up task "migrations" failed"#
    );
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
    clean.await.unwrap();
    assert_eq!(
        (lifecycle.phase(), lifecycle.startup_time()),
        (Phase::Stopped, None)
    );
    let events = ear.0.lock().unwrap();
    assert_eq!(
        (events[0].kind, events[0].status),
        (EventKind::Startup, EventStatus::Failed)
    );
    assert_eq!(events[0].traceback.as_deref(), Some("no database"));
    assert_eq!(events.len(), 1, "the end is no news: {events:?}");
}

#[tokio::test]
async fn an_end_with_requests_unfinished_is_told() {
    let ear = Ear::default();
    let grace = Duration::from_millis(20);
    let hurricane = builder()
        .webhook(ear.clone())
        .graceful_timeout(grace)
        .build()
        .unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let (begun, beginning) = oneshot::channel();
    let begun = Arc::new(Mutex::new(Some(begun)));
    let app = Router::new().route(
        "/",
        get(move || {
            let begun = begun.lock().unwrap().take().unwrap();
            begun.send(()).unwrap();
            future::pending::<&str>()
        }),
    );
    let bound = hurricane.bind(localhost()).unwrap();
    let addr = bound.local_addr();
    let served = tokio::spawn(bound.serve(app));
    lifecycle.reached(Phase::Running).await;
    let mut client = Client::connect(addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    beginning.await.unwrap();
    lifecycle.drain();
    served.await.unwrap().unwrap_err();
    let events = ear.0.lock().unwrap();
    let last = events.last().unwrap();
    assert_eq!(
        (last.kind, last.status),
        (EventKind::Shutdown, EventStatus::Failed)
    );
    assert_eq!(
        last.traceback.as_deref(),
        Some("1 connections did not finish within 20ms")
    );
}

#[tokio::test]
async fn a_task_that_panics_is_told_by_its_name() {
    let hurricane = builder().build().unwrap();
    let error = hurricane
        .on_startup("warm-up", || async {
            panic!("on purpose") as Result<(), Infallible>
        })
        .serve(Router::new(), localhost())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), r#"the start-up task "warm-up" failed"#);
    assert_eq!(error.source().unwrap().to_string(), "it panicked");

    let hurricane = builder()
        .shutdown_task_limit(Duration::from_millis(1))
        .build()
        .unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let (cleaned, clean) = oneshot::channel();
    let hurricane = hurricane
        .on_shutdown("clean", || async { cleaned.send(()).unwrap() })
        .on_shutdown("hangs", future::pending);
    let served = tokio::spawn(hurricane.serve(Router::new(), localhost()));
    lifecycle.reached(Phase::Running).await;
    lifecycle.drain();
    let error = served.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the shutdown task "hangs" did not end within 1ms"#
    );
    clean.await.unwrap();
}

#[tokio::test]
async fn draining_keeps_serving_for_the_shutdown_delay() {
    let hurricane = builder().shutdown_delay(LONG).build().unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let bound = hurricane.bind(localhost()).unwrap();
    let (addr, probe_addr) = (bound.local_addr(), bound.probe_addr().unwrap());
    let served = tokio::spawn(bound.serve(Router::new().route("/", get(|| async { "hello" }))));
    lifecycle.reached(Phase::Running).await;
    lifecycle.drain();
    assert!(
        Client::connect(probe_addr)
            .await
            .get("/ready")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
    assert!(
        Client::connect(probe_addr)
            .await
            .get("/alive")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        Client::connect(addr)
            .await
            .get("/")
            .await
            .ends_with("hello")
    );
    served.abort();
}

#[tokio::test]
async fn a_start_that_is_broken_off_ends_in_good_order() {
    let hurricane = builder().build().unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let starting = hurricane.on_startup("endless", future::pending::<Result<(), Infallible>>);
    let served = tokio::spawn(starting.serve(Router::new(), localhost()));
    tokio::task::yield_now().await;
    lifecycle.drain();
    served.await.unwrap().unwrap();
    assert_eq!(lifecycle.phase(), Phase::Stopped);
}

#[tokio::test]
async fn a_busy_probe_port_is_an_error_at_once() {
    let taken = TcpListener::bind(localhost()).await.unwrap();
    let addr = taken.local_addr().unwrap();
    let hurricane = builder().probe_addr(addr).build().unwrap();
    let error = hurricane
        .serve(Router::new(), localhost())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to bind the probe server to {addr}")
    );
}

#[tokio::test]
async fn probes_and_application_can_share_a_port() {
    let hurricane = builder().no_probes().build().unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let app =
        hurricane.router_on(Router::new().route("/", get(|| async { (StatusCode::OK, "hello") })));
    let bound = hurricane.bind(localhost()).unwrap();
    assert_eq!(bound.probe_addr(), None);
    let addr = bound.local_addr();
    let served = tokio::spawn(bound.serve(app));
    lifecycle.reached(Phase::Running).await;
    let mut client = Client::connect(addr).await;
    assert!(client.get("/").await.ends_with("hello"));
    assert!(client.get("/alive").await.ends_with("alive"));
    lifecycle.drain();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_when_building() {
    let ear = Ear::default();
    let error = builder()
        .webhook(ear.clone())
        .webhook(ear)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"a webhook named "ear" is already registered"#
    );
}

#[test]
fn building_takes_a_runtime() {
    let error = builder().build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server is built outside of a tokio runtime"
    );
}
