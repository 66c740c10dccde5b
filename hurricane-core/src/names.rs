//! The names of all metrics hurricane records, each once.

pub(crate) const REQUESTS: &str = "http_server_requests_total";
pub(crate) const REQUEST_DURATION: &str = "http_server_request_duration_seconds";
pub(crate) const RESPONSE_BODY_SIZE: &str = "http_server_response_body_size_bytes";
#[cfg(feature = "prometheus")]
pub(crate) const ACTIVE_REQUESTS: &str = "http_server_active_requests";
#[cfg(feature = "prometheus")]
pub(crate) const REQUEST_QUEUE_LENGTH: &str = "request_queue_length";
#[cfg(feature = "prometheus")]
pub(crate) const RESPONSE_TIME_AVERAGE: &str = "response_time_average";
pub(crate) const WEBHOOKS_DELIVERED: &str = "hurricane_webhooks_delivered_total";
pub(crate) const WEBHOOKS_UNDELIVERED: &str = "hurricane_webhooks_undelivered_total";
