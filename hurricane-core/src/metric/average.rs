//! The mean of what was given.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Metric, MetricKind, Title};

/// A gauge with the mean of all values since the start, at first zero.
///
/// An [`ObservedMetric`](super::ObservedMetric) tells more: the mean of any stretch of time, and how values are spread.
/// Clones share the values.
///
/// # Examples
///
/// ```
/// use hurricane_core::AverageMetric;
///
/// let items = AverageMetric::new("basket_items_average", "Mean number of items in a basket.");
/// assert_eq!(items.average(), None);
/// items.add(2.0);
/// items.add(5.0);
/// assert_eq!(items.average(), Some(3.5));
/// ```
#[derive(Clone, Debug)]
pub struct AverageMetric {
    title: Title,
    mean: Arc<Mutex<Mean>>,
}

#[derive(Debug, Default)]
struct Mean {
    count: u64,
    value: f64,
}

// === impl AverageMetric ===

impl AverageMetric {
    /// Begins without values.
    pub fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            title: Title::new(name, help),
            mean: Arc::default(),
        }
    }

    /// Takes a value into the mean.
    pub fn add(&self, value: f64) {
        // A panic cannot happen while the lock is held.
        let mut mean = self.mean.lock().unwrap_or_else(PoisonError::into_inner);
        mean.count += 1;
        // Unlike a sum this does not lose precision over the years.
        mean.value += (value - mean.value) / mean.count as f64;
    }

    /// The mean; none before the first value.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        let mean = self.mean.lock().unwrap_or_else(PoisonError::into_inner);
        (mean.count > 0).then_some(mean.value)
    }
}

#[async_trait]
impl Metric for AverageMetric {
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
        self.average().unwrap_or_default()
    }
}
