//! Putting a server together.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{Hurricane, ServeConfig};
#[cfg(feature = "prometheus")]
use crate::{AlreadyInstalled, Exposition, exposition::MetricSource};
use crate::{
    check::{Check, CheckConfig},
    handler::Handler,
    layer::MetricsLayer,
    lifecycle::Lifecycle,
    metric::Metric,
    names::MetricNames,
    probe::{PathError, ProbeConfig, Probes},
    registry::{AlreadyRegistered, Registry},
    traffic::Traffic,
    webhook::{Dispatcher, Webhook, WebhookError},
};

/// Builds a [`Hurricane`].
#[derive(Debug)]
pub struct Builder {
    registry: Registry,
    /// The first registration that failed, told by [`build`](Self::build).
    refused: Option<AlreadyRegistered>,
    probes: ProbeConfig,
    probe_server: bool,
    #[cfg(feature = "prometheus")]
    exposition: Option<Exposition>,
    #[cfg(feature = "prometheus")]
    sources: Vec<Arc<dyn MetricSource>>,
    metric_names: MetricNames,
    version: Option<String>,
    traffic: Arc<Traffic>,
    config: ServeConfig,
    shutdown_delay: Duration,
    /// None for the graceful timeout.
    shutdown_task_limit: Option<Duration>,
}

/// A server that cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two things of a kind have the same name.
    #[error(transparent)]
    Registry(#[from] AlreadyRegistered),
    /// Two probes have the same path.
    #[error(transparent)]
    Paths(#[from] PathError),
    /// The process records its metrics elsewhere.
    #[cfg(feature = "prometheus")]
    #[error(transparent)]
    Recorder(#[from] AlreadyInstalled),
    /// A webhook could never deliver anything.
    #[error("the webhook to {name} cannot be used")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: WebhookError,
    },
    /// The thread that delivers webhooks could not be started.
    #[error("failed to start the thread for webhooks")]
    Dispatcher(#[source] io::Error),
    /// There is no runtime for checks to run on.
    #[error("the server is built outside of a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}

// === impl Builder ===

impl Builder {
    /// Adds a check; an array of probes will do as its configuration.
    #[must_use]
    pub fn check(self, check: impl Check, config: impl Into<CheckConfig>) -> Self {
        self.register(|registry| registry.add_check(check, config))
    }

    /// Adds a metric that is asked at each scrape.
    #[must_use]
    pub fn metric(self, metric: impl Metric) -> Self {
        self.register(|registry| registry.add_metric(metric))
    }

    /// Adds somebody who tells, at each scrape, families that are counted elsewhere.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn metric_source(mut self, source: impl MetricSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Adds a webhook that is told about the [events](crate::EventKind) of the process's life.
    #[must_use]
    pub fn webhook(self, webhook: impl Webhook) -> Self {
        self.register(|registry| registry.add_webhook(webhook))
    }

    /// Adds a handler of messages.
    #[must_use]
    pub fn handler(self, handler: impl Handler) -> Self {
        self.register(|registry| registry.add_handler(handler))
    }

    /// Replaces the configuration of the probes.
    #[must_use]
    pub fn probes(mut self, config: ProbeConfig) -> Self {
        self.probes = config;
        self
    }

    /// Sets the address of the probe server.
    #[must_use]
    pub fn probe_addr(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.probes.addr = addr.into();
        self
    }

    /// Starts no probe server; [`Hurricane::router_on`] still answers on the application's port.
    #[must_use]
    pub fn no_probes(mut self) -> Self {
        self.probe_server = false;
        self
    }

    /// Collects and answers no metrics, for processes that have a recorder of their own.
    #[must_use]
    pub fn no_metrics(mut self) -> Self {
        self.probes.metrics = None;
        self
    }

    /// Chooses the names of the metrics of requests; those of `OpenTelemetry` if nothing is said.
    #[must_use]
    pub fn metric_names(mut self, names: MetricNames) -> Self {
        self.metric_names = names;
        self
    }

    /// Answers scrapes from `exposition`, which is left as it is: installed or, as in tests, not.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn exposition(mut self, exposition: Exposition) -> Self {
        self.exposition = Some(exposition);
        self
    }

    /// Sets the application's version, which webhooks tell.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Shares what is known of the load with something that is made before the server, such as a queue.
    #[must_use]
    pub fn traffic(mut self, traffic: Arc<Traffic>) -> Self {
        self.traffic = traffic;
        self
    }

    /// Sets how long the application goes on serving, not ready, before it takes no more connections; none by default.
    #[must_use]
    pub fn shutdown_delay(mut self, delay: Duration) -> Self {
        self.shutdown_delay = delay;
        self
    }

    /// Sets how long requests in flight may take to finish at the end.
    #[must_use]
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.config.grace = timeout;
        self
    }

    /// Sets how long each of the [shutdown tasks](Hurricane::on_shutdown) may take; by default as long as the graceful
    /// timeout.
    #[must_use]
    pub fn shutdown_task_limit(mut self, limit: Duration) -> Self {
        self.shutdown_task_limit = Some(limit);
        self
    }

    /// Replaces the configuration of the application's port, graceful timeout included.
    #[must_use]
    pub fn serve_config(mut self, config: ServeConfig) -> Self {
        self.config = config;
        self
    }

    /// Puts the server together, and makes it the process's recorder of metrics.
    ///
    /// # Errors
    ///
    /// A name or a path is taken twice, another recorder of metrics is installed, or there is no tokio runtime.
    pub fn build(self) -> Result<Hurricane, BuildError> {
        if let Some(error) = self.refused {
            return Err(error.into());
        }
        let handle = Handle::try_current()?;
        let lifecycle = Lifecycle::new();
        let traffic = self.traffic;
        for webhook in self.registry.webhooks() {
            let name = webhook.name();
            webhook.validate().map_err(|source| BuildError::Webhook {
                name: name.to_owned(),
                source,
            })?;
        }
        let dispatcher = Dispatcher::start(self.registry.webhooks(), self.version)
            .map_err(BuildError::Dispatcher)?;
        let probes = Probes::new(
            &self.probes,
            &self.registry,
            lifecycle.clone(),
            Arc::clone(&traffic),
            handle,
        )?
        .with_dispatcher(dispatcher.clone());
        #[cfg(feature = "prometheus")]
        let probes = probes.with_sources(self.sources);
        #[cfg(feature = "prometheus")]
        let probes = match (self.exposition, &self.probes.metrics) {
            (_, None) => probes,
            (Some(exposition), Some(_)) => probes.with_exposition(exposition),
            (None, Some(_)) => {
                let exposition = Exposition::new().with_names(self.metric_names);
                exposition.install()?;
                probes.with_exposition(exposition)
            }
        };
        Ok(Hurricane {
            layer: MetricsLayer::new(Arc::clone(&traffic)).names(self.metric_names),
            lifecycle,
            traffic,
            registry: self.registry,
            probes: Arc::new(probes),
            probe_config: self.probe_server.then_some(self.probes),
            dispatcher,
            startup: Vec::new(),
            shutdown: Vec::new(),
            shutdown_task_limit: self.shutdown_task_limit.unwrap_or(self.config.grace),
            config: self.config,
            shutdown_delay: self.shutdown_delay,
        })
    }

    fn register(
        mut self,
        add: impl FnOnce(&mut Registry) -> Result<(), AlreadyRegistered>,
    ) -> Self {
        if let Err(error) = add(&mut self.registry) {
            self.refused.get_or_insert(error);
        }
        self
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            registry: Registry::new(),
            refused: None,
            probes: ProbeConfig::default(),
            probe_server: true,
            #[cfg(feature = "prometheus")]
            exposition: None,
            #[cfg(feature = "prometheus")]
            sources: Vec::new(),
            metric_names: MetricNames::default(),
            version: None,
            traffic: Arc::default(),
            config: ServeConfig::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_task_limit: None,
        }
    }
}
