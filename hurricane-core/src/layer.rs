//! Middleware for the application, one per file.

pub use self::metrics::{Metrics, MetricsLayer, Route};

pub mod metrics;
