//! Metrics of an application: kept by it, or asked for their value at each scrape.

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    average::AverageMetric,
    calculated::{CalculatedMetric, metric_fn},
    counter::CounterMetric,
    distribution::Distribution,
    observed::ObservedMetric,
    stored::StoredMetric,
};

mod average;
mod calculated;
mod counter;
mod distribution;
mod observed;
mod stored;

/// A number that is looked up when somebody asks for it.
///
/// Metrics are registered by name, in a [`Registry`](crate::Registry) or with the builder of a server, and a name that
/// is registered a second time is an error. They stand beside what is recorded through the [`metrics`] facade, which
/// serves as well for what an application counts as it goes, and has labels. These are ready-made:
///
/// | type | value |
/// | --- | --- |
/// | [`StoredMetric`] | was set |
/// | [`CounterMetric`] | only goes up |
/// | [`AverageMetric`] | the mean of what it was given |
/// | [`ObservedMetric`] | a distribution over buckets |
/// | [`CalculatedMetric`] | looked up at each scrape, as by [`metric_fn`] |
///
/// A `Metric` of one's own is for values that live elsewhere: rows in a table, the length of a list. It is asked on the
/// main runtime at each scrape of `/metrics`. One that panics or does not answer in time keeps the value it had, and
/// nothing else in the scrape suffers.
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

    /// Looks up the value; not asked of a [`MetricKind::Histogram`].
    async fn value(&self) -> f64;

    /// How long a scrape waits for the value; if nothing is said, as long as probes wait for checks.
    ///
    /// The slowest metric decides how long a scrape takes, and Prometheus gives up after 10 s.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// The values of a [`MetricKind::Histogram`].
    fn distribution(&self) -> Option<&Distribution> {
        None
    }
}

/// What a metric's value may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up; recorded as a whole number.
    Counter,
    /// Has many values, counted in the buckets of its [`distribution`](Metric::distribution).
    Histogram,
}

/// What every metric is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Title {
    name: String,
    help: String,
}

// === impl Title ===

impl Title {
    fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
        }
    }
}
