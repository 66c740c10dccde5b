use std::{
    future,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use tokio::runtime::Handle;

use super::*;
use crate::{CheckResult, Lifecycle, Probe, Registry, Traffic, check_fn};

mod hostile;

fn config() -> ProbeConfig {
    ProbeConfig {
        addr: (Ipv4Addr::LOCALHOST, 0).into(),
        policy: CheckPolicy {
            timeout: Duration::from_millis(500),
            max_age: Duration::from_secs(2),
            ..CheckPolicy::default()
        },
        ..ProbeConfig::default()
    }
}

/// A running process with one check, that runs on the current runtime.
fn spawn(config: &ProbeConfig) -> (ProbeServer, Arc<Probes>) {
    let mut registry = Registry::new();
    let check = check_fn("check", || future::ready(CheckResult::pass()));
    registry
        .add_check(check, [Probe::Liveness, Probe::Readiness])
        .unwrap();
    spawn_with(config, &registry)
}

fn spawn_with(config: &ProbeConfig, registry: &Registry) -> (ProbeServer, Arc<Probes>) {
    let lifecycle = Lifecycle::new();
    lifecycle.run();
    let probes = Probes::new(
        config,
        registry,
        lifecycle,
        Arc::new(Traffic::new()),
        Handle::current(),
    );
    let probes = Arc::new(probes.unwrap());
    let server = config.bind().unwrap().spawn(Arc::clone(&probes)).unwrap();
    (server, probes)
}

/// A GET without any runtime; returns the answer as it came.
fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn assert_answer(answer: &str, status: u16, body: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}

#[tokio::test]
async fn answers_while_the_main_runtime_is_blocked() {
    let (server, probes) = spawn(&config());
    let addr = server.local_addr();
    let heartbeat = probes.heartbeat("main runtime");
    let first = tokio::task::spawn_blocking(move || get(addr, "/alive"))
        .await
        .unwrap();
    assert_answer(&first, 200, "alive");

    // The thread that asks is all that runs: this one blocks its runtime, which is the checks' runtime too.
    let asking = thread::spawn(move || {
        let blocked = get(addr, "/alive?verbose");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut alive = get(addr, "/alive");
        // The result of the check may be too old a little sooner.
        while !alive.contains("main runtime stalled for ") && Instant::now() < deadline {
            alive = get(addr, "/alive");
        }
        (blocked, alive, get(addr, "/ready"))
    });
    let task = tokio::spawn(async move { asking.join().unwrap() });
    let (blocked, alive, ready) = task.await.unwrap();

    assert!(
        blocked.starts_with("HTTP/1.1 200 "),
        "the last result counts: {blocked}"
    );
    assert!(blocked.contains("stale"), "{blocked}");
    assert!(
        alive.contains("\r\n\r\nmain runtime stalled for "),
        "{alive}"
    );
    assert_answer(&ready, 500, "no result within 500ms");

    heartbeat.beat();
    let recovered = tokio::task::spawn_blocking(move || get(addr, "/alive"))
        .await
        .unwrap();
    assert_answer(&recovered, 200, "alive");
    server.shutdown().unwrap();
}

#[tokio::test]
async fn shutting_down_closes_the_port_and_joins_the_thread() {
    let (mut server, _) = spawn(&config());
    let addr = server.local_addr();
    assert!(!server.is_finished());
    tokio::select! {
        biased;
        () = server.ended() => panic!("it has only begun"),
        () = future::ready(()) => {}
    }
    // Nothing was asked on this connection, so nothing holds up the end.
    let _idle = TcpStream::connect(addr).unwrap();
    server.shutdown().unwrap();
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn a_busy_port_is_an_error_before_anything_runs() {
    let bound = config().bind().unwrap();
    let again = ProbeConfig {
        addr: bound.local_addr(),
        ..config()
    };
    let error = again.bind().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to bind the probe server to {}", bound.local_addr())
    );
}
