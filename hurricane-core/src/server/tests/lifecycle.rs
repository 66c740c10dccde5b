//! A whole server, from its start to its end.

use std::{future, sync::Mutex};

use http::StatusCode;

use super::*;
use crate::{Event, EventKind, EventStatus, Phase, Webhook, WebhookError, async_trait};

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
