//! A value that is set.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;

use super::{Metric, MetricKind, Title};

/// A gauge that has the value it was last set to, at first zero.
///
/// Clones share the value: one is registered, others set it.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Registry, StoredMetric};
///
/// let temperature = StoredMetric::new("oven_celsius", "Temperature of the oven.");
/// let mut registry = Registry::new();
/// registry.add_metric(temperature.clone())?;
/// temperature.set(220.0);
/// temperature.add(-5.0);
/// assert_eq!(temperature.get(), 215.0);
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoredMetric {
    title: Title,
    /// The bits of a floating point number.
    value: Arc<AtomicU64>,
}

// === impl StoredMetric ===

impl StoredMetric {
    /// Begins at zero.
    pub fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            title: Title::new(name, help),
            value: Arc::new(AtomicU64::new(0.0_f64.to_bits())),
        }
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Relaxed);
    }

    /// Adds to the value.
    pub fn add(&self, value: f64) {
        // Never fails: the closure always has a new value.
        let _ = self.value.fetch_update(Relaxed, Relaxed, |bits| {
            Some((f64::from_bits(bits) + value).to_bits())
        });
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }
}

#[async_trait]
impl Metric for StoredMetric {
    fn name(&self) -> &str {
        &self.title.name
    }

    fn help(&self) -> &str {
        &self.title.help
    }

    fn kind(&self) -> MetricKind {
        MetricKind::Gauge
    }

    async fn value(&self) -> f64 {
        self.get()
    }
}
