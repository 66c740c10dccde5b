//! What is registered: by kind, by name, once.

use std::{collections::HashSet, fmt, sync::Arc};

use crate::{
    check::{Check, CheckConfig},
    handler::Handler,
    metric::Metric,
    webhook::Webhook,
};

/// Holds the checks, metrics, webhooks and handlers of a process.
///
/// A registry is a value: it is filled where the program is put together and then handed on.
///
/// # Examples
///
/// ```
/// use hurricane_core::{CheckResult, Probe, Registry, check_fn};
///
/// let mut registry = Registry::new();
/// let database = || check_fn("database", || async { CheckResult::pass() });
/// registry.add_check(database(), [Probe::Liveness, Probe::Readiness]).unwrap();
///
/// let twice = registry.add_check(database(), [Probe::Readiness]).unwrap_err();
/// assert_eq!(twice.to_string(), r#"a check named "database" is already registered"#);
/// ```
#[derive(Default)]
pub struct Registry {
    checks: Vec<RegisteredCheck>,
    check_names: HashSet<String>,
    metrics: Vec<Arc<dyn Metric>>,
    webhooks: Vec<Arc<dyn Webhook>>,
    handlers: Vec<Arc<dyn Handler>>,
}

/// A check and its configuration.
#[derive(Clone)]
pub struct RegisteredCheck {
    /// The check.
    pub check: Arc<dyn Check>,
    /// Who asks it, when it runs, and what its results count for.
    pub config: CheckConfig,
}

/// The kinds of things a [`Registry`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Check`].
    Check,
    /// A [`Metric`].
    Metric,
    /// A [`Webhook`].
    Webhook,
    /// A [`Handler`].
    Handler,
}

/// The name is taken by another registration of the same kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} named {name:?} is already registered")]
pub struct AlreadyRegistered {
    /// What was to be registered.
    pub kind: Kind,
    /// The name that is taken.
    pub name: String,
}

// === impl Registry ===

impl Registry {
    /// Begins with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check; an array of probes will do as its configuration.
    ///
    /// # Errors
    ///
    /// There is a check of that name.
    pub fn add_check(
        &mut self,
        check: impl Check,
        config: impl Into<CheckConfig>,
    ) -> Result<(), AlreadyRegistered> {
        // There may be many more of them than of the other kinds.
        if !self.check_names.insert(check.name().to_owned()) {
            return Err(AlreadyRegistered {
                kind: Kind::Check,
                name: check.name().to_owned(),
            });
        }
        self.checks.push(RegisteredCheck {
            check: Arc::new(check),
            config: config.into(),
        });
        Ok(())
    }

    /// Adds a metric.
    ///
    /// # Errors
    ///
    /// There is a metric of that name.
    pub fn add_metric(&mut self, metric: impl Metric) -> Result<(), AlreadyRegistered> {
        let names = self.metrics.iter().map(|metric| metric.name());
        ensure_free(Kind::Metric, metric.name(), names)?;
        self.metrics.push(Arc::new(metric));
        Ok(())
    }

    /// Adds a webhook.
    ///
    /// # Errors
    ///
    /// There is a webhook of that name.
    pub fn add_webhook(&mut self, webhook: impl Webhook) -> Result<(), AlreadyRegistered> {
        let names = self.webhooks.iter().map(|webhook| webhook.name());
        ensure_free(Kind::Webhook, webhook.name(), names)?;
        self.webhooks.push(Arc::new(webhook));
        Ok(())
    }

    /// Adds a handler.
    ///
    /// # Errors
    ///
    /// There is a handler of that name.
    pub fn add_handler(&mut self, handler: impl Handler) -> Result<(), AlreadyRegistered> {
        let names = self.handlers.iter().map(|handler| handler.name());
        ensure_free(Kind::Handler, handler.name(), names)?;
        self.handlers.push(Arc::new(handler));
        Ok(())
    }

    /// The checks, in the order they were added.
    #[must_use]
    pub fn checks(&self) -> &[RegisteredCheck] {
        &self.checks
    }

    /// The metrics, in the order they were added.
    #[must_use]
    pub fn metrics(&self) -> &[Arc<dyn Metric>] {
        &self.metrics
    }

    /// The webhooks, in the order they were added.
    #[must_use]
    pub fn webhooks(&self) -> &[Arc<dyn Webhook>] {
        &self.webhooks
    }

    /// The handlers, in the order they were added.
    #[must_use]
    pub fn handlers(&self) -> &[Arc<dyn Handler>] {
        &self.handlers
    }

    /// The handler of that name.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.handlers.iter().find(|handler| handler.name() == name)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metrics: Vec<_> = self.metrics.iter().map(|metric| metric.name()).collect();
        let webhooks: Vec<_> = self.webhooks.iter().map(|webhook| webhook.name()).collect();
        let handlers: Vec<_> = self.handlers.iter().map(|handler| handler.name()).collect();
        f.debug_struct("Registry")
            .field("checks", &self.checks)
            .field("metrics", &metrics)
            .field("webhooks", &webhooks)
            .field("handlers", &handlers)
            .finish()
    }
}

// === impl RegisteredCheck ===

impl fmt::Debug for RegisteredCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredCheck")
            .field("check", &self.check.name())
            .field("config", &self.config)
            .finish()
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Metric => "metric",
            Self::Webhook => "webhook",
            Self::Handler => "handler",
        })
    }
}

fn ensure_free<'a>(
    kind: Kind,
    name: &str,
    mut taken: impl Iterator<Item = &'a str>,
) -> Result<(), AlreadyRegistered> {
    if taken.any(|other| other == name) {
        return Err(AlreadyRegistered {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckResult, check_fn, metric_fn};

    #[test]
    fn a_name_is_taken_within_its_kind_only() {
        let mut registry = Registry::new();
        let metric = || metric_fn("orders", "", || async { 1.0 });
        registry.add_metric(metric()).unwrap();
        registry
            .add_check(check_fn("orders", || async { CheckResult::pass() }), [])
            .unwrap();
        let error = registry.add_metric(metric()).unwrap_err();
        assert_eq!((error.kind, &*error.name), (Kind::Metric, "orders"));
        assert_eq!(registry.metrics().len(), 1);
    }
}
