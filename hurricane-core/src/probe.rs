//! The probe server: its configuration, its port, its thread.
//!
//! The states are types: a [`ProbeConfig`] [binds](ProbeConfig::bind) to a [`Bound`], which [spawns](Bound::spawn) a
//! [`ProbeServer`].

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
};
use tracing::error;

#[cfg(feature = "grpc")]
pub use self::grpc::{GrpcBody, GrpcFuture, GrpcHealth};
pub use self::{
    details::Details,
    paths::{Endpoint, PathError, Paths},
    routes::router,
    service::{ProbeFuture, ProbeService, WithProbes, WithProbesFuture},
    state::{Probes, Verdict},
};
use crate::{
    check::CheckPolicy,
    heartbeat::TOLERANCE,
    listener::{BindError, Listener},
    server::{ServeConfig, serve},
};

mod accept;
mod details;
#[cfg(feature = "grpc")]
mod grpc;
mod paths;
mod query;
mod render;
mod routes;
mod service;
mod state;
mod watch;

/// Configures the probes and their server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Address of the probe server; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Path of the startup probe.
    pub startup: String,
    /// Path of the readiness probe.
    pub readiness: String,
    /// Path of the liveness probe.
    pub liveness: String,
    /// Path of the metrics; none switches them off.
    pub metrics: Option<String>,
    /// Whether the paths that Kubernetes' own servers have answer too: `/livez` and `/healthz` for liveness, `/readyz`
    /// for readiness. One that is configured for something else stays with that.
    pub aliases: bool,
    /// How much is told of what checks found.
    pub details: Details,
    /// How long the probes wait for checks, and how long results count.
    pub policy: CheckPolicy,
    /// How long a heartbeat, such as that of the main runtime, may be late before the probes and the metrics show it as
    /// stalled. Liveness fails only when it is older than [`CheckPolicy::max_age`].
    pub stall_after: Duration,
    /// How long nobody may ask for liveness or readiness before the process does so itself, to tell the webhooks of
    /// changes; without webhooks that want to hear of them it never does.
    pub watch_every: Duration,
    /// How long a client may take to send the head of a request, or nothing at all.
    pub header_timeout: Duration,
    /// Most bytes in the head of a request.
    pub max_header_bytes: usize,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// Most connections at a time. For one more the one that has been idle for longest is closed, so that nobody who
    /// holds connections open keeps Kubernetes out.
    pub max_connections: usize,
}

/// A probe server that has its port, and accepts connections into the kernel's queue.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    config: ServeConfig,
}

/// A probe server at work, on a thread and a runtime of its own.
///
/// It answers while the main runtime is blocked, and [watches](Probes::watch) for webhooks. Dropping it stops it too, but
/// waits for nothing.
///
/// # Examples
///
/// The probes beside a server of another kind, or none:
///
/// ```
/// use std::sync::Arc;
/// use hurricane_core::{
///     CheckResult, Lifecycle, Probe, ProbeConfig, Probes, Registry, Traffic, check_fn,
/// };
/// use tokio::runtime::Handle;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut registry = Registry::new();
/// let broker = check_fn("broker", || async { CheckResult::pass() });
/// registry.add_check(broker, [Probe::Readiness])?;
/// let config = ProbeConfig {
///     addr: ([127, 0, 0, 1], 0).into(),
///     ..ProbeConfig::default()
/// };
/// let (lifecycle, traffic) = (Lifecycle::new(), Arc::new(Traffic::new()));
/// let handle = Handle::current();
/// let probes = Probes::new(&config, &registry, lifecycle.clone(), traffic, handle)?;
/// let server = config.bind()?.spawn(Arc::new(probes))?;
///
/// // Whatever has to be done before the process is ready, and then:
/// lifecycle.run();
/// # let addr = server.local_addr();
/// // ... until the process is to end, and readiness is to fail:
/// lifecycle.drain();
/// server.shutdown()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the server stops when it is dropped"]
pub struct ProbeServer {
    addr: SocketAddr,
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// The probe server's thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the thread of the probe server")]
pub struct SpawnError {
    #[from]
    source: io::Error,
}

/// The probe server's thread died of a panic, which its log tells more about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the probe server panicked")]
pub struct ProbeServerPanicked;

/// How long open connections have when the probe server stops; its answers take no longer.
const GRACE: Duration = Duration::from_secs(1);

// === impl ProbeConfig ===

impl ProbeConfig {
    /// The configured paths, each in its normal form.
    ///
    /// # Errors
    ///
    /// Two of them are the same.
    pub fn paths(&self) -> Result<Paths, PathError> {
        // Where nothing collects metrics their path is not ours.
        let metrics = self
            .metrics
            .as_deref()
            .filter(|_| cfg!(feature = "prometheus"));
        let paths = Paths::new(&self.startup, &self.readiness, &self.liveness, metrics)?;
        Ok(if self.aliases {
            paths.with_aliases()
        } else {
            paths
        })
    }

    /// Takes the port.
    ///
    /// # Errors
    ///
    /// The address is in use, or not to be had for another reason.
    pub fn bind(&self) -> Result<Bound, BindError> {
        let listener = Listener::bind_as("probe server", self.addr, 128)?;
        let addr = listener.local_addr();
        Ok(Bound {
            listener: listener.listen_std()?,
            addr,
            config: ServeConfig {
                header_timeout: self.header_timeout,
                max_header_bytes: self.max_header_bytes,
                write_timeout: Some(self.write_timeout),
                max_connections: Some(self.max_connections),
                close_idle: true,
                #[cfg(feature = "http2")]
                http2: cfg!(feature = "grpc"),
                early_hints: false,
                linger: Duration::ZERO,
                grace: GRACE,
                heartbeat: None,
            },
        })
    }
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            addr: (Ipv4Addr::UNSPECIFIED, 8001).into(),
            startup: "/startup".to_owned(),
            readiness: "/ready".to_owned(),
            liveness: "/alive".to_owned(),
            metrics: Some("/metrics".to_owned()),
            aliases: true,
            details: Details::default(),
            policy: CheckPolicy::default(),
            stall_after: TOLERANCE,
            watch_every: Duration::from_secs(5),
            // Keeps port scanners and the like from holding connections open.
            header_timeout: Duration::from_secs(5),
            max_header_bytes: 8 * 1024,
            write_timeout: Duration::from_secs(5),
            max_connections: 256,
        }
    }
}

// === impl Bound ===

impl Bound {
    /// The address, with the port the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts the server on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system has no thread left for it, or its runtime cannot be made.
    pub fn spawn(self, probes: Arc<Probes>) -> Result<ProbeServer, SpawnError> {
        let Self {
            listener,
            addr,
            config,
        } = self;
        let (stop, stopped) = oneshot::channel();
        let (running, ended) = oneshot::channel();
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("hurricane-probe".to_owned())
            .spawn(move || {
                // Dropped when the thread ends, in whatever way.
                let _running: oneshot::Sender<()> = running;
                let prepared = prepare(listener);
                let (runtime, listener) = match prepared {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                let _ = started.send(Ok(()));
                runtime.block_on(answer(listener, probes, config, stopped));
            })?;
        // The channel closes without a word only if the thread panicked, which `shutdown` tells.
        start.recv().unwrap_or(Ok(()))?;
        Ok(ProbeServer {
            addr,
            thread,
            stop,
            ended,
        })
    }
}

// === impl ProbeServer ===

impl ProbeServer {
    /// The address it answers on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether the thread has ended; without [`shutdown`](Self::shutdown) it does so only by a panic.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread to end, which without [`shutdown`](Self::shutdown) it does only by a panic.
    pub async fn ended(&mut self) {
        // Nothing is ever sent: the channel closes with the thread. Once closed, it may not be polled again.
        if !self.ended.is_terminated() {
            let _ = (&mut self.ended).await;
        }
    }

    /// Stops the server and waits for its thread, which takes a moment if it is answering.
    ///
    /// # Errors
    ///
    /// The thread had panicked.
    pub fn shutdown(self) -> Result<(), ProbeServerPanicked> {
        // The error means that the thread is gone, as the join will tell.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| ProbeServerPanicked)
    }
}

fn prepare(listener: TcpListener) -> io::Result<(Runtime, tokio::net::TcpListener)> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

async fn answer(
    listener: tokio::net::TcpListener,
    probes: Arc<Probes>,
    config: ServeConfig,
    stopped: oneshot::Receiver<()>,
) {
    #[cfg(feature = "prometheus")]
    if let Some(exposition) = probes.exposition().cloned() {
        tokio::spawn(upkeep(exposition));
    }
    tokio::spawn({
        let probes = Arc::clone(&probes);
        async move { probes.watch().await }
    });
    let stop = async {
        // An error means that the server was dropped, which stops it as well.
        let _ = stopped.await;
    };
    if let Err(error) = serve(listener, router(probes), config, stop).await {
        error!(%error, "probe connections were cut");
    }
}

/// How often histograms are digested.
#[cfg(feature = "prometheus")]
const UPKEEP: Duration = Duration::from_secs(1);

/// Digests histograms for ever.
#[cfg(feature = "prometheus")]
pub(crate) async fn upkeep(exposition: crate::Exposition) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        due.tick().await;
        exposition.upkeep();
    }
}

#[cfg(test)]
mod tests;
