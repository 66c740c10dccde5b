//! Middleware for the application, one per file.
//!
//! Each works with any tower service and any body, and boxes neither. A good order, from the outside in:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use hurricane_core::{
//!     Lifecycle, MetricsLayer, Traffic,
//!     layer::{ConcurrencyLimitLayer, DrainLayer, RequestIdLayer},
//! };
//! use tower::{ServiceBuilder, service_fn};
//!
//! # type Request = http::Request<String>;
//! let (lifecycle, traffic) = (Lifecycle::new(), Arc::new(Traffic::new()));
//! let service = ServiceBuilder::new()
//!     // Everything below is logged with the id.
//!     .layer(RequestIdLayer::new())
//!     // Above those that refuse requests, so that these are counted too.
//!     .layer(MetricsLayer::new(Arc::clone(&traffic)))
//!     .layer(DrainLayer::new(lifecycle).reject_after(Duration::from_secs(10)))
//!     .layer(ConcurrencyLimitLayer::new(64, 256).traffic(traffic))
//!     .service(service_fn(|request: Request| async move {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
//!     }));
//! ```

pub use self::{
    body::HeldBody,
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    drain::{Drain, DrainLayer},
    in_flight::{InFlight, InFlightLayer},
    metrics::{Metrics, MetricsLayer, Route},
    request_id::{RequestId, RequestIdLayer},
};

mod body;
pub mod concurrency_limit;
pub mod drain;
pub mod in_flight;
pub mod metrics;
mod reject;
pub mod request_id;
