//! Connections and requests, as [`serve`] takes them.

use std::task::{Context, Poll};

use axum::extract::ConnectInfo;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tower::{Service, limit::ConcurrencyLimit};

use super::*;
use crate::DrainTimedOut;

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
