//! Serving an application with everything around it, and ending in good order.

pub use axum::extract::ConnectInfo;

pub use self::{
    builder::{BuildError, Builder},
    connection::App,
    connections::{ServeConfig, serve},
    failure::StartupFailure,
    hints::EarlyHints,
    hyper_app::HyperApp,
    run::{BoundServer, ServeError},
    tasks::{ShutdownTaskError, StartupError},
};

use std::{
    borrow::Cow, error::Error, fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use self::tasks::{ShutdownTask, StartupTask};
use crate::{
    check::HealthState,
    layer::MetricsLayer,
    lifecycle::Lifecycle,
    listener::{BACKLOG, BindError, Listener},
    probe::{ProbeConfig, Probes, WithProbes},
    registry::Registry,
    traffic::Traffic,
    webhook::Dispatcher,
};

mod activity;
mod builder;
mod connection;
mod connections;
mod failure;
mod hints;
mod host;
mod hyper_app;
mod run;
mod stream;
mod tasks;

/// An application server that Kubernetes can ask, watch and stop.
///
/// # Examples
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use hurricane_core::{CheckResult, Hurricane, Probe, check_fn};
///
/// async fn migrate() -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let hurricane = Hurricane::builder()
///     .check(check_fn("database", || async { CheckResult::pass() }), [Probe::Liveness, Probe::Readiness])
///     .probe_addr(([0, 0, 0, 0], 8001))
///     .build()?;
/// let app = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(hurricane.layer());
/// hurricane.on_startup("migrations", migrate).serve(app, ([0, 0, 0, 0], 8000)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Theory of operation
///
/// [`serve`](Self::serve) takes both ports before anything else. The probe server answers from then on. Start-up
/// tasks run one after the other; then the application's port listens and the phase is
/// [`Running`](crate::Phase::Running).
///
/// SIGTERM, SIGINT or [`Lifecycle::drain`] begin the end: readiness fails at once, the application goes on serving
/// for the shutdown delay, since load balancers notice late; then it takes no new connections and finishes what is in
/// hand, within the graceful timeout. Shutdown tasks run, what was added last first, so that each still finds what it
/// was built upon. The last webhooks are sent, the probe server stops. A second signal cuts short whatever is being
/// waited for.
pub struct Hurricane {
    lifecycle: Lifecycle,
    traffic: Arc<Traffic>,
    registry: Registry,
    layer: MetricsLayer,
    probes: Arc<Probes>,
    /// None for no probe server.
    probe_config: Option<ProbeConfig>,
    dispatcher: Dispatcher,
    startup: Vec<StartupTask>,
    shutdown: Vec<ShutdownTask>,
    config: ServeConfig,
    shutdown_delay: Duration,
    shutdown_task_limit: Duration,
}

// === impl Hurricane ===

impl Hurricane {
    /// Begins to put a server together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The layer that counts the application's requests, for the metrics and the probes.
    #[must_use]
    pub fn layer(&self) -> MetricsLayer {
        self.layer.clone()
    }

    /// Where the process stands; [`Lifecycle::drain`] ends [`serve`](Self::serve) from anywhere.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// What the process knows of its load.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What the probes look at.
    #[must_use]
    pub fn probes(&self) -> &Arc<Probes> {
        &self.probes
    }

    /// The application's own word on its health: latches that hold readiness back, and the end of liveness.
    ///
    /// # Examples
    ///
    /// ```
    /// # use hurricane_core::Hurricane;
    /// # async fn fill_cache() {}
    /// # fn example(hurricane: &Hurricane) {
    /// let latch = hurricane.state().latch("cache warm");
    /// tokio::spawn(async move {
    ///     fill_cache().await;
    ///     latch.release();
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> &HealthState {
        self.probes.state()
    }

    /// What was registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What carries events to the webhooks.
    #[must_use]
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Puts the probes and metrics before the application, on its own port.
    ///
    /// Then a probe server is rarely of use: build with [`Builder::no_probes`].
    #[must_use]
    pub fn router_on<S>(&self, app: S) -> WithProbes<S> {
        WithProbes::new(Arc::clone(&self.probes), app)
    }

    /// Adds a task that must succeed before the application's port listens; tasks run in the order they were added.
    ///
    /// The first that fails ends the process: [`serve`](Self::serve) returns [`ServeError::Startup`] with its name and
    /// its error, which can be downcast to its own type.
    ///
    /// A task that blocks its thread may keep signals from being seen; it belongs into
    /// `tokio::task::spawn_blocking`.
    #[must_use]
    pub fn on_startup<F, Fut, E>(mut self, name: impl Into<Cow<'static, str>>, task: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<StartupError>,
    {
        self.startup.push(StartupTask::new(name.into(), task));
        self
    }

    /// Adds a task that runs when the application has ended, in whatever way; the last one that was added runs first.
    ///
    /// Each may take as long as [`Builder::shutdown_task_limit`] says. One that takes longer or panics does not keep
    /// the others from running, and is told by [`ServeError::Shutdown`].
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use hurricane_core::Hurricane;
    ///
    /// let hurricane = Hurricane::builder()
    ///     .build()?
    ///     .on_shutdown("database", async || { /* close the pool: runs second */ })
    ///     .on_shutdown("cache", async || { /* write what is left to the database: runs first */ });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_shutdown<F, Fut>(mut self, name: impl Into<Cow<'static, str>>, task: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shutdown.push(ShutdownTask::new(name.into(), task));
        self
    }

    /// Takes the ports of the application and of the probes, so that they can be told before serving begins.
    ///
    /// # Errors
    ///
    /// One of the ports is not to be had.
    pub fn bind(self, addr: impl Into<SocketAddr>) -> Result<BoundServer, BindError> {
        let listener = Listener::bind(addr, BACKLOG)?;
        let probe = self
            .probe_config
            .as_ref()
            .map(ProbeConfig::bind)
            .transpose()?;
        Ok(BoundServer::new(self, listener, probe))
    }

    /// Serves the application until the process is to end.
    ///
    /// The application is a tower service that is cloned for each request: an axum `Router`, anything of tower, or a
    /// service of hyper's own trait in a [`HyperApp`].
    ///
    /// It gets no request that is malformed, or does not name its host as RFC 9112 section 3.2 has it: these are
    /// answered with 400, and are the end of their connections.
    ///
    /// # Errors
    ///
    /// A port is not to be had, a start-up task failed, or not everything could be finished at the end.
    ///
    /// # Examples
    ///
    /// A service of tower:
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    /// use http::{Request, Response};
    /// use hurricane_core::Hurricane;
    /// use hyper::body::Incoming;
    /// use tower::{ServiceBuilder, service_fn};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let hurricane = Hurricane::builder().build()?;
    /// let app = ServiceBuilder::new()
    ///     .layer(hurricane.layer())
    ///     .service(service_fn(|_: Request<Incoming>| async {
    ///         Ok::<_, Infallible>(Response::new("hello".to_owned()))
    ///     }));
    /// hurricane.serve(app, ([0, 0, 0, 0], 8000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve<S, B>(self, app: S, addr: impl Into<SocketAddr>) -> Result<(), ServeError>
    where
        S: App<B>,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.bind(addr)?.serve(app).await
    }
}

impl fmt::Debug for Hurricane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hurricane")
            .field("lifecycle", &self.lifecycle)
            .field("registry", &self.registry)
            .field("probe_config", &self.probe_config)
            .field("config", &self.config)
            .field("shutdown_delay", &self.shutdown_delay)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
