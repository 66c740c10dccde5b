//! The text that Prometheus reads.

use std::{fmt, io::Write as _, iter, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use metrics::Unit;
use tokio::runtime::Handle;

use self::{buckets::Buckets, collect::Collector, recorder::Recorder};
pub use self::{
    format::Format,
    source::{MetricSource, SourceFamily, SourceKind, SourceSample},
};
use crate::{
    metric::{Metric, MetricKind},
    names::{self, MetricNames},
    traffic::Traffic,
};

mod buckets;
mod collect;
mod format;
mod recorder;
mod source;
mod text;

/// Takes what is recorded through the [`metrics`] facade, and renders it for Prometheus.
///
/// Families come in the order of their names. Histograms whose names end in `_seconds` and `_bytes` get buckets for
/// durations and sizes, others a wide range of numbers; [`with_buckets`](Self::with_buckets) sets them by name.
///
/// Handles of the facade count without a lock, and each histogram takes a fixed amount of memory, whether it is
/// scraped or not.
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
    recorder: Arc<Recorder>,
    collector: Collector,
    names: MetricNames,
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
        Self::with_buckets(iter::empty::<(String, Vec<f64>)>())
    }

    /// Makes a recorder that gives the named histograms these bounds.
    ///
    /// # Examples
    ///
    /// ```
    /// use hurricane_core::Exposition;
    ///
    /// let exposition = Exposition::with_buckets([("basket_items", vec![1.0, 5.0, 20.0])]);
    /// exposition.local(|| metrics::histogram!("basket_items").record(3.0));
    /// assert!(exposition.render().contains(r#"basket_items_bucket{le="5.0"} 1"#));
    /// ```
    #[must_use]
    pub fn with_buckets(bounds: impl IntoIterator<Item = (impl Into<String>, Vec<f64>)>) -> Self {
        let mut buckets = Buckets::default();
        for (name, bounds) in bounds {
            buckets.set(name.into(), bounds);
        }
        let exposition = Self {
            recorder: Arc::new(Recorder::new(buckets)),
            collector: Collector::default(),
            names: MetricNames::default(),
        };
        exposition.local(describe);
        exposition
    }

    /// Chooses the names under which [`observe`](Self::observe) tells what it sees.
    #[must_use]
    pub fn with_names(mut self, names: MetricNames) -> Self {
        self.names = names;
        self
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
            if self.names.has_open_telemetry() {
                metrics::gauge!(names::ACTIVE_REQUESTS).set(traffic.in_flight() as f64);
            }
            if self.names.has_django_hurricane() {
                let average = traffic.average().unwrap_or_default();
                metrics::gauge!(names::django::RESPONSE_TIME_AVERAGE)
                    .set(average.as_secs_f64() * 1e3);
            }
        });
    }

    /// Sets what tells whether a loop stalls.
    #[cfg(feature = "server")]
    pub(crate) fn observe_heartbeat(&self, name: &str, heartbeat: &crate::Heartbeat) {
        self.local(|| {
            let labels = [("heartbeat", name.to_owned())];
            let stall = heartbeat.stalled().unwrap_or_default();
            metrics::gauge!(names::RUNTIME_STALL, &labels).set(stall.as_secs_f64());
            metrics::counter!(names::RUNTIME_STALLS, &labels).absolute(heartbeat.stalls());
        });
    }

    /// Asks the metrics on the runtime behind `handle`, all at once, and records what they say.
    ///
    /// Those that say nothing within `timeout`, or within a time of their own, keep the value they had.
    pub async fn ask(&self, metrics: &[Arc<dyn Metric>], handle: &Handle, timeout: Duration) {
        for metric in metrics {
            if let (MetricKind::Histogram, Some(values)) = (metric.kind(), metric.distribution()) {
                self.recorder.adopt(metric.name(), metric.help(), values);
            }
        }
        let samples = self.collector.collect(metrics, handle, timeout).await;
        self.local(|| collect::record(&samples));
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.render_as(Format::Text)
    }

    /// All metrics in a format.
    #[must_use]
    pub fn render_as(&self, format: Format) -> String {
        self.render_with(&[], format)
    }

    /// The same, and behind it families that are counted elsewhere.
    fn render_with(&self, others: &[SourceFamily], format: Format) -> String {
        self.recorder.read(|families| {
            let mut text = text::render(families, format);
            source::render(&mut text, others, families, format);
            if format == Format::OpenMetrics {
                text.push_str("# EOF\n");
            }
            text
        })
    }

    /// Answers a scrape: in the format that the client accepts, and compressed if it takes gzip.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};
    /// use hurricane_core::Exposition;
    ///
    /// let gzip = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    /// let response = Exposition::new().respond(&gzip);
    /// assert_eq!(response.headers()["content-encoding"], "gzip");
    /// ```
    #[must_use]
    pub fn respond(&self, headers: &HeaderMap) -> Response<Bytes> {
        self.respond_with(&[], headers)
    }

    /// The same, with families that are counted elsewhere.
    #[must_use]
    pub fn respond_with(&self, others: &[SourceFamily], headers: &HeaderMap) -> Response<Bytes> {
        let format = Format::accepted(headers);
        let text = self.render_with(others, format);
        let zipped = format::accepts_gzip(headers).then(|| gzip(&text));
        let encoding = zipped.as_ref().map(|_| HeaderValue::from_static("gzip"));
        let mut response = Response::new(Bytes::from(zipped.unwrap_or_else(|| text.into_bytes())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, format.content_type());
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, encoding);
        }
        response
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

/// The text compressed, with little effort: it is sent to a neighbour, and most of it is the same anyway.
fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .expect("writing to memory cannot fail")
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    #[cfg(feature = "server")]
    {
        describe_gauge!(
            names::RUNTIME_STALL,
            Unit::Seconds,
            "For how long a loop has given no sign of life, if that is too long."
        );
        describe_counter!(
            names::RUNTIME_STALLS,
            "How often a loop gave no sign of life for too long, and went on."
        );
    }

    describe_counter!(names::REQUESTS, "Requests by method, status and route.");
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
        names::django::RESPONSE_TIME_AVERAGE,
        Unit::Milliseconds,
        "Mean time of all answers since the start, in milliseconds."
    );
    describe_counter!(names::django::REQUESTS, "Requests that were answered.");
    describe_histogram!(
        names::django::RESPONSE_TIME,
        Unit::Seconds,
        "Time from the head of the request to the end of the answer."
    );
    describe_histogram!(
        names::django::RESPONSE_SIZE,
        Unit::Bytes,
        "Bytes of the answer's body that were sent."
    );
    describe_counter!(
        names::django::PATH_REQUESTS,
        "Requests that were answered, by method and path."
    );
    describe_counter!(
        names::REJECTED,
        "Requests that were answered 503 by a layer, by reason."
    );
    describe_counter!(
        names::OVERFLOW,
        "Requests whose route or path was one too many to be told apart."
    );
    describe_counter!(
        names::WEBHOOKS_UNDELIVERED,
        "Webhook events that did not reach their receiver."
    );
}

#[cfg(test)]
mod tests;
