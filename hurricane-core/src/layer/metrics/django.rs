//! The metric handles of requests with the names of django-hurricane.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Histogram, SharedString, counter, histogram};

use super::{method::MethodIndex, table::Table};
use crate::names::django;

/// Paths are what clients make of them, and a label is kept for ever.
const MAX_PATH_BYTES: usize = 256;

/// What django-hurricane counts.
#[derive(Debug)]
pub(super) struct DjangoSeries {
    requests: Counter,
    seconds: Histogram,
    body_bytes: Histogram,
    paths: Table<PathSeries>,
}

/// The requests of one path.
#[derive(Debug)]
pub(super) struct PathSeries {
    path: Arc<str>,
    methods: [OnceLock<Counter>; MethodIndex::COUNT],
}

// === impl DjangoSeries ===

impl DjangoSeries {
    pub(super) fn new(max_paths: usize) -> Self {
        Self {
            requests: counter!(django::REQUESTS),
            seconds: histogram!(django::RESPONSE_TIME),
            body_bytes: histogram!(django::RESPONSE_SIZE),
            paths: Table::new("path", max_paths, PathSeries::new),
        }
    }

    pub(super) fn path(&self, path: &str) -> Arc<PathSeries> {
        if path.len() > MAX_PATH_BYTES {
            return self.paths.other();
        }
        self.paths.get(path, PathSeries::new)
    }

    /// Counts an answered request.
    pub(super) fn record(
        &self,
        path: &PathSeries,
        method: MethodIndex,
        duration: Duration,
        bytes: u64,
    ) {
        self.requests.increment(1);
        self.seconds.record(duration);
        self.body_bytes.record(bytes as f64);
        path.counter(method).increment(1);
    }
}

// === impl PathSeries ===

impl PathSeries {
    fn new(path: &Arc<str>) -> Self {
        Self {
            path: Arc::clone(path),
            methods: Default::default(),
        }
    }

    fn counter(&self, method: MethodIndex) -> &Counter {
        self.methods[method.index()].get_or_init(|| {
            let path = SharedString::from_shared(Arc::clone(&self.path));
            counter!(django::PATH_REQUESTS, "method" => method.name(), "path" => path)
        })
    }
}
