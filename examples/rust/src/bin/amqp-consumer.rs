//! A worker that consumes a queue of `RabbitMQ`.
//!
//! ```sh
//! cargo run -p hurricane-examples --bin amqp-consumer
//! curl localhost:8001/ready?verbose
//! curl localhost:8001/metrics
//! ```
//!
//! `AMQP_URL`, `QUEUE`, `PREFETCH` and `CONCURRENCY` say where the broker is, which queue, how many messages it hands out
//! ahead, and how many are handled at a time. SIGTERM ends it after the messages in hand.

use std::{env, error::Error, net::SocketAddr, str::FromStr, sync::Arc};

use hurricane_amqp::{Consumer, Handler, Link, Message, Outcome, Queue, Topology, async_trait};
use hurricane_core::{
    Exposition, Lifecycle, Probe, ProbeConfig, Probes, Registry, Signals, Traffic,
};
use tokio::runtime::Handle;
use tracing::{debug, info};

/// Takes addresses and writes to nobody.
struct Mailer;

#[async_trait]
impl Handler for Mailer {
    fn name(&self) -> &str {
        "mailer"
    }

    async fn handle(&self, message: Message) -> Outcome {
        match std::str::from_utf8(&message.body) {
            Ok(address) => {
                debug!("mail to {address}");
                Outcome::Ack
            }
            // Nobody will ever be able to read this one.
            Err(_) => Outcome::Reject,
        }
    }
}

// One thread is enough where handlers wait rather than compute.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let queue = Queue::durable(setting("QUEUE", "mails".to_owned())?);
    let consumer = Consumer::builder(Mailer)
        .name("amqp-consumer")
        .uri(&setting("AMQP_URL", "amqp://localhost".to_owned())?)?
        .topology(Topology::new(queue))
        .prefetch(setting("PREFETCH", 100)?)
        .concurrency(setting("CONCURRENCY", 1)?)
        .build();
    let status = consumer.status().clone();

    let mut registry = Registry::new();
    registry.add_check(status.startup(), [Probe::Startup])?;
    registry.add_check(status.readiness(), [Probe::Readiness])?;
    registry.add_check(status.liveness(), [Probe::Liveness])?;

    // The probes, on a port and a thread of their own.
    let config = ProbeConfig {
        addr: setting("PROBE_ADDR", SocketAddr::from(([127, 0, 0, 1], 8001)))?,
        ..ProbeConfig::default()
    };
    let lifecycle = Lifecycle::new();
    let exposition = Exposition::new();
    exposition.install()?;
    let (traffic, handle) = (Arc::new(Traffic::new()), Handle::current());
    let probes = Probes::new(&config, &registry, lifecycle.clone(), traffic, handle)?
        .with_exposition(exposition);
    let bound = config.bind()?;
    info!("probes on http://{}", bound.local_addr());
    let probe_server = bound.spawn(Arc::new(probes))?;

    let mut signals = Signals::install()?;
    let stop = {
        let lifecycle = lifecycle.clone();
        async move {
            signals.recv().await;
            lifecycle.drain();
        }
    };
    let subscribed = async {
        status.wait_for(|link| *link == Link::Subscribed).await;
        lifecycle.run();
        std::future::pending().await
    };
    let finished = tokio::select! {
        finished = consumer.run(stop) => finished,
        never = subscribed => never,
    };
    lifecycle.stop();
    probe_server.shutdown()?;
    finished?;
    Ok(())
}

/// A setting from the environment.
fn setting<T>(name: &str, default: T) -> Result<T, Box<dyn Error>>
where
    T: FromStr<Err: Error + 'static>,
{
    match env::var(name) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}
