//! Metrics that are asked for their value at each scrape.

use std::future::Future;

use async_trait::async_trait;

pub use self::distribution::Distribution;

mod distribution;

/// A number that is looked up when somebody asks for it.
///
/// Everything an application counts as it goes is better recorded through the [`metrics`] facade, where it shows up
/// beside hurricane's own. A `Metric` is for values that live elsewhere: rows in a table, the length of a list.
/// It is asked on the main runtime at each scrape of `/metrics` and recorded through the facade.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Metric, MetricKind, async_trait};
///
/// struct OpenOrders;
///
/// #[async_trait]
/// impl Metric for OpenOrders {
///     fn name(&self) -> &str {
///         "shop_open_orders"
///     }
///
///     fn help(&self) -> &str {
///         "Orders that wait to be packed."
///     }
///
///     fn kind(&self) -> MetricKind {
///         MetricKind::Gauge
///     }
///
///     async fn value(&self) -> f64 {
///         3.0
///     }
/// }
/// ```
#[async_trait]
pub trait Metric: Send + Sync + 'static {
    /// Name of the family.
    fn name(&self) -> &str;

    /// One sentence for the reader of the scrape.
    fn help(&self) -> &str;

    /// Whether the value may fall.
    fn kind(&self) -> MetricKind;

    /// Looks up the value.
    async fn value(&self) -> f64;
}

/// Whether a metric's value may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up; recorded as a whole number.
    Counter,
}

/// Makes a gauge from a closure.
///
/// # Examples
///
/// ```
/// use hurricane_core::metric_fn;
///
/// let uptime = metric_fn("answer", "The answer.", || async { 42.0 });
/// ```
pub fn metric_fn<F, Fut>(name: impl Into<String>, help: impl Into<String>, value: F) -> impl Metric
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = f64> + Send + 'static,
{
    MetricFn {
        name: name.into(),
        help: help.into(),
        value,
    }
}

struct MetricFn<F> {
    name: String,
    help: String,
    value: F,
}

#[async_trait]
impl<F, Fut> Metric for MetricFn<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = f64> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn help(&self) -> &str {
        &self.help
    }

    fn kind(&self) -> MetricKind {
        MetricKind::Gauge
    }

    async fn value(&self) -> f64 {
        (self.value)().await
    }
}
