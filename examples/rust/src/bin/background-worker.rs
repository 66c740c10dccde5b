//! A worker that serves nobody: it takes jobs from a queue. Kubernetes asks it all the same.
//!
//! ```sh
//! cargo run -p hurricane-examples --bin background-worker
//! curl localhost:8001/alive?verbose
//! curl localhost:8001/metrics
//! ```
//!
//! Liveness looks at a heartbeat of the loop itself: a worker that hangs in a job is restarted, one that has nothing to
//! do is not. SIGTERM ends it after the job in hand.

use std::{env, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use hurricane_core::{
    CounterMetric, Dispatcher, Event, EventKind, EventStatus, Exposition, HttpWebhook, Lifecycle,
    ProbeConfig, Probes, Registry, Signals, Traffic,
};
use tokio::{runtime::Handle, time};
use tracing::{info, warn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let config = ProbeConfig {
        addr: env::var("PROBE_ADDR")
            .as_deref()
            .unwrap_or("127.0.0.1:8001")
            .parse::<SocketAddr>()?,
        ..ProbeConfig::default()
    };

    let jobs = CounterMetric::new("worker_jobs_total", "Jobs that were finished.");
    let mut registry = Registry::new();
    registry.add_metric(jobs.clone())?;
    if let Ok(url) = env::var("WEBHOOK_URL") {
        registry.add_webhook(HttpWebhook::new(url))?;
    }

    // The probes, on a port and a thread of their own.
    let lifecycle = Lifecycle::new();
    let dispatcher = Dispatcher::start(registry.webhooks(), None)?;
    let exposition = Exposition::new();
    exposition.install()?;
    let traffic = Arc::new(Traffic::new());
    let probes = Probes::new(
        &config,
        &registry,
        lifecycle.clone(),
        traffic,
        Handle::current(),
    )?
    .with_exposition(exposition)
    .with_dispatcher(dispatcher.clone());
    let probes = Arc::new(probes);
    let bound = config.bind()?;
    info!("probes on http://{}", bound.local_addr());
    let probe_server = bound.spawn(Arc::clone(&probes))?;

    let mut signals = Signals::install()?;
    let heartbeat = probes.heartbeat("jobs");
    lifecycle.run();
    dispatcher.send(Event::new(EventKind::Startup, EventStatus::Succeeded));
    let mut queue = Queue::default();
    loop {
        heartbeat.beat();
        // A job that was taken is finished: only the wait for the next one is broken off.
        let job = tokio::select! {
            biased;
            _ = signals.recv() => break,
            job = queue.next() => job,
        };
        info!("job {job} begins");
        work(job).await;
        info!("job {job} is finished");
        jobs.increment(1);
    }

    lifecycle.drain();
    heartbeat.retire();
    dispatcher.send(Event::new(EventKind::Shutdown, EventStatus::Succeeded));
    if let Err(error) = dispatcher.close(Duration::from_secs(5)).await {
        warn!("{error}");
    }
    lifecycle.stop();
    probe_server.shutdown()?;
    info!("the worker ends after {} jobs", jobs.get());
    Ok(())
}

/// Stands for a queue of a message broker or a database.
#[derive(Default)]
struct Queue {
    last: u64,
}

// === impl Queue ===

impl Queue {
    /// Waits for the next job.
    async fn next(&mut self) -> u64 {
        time::sleep(Duration::from_millis(50)).await;
        self.last += 1;
        self.last
    }
}

/// Stands for the work.
async fn work(_: u64) {
    time::sleep(Duration::from_millis(200)).await;
}
