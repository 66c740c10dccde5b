//! Saying no to a request that comes at a bad time.

use std::time::Duration;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER},
};

use super::body::HeldBody;
use crate::names;

/// Why a request is refused; the value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// As many wait already as may.
    QueueFull,
    /// It has waited too long.
    Waited,
    /// The process is about to end.
    Draining,
}

/// How long clients are asked to stay away unless it is said otherwise.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The answer 503 without a body, which is counted.
pub(super) fn reject<B, H>(reason: Reason, retry_after: Duration) -> Response<HeldBody<B, H>> {
    let reason = match reason {
        Reason::QueueFull => "queue_full",
        Reason::Waited => "waited",
        Reason::Draining => "draining",
    };
    metrics::counter!(names::REJECTED, "reason" => reason).increment(1);
    let mut response = Response::new(HeldBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    // Whole seconds, and never less than was meant.
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}
