//! Kubernetes probes, checks, metrics, webhooks and graceful shutdown for any tower, axum or hyper server.
#![forbid(unsafe_code)]

pub use async_trait::async_trait;
pub use bytes;
pub use http;

#[cfg(feature = "prometheus")]
pub use self::exposition::{AlreadyInstalled, Exposition};
#[cfg(feature = "webhooks")]
pub use self::webhook::HttpWebhook;
pub use self::{
    check::{
        Check, CheckPolicy, CheckReport, CheckResult, CheckRunner, Probe, ProbeReport, Status,
        check_fn,
    },
    handler::{Handler, Message, Outcome},
    heartbeat::Heartbeat,
    layer::MetricsLayer,
    lifecycle::{Lifecycle, Phase},
    metric::{Metric, MetricKind, metric_fn},
    registry::{AlreadyRegistered, Kind, RegisteredCheck, Registry},
    traffic::Traffic,
    webhook::{Dispatcher, Event, EventKind, EventStatus, Undelivered, Webhook, WebhookError},
};
#[cfg(feature = "server")]
pub use self::{
    listener::{BACKLOG, BindError, Listener},
    probe::{ProbeConfig, ProbeServer, Probes, WithProbes},
    server::{BoundServer, BuildError, Builder, Hurricane, ServeConfig, ServeError, serve},
    shutdown::{DrainTimedOut, Signals},
};

mod check;
#[cfg(feature = "prometheus")]
mod exposition;
mod handler;
mod heartbeat;
pub mod layer;
mod lifecycle;
#[cfg(feature = "server")]
mod listener;
mod metric;
mod names;
#[cfg(feature = "server")]
pub mod probe;
mod registry;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod shutdown;
mod traffic;
mod webhook;
