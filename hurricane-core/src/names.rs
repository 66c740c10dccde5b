//! The names of all metrics hurricane records, each once.

/// Which names the metrics of requests have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricNames {
    /// Those of the semantic conventions of `OpenTelemetry`, and hurricane's own.
    #[default]
    OpenTelemetry,
    /// Those of django-hurricane, for dashboards and alerts that have them.
    DjangoHurricane,
    /// All of them, while one moves to the other.
    Both,
}

pub(crate) const REQUESTS: &str = "http_server_requests_total";
pub(crate) const REQUEST_DURATION: &str = "http_server_request_duration_seconds";
pub(crate) const RESPONSE_BODY_SIZE: &str = "http_server_response_body_size_bytes";
pub(crate) const REJECTED: &str = "hurricane_requests_rejected_total";
pub(crate) const OVERFLOW: &str = "hurricane_metrics_overflow_total";
#[cfg(all(feature = "prometheus", feature = "server"))]
pub(crate) const RUNTIME_STALL: &str = "hurricane_runtime_stall_seconds";
#[cfg(all(feature = "prometheus", feature = "server"))]
pub(crate) const RUNTIME_STALLS: &str = "hurricane_runtime_stalls_total";
#[cfg(feature = "prometheus")]
pub(crate) const ACTIVE_REQUESTS: &str = "http_server_active_requests";
#[cfg(feature = "prometheus")]
pub(crate) const REQUEST_QUEUE_LENGTH: &str = "request_queue_length";
pub(crate) const WEBHOOKS_DELIVERED: &str = "hurricane_webhooks_delivered_total";
pub(crate) const WEBHOOKS_UNDELIVERED: &str = "hurricane_webhooks_undelivered_total";

/// Those of django-hurricane.
pub(crate) mod django {
    pub(crate) const REQUESTS: &str = "request_counter_total";
    pub(crate) const RESPONSE_TIME: &str = "response_time_seconds";
    pub(crate) const RESPONSE_SIZE: &str = "response_size_bytes";
    pub(crate) const PATH_REQUESTS: &str = "path_requests_total";
    #[cfg(feature = "prometheus")]
    pub(crate) const RESPONSE_TIME_AVERAGE: &str = "response_time_average";
}

// === impl MetricNames ===

impl MetricNames {
    /// Whether there are metrics with the names of `OpenTelemetry`.
    #[must_use]
    pub fn has_open_telemetry(self) -> bool {
        matches!(self, Self::OpenTelemetry | Self::Both)
    }

    /// Whether there are metrics with the names of django-hurricane.
    #[must_use]
    pub fn has_django_hurricane(self) -> bool {
        matches!(self, Self::DjangoHurricane | Self::Both)
    }
}
