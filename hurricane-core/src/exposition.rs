//! The text that Prometheus reads.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::Write as _,
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use metrics::Unit;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::runtime::Handle;
use tracing::warn;

use self::{collect::Collector, text::Families};
pub use self::{
    format::Format,
    source::{MetricSource, SourceFamily, SourceKind, SourceSample},
};
use crate::{
    metric::{Distribution, Metric, MetricKind},
    names::{self, MetricNames},
    traffic::Traffic,
};

mod collect;
mod format;
mod source;
mod text;

/// Takes what is recorded through the [`metrics`] facade, and renders it for Prometheus.
///
/// Families come in the order of their names. Histograms whose names end in `_seconds` and `_bytes` get buckets for
/// durations and sizes, others a wide range of numbers; [`with_buckets`](Self::with_buckets) sets them by name.
///
/// Counting is metrics-exporter-prometheus', and takes no lock. What histograms were given is to be digested now and
/// then, scraped or not, by [`upkeep`](Self::upkeep); the servers of this crate do so.
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
    beside: Arc<Mutex<Beside>>,
    collector: Collector,
    names: MetricNames,
    began: SystemTime,
}

/// What the recorder does not know of.
#[derive(Debug, Default)]
struct Beside {
    /// Histograms that are counted elsewhere, by name, with their help.
    values: BTreeMap<String, (String, Distribution)>,
    /// Names of two kinds, of which the log has been told.
    told: HashSet<String>,
}

/// Bounds for durations in seconds, as the semantic conventions of `OpenTelemetry` have them for HTTP servers.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Bounds for sizes in bytes.
const BYTES: [f64; 6] = [100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// Bounds for numbers of which nothing is known.
const NUMBERS: [f64; 13] = [
    0.001, 0.01, 0.1, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 1e3, 1e4, 1e5,
];

const ANSWERED: &str = "Requests that were answered.";
const BY_PATH: &str = "Requests that were answered, by method and path.";
const TIME_TAKEN: &str = "Time from the head of the request to the end of the answer.";
const BYTES_SENT: &str = "Bytes of the answer's body that were sent.";

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

    /// Makes a recorder that gives the named histograms these bounds; those without any get the usual ones.
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
        let known = [
            (Matcher::Suffix("_seconds".to_owned()), SECONDS.to_vec()),
            (Matcher::Suffix("_bytes".to_owned()), BYTES.to_vec()),
        ];
        let named = bounds.into_iter().filter_map(|(name, mut bounds)| {
            bounds.sort_by(f64::total_cmp);
            (!bounds.is_empty()).then(|| (Matcher::Full(name.into()), bounds))
        });
        let builder = PrometheusBuilder::new()
            .set_buckets(&NUMBERS)
            .expect("there are bounds");
        // A name that is told as a whole counts before its end.
        let builder = named
            .chain(known)
            .fold(builder, |builder, (matcher, bounds)| {
                builder
                    .set_buckets_for_metric(matcher, &bounds)
                    .expect("a histogram has bounds")
            });
        let recorder = Arc::new(builder.build_recorder());
        let exposition = Self {
            handle: recorder.handle(),
            recorder,
            beside: Arc::default(),
            collector: Collector::default(),
            names: MetricNames::default(),
            began: SystemTime::now(),
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
                let entry = (metric.help().to_owned(), values.clone());
                self.beside().values.insert(metric.name().to_owned(), entry);
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
        let exported = self.handle.render();
        let (mut families, twice) = Families::read(&exported);
        let mut beside = self.beside();
        for name in twice {
            if beside.told.insert(name.to_owned()) {
                warn!(
                    metric.name = name,
                    "metric is recorded as two kinds, and only one of them is told"
                );
            }
        }
        for (name, (help, values)) in &beside.values {
            families.add(name, help, values);
        }
        if self.names.has_django_hurricane() {
            self.begin_django(&mut families, format);
        }
        let mut text = families.write(format);
        source::render(&mut text, others, &families, format);
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }

    /// What django-hurricane shows before there is anything to count: zeros, and since when is counted, where that is no
    /// part of the family itself.
    fn begin_django(&self, families: &mut Families<'_>, format: Format) {
        use names::django::{PATH_REQUESTS, REQUESTS, RESPONSE_SIZE, RESPONSE_TIME};

        families.declare(REQUESTS, "counter", Some(ANSWERED), Some("0"));
        families.declare(PATH_REQUESTS, "counter", Some(BY_PATH), None);
        families.add(RESPONSE_TIME, TIME_TAKEN, &Distribution::new(SECONDS));
        families.add(RESPONSE_SIZE, BYTES_SENT, &Distribution::new(BYTES));
        if format == Format::Text {
            let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
            let began = began.as_secs_f64().to_string();
            for name in [REQUESTS, RESPONSE_TIME, RESPONSE_SIZE] {
                let name = name.trim_end_matches("_total").to_owned() + "_created";
                families.declare(&name, "gauge", None, Some(&began));
            }
        }
    }

    /// Digests what histograms were given, which otherwise grows until the next scrape; to be called every second.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn beside(&self) -> MutexGuard<'_, Beside> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
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
    describe_histogram!(names::REQUEST_DURATION, Unit::Seconds, TIME_TAKEN);
    describe_histogram!(names::RESPONSE_BODY_SIZE, Unit::Bytes, BYTES_SENT);
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
    describe_counter!(names::django::REQUESTS, ANSWERED);
    describe_histogram!(names::django::RESPONSE_TIME, Unit::Seconds, TIME_TAKEN);
    describe_histogram!(names::django::RESPONSE_SIZE, Unit::Bytes, BYTES_SENT);
    describe_counter!(names::django::PATH_REQUESTS, BY_PATH);
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
