//! The text that Prometheus reads.

use std::{fmt, sync::Arc, time::Duration};

use metrics::Unit;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use tokio::runtime::Handle;

use crate::{metric::Metric, names, traffic::Traffic};

mod collect;

/// Bounds for durations in seconds, as the semantic conventions of `OpenTelemetry` have them for HTTP servers.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Bounds for sizes in bytes.
const BYTES: [f64; 6] = [100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// Takes what is recorded through the [`metrics`] facade, and renders it for Prometheus.
///
/// Histograms whose names end in `_seconds` and `_bytes` get buckets for durations and sizes.
///
/// # Examples
///
/// Without being installed it takes what is recorded within [`local`](Self::local), which is what tests want:
///
/// ```
/// use hurricane_core::Exposition;
///
/// let exposition = Exposition::new();
/// exposition.local(|| metrics::counter!("orders_total").increment(2));
/// assert!(exposition.render().contains("orders_total 2"));
/// ```
#[derive(Clone)]
pub struct Exposition {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

/// The process records its metrics elsewhere already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a metrics recorder is already installed")]
pub struct AlreadyInstalled;

// === impl Exposition ===

impl Exposition {
    /// Makes a recorder that nothing records to yet.
    #[must_use]
    pub fn new() -> Self {
        let buckets = |builder: PrometheusBuilder, suffix: &str, bounds: &[f64]| {
            builder
                .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), bounds)
                .expect("the bounds are not empty")
        };
        let builder = buckets(PrometheusBuilder::new(), "_seconds", &SECONDS);
        let recorder = Arc::new(buckets(builder, "_bytes", &BYTES).build_recorder());
        let exposition = Self {
            handle: recorder.handle(),
            recorder,
        };
        exposition.local(describe);
        exposition
    }

    /// Makes this the process's recorder.
    ///
    /// # Errors
    ///
    /// There is another one. The facade knows only one in a process, and the first to come stays.
    pub fn install(&self) -> Result<(), AlreadyInstalled> {
        metrics::set_global_recorder(Arc::clone(&self.recorder)).map_err(|_| AlreadyInstalled)
    }

    /// Takes what `record` records, and only this thread's.
    pub fn local<T>(&self, record: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, record)
    }

    /// Sets the gauges that are kept in `traffic` rather than recorded with each request.
    pub fn observe(&self, traffic: &Traffic) {
        self.local(|| {
            metrics::gauge!(names::REQUEST_QUEUE_LENGTH).set(traffic.queued() as f64);
            metrics::gauge!(names::ACTIVE_REQUESTS).set(traffic.in_flight() as f64);
            let average = traffic.average().unwrap_or_default();
            metrics::gauge!(names::RESPONSE_TIME_AVERAGE).set(average.as_secs_f64() * 1e3);
        });
    }

    /// Asks the metrics on the runtime behind `handle`, all at once, and records what they say.
    ///
    /// Those that say nothing within `timeout` keep the value they had.
    pub async fn ask(&self, metrics: &[Arc<dyn Metric>], handle: &Handle, timeout: Duration) {
        let samples = collect::collect(metrics, handle, timeout).await;
        self.local(|| collect::record(&samples));
    }

    /// All metrics as text, in the format `text/plain; version=0.0.4`.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Digests what histograms were given, which otherwise grows until the next scrape; to be called every second.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for Exposition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_counter!(
        names::REQUESTS,
        "Requests by method, status class and route."
    );
    describe_histogram!(
        names::REQUEST_DURATION,
        Unit::Seconds,
        "Time from the head of the request to the end of the answer."
    );
    describe_histogram!(
        names::RESPONSE_BODY_SIZE,
        Unit::Bytes,
        "Bytes of the answer's body that were sent."
    );
    describe_gauge!(
        names::ACTIVE_REQUESTS,
        "Requests that are not yet answered to the end."
    );
    describe_gauge!(
        names::REQUEST_QUEUE_LENGTH,
        "Requests accepted and waiting for a free worker."
    );
    describe_gauge!(
        names::RESPONSE_TIME_AVERAGE,
        Unit::Milliseconds,
        "Mean time of all answers since the start, in milliseconds."
    );
    describe_counter!(
        names::WEBHOOKS_UNDELIVERED,
        "Webhook events that did not reach their receiver."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_buckets_by_the_unit_in_the_name() {
        let exposition = Exposition::new();
        exposition.local(|| {
            metrics::histogram!(names::REQUEST_DURATION).record(0.02);
            metrics::histogram!(names::RESPONSE_BODY_SIZE).record(2_000.0);
        });
        exposition.upkeep();
        let text = exposition.render();
        assert!(
            text.contains("http_server_request_duration_seconds_bucket{le=\"0.01\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("http_server_request_duration_seconds_bucket{le=\"0.025\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("http_server_response_body_size_bytes_bucket{le=\"10000\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn tells_what_traffic_knows() {
        let exposition = Exposition::new();
        let traffic = Traffic::new();
        traffic.set_queued(3);
        traffic.begin();
        traffic.begin();
        traffic.end(Duration::from_millis(250));
        exposition.observe(&traffic);
        let text = exposition.render();
        for line in [
            "request_queue_length 3",
            "http_server_active_requests 1",
            "response_time_average 250",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{text}");
        }
    }
}
