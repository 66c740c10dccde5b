//! A plain tower service, without a web framework, with its probes and metrics on the same port.
//!
//! ```sh
//! cargo run -p hurricane-examples --bin tower-service
//! curl localhost:8000/           # what the service says
//! curl localhost:8000/ready      # what the probes say
//! ```

use std::{convert::Infallible, env, error::Error, net::SocketAddr};

use http_body_util::Full;
use hurricane_core::{
    CheckResult, Hurricane, Probe,
    bytes::Bytes,
    check_fn,
    http::{Request, Response},
};
use hyper::body::Incoming;
use tower::{Layer as _, service_fn};
use tracing::info;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let addr: SocketAddr = env::var("APP_ADDR")
        .as_deref()
        .unwrap_or("127.0.0.1:8000")
        .parse()?;

    let hurricane = Hurricane::builder()
        .check(
            check_fn("cache", || async { CheckResult::pass_with("it is warm") }),
            [Probe::Readiness],
        )
        // They are on the application's port below.
        .no_probes()
        .build()?;

    // From the inside out: the service, what counts its requests, the probes before it all.
    let service = service_fn(say);
    let service = hurricane.layer().layer(service);
    let service = hurricane.router_on(service);

    let server = hurricane.bind(addr)?;
    info!("application on http://{}", server.local_addr());
    server.serve(service).await?;
    Ok(())
}

async fn say(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("you asked for {}", request.uri().path());
    Ok(Response::new(Full::new(text.into())))
}
