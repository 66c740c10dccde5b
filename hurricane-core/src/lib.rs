//! Kubernetes probes, checks, metrics, webhooks and graceful shutdown for any tower, axum or hyper server.
//!
//! The probes answer on a thread and a port of their own, so they answer while the application is busy, and they
//! tell the truth about it: a slow process is not a dead one, and a process that hangs is not alive.
//!
//! ```no_run
//! # #[cfg(all(feature = "server", feature = "webhooks"))]
//! # mod example {
//! use axum::{Router, routing::get};
//! use hurricane_core::{CheckResult, HttpWebhook, Hurricane, Probe, check_fn};
//!
//! # async fn ping() -> Result<(), std::io::Error> { Ok(()) }
//! # async fn migrate() -> Result<(), std::io::Error> { Ok(()) }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let database = check_fn("database", || async {
//!         match ping().await {
//!             Ok(()) => CheckResult::pass(),
//!             Err(error) => CheckResult::fail(format!("database error: {error}")),
//!         }
//!     });
//!     let hurricane = Hurricane::builder()
//!         .check(database, [Probe::Liveness, Probe::Readiness])
//!         .webhook(HttpWebhook::new("https://ops.example/hooks"))
//!         .probe_addr(([0, 0, 0, 0], 8001))
//!         .build()?;
//!     let app = Router::new()
//!         .route("/", get(|| async { "hello" }))
//!         .layer(hurricane.layer());
//!     hurricane.on_startup("migrations", migrate).serve(app, ([0, 0, 0, 0], 8000)).await?;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! # The parts
//!
//! | part | what it is for |
//! | --- | --- |
//! | [`Check`], [`Metric`], [`Webhook`], [`Handler`] | what an application brings along: questions about its health, numbers, receivers of events, handlers of messages |
//! | [`CheckConfig`] | who asks a check, when it runs, and what its results count for |
//! | [`Registry`] | holds them, by name |
//! | [`Checks`] | the checks at work, which come and go while they are asked |
//! | [`HealthState`] | what the application itself says: latches that hold readiness back, the end of liveness |
//! | [`Lifecycle`] | starting, running, draining, stopped: the one source of truth |
//! | [`Traffic`], [`MetricsLayer`] | what the process knows of its load, and the tower layer that counts it |
//! | [`layer`] | more of them: requests in flight, draining, request ids, a limit with a queue |
//! | [`CheckRunner`] | runs checks: shared runs, one deadline, last results |
//! | [`Heartbeat`] | shows that a loop still turns |
//! | `Probes`, `ProbeConfig`, `ProbeServer` | what the probes answer, and the server that does |
//! | `ProbeService`, `probe::router`, `WithProbes` | the same without the server: as a tower service, as an axum router, before an application on its port |
//! | `Exposition` | the text for Prometheus |
//! | `HttpWebhook`, [`Dispatcher`] | events on their way to their receivers |
//! | `Hurricane` | all of it, put together around an application |
//! | [`Message`], [`Outcome`], [`MessageChannel`] | what a handler is given, what it says, and its way back to the broker |
//! | `EarlyHints` | what a client may fetch while the answer to its request is made |
//! | `Listener`, `serve`, `Signals` | the lower pieces, for those who put it together themselves |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `server` | yes | the probe server, `Hurricane`, graceful serving; axum, hyper |
//! | `http2` | no | HTTP/2 in `serve`, for clients that begin with it; h2 and 6 crates more |
//! | `grpc` | no | `http2`, and the probes as `grpc.health.v1.Health`: on the probe port, and as `probe::GrpcHealth` |
//! | `prometheus` | yes | `Exposition`, and with it `/metrics`; metrics-exporter-prometheus, flate2 |
//! | `webhooks` | no | `HttpWebhook`; reqwest, rustls with ring: 50 crates more |
//! | `check-certificate` | no | `CertificateCheck`: the dates of certificates in files and on TLS servers; rustls, x509-cert |
//! | `check-disk` | no | `DiskCheck`: room and inodes of a file system |
//! | `check-dns` | no | `DnsCheck`: whether a name resolves |
//! | `check-http` | no | `HttpCheck`: the status of the answer to a GET; what `webhooks` has |
//! | `check-memory` | no | `MemoryCheck`: the cgroup's working set against its limit |
//! | `check-tcp` | no | `TcpCheck`: whether somebody accepts connections |
//!
//! With the default features the library brings 88 crates along, all of them under permissive licences. It needs Rust
//! 1.88, and for the features with TLS a C compiler (for ring).
//!
//! Without any of them the traits, the registry, the check runner and the metrics layer are left, for libraries that
//! bring checks or metrics of their own.
//!
//! # Endpoints
//!
//! All paths can be set in `ProbeConfig`. GET, HEAD and POST answer; a slash may follow the path.
//!
//! | path | 200 | 400, not now | 500, broken |
//! | --- | --- | --- | --- |
//! | `/startup` | `Startup was finished {Unix seconds}`, also while draining | until the start-up is over | a startup check failed |
//! | `/alive` | `alive`, or `Average response time: {}ms Request queue size: {} Rx`; always while draining | until the start-up is over; a check is saturated | a liveness check failed, or a heartbeat stopped |
//! | `/ready` | nothing | until the start-up is over; a check is saturated; draining | a readiness check failed |
//! | `/metrics` | the metrics, in every phase | | |
//!
//! `/livez` and `/healthz` are liveness too, `/readyz` is readiness, unless `ProbeConfig::aliases` is off.
//!
//! The body of a 500 is the message of the first check that failed. With `?verbose` every check is told as a line of
//! text; for those who accept `application/json` or `application/health+json` as JSON. `?check=`, `?exclude=` and
//! `?tag=` choose among them, and `/ready/<name>` asks one. `Details` withholds what checks say.
//!
//! # How checks are run
//!
//! A probe runs its checks on the main runtime and waits for them with one deadline, 800 ms. Concurrent probes share
//! a run. When a result does not come in time, the last one counts while it is younger than 30 s; then the probe
//! fails. A process that has requests in hand is given 2 ms only before its last result counts, since it answers
//! slowly for reasons that are not its health. [`CheckPolicy`] has the numbers.
//!
//! A check may also run in the background, and the probes take what it last found. Results may live for a while, it may
//! take several of them, or some time, to turn a probe red or green, and a check may be one that only degrades. That is
//! each check's [`CheckConfig`]; an array of probes is the shortest one. Whatever a check does, it cannot do much harm:
//! a panic is caught, a run that hangs is given up and no second one is started beside it, and a long message is cut.
//!
//! # Metrics
//!
//! | name | type, labels | meaning |
//! | --- | --- | --- |
//! | `http_server_requests_total` | counter; `http_request_method`, `http_response_status_code`, `http_route`, `error_type` | requests by method, status and route |
//! | `http_server_request_duration_seconds` | histogram; the same | time from the head of the request to the end of the answer |
//! | `http_server_response_body_size_bytes` | histogram; the same | bytes of the body that were sent |
//! | `http_server_active_requests` | gauge | requests not yet answered to the end |
//! | `request_queue_length` | gauge | requests accepted and waiting for a free worker |
//! | `hurricane_requests_rejected_total` | counter; `reason` | requests that a layer answered 503: `queue_full`, `waited`, `draining` |
//! | `hurricane_metrics_overflow_total` | counter; `label` | requests whose route was one too many to be told apart |
//! | `hurricane_runtime_stall_seconds` | gauge; `heartbeat` | for how long a loop, such as the `main runtime`, has given no sign of life, if that is more than two seconds |
//! | `hurricane_runtime_stalls_total` | counter; `heartbeat` | how often that was so and is over |
//! | `hurricane_webhooks_delivered_total` | counter; `webhook` | events that reached their receiver |
//! | `hurricane_webhooks_undelivered_total` | counter; `webhook` | events that did not |
//!
//! They are recorded through the [`metrics`] facade, and so whatever else the process records there shows up beside
//! them. See [`MetricsLayer`] for the labels, and [`MetricNames`] for the names of django-hurricane.
//!
//! # Webhooks
//!
//! [`Event`]s are sent when the start-up has succeeded or failed, when a probe found liveness or readiness changed (the
//! first answer after the start counts as a change), when the end begins, when it comes, and when a worker has crashed.
//! A [`Dispatcher`] delivers them on a thread of its own, in order, with retries; nothing ever waits for it.
//! `HttpWebhook` posts them as JSON of their own or of your form, signed if you like.
#![forbid(unsafe_code)]

pub use async_trait::async_trait;
pub use bytes;
pub use http;

#[cfg(feature = "check-certificate")]
pub use self::check::CertificateCheck;
#[cfg(feature = "check-disk")]
pub use self::check::DiskCheck;
#[cfg(feature = "check-dns")]
pub use self::check::DnsCheck;
#[cfg(feature = "check-http")]
pub use self::check::HttpCheck;
#[cfg(feature = "check-memory")]
pub use self::check::MemoryCheck;
#[cfg(feature = "check-tcp")]
pub use self::check::TcpCheck;
#[cfg(feature = "prometheus")]
pub use self::exposition::{AlreadyInstalled, Exposition};
#[cfg(feature = "webhooks")]
pub use self::webhook::HttpWebhook;
pub use self::{
    check::{
        Check, CheckConfig, CheckExt, CheckPolicy, CheckReport, CheckResult, CheckRunner, Checks,
        Deadman, HealthState, Latch, Probe, ProbeReport, Progress, Selection, Severity, Status,
        all_of, any_of, check_fn,
    },
    handler::{
        FieldTable, FieldValue, Handler, Message, MessageChannel, Outcome, Properties, Publication,
        PublishError, SettleError, handler_fn,
    },
    heartbeat::Heartbeat,
    layer::{
        ConcurrencyLimitLayer, DrainLayer, InFlightLayer, MetricsLayer, RequestIdLayer, Route,
    },
    lifecycle::{Lifecycle, Phase},
    metric::{
        AverageMetric, CalculatedMetric, CounterMetric, Metric, MetricKind, ObservedMetric,
        StoredMetric, metric_fn,
    },
    names::MetricNames,
    registry::{AlreadyRegistered, Kind, RegisteredCheck, Registry},
    traffic::Traffic,
    webhook::{Dispatcher, Event, EventKind, EventStatus, Undelivered, Webhook, WebhookError},
};
#[cfg(feature = "server")]
pub use self::{
    listener::{BACKLOG, BindError, Listener},
    probe::{Details, ProbeConfig, ProbeServer, ProbeService, Probes, WithProbes},
    server::{
        BoundServer, BuildError, Builder, ConnectInfo, EarlyHints, Hurricane, HyperApp,
        ServeConfig, ServeError, ShutdownTaskError, StartupError, serve,
    },
    shutdown::{DrainTimedOut, Signals},
};

mod check;
#[cfg(feature = "prometheus")]
pub mod exposition;
mod handler;
mod heartbeat;
pub mod layer;
mod lifecycle;
#[cfg(feature = "server")]
mod listener;
pub mod metric;
mod names;
#[cfg(feature = "prometheus")]
mod negotiate;
#[cfg(feature = "server")]
pub mod probe;
mod registry;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod shutdown;
mod traffic;
mod webhook;
