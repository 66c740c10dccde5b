//! Values that are looked up.

use std::{fmt, future::Future, time::Duration};

use async_trait::async_trait;

use super::{Metric, MetricKind, Title};

/// A metric whose value a closure looks up at each scrape; made by [`metric_fn`].
#[derive(Clone)]
pub struct CalculatedMetric<F> {
    title: Title,
    kind: MetricKind,
    timeout: Option<Duration>,
    calculate: F,
}

/// Makes a gauge from an asynchronous closure.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::metric_fn;
///
/// let answer = metric_fn("answer", "The answer.", || async { 42.0 });
///
/// # async fn count_rows() -> f64 { 3.0 }
/// let rows = metric_fn("orders_total", "Orders ever made.", count_rows)
///     .counter()
///     .with_timeout(Duration::from_secs(2));
/// ```
pub fn metric_fn<F, Fut>(
    name: impl Into<String>,
    help: impl Into<String>,
    calculate: F,
) -> CalculatedMetric<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = f64> + Send + 'static,
{
    CalculatedMetric {
        title: Title::new(name, help),
        kind: MetricKind::Gauge,
        timeout: None,
        calculate,
    }
}

// === impl CalculatedMetric ===

impl<F> CalculatedMetric<F> {
    /// Says that the value only goes up.
    #[must_use]
    pub fn counter(mut self) -> Self {
        self.kind = MetricKind::Counter;
        self
    }

    /// Sets how long a scrape waits for the value.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

#[async_trait]
impl<F, Fut> Metric for CalculatedMetric<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = f64> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.title.name
    }

    fn help(&self) -> &str {
        &self.title.help
    }

    fn kind(&self) -> MetricKind {
        self.kind
    }

    async fn value(&self) -> f64 {
        (self.calculate)().await
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

impl<F> fmt::Debug for CalculatedMetric<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalculatedMetric")
            .field("name", &self.title.name)
            .field("kind", &self.kind)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
