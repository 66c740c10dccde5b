//! The metric handles of requests, looked up once and then kept.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, RwLock},
};

use ::metrics::{Counter, Histogram, counter, histogram};
use http::{Method, StatusCode};

use crate::names;

/// Values of the label `method`; everything else is the last one, so that clients cannot make up series.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "_OTHER",
];

/// Values of the label `status`.
const STATUSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "cancelled", "error"];

/// Index into [`METHODS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodIndex(usize);

/// Index into [`STATUSES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusIndex(usize);

/// What is recorded for one method, status and route.
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
    route: Arc<str>,
    cells: [[OnceLock<Series>; STATUSES.len()]; METHODS.len()],
}

/// The series of all routes.
#[derive(Debug)]
pub(super) struct AllSeries {
    /// For requests without a known route, found without a lock.
    unrouted: Arc<RouteSeries>,
    routes: RwLock<HashMap<Arc<str>, Arc<RouteSeries>>>,
}

// === impl MethodIndex ===

impl MethodIndex {
    pub(super) fn of(method: &Method) -> Self {
        // Compared by the enum's tag, not as text, for all but the last.
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::PATCH => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => 9,
        })
    }
}

// === impl StatusIndex ===

impl StatusIndex {
    /// The client went away before the head of the answer.
    pub(super) const CANCELLED: Self = Self(5);
    /// The service failed instead of answering.
    pub(super) const ERROR: Self = Self(6);

    /// Whether there was an answer, at least the head of one.
    pub(super) fn has_head(self) -> bool {
        self.0 < Self::CANCELLED.0
    }

    pub(super) fn of(status: StatusCode) -> Self {
        Self(usize::from(status.as_u16() / 100).clamp(1, 5) - 1)
    }
}

// === impl RouteSeries ===

impl RouteSeries {
    fn new(route: Arc<str>) -> Self {
        Self {
            route,
            cells: Default::default(),
        }
    }

    pub(super) fn get(&self, method: MethodIndex, status: StatusIndex) -> &Series {
        self.cells[method.0][status.0].get_or_init(|| Series::new(method, status, &self.route))
    }
}

// === impl Series ===

impl Series {
    fn new(method: MethodIndex, status: StatusIndex, route: &Arc<str>) -> Self {
        let labels = || {
            [
                (
                    "method",
                    ::metrics::SharedString::const_str(METHODS[method.0]),
                ),
                (
                    "status",
                    ::metrics::SharedString::const_str(STATUSES[status.0]),
                ),
                (
                    "route",
                    ::metrics::SharedString::from_shared(Arc::clone(route)),
                ),
            ]
        };
        Self {
            requests: counter!(names::REQUESTS, &labels()),
            seconds: histogram!(names::REQUEST_DURATION, &labels()),
            body_bytes: status
                .has_head()
                .then(|| histogram!(names::RESPONSE_BODY_SIZE, &labels())),
        }
    }
}

// === impl AllSeries ===

impl AllSeries {
    pub(super) fn new() -> Self {
        Self {
            unrouted: Arc::new(RouteSeries::new(Arc::from(""))),
            routes: RwLock::default(),
        }
    }

    pub(super) fn unrouted(&self) -> Arc<RouteSeries> {
        Arc::clone(&self.unrouted)
    }

    /// The series of a route; there are only as many as the application has routes.
    pub(super) fn route(&self, route: &str) -> Arc<RouteSeries> {
        // A panic while the lock is held cannot leave the map half changed.
        let routes = self
            .routes
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(series) = routes.get(route) {
            return Arc::clone(series);
        }
        drop(routes);
        let mut routes = self
            .routes
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let route: Arc<str> = Arc::from(route);
        let series = routes
            .entry(Arc::clone(&route))
            .or_insert_with(|| Arc::new(RouteSeries::new(route)));
        Arc::clone(series)
    }
}
