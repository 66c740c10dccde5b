//! Serves a Python application, WSGI (PEP 3333), ASGI 3 or both, from child processes behind one queue in Rust.
//!
//! ```text
//! Request ─▶ Gateway: reads the body, waits in one bounded queue ─▶ slot: a Python thread
//!                                                                      in a worker process
//! Response ◀──────────────── streamed, with backpressure ◀────────────────────┘
//! ```
//!
//! - [`Gateway`] takes requests, as a tower service for a server of any kind.
//! - [`Startup`] runs what comes before the workers: management commands, migrations.
//! - [`Pool`] starts the worker processes behind it, replaces those that die or hang, and stops them.
//! - [`Pool::metrics`] are the metrics that the application counts itself.
//! - [`Pool::checks`] are the questions that only Python can answer, for the probes of
//!   [`hurricane_core`].
//!
//! The workers run plain Python, 3.9 or newer, with the standard library alone. Their code is
//! part of this crate and is sent to them when they start: nothing needs to be installed or
//! written to disk.
//!
//! # Examples
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use hurricane_core::Traffic;
//! use hurricane_python::{
//!     AsgiConfig, DevelopConfig, Gateway, GatewayConfig, Pool, PoolConfig, RecycleConfig, WorkerConfig,
//! };
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::new(GatewayConfig::default(), Arc::new(Traffic::new()));
//! let worker = WorkerConfig {
//!     python: ".venv/bin/python".into(),
//!     app: Some("mysite.wsgi:application".to_owned()),
//!     asgi_app: None,
//!     interface: None,
//!     threads: 4,
//!     asgi: AsgiConfig::default(),
//!     multiprocess: true,
//!     static_files: false,
//!     media_files: false,
//!     start_timeout: Duration::from_secs(60),
//!     develop: DevelopConfig::default(),
//! };
//! let config = PoolConfig {
//!     workers: 2,
//!     worker,
//!     recycle: RecycleConfig::default(),
//!     graceful_timeout: Duration::from_secs(30),
//! };
//! let pool = Pool::new(config, gateway.clone());
//! pool.start(([127, 0, 0, 1], 8000).into()).await?;
//!
//! let request = http::Request::get("/").body(http_body_util::Empty::new())?;
//! let response = gateway.handle(request).await;
//! println!("{}", response.status());
//! pool.stop().await;
//! # Ok(())
//! # }
//! ```

mod asgi;
mod backoff;
mod check;
mod develop;
mod files;
mod frame;
mod gateway;
mod handler;
mod job;
mod loaded;
mod log;
mod metrics;
mod pace;
mod pool;
mod process;
mod reaper;
mod recycle;
mod request;
mod response;
mod service;
mod slot;
mod sources;
mod startup;
mod webhook;
mod websocket;
mod worker;

pub use self::{
    asgi::{AsgiConfig, EventLoop, Interface, Lifespan, WebSocketConfig},
    check::{LoopCheck, PythonCheck},
    develop::{DevelopConfig, Pycharm},
    files::{MediaFiles, ProjectFiles, StaticFiles},
    gateway::{Gateway, GatewayConfig},
    handler::{Desk, DeskCheck, DeskConfig, HandlerConfig, HandlerFacts, PythonHandler},
    loaded::Loaded,
    log::{LogProcess, LogRecord},
    metrics::PythonMetrics,
    pool::{Pool, PoolConfig},
    recycle::RecycleConfig,
    response::{Body, BodyError},
    startup::{Startup, StartupConfig, TaskFailure},
    webhook::{OrPython, ProjectWebhooks},
    worker::{About, LoadFailure, StartError, WorkerConfig},
};
