//! hyper, and the parts of hurricane one by one, for those who put a server together themselves.
//!
//! ```sh
//! cargo run -p hurricane-examples --bin hyper-bare
//! curl localhost:8000/
//! curl localhost:8001/alive?verbose
//! ```

use std::{convert::Infallible, env, error::Error, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hurricane_core::{
    BACKLOG, HyperApp, Lifecycle, Listener, MetricsLayer, Phase, ProbeConfig, Probes, Registry,
    ServeConfig, Signals, Traffic,
    bytes::Bytes,
    http::{Request, Response},
    serve,
};
use hyper::{body::Incoming, service::service_fn};
use tokio::runtime::Handle;
use tower::Layer as _;
use tracing::info;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    // What the probes look at.
    let config = ProbeConfig {
        addr: addr("PROBE_ADDR", "127.0.0.1:8001")?,
        ..ProbeConfig::default()
    };
    let lifecycle = Lifecycle::new();
    let traffic = Arc::new(Traffic::new());
    let probes = Arc::new(Probes::new(
        &config,
        &Registry::new(),
        lifecycle.clone(),
        Arc::clone(&traffic),
        Handle::current(),
    )?);

    // Both ports, before anything is started.
    let listener = Listener::bind(addr("APP_ADDR", "127.0.0.1:8000")?, BACKLOG)?;
    let bound = config.bind()?;
    info!("application on http://{}", listener.local_addr());
    info!("probes on http://{}", bound.local_addr());
    let probe_server = bound.spawn(Arc::clone(&probes))?;

    // The probes say "not now" until this.
    let mut signals = Signals::install()?;
    let listener = listener.listen()?;
    lifecycle.run();
    tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move {
            signals.recv().await;
            lifecycle.drain();
        }
    });

    // hyper's services are not tower's; the wrapper makes one of them.
    let app = HyperApp(service_fn(hello));
    let app = MetricsLayer::new(traffic).layer(app);
    let config = ServeConfig {
        // Liveness fails when connections can be accepted no longer.
        heartbeat: Some(probes.heartbeat("accepting")),
        ..ServeConfig::default()
    };
    serve(listener, app, config, lifecycle.reached(Phase::Draining)).await?;

    lifecycle.stop();
    probe_server.shutdown()?;
    info!("all requests are finished");
    Ok(())
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello from hyper")))
}

fn addr(variable: &str, default: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let addr = env::var(variable).unwrap_or_else(|_| default.to_owned());
    addr.parse()
        .map_err(|error| format!("{variable}: {addr} is no address: {error}").into())
}
