//! An axum application that Kubernetes can ask, watch and stop.
//!
//! ```sh
//! cargo run -p hurricane-examples --bin axum-embedded
//! curl localhost:8000/           # hello
//! curl localhost:8001/ready?verbose
//! curl localhost:8001/metrics
//! ```
//!
//! In a pod the addresses are `0.0.0.0:8000` and `0.0.0.0:8001`.

use std::{env, error::Error, io, net::SocketAddr, time::Duration};

use axum::{Router, extract::Path, routing::get};
use hurricane_core::{CheckConfig, CheckResult, Hurricane, Probe, check_fn};
use tokio::time;
use tracing::info;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    // Asked by the probes: at most every two seconds, however often they come.
    let database = check_fn("database", || async {
        match ping().await {
            Ok(()) => CheckResult::pass(),
            Err(error) => CheckResult::fail(format!("the database does not answer: {error}")),
        }
    });
    let often =
        CheckConfig::new([Probe::Liveness, Probe::Readiness]).ttl_pass(Duration::from_secs(2));

    let hurricane = Hurricane::builder()
        .check(database, often)
        .probe_addr(addr("PROBE_ADDR", "127.0.0.1:8001")?)
        .graceful_timeout(Duration::from_secs(20))
        .build()?;

    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow/{millis}", get(slow))
        // Counts requests, for the metrics and for the probes.
        .layer(hurricane.layer());

    // Both ports are taken before anything else; the application's listens when the migrations are done.
    let server = hurricane
        .on_startup("migrations", migrate)
        .on_shutdown("connections", async || {
            info!("closing the connections to the database");
        })
        .bind(addr("APP_ADDR", "127.0.0.1:8000")?)?;
    info!("application on http://{}", server.local_addr());
    if let Some(addr) = server.probe_addr() {
        info!("probes on http://{addr}");
    }
    // Until SIGTERM or SIGINT.
    server.serve(app).await?;
    Ok(())
}

/// A request that takes its time, and is finished at the end all the same.
async fn slow(Path(millis): Path<u64>) -> &'static str {
    time::sleep(Duration::from_millis(millis)).await;
    "done"
}

/// Stands for a question to a database.
async fn ping() -> io::Result<()> {
    time::sleep(Duration::from_millis(1)).await;
    Ok(())
}

/// Stands for what must be done before the first request.
async fn migrate() -> io::Result<()> {
    info!("the tables are up to date");
    Ok(())
}

fn addr(variable: &str, default: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let addr = env::var(variable).unwrap_or_else(|_| default.to_owned());
    addr.parse()
        .map_err(|error| format!("{variable}: {addr} is no address: {error}").into())
}
