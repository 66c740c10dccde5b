//! The recorder of metrics is the whole process's, so this test has a process of its own.
#![cfg(all(feature = "server", feature = "prometheus"))]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, routing::get};
use hurricane_core::{Hurricane, Phase, metric_fn};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn ask(addr: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_scrape_shows_requests_facade_and_registered_metrics() {
    let localhost = (Ipv4Addr::LOCALHOST, 0);
    let hurricane = Hurricane::builder()
        .metric(metric_fn("open_orders", "Orders to be packed.", || async {
            3.0
        }))
        .probe_addr(localhost)
        .build()
        .unwrap();
    let second = Hurricane::builder().build().unwrap_err();
    assert_eq!(
        second.to_string(),
        "a metrics recorder is already installed"
    );

    let page = get(|| async {
        metrics::counter!("pages_total").increment(1);
        "hello"
    });
    let app = Router::new()
        .route("/pages/{id}", page)
        .layer(hurricane.layer());
    let lifecycle = hurricane.lifecycle().clone();
    let bound = hurricane.bind(localhost).unwrap();
    let (addr, probe_addr) = (bound.local_addr(), bound.probe_addr().unwrap());
    let served = tokio::spawn(bound.serve(app));
    lifecycle.reached(Phase::Running).await;
    assert!(ask(addr, "/pages/7").await.unwrap().ends_with("hello"));

    let scrape = ask(probe_addr, "/metrics").await.unwrap();
    for line in [
        "http_server_requests_total{http_request_method=\"GET\",http_response_status_code=\"200\",http_route=\"/pages/{id}\"} 1",
        "http_server_response_body_size_bytes_sum{http_request_method=\"GET\",http_response_status_code=\"200\",http_route=\"/pages/{id}\"} 5",
        "http_server_active_requests 0",
        "pages_total 1",
        "# HELP open_orders Orders to be packed.",
        "open_orders 3",
    ] {
        assert!(
            scrape.contains(&format!("{line}\n")),
            "{line} is not in {scrape}"
        );
    }
    lifecycle.drain();
    served.await.unwrap().unwrap();
}
