//! Values and how they are spread.

use async_trait::async_trait;

use super::{Distribution, Metric, MetricKind, Title};

/// A histogram: how many values fell below each of some bounds.
///
/// Clones share the values: one is registered, others observe. Observing takes no lock.
///
/// # Examples
///
/// ```
/// use hurricane_core::ObservedMetric;
///
/// let bounds = [0.1, 0.5, 1.0];
/// let packing = ObservedMetric::new("shop_packing_seconds", "Time to pack an order.", bounds);
/// packing.observe(0.3);
/// assert_eq!(packing.values().count(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct ObservedMetric {
    title: Title,
    values: Distribution,
}

// === impl ObservedMetric ===

impl ObservedMetric {
    /// Begins without values, and a bucket up to each of the bounds.
    pub fn new(
        name: impl Into<String>,
        help: impl Into<String>,
        bounds: impl IntoIterator<Item = f64>,
    ) -> Self {
        Self {
            title: Title::new(name, help),
            values: Distribution::new(bounds),
        }
    }

    /// Counts a value; what is not a number is left out.
    pub fn observe(&self, value: f64) {
        self.values.observe(value);
    }

    /// What was observed so far.
    #[must_use]
    pub fn values(&self) -> &Distribution {
        &self.values
    }
}

#[async_trait]
impl Metric for ObservedMetric {
    fn name(&self) -> &str {
        &self.title.name
    }

    fn help(&self) -> &str {
        &self.title.help
    }

    fn kind(&self) -> MetricKind {
        MetricKind::Histogram
    }

    async fn value(&self) -> f64 {
        self.values.sum()
    }

    fn distribution(&self) -> Option<&Distribution> {
        Some(&self.values)
    }
}
