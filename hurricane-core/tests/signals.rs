//! Signals are the whole process's, so this test has a process of its own.
#![cfg(feature = "server")]

use std::{convert::Infallible, future, net::Ipv4Addr, time::Duration};

use axum::{Router, routing::get};
use hurricane_core::{Hurricane, Phase, ServeError};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::oneshot};

#[tokio::test]
async fn the_first_signal_drains_and_the_second_cuts() {
    let hurricane = Hurricane::builder()
        .no_metrics()
        .no_probes()
        .graceful_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let lifecycle = hurricane.lifecycle().clone();
    let (reach, reached) = oneshot::channel();
    let reach = std::sync::Mutex::new(Some(reach));
    let reach = std::sync::Arc::new(reach);
    let endless = get(move || async move {
        if let Some(reach) = reach.lock().unwrap().take() {
            reach.send(()).unwrap();
        }
        future::pending::<Infallible>().await;
        "not reached"
    });
    let bound = hurricane.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = bound.local_addr();
    let served = tokio::spawn(bound.serve(Router::new().route("/", endless)));
    lifecycle.reached(Phase::Running).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
        .await
        .unwrap();
    reached.await.unwrap();

    kill_process(getpid(), Signal::TERM).unwrap();
    lifecycle.reached(Phase::Draining).await;
    // The port closes once the drain delay, here none, is over.
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished(), "the request is still in flight");

    kill_process(getpid(), Signal::INT).unwrap();
    let error = served.await.unwrap().unwrap_err();
    assert!(matches!(error, ServeError::Cut), "{error}");
    assert_eq!(lifecycle.phase(), Phase::Stopped);
}
