//! A value that only goes up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;

use super::{Metric, MetricKind, Title};

/// Counts what happens.
///
/// Clones count together: one is registered, others count. What can fall as well is a
/// [`StoredMetric`](super::StoredMetric).
///
/// # Examples
///
/// ```
/// use hurricane_core::CounterMetric;
///
/// let orders = CounterMetric::new("shop_orders_total", "Orders that came in.");
/// orders.increment(2);
/// assert_eq!(orders.get(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct CounterMetric {
    title: Title,
    value: Arc<AtomicU64>,
}

// === impl CounterMetric ===

impl CounterMetric {
    /// Begins at zero. By convention the name ends in `_total`.
    pub fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            title: Title::new(name, help),
            value: Arc::default(),
        }
    }

    /// Counts so many more.
    pub fn increment(&self, by: u64) {
        self.value.fetch_add(by, Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

#[async_trait]
impl Metric for CounterMetric {
    fn name(&self) -> &str {
        &self.title.name
    }

    fn help(&self) -> &str {
        &self.title.help
    }

    fn kind(&self) -> MetricKind {
        MetricKind::Counter
    }

    async fn value(&self) -> f64 {
        self.get() as f64
    }
}
