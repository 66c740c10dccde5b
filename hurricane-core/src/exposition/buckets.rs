//! The bounds of histograms, chosen by their names.

use std::collections::HashMap;

use crate::metric::Distribution;

/// Bounds for durations in seconds, as the semantic conventions of `OpenTelemetry` have them for HTTP servers.
pub(super) const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Bounds for sizes in bytes.
const BYTES: [f64; 6] = [100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// Bounds for numbers of which nothing is known.
const NUMBERS: [f64; 13] = [
    0.001, 0.01, 0.1, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 1e3, 1e4, 1e5,
];

/// The bounds of histograms, by their names.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    by_name: HashMap<String, Vec<f64>>,
}

// === impl Buckets ===

impl Buckets {
    pub(super) fn set(&mut self, name: String, bounds: Vec<f64>) {
        self.by_name.insert(name, bounds);
    }

    /// An empty distribution for the histogram of that name.
    pub(super) fn distribution(&self, name: &str) -> Distribution {
        let bounds = match self.by_name.get(name) {
            Some(bounds) => bounds,
            None if name.ends_with("_seconds") => &SECONDS[..],
            None if name.ends_with("_bytes") => &BYTES[..],
            None => &NUMBERS[..],
        };
        Distribution::new(bounds.iter().copied())
    }
}
