//! Middleware for the application, one per file.

pub use self::metrics::{Metrics, MetricsLayer, ResponseBody, ResponseFuture};

mod metrics;
mod series;
