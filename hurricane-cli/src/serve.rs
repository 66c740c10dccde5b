//! `hurricane serve`: read from top to bottom, this is the program.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use http::{Request, Response};
use hurricane_core::{
    Check, CheckResult, EventStatus, Hurricane, Metric, MetricNames, Phase, Probe, ProbeConfig,
    Probes, Traffic, WithProbes,
    bytes::Bytes,
    check_fn, metric_fn,
    probe::Endpoint,
    server::{
        BoundServer, BuildError, Builder, ServeConfig, ServeError, StartupError, StartupFailure,
    },
};
use hurricane_python::{
    AsgiConfig, EventLoop, Gateway, GatewayConfig, Interface, Lifespan, Pool, PoolConfig,
    RecycleConfig, StartError, Startup, StartupConfig, TaskFailure, WebSocketConfig, WorkerConfig,
};
use hyper::body::Incoming;
use tokio::signal::unix::{SignalKind, signal};
use tower::{Layer, Service, util::MapResponseLayer};
use tracing::{Level, error, info, warn};

use crate::{
    access::AccessLog,
    args::{
        AppArgs, AsgiArgs, InterfaceArg, LifespanArg, LoopArg, ProbeArgs, ServeArgs,
        recycle::RecycleArgs,
    },
    develop::Develop,
    errors::ErrorRate,
    exit::Usage,
    files::{Files, Mounts},
    info::Info,
    log::{Dropped, Log},
    reload::Reload,
    webhook,
};

/// The metrics of ASGI applications.
const WEBSOCKETS: &str = "hurricane_websockets";
const LOOP_LAG: &str = "hurricane_event_loop_lag_seconds";

/// Longer than the pool takes to end its workers, beyond what an ASGI application does at its end.
const WORKERS_END: Duration = Duration::from_secs(30);

/// How long a worker may take to load an application that may stop at a breakpoint meanwhile.
const DEBUGGED_START: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves until the process is told to stop.
pub(crate) fn run(args: &ServeArgs, log: &Log) -> Result<()> {
    // One thread for all of HTTP: it does for far more requests a second than the Python behind
    // it, and costs no switching between threads. The probes have a thread of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .context("failed to start the runtime")?
        .block_on(serve(args, log))
}

async fn serve(args: &ServeArgs, log: &Log) -> Result<()> {
    let started = Instant::now();
    is_hybrid_where_it_has_to_be(&args.app)?;
    let place = ProbePlace::of(args)?;
    let develop = Develop::of(&args.develop)?;

    // From the application outward: its workers, the queue before them, the counting.
    let traffic = Arc::new(Traffic::new());
    let lifetime = Arc::clone(&traffic);
    let gateway = Gateway::new(gateway_config(args, &develop), Arc::clone(&traffic));
    let config = pool_config(args, &develop)?;
    let startup = Startup::new(startup_config(args, &config));
    let collector = Startup::new(collector_config(&config));
    let pool = Pool::new(config, gateway.clone());
    let mut builder = Hurricane::builder()
        .metric_names(MetricNames::Both)
        .traffic(Arc::clone(&traffic))
        .probes(probe_config(&args.probe, place))
        .check(
            queue_check(args.probe.req_queue_len, traffic),
            [Probe::Readiness],
        )
        .shutdown_delay(args.stop.shutdown_delay)
        .shutdown_task_limit(args.stop.graceful_timeout + WORKERS_END)
        .serve_config(ServeConfig {
            header_timeout: args.http.header_timeout,
            max_header_bytes: args.http.max_buffer_size,
            grace: args.stop.graceful_timeout,
            early_hints: args.asgi.early_hints,
            ..ServeConfig::default()
        });
    if let Some(limit) = args.recycle.max_lifetime {
        builder = builder.check(lifetime_check(limit, lifetime), [Probe::Liveness]);
    }
    for (check, probes) in pool.checks() {
        builder = builder.check(check, probes);
    }
    // What is not called as ASGI for sure may turn out to be.
    if !matches!(args.app.interface, InterfaceArg::Wsgi) {
        let sockets = {
            let gateway = gateway.clone();
            move || std::future::ready(gateway.sockets() as f64)
        };
        let lag = {
            let gateway = gateway.clone();
            move || std::future::ready(gateway.loop_lag().unwrap_or_default().as_secs_f64())
        };
        builder = builder
            .metric(metric_fn(WEBSOCKETS, "WebSockets that are open.", sockets))
            .metric(metric_fn(
                LOOP_LAG,
                "How late the slowest event loop of the application turns.",
                lag,
            ));
    }
    let info = Info::new(args);
    let errors = ErrorRate::new();
    builder = builder
        .metric_source(pool.metrics())
        .metric_source(info.clone())
        .metric(errors.metric())
        .metric(dropped_lines(log.dropped().clone()))
        .check(errors.check(), [Probe::Readiness]);
    let project = pool.webhooks();
    let urls = webhook::urls(&args.webhook);
    for (url, webhook) in urls.zip(webhook::of(&args.webhook)?) {
        builder = builder.webhook(project.before(url, webhook));
    }
    if let Ok(version) = std::env::var("HURRICANE_VERSION") {
        builder = builder.version(version);
    }
    if !matches!(place, ProbePlace::Own(_)) {
        builder = builder.no_probes();
    }
    let hurricane = build(builder)?;
    pool.tell(hurricane.dispatcher().clone());
    reload_on_hangup(pool.clone())?;
    if develop.autoreload {
        let reload = Reload {
            pool: pool.clone(),
            collector: Some(collector.clone()),
            static_watch: develop.static_watch.clone(),
        };
        reload.start()?;
    }
    // What happens between the ports being taken and the application's being opened.
    let address = Arc::new(OnceLock::new());
    let (layer, probes) = (hurricane.layer(), Arc::clone(hurricane.probes()));
    let announcement = Arc::new(Announcement::default());
    let drop_in = log
        .is_djangos
        .then_some(!args.webhook.webhook_url.is_empty());
    let hurricane = hurricane.on_startup("commands", {
        let (startup, announcement) = (startup.clone(), Arc::clone(&announcement));
        async move || {
            if startup.is_empty() {
                return Ok(());
            }
            // Those who wait for the first lines wait for what is behind them: it comes at once.
            startup
                .run(move || announcement.tell())
                .await
                .map_err(|failure| account(failure, drop_in))
        }
    });
    let mounts = Arc::new(OnceLock::new());
    let hurricane = hurricane.on_startup("workers", {
        let (address, pool, probes) = (Arc::clone(&address), pool.clone(), Arc::clone(&probes));
        let (mounts, files) = (Arc::clone(&mounts), args.files.clone());
        let root_path = args.app.root_path.clone();
        let announcement = Arc::clone(&announcement);
        let autoreload = develop.autoreload;
        let loop_check =
            (!develop.config.has_debugger()).then(|| pool.loop_check(args.probe.check_max_age));
        async move || {
            let (address, probe_port) = *address
                .get()
                .expect("the address is set before the server starts");
            let about = if autoreload {
                pool.start_at_last(address).await?
            } else {
                pool.start(address).await?
            };
            // Only now it is known whether there is an event loop.
            if let Some(check) = loop_check.filter(|_| about.interface != Interface::Wsgi) {
                let both = [Probe::Liveness, Probe::Readiness];
                probes.checks().add(check, both)?;
            }
            project.ask().await;
            pool.pass_startup_checks().await;
            probes.rehearse().await;
            announcement.tell();
            info!("Starting HTTP Server on port {}", address.port());
            let found = Mounts::of(&files, &root_path, about.files.as_ref())?;
            mounts.get_or_init(|| found);
            let startup_seconds = started.elapsed().as_secs_f64();
            info.started(address.port(), probe_port, startup_seconds);
            info!("Startup time is {startup_seconds:.3} seconds");
            Ok::<_, StartupError>(())
        }
    });
    // What an ASGI application does at its end is part of what the graceful timeout is for.
    let grace = args.stop.graceful_timeout;
    let ending = Arc::new(OnceLock::new());
    tokio::spawn({
        let (lifecycle, ending) = (hurricane.lifecycle().clone(), Arc::clone(&ending));
        let (gateway, delay) = (gateway.clone(), args.stop.shutdown_delay);
        async move {
            lifecycle.reached(Phase::Draining).await;
            ending.get_or_init(|| Instant::now() + delay + grace);
            tokio::time::sleep(delay).await;
            gateway.close_sockets();
        }
    });
    let hurricane = hurricane.on_shutdown("workers", async move || {
        let end = ending.get_or_init(|| Instant::now() + grace);
        pool.stop_within(end.saturating_duration_since(Instant::now()))
            .await;
    });
    let hurricane = hurricane.on_shutdown("commands", async move || {
        tokio::join!(startup.stop(), collector.stop());
    });

    let bound = hurricane.bind(SocketAddr::new(args.http.host, args.http.port))?;
    let probe_port = match place {
        ProbePlace::Own(_) => bound.probe_addr().map(|addr| addr.port()),
        ProbePlace::Shared => Some(bound.local_addr().port()),
        ProbePlace::None => None,
    };
    address
        .set((bound.local_addr(), probe_port))
        .expect("the address is set once");
    let banner = if log.is_djangos {
        // Users of django-hurricane wait for how this line begins.
        concat!(
            "Tornado-powered Django web server, now without tornado. Version: ",
            env!("CARGO_PKG_VERSION")
        )
        .to_owned()
    } else {
        let version = env!("CARGO_PKG_VERSION");
        format!("hurricane {version} (pid {})", std::process::id())
    };
    let places = places(args, place, &bound).into_iter();
    let lines = [(Level::INFO, banner)]
        .into_iter()
        .chain(develop.lines(args.work.workers))
        .chain(places.map(|line| (Level::INFO, line)))
        .collect();
    announcement.set(lines);
    if !log.is_djangos {
        announcement.tell();
    }

    // The way of a request, from the inside out.
    let app = MapResponseLayer::new(move |response: Response<_>| {
        errors.count(response.status());
        response
    })
    .layer(Files::new(mounts, gateway.service()));
    let app = layer.layer(app);
    if args.access.no_access_log {
        open(bound, app, place, probes).await?;
    } else {
        open(bound, AccessLog::new(app, log.has_ids), place, probes).await?;
    }
    info!("Stopped");
    Ok(())
}

/// Replaces the workers on SIGHUP, which without that would end the process.
pub(crate) fn reload_on_hangup(pool: Pool) -> Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            info!("Received signal SIGHUP. Replacing the workers.");
            pool.reload();
        }
    });
    Ok(())
}

/// Opens the application's port, with the probes before the application where they share it.
async fn open<S, B>(
    bound: BoundServer,
    app: S,
    place: ProbePlace,
    probes: Arc<Probes>,
) -> Result<(), ServeError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<StartupError>> + Send + 'static,
{
    match place {
        ProbePlace::Shared => bound.serve(WithProbes::new(probes, app)).await,
        ProbePlace::Own(_) | ProbePlace::None => bound.serve(app).await,
    }
}

/// Where the probes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbePlace {
    /// On a port of their own.
    Own(SocketAddr),
    /// On the application's port, before the application.
    Shared,
    None,
}

impl ProbePlace {
    fn of(args: &ServeArgs) -> Result<Self> {
        let ServeArgs { http, probe, .. } = args;
        if probe.no_probe {
            return Ok(Self::None);
        }
        let host = probe.probe_host.unwrap_or(http.host);
        let port = match (probe.probe_port, http.port) {
            // Two ports that the system chooses are never the same.
            (None | Some(0), 0) => 0,
            (Some(port), app) if port == app => return Ok(Self::Shared),
            (Some(port), _) => port,
            (None, app) => app.checked_add(1).ok_or_else(|| {
                Usage(format!("--port {app} leaves no next port for the probes: give --probe-port or --no-probe"))
            })?,
        };
        Ok(Self::Own(SocketAddr::new(host, port)))
    }
}

fn probe_config(args: &ProbeArgs, place: ProbePlace) -> ProbeConfig {
    let mut config = probe_paths(args);
    if let ProbePlace::Own(addr) = place {
        config.addr = addr;
    }
    config
}

/// The configuration of the probes, apart from where they are answered.
pub(crate) fn probe_paths(args: &ProbeArgs) -> ProbeConfig {
    let mut config = ProbeConfig {
        startup: args.startup_probe.clone(),
        readiness: args.readiness_probe.clone(),
        liveness: args.liveness_probe.clone(),
        metrics: (!args.no_metrics && !args.no_probe).then(|| args.metrics.clone()),
        ..ProbeConfig::default()
    };
    config.policy.timeout = args.probe_timeout;
    config.policy.max_age = args.check_max_age;
    config
}

fn gateway_config(args: &ServeArgs, develop: &Develop) -> GatewayConfig {
    GatewayConfig {
        queue_size: args.work.queue_size,
        max_body_size: args.http.max_body_size,
        // At a breakpoint a request takes as long as somebody looks at it.
        request_timeout: Some(args.work.request_timeout)
            .filter(|timeout| !timeout.is_zero() && !develop.config.has_debugger()),
        root_path: args.app.root_path.clone(),
        async_paths: args
            .app
            .async_path
            .iter()
            .flat_map(|words| words.0.clone())
            .collect(),
    }
}

/// What only has a meaning for an application that is called in both ways.
fn is_hybrid_where_it_has_to_be(args: &AppArgs) -> Result<(), Usage> {
    let option = match args.interface {
        InterfaceArg::Hybrid => return Ok(()),
        _ if args.asgi_app.is_some() => "--asgi-app",
        _ if !args.async_path.is_empty() => "--async-path",
        _ => return Ok(()),
    };
    Err(Usage(format!("{option} is for --interface hybrid only")))
}

fn pool_config(args: &ServeArgs, develop: &Develop) -> Result<PoolConfig> {
    let worker = WorkerConfig {
        python: match &args.app.python {
            Some(python) => python.clone(),
            None => python()?,
        },
        app: args.app.app.clone(),
        asgi_app: args.app.asgi_app.clone(),
        interface: match args.app.interface {
            InterfaceArg::Auto => None,
            InterfaceArg::Wsgi => Some(Interface::Wsgi),
            InterfaceArg::Asgi => Some(Interface::Asgi),
            InterfaceArg::Hybrid => Some(Interface::Hybrid),
        },
        threads: args.work.threads,
        asgi: asgi_config(&args.asgi),
        multiprocess: args.work.workers > 1,
        static_files: args.files.of_static,
        media_files: args.files.of_media,
        start_timeout: if develop.config.has_debugger() {
            DEBUGGED_START
        } else {
            args.work.start_timeout
        },
        develop: develop.config.clone(),
    };
    Ok(PoolConfig {
        workers: args.work.workers,
        worker,
        recycle: develop.recycle(recycle_config(&args.recycle)),
        graceful_timeout: args.stop.graceful_timeout,
    })
}

fn recycle_config(args: &RecycleArgs) -> RecycleConfig {
    let max_requests = args.max_requests.map(|count| count as u64);
    RecycleConfig {
        max_requests,
        jitter: args
            .max_requests_jitter
            .unwrap_or(max_requests.unwrap_or_default() / 10),
        max_memory: args.max_memory,
    }
}

fn asgi_config(args: &AsgiArgs) -> AsgiConfig {
    AsgiConfig {
        concurrency: args.concurrency,
        lifespan: match args.lifespan {
            LifespanArg::Auto => Lifespan::Auto,
            LifespanArg::On => Lifespan::On,
            LifespanArg::Off => Lifespan::Off,
        },
        event_loop: match args.event_loop {
            LoopArg::Auto => EventLoop::Auto,
            LoopArg::Asyncio => EventLoop::Asyncio,
            LoopArg::Uvloop => EventLoop::Uvloop,
        },
        disconnect_grace: args.disconnect_grace,
        websocket: WebSocketConfig {
            ping_interval: Some(args.ws_ping_interval).filter(|interval| !interval.is_zero()),
            ping_timeout: args.ws_ping_timeout,
            max_size: usize::try_from(args.ws_max_size).unwrap_or(usize::MAX),
        },
    }
}

/// With the interpreter and the patience of the workers.
fn startup_config(args: &ServeArgs, pool: &PoolConfig) -> StartupConfig {
    let args = &args.startup;
    StartupConfig {
        python: pool.worker.python.clone(),
        wait_for_database: args.wait_for_db,
        commands: args.command.iter().flatten().cloned().collect(),
        check_migrations: args.check_migrations,
        apply_migrations: args.check_migrations_apply,
        graceful_timeout: pool.graceful_timeout,
    }
}

/// Collects the static files, and leaves those that have not changed.
fn collector_config(pool: &PoolConfig) -> StartupConfig {
    let words = ["collectstatic", "--noinput"];
    StartupConfig {
        python: pool.worker.python.clone(),
        commands: vec![words.map(str::to_owned).to_vec()],
        graceful_timeout: pool.graceful_timeout,
        ..StartupConfig::default()
    }
}

/// What the log and the webhooks are told of a failure before the workers.
///
/// `drop_in`: in the words of django-hurricane, and whether there is a webhook.
fn account(failure: TaskFailure, drop_in: Option<bool>) -> StartupFailure {
    let (status, traceback) = match &failure {
        TaskFailure::Command { traceback, .. } => (EventStatus::Failed, traceback),
        TaskFailure::Database { traceback, .. } => (EventStatus::Warning, traceback),
        _ => return StartupFailure::new(failure),
    };
    let traceback = traceback.clone().unwrap_or_default();
    error!("{failure}\n{}", traceback.trim_end());
    if let Some(has_webhook) = drop_in {
        info!("Webhook with a status {status} has been initiated");
        if !has_webhook {
            warn!("No webhook can be sent, as no url is specified");
        }
        info!("Loop will be closed");
    }
    StartupFailure::new(failure)
        .with_status(status)
        .with_traceback(traceback)
}

/// The interpreter of the active virtual environment, else the first on the path.
pub(crate) fn python() -> Result<PathBuf, StartError> {
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV") {
        return Ok(PathBuf::from(environment).join("bin/python"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path)
        .flat_map(|folder| ["python3", "python"].map(|name| folder.join(name)));
    candidates
        .find(|python| python.is_file())
        .ok_or_else(|| StartError::Spawn {
            python: "python3".into(),
            source: std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "there is none on the PATH; give --python",
            ),
        })
}

/// Lines of the log that nobody wrote, as whoever reads them was too slow.
fn dropped_lines(dropped: Dropped) -> impl Metric {
    let help = "Lines of the log that were dropped, as too many waited to be written.";
    metric_fn("hurricane_log_lines_dropped_total", help, move || {
        std::future::ready(dropped.count() as f64)
    })
    .counter()
}

/// Not ready while too many requests wait.
fn queue_check(limit: usize, traffic: Arc<Traffic>) -> impl Check {
    check_fn("request queue", move || {
        let queued = traffic.queued();
        let result = if queued >= limit {
            CheckResult::saturated(format!(
                "{queued} requests wait for a worker, the limit is {limit}"
            ))
        } else {
            CheckResult::pass_with(format!("{queued} requests wait for a worker"))
        };
        std::future::ready(result)
    })
}

/// Not alive once more requests have been answered than one life has.
fn lifetime_check(limit: usize, traffic: Arc<Traffic>) -> impl Check {
    check_fn("lifetime", move || {
        let count = traffic.completed();
        let result = if count > limit as u64 {
            CheckResult::saturated(format!("{count} requests answered, the limit is {limit}"))
        } else {
            CheckResult::pass_with(format!("{count} of {limit} requests answered"))
        };
        std::future::ready(result)
    })
}

/// A configuration that cannot be built is the user's: the same path for two probes, a URL that is none.
fn build(builder: Builder) -> Result<Hurricane> {
    builder.build().map_err(|error| match error {
        BuildError::Paths(error) => Usage(error.to_string()).into(),
        BuildError::Webhook { .. } => {
            Usage(format!("--webhook-url: {:#}", anyhow::Error::from(error))).into()
        }
        error => error.into(),
    })
}

/// What is said of the server, once: at its start, or for those who wait for it and then for
/// everything else, when everything else is about to be.
#[derive(Debug, Default)]
struct Announcement {
    lines: Mutex<Vec<(Level, String)>>,
}

impl Announcement {
    fn set(&self, lines: Vec<(Level, String)>) {
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    fn tell(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (level, line) in lines.drain(..) {
            match level {
                Level::ERROR => error!("{line}"),
                Level::WARN => warn!("{line}"),
                _ => info!("{line}"),
            }
        }
    }
}

/// Where everything is.
fn places(args: &ServeArgs, place: ProbePlace, bound: &BoundServer) -> Vec<String> {
    let mut lines = Vec::new();
    let app = bound.local_addr().port();
    if let Some(limit) = args.recycle.max_memory {
        let limit = limit >> 20;
        lines.push(format!(
            "Starting memory allocation check with maximum memory set to {limit} Mb"
        ));
    }
    let paths = bound.hurricane().probes().paths();
    let path = |endpoint| paths.path(endpoint).unwrap_or_default();
    let routes = format!(
        "liveness-probe: {}, readiness-probe: {}, startup-probe: {}",
        path(Endpoint::Probe(Probe::Liveness)),
        path(Endpoint::Probe(Probe::Readiness)),
        path(Endpoint::Probe(Probe::Startup)),
    );
    let port = match place {
        ProbePlace::None => {
            lines.push("No probe application running".to_owned());
            lines.push(
                "Running without Prometheus exporter, because --no-probe flag was set".to_owned(),
            );
            return lines;
        }
        ProbePlace::Shared => {
            lines.push(format!(
                "Starting probe application with routes {routes} running integrated on port {app}"
            ));
            app
        }
        ProbePlace::Own(_) => {
            let port = bound.probe_addr().map_or(app, |addr| addr.port());
            lines.push(format!(
                "Starting probe application running on port {port} with route {routes}"
            ));
            port
        }
    };
    match paths.path(Endpoint::Metrics) {
        Some(metrics) => {
            lines.push(format!(
                "Starting Prometheus metrics exporter on port {port} with route {metrics}"
            ));
        }
        None if args.probe.no_metrics => {
            lines.push(
                "Running without Prometheus exporter, because --no-metrics flag was set".to_owned(),
            );
        }
        None => {}
    }
    lines
}
