//! The metric handles of requests with the names of `OpenTelemetry`, looked up once and then kept.

use std::sync::{Arc, OnceLock};

use http::StatusCode;
use metrics::{Counter, Histogram, Label, SharedString, counter, histogram};

use super::{method::MethodIndex, table::Table};
use crate::names;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered to the end, or the client lost interest in the rest.
    Answered(StatusCode),
    /// It was answered, and then the body failed.
    BrokenOff(StatusCode),
    /// The client went away before the head of the answer.
    Cancelled,
    /// The service failed instead of answering.
    Failed,
}

/// What is recorded for one method, outcome and route.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) requests: Counter,
    pub(super) seconds: Histogram,
    /// None where there is no answer that could have a body.
    pub(super) body_bytes: Option<Histogram>,
}

/// The series of one route, each made when it is first needed.
#[derive(Debug)]
pub(super) struct RouteSeries {
    /// None where it is not known.
    route: Option<Arc<str>>,
    /// Few in practice, so looking through them is faster than hashing.
    first: OnceLock<Box<Link>>,
}

/// One of the series of a route, and the next. Links are only ever added, so reading takes no lock.
#[derive(Debug)]
struct Link {
    method: MethodIndex,
    outcome: Outcome,
    series: Series,
    next: OnceLock<Box<Self>>,
}

/// The series of all routes.
#[derive(Debug)]
pub(super) struct AllSeries {
    unrouted: RouteSeries,
    routes: Table<RouteSeries>,
}

// === impl Outcome ===

impl Outcome {
    /// The status, if there was an answer, at least the head of one.
    pub(super) fn status(self) -> Option<StatusCode> {
        match self {
            Self::Answered(status) | Self::BrokenOff(status) => Some(status),
            Self::Cancelled | Self::Failed => None,
        }
    }

    /// The same after the body failed.
    pub(super) fn broken_off(self) -> Self {
        self.status().map_or(self, Self::BrokenOff)
    }

    /// The value of the label `error_type`, which only errors have.
    fn error(self) -> Option<SharedString> {
        match self {
            Self::Answered(status) if status.is_server_error() => {
                Some(status.as_str().to_owned().into())
            }
            Self::Answered(_) => None,
            Self::BrokenOff(_) => Some("body".into()),
            Self::Cancelled => Some("cancelled".into()),
            Self::Failed => Some("service".into()),
        }
    }
}

// === impl AllSeries ===

impl AllSeries {
    pub(super) fn new(max_routes: usize) -> Self {
        Self {
            unrouted: RouteSeries::new(None),
            routes: Table::new("http_route", max_routes, RouteSeries::of),
        }
    }

    /// The series of requests without a known route.
    pub(super) fn unrouted(&self) -> &RouteSeries {
        &self.unrouted
    }

    pub(super) fn route(&self, route: &str) -> Arc<RouteSeries> {
        self.routes.get(route, RouteSeries::of)
    }
}

// === impl RouteSeries ===

impl RouteSeries {
    fn new(route: Option<Arc<str>>) -> Self {
        Self {
            route,
            first: OnceLock::new(),
        }
    }

    fn of(route: &Arc<str>) -> Self {
        Self::new(Some(Arc::clone(route)))
    }

    /// Looks at the series of a method and an outcome.
    pub(super) fn with(&self, method: MethodIndex, outcome: Outcome, look: impl FnOnce(&Series)) {
        let mut place = &self.first;
        loop {
            let link = place.get_or_init(|| {
                Box::new(Link {
                    method,
                    outcome,
                    series: Series::new(method, outcome, self.route.as_ref()),
                    next: OnceLock::new(),
                })
            });
            if (link.method, link.outcome) == (method, outcome) {
                return look(&link.series);
            }
            place = &link.next;
        }
    }
}

// === impl Series ===

impl Series {
    fn new(method: MethodIndex, outcome: Outcome, route: Option<&Arc<str>>) -> Self {
        // In the order of their names, in which they are then written.
        let mut labels = Vec::with_capacity(4);
        if let Some(error) = outcome.error() {
            labels.push(Label::new("error_type", error));
        }
        labels.push(Label::from_static_parts(
            "http_request_method",
            method.name(),
        ));
        if let Some(status) = outcome.status() {
            let code = status.as_str().to_owned();
            labels.push(Label::new("http_response_status_code", code));
        }
        if let Some(route) = route {
            let route = SharedString::from_shared(Arc::clone(route));
            labels.push(Label::new("http_route", route));
        }
        Self {
            requests: counter!(names::REQUESTS, labels.clone()),
            seconds: histogram!(names::REQUEST_DURATION, labels.clone()),
            body_bytes: outcome
                .status()
                .map(|_| histogram!(names::RESPONSE_BODY_SIZE, labels)),
        }
    }
}
