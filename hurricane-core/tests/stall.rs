//! A runtime whose workers are all blocked, seen from outside.
#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use axum::Router;
use hurricane_core::{CheckPolicy, Hurricane, Phase, ProbeConfig};

const WORKERS: usize = 2;

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks until the answer has both texts.
fn wait_for(addr: SocketAddr, path: &str, status: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = get(addr, path);
        if answer.starts_with(status) && answer.contains(text) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no {status} with {text:?}, at last: {answer}"
        );
    }
}

#[test]
fn probes_answer_while_every_worker_is_blocked_and_say_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap();
    let (probes, lifecycle, served) = runtime.block_on(async {
        let hurricane = Hurricane::builder()
            .probes(ProbeConfig {
                addr: (Ipv4Addr::LOCALHOST, 0).into(),
                stall_after: Duration::from_millis(300),
                policy: CheckPolicy {
                    max_age: Duration::from_secs(3),
                    ..CheckPolicy::default()
                },
                ..ProbeConfig::default()
            })
            .no_metrics()
            .build()
            .unwrap();
        let lifecycle = hurricane.lifecycle().clone();
        let bound = hurricane.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let probes = bound.probe_addr().unwrap();
        let served = tokio::spawn(bound.serve(Router::new()));
        lifecycle.reached(Phase::Running).await;
        (probes, lifecycle, served)
    });
    wait_for(
        probes,
        "/alive?verbose",
        "HTTP/1.1 200 ",
        "[+]main runtime ok (last beat 0.",
    );

    let (blocked, release) = (
        Arc::new(Barrier::new(WORKERS + 1)),
        Arc::new(Barrier::new(WORKERS + 1)),
    );
    for _ in 0..WORKERS {
        let (blocked, release) = (Arc::clone(&blocked), Arc::clone(&release));
        runtime.spawn(async move {
            blocked.wait();
            release.wait();
        });
    }
    blocked.wait();
    // First it is only told, then liveness fails.
    wait_for(
        probes,
        "/alive?verbose",
        "HTTP/1.1 200 ",
        "[+]main runtime warning: stalled for ",
    );
    wait_for(
        probes,
        "/alive?verbose",
        "HTTP/1.1 500 ",
        "[-]main runtime stalled for ",
    );
    wait_for(
        probes,
        "/alive",
        "HTTP/1.1 500 ",
        "\r\n\r\nmain runtime stalled for ",
    );
    assert!(get(probes, "/ready").starts_with("HTTP/1.1 200 "));

    release.wait();
    wait_for(
        probes,
        "/alive?verbose",
        "HTTP/1.1 200 ",
        "[+]main runtime ok (last beat 0.",
    );
    lifecycle.drain();
    runtime.block_on(served).unwrap().unwrap();
}
