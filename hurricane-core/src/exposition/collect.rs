//! Asking the registered metrics, all at once and each with a deadline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{self, Instant},
};
use tracing::warn;

use crate::metric::{Metric, MetricKind};

/// A metric with the value it gave.
pub(super) type Sample = (Arc<dyn Metric>, f64);

/// Asks metrics, and remembers those that were asked and have neither answered nor given up.
///
/// A metric that waits is ended with its deadline. One that blocks its thread cannot be, and is not asked again before
/// it is done: each scrape would take one more thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector {
    running: Arc<Mutex<HashMap<String, Instant>>>,
}

/// Takes a metric off the list when it has ended, in whatever way.
struct Running {
    collector: Collector,
    name: String,
    deadline: Instant,
}

// === impl Collector ===

impl Collector {
    /// Asks every metric on the runtime `handle`; those that gave no value within their time are left out.
    pub(super) async fn collect(
        &self,
        metrics: &[Arc<dyn Metric>],
        handle: &Handle,
        timeout: Duration,
    ) -> Vec<Sample> {
        let began = Instant::now();
        let mut asked = Vec::with_capacity(metrics.len());
        for metric in metrics {
            if metric.kind() == MetricKind::Histogram {
                continue;
            }
            let timeout = metric.timeout().unwrap_or(timeout);
            let deadline = began + timeout;
            let Some(running) = self.begin(metric.name(), deadline) else {
                warn!(
                    metric.name = metric.name(),
                    "metric still hangs, so it is not asked again"
                );
                continue;
            };
            let metric = Arc::clone(metric);
            let value = {
                let metric = Arc::clone(&metric);
                async move {
                    let _running = running;
                    time::timeout_at(deadline, metric.value()).await
                }
            };
            asked.push((metric, timeout, handle.spawn(value)));
        }
        let mut samples = Vec::with_capacity(asked.len());
        for (metric, timeout, task) in asked {
            match time::timeout_at(began + timeout, task).await {
                Ok(Ok(Ok(value))) => samples.push((metric, value)),
                Ok(Ok(Err(_))) | Err(_) => warn!(
                    metric.name = metric.name(),
                    "metric gave no value within {timeout:?}"
                ),
                Ok(Err(error)) => warn!(metric.name = metric.name(), %error, "metric panicked"),
            }
        }
        samples
    }

    /// Puts a metric on the list, unless it is there and should long have ended.
    fn begin(&self, name: &str, deadline: Instant) -> Option<Running> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Two scrapes at a time are no reason to leave it out.
        if running.get(name).is_some_and(|due| *due < Instant::now()) {
            return None;
        }
        running.insert(name.to_owned(), deadline);
        Some(Running {
            collector: self.clone(),
            name: name.to_owned(),
            deadline,
        })
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self
            .collector
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // It may have been asked again in the meantime.
        if running.get(&self.name) == Some(&self.deadline) {
            running.remove(&self.name);
        }
    }
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
            // Its values are counted already.
            MetricKind::Histogram => {}
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
    use std::{future, sync::mpsc};

    use super::*;
    use crate::metric_fn;

    fn values(samples: &[Sample]) -> Vec<(&str, f64)> {
        samples
            .iter()
            .map(|(metric, value)| (metric.name(), *value))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_out_what_hangs_or_panics() {
        let metrics: [Arc<dyn Metric>; 4] = [
            Arc::new(metric_fn("hangs", "", future::pending)),
            Arc::new(metric_fn("panics", "", || async { panic!("no value") })),
            Arc::new(metric_fn("panics at once", "", || -> future::Ready<f64> {
                panic!("no value")
            })),
            Arc::new(metric_fn("works", "", || async { 7.0 })),
        ];
        let collector = Collector::default();
        let second = Duration::from_secs(1);
        for _ in 0..2 {
            let samples = collector
                .collect(&metrics, &Handle::current(), second)
                .await;
            assert_eq!(values(&samples), [("works", 7.0)]);
            // What hangs ends with its deadline, at the same time as the asking.
            tokio::task::yield_now().await;
            let running = collector.running.lock().unwrap();
            assert!(running.is_empty(), "still running: {running:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_metric_may_have_its_own_time() {
        let slow = || async {
            time::sleep(Duration::from_secs(3)).await;
            1.0
        };
        let metrics: [Arc<dyn Metric>; 2] = [
            Arc::new(metric_fn("impatient", "", slow)),
            Arc::new(metric_fn("patient", "", slow).with_timeout(Duration::from_secs(5))),
        ];
        let collector = Collector::default();
        let second = Duration::from_secs(1);
        let samples = collector
            .collect(&metrics, &Handle::current(), second)
            .await;
        assert_eq!(values(&samples), [("patient", 1.0)]);
    }

    #[test]
    fn a_metric_that_blocks_its_thread_takes_one_only() {
        let main = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let probe = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (begun, begins) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let blocks: Arc<dyn Metric> = Arc::new(metric_fn("blocks", "", move || {
            begun.send(()).unwrap();
            // The error is the end of the test.
            let _ = ended.lock().unwrap().recv();
            future::ready(1.0)
        }));
        let collector = Collector::default();
        let patience = Duration::from_millis(20);
        let metrics = [blocks];
        let ask = || probe.block_on(collector.collect(&metrics, main.handle(), patience));
        assert!(ask().is_empty());
        let begun = begins.recv_timeout(Duration::from_secs(5));
        assert!(begun.is_ok(), "it was not asked");
        assert!(ask().is_empty());
        assert!(begins.try_recv().is_err(), "it was asked a second time");
        drop(end);
    }

    #[test]
    fn counters_are_whole_and_not_negative() {
        assert_eq!([whole(3.9), whole(-1.0), whole(f64::NAN)], [3, 0, 0]);
    }
}
