//! A check, a metric and a webhook of one's own.
//!
//! ```sh
//! MAINTENANCE_FILE=/tmp/maintenance cargo run -p hurricane-examples --bin custom-check-metric-webhook
//! curl localhost:8001/ready?verbose
//! touch /tmp/maintenance             # not ready while the file is there
//! curl localhost:8001/ready
//! curl localhost:8001/metrics | grep shop
//! ```

use std::{
    env,
    error::Error,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{Router, extract::State, routing::post};
use hurricane_core::{
    Check, CheckResult, Event, Hurricane, Metric, MetricKind, Probe, Webhook, WebhookError,
    async_trait,
};
use tracing::info;

/// Passes while a file is not there, so that an operator can take the process out of service.
struct Maintenance(PathBuf);

#[async_trait]
impl Check for Maintenance {
    fn name(&self) -> &str {
        "maintenance"
    }

    async fn check(&self) -> CheckResult {
        match fs::exists(&self.0) {
            Ok(false) => CheckResult::pass(),
            // Not broken, only not to be sent requests: answered with 400.
            Ok(true) => CheckResult::saturated(format!("{} is there", self.0.display())),
            Err(error) => {
                CheckResult::fail(format!("{} cannot be seen: {error}", self.0.display()))
            }
        }
    }
}

/// A number that the application keeps anyway, looked up at each scrape.
#[derive(Clone, Default)]
struct OpenOrders(Arc<AtomicU64>);

#[async_trait]
impl Metric for OpenOrders {
    fn name(&self) -> &str {
        "shop_open_orders"
    }

    fn help(&self) -> &str {
        "Orders that wait to be packed."
    }

    fn kind(&self) -> MetricKind {
        MetricKind::Gauge
    }

    async fn value(&self) -> f64 {
        // Exact for all numbers of orders that a shop has ever seen.
        self.0.load(Relaxed) as f64
    }
}

/// Writes events into the log; it might as well call somebody.
struct Pager;

#[async_trait]
impl Webhook for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        info!("pager: {} {}", event.kind, event.status);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let file = env::var_os("MAINTENANCE_FILE").unwrap_or_else(|| "/tmp/maintenance".into());
    let orders = OpenOrders::default();

    let hurricane = Hurricane::builder()
        .check(Maintenance(file.into()), [Probe::Readiness])
        .metric(orders.clone())
        .webhook(Pager)
        .probe_addr(addr("PROBE_ADDR", "127.0.0.1:8001")?)
        .build()?;
    let app = Router::new()
        .route("/orders", post(order))
        .with_state(orders)
        .layer(hurricane.layer());

    let server = hurricane.bind(addr("APP_ADDR", "127.0.0.1:8000")?)?;
    info!("application on http://{}", server.local_addr());
    if let Some(addr) = server.probe_addr() {
        info!("probes on http://{addr}");
    }
    server.serve(app).await?;
    Ok(())
}

async fn order(State(OpenOrders(orders)): State<OpenOrders>) -> String {
    let number = orders.fetch_add(1, Relaxed) + 1;
    format!("{number} orders are open")
}

fn addr(variable: &str, default: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let addr = env::var(variable).unwrap_or_else(|_| default.to_owned());
    addr.parse()
        .map_err(|error| format!("{variable}: {addr} is no address: {error}").into())
}
