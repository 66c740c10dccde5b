//! Asking the registered metrics, all at once and with a deadline.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{self, Instant},
};
use tracing::warn;

use crate::metric::{Metric, MetricKind};

/// A metric with the value it gave.
pub(super) type Sample = (Arc<dyn Metric>, f64);

/// Asks every metric on the runtime `handle`; those that gave no value within `timeout` are left out.
pub(super) async fn collect(
    metrics: &[Arc<dyn Metric>],
    handle: &Handle,
    timeout: Duration,
) -> Vec<Sample> {
    let deadline = Instant::now() + timeout;
    let running: Vec<_> = metrics
        .iter()
        .map(|metric| {
            let asked = Arc::clone(metric);
            // The task ends with the deadline too, so that a metric that hangs does not pile up scrapes.
            let value = async move { time::timeout_at(deadline, asked.value()).await };
            (metric, handle.spawn(value))
        })
        .collect();
    let mut samples = Vec::with_capacity(running.len());
    for (metric, task) in running {
        match time::timeout_at(deadline, task).await {
            Ok(Ok(Ok(value))) => samples.push((Arc::clone(metric), value)),
            Ok(Ok(Err(_))) | Err(_) => warn!(
                metric.name = metric.name(),
                "metric gave no value within {timeout:?}"
            ),
            Ok(Err(error)) => warn!(metric.name = metric.name(), %error, "metric panicked"),
        }
    }
    samples
}

/// Records the samples through the `metrics` facade.
pub(super) fn record(samples: &[Sample]) {
    for (metric, value) in samples {
        let name = metric.name().to_owned();
        let help = metric.help().to_owned();
        match metric.kind() {
            MetricKind::Gauge => {
                metrics::describe_gauge!(name.clone(), help);
                metrics::gauge!(name).set(*value);
            }
            MetricKind::Counter => {
                metrics::describe_counter!(name.clone(), help);
                metrics::counter!(name).absolute(whole(*value));
            }
        }
    }
}

/// The value without its fraction; negative and not-a-number count as zero.
fn whole(value: f64) -> u64 {
    // This cast saturates, which is what is wanted.
    value as u64
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;
    use crate::metric_fn;

    #[tokio::test(start_paused = true)]
    async fn leaves_out_what_hangs_or_panics() {
        let metrics: [Arc<dyn Metric>; 3] = [
            Arc::new(metric_fn("hangs", "", future::pending)),
            Arc::new(metric_fn("panics", "", || async { panic!("no value") })),
            Arc::new(metric_fn("works", "", || async { 7.0 })),
        ];
        let samples = collect(&metrics, &Handle::current(), Duration::from_secs(1)).await;
        let names: Vec<_> = samples
            .iter()
            .map(|(metric, value)| (metric.name(), *value))
            .collect();
        assert_eq!(names, [("works", 7.0)]);
    }

    #[test]
    fn counters_are_whole_and_not_negative() {
        assert_eq!([whole(3.9), whole(-1.0), whole(f64::NAN)], [3, 0, 0]);
    }
}
