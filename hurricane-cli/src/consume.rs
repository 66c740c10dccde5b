//! `hurricane consume`: read from top to bottom, this is the program.

mod plan;

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use hurricane_amqp::{ConsumeError, Consumer, Finished, Link, Status};
use hurricane_core::{
    Check, CheckResult, Dispatcher, Event, EventKind, EventStatus, Exposition, Heartbeat,
    Lifecycle, Phase, Probe, ProbeConfig, ProbeServer, Probes, Registry, Signals, Traffic,
    Webhook as _, async_trait, probe::Bound,
};
use hurricane_python::{About, Desk, Pool, ProjectWebhooks, StartError};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
    time::sleep,
};
use tracing::{error, info, warn};

use self::plan::Plan;
use crate::{
    args::consume::ConsumeArgs,
    exit::{Cut, Usage},
    log::Log,
    reload::Reload,
    serve::{self, reload_on_hangup},
    webhook,
};

/// The port of the probes.
const PROBE_PORT: u16 = 8001;

/// For so long there may be no worker before a restart is the better remedy.
const ALONE: Duration = Duration::from_secs(60);

/// How often the main runtime shows that it turns.
const BEAT: Duration = Duration::from_millis(250);

/// How long the last webhooks have.
const WEBHOOKS: Duration = Duration::from_secs(5);

/// Longer than the broker has for the last words, and the workers to end.
const LAST: Duration = Duration::from_secs(15);

/// Consumes until the process is told to stop.
pub(crate) fn run(args: &ConsumeArgs, log: &Log) -> Result<()> {
    // One thread for all messages; the probes have a thread of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .context("failed to start the runtime")?
        .block_on(consume(args, log))
}

async fn consume(args: &ConsumeArgs, log: &Log) -> Result<()> {
    let plan = Plan::of(args)?;
    let desk = Desk::new(plan.desk.clone());
    let pool = Pool::for_desk(plan.pool.clone(), desk.clone());
    let lifecycle = Lifecycle::new();
    let mut registry = Registry::new();
    let project = pool.webhooks();
    let urls = webhook::urls(&args.webhook);
    for (url, webhook) in urls.zip(webhook::of(&args.webhook)?) {
        let checked = webhook.validate();
        checked
            .map_err(|error| Usage(format!("--webhook-url: {:#}", anyhow::Error::from(error))))?;
        registry.add_webhook(project.before(url, webhook))?;
    }
    for (check, probes) in pool.checks() {
        registry.add_check(check, probes)?;
    }
    registry.add_check(desk.check(ALONE), [Probe::Liveness])?;

    // The probes answer from here on; what they look at besides comes when it is known.
    let dispatcher =
        Dispatcher::start(registry.webhooks(), std::env::var("HURRICANE_VERSION").ok())
            .context("failed to start the thread for webhooks")?;
    pool.tell(dispatcher.clone());
    let config = probe_config(args);
    let traffic = Arc::new(Traffic::new());
    let probes = Probes::new(
        &config,
        &registry,
        lifecycle.clone(),
        traffic,
        Handle::current(),
    )
    .map_err(|error| Usage(error.to_string()))?
    .with_dispatcher(dispatcher.clone())
    .with_sources(vec![Arc::new(pool.metrics())]);
    let probes = Arc::new(if args.probe.no_metrics || args.probe.no_probe {
        probes
    } else {
        let exposition = Exposition::new();
        exposition.install()?;
        probes.with_exposition(exposition)
    });
    let bound = (!args.probe.no_probe).then(|| config.bind()).transpose()?;
    announce(args, log, bound.as_ref());
    let mut signals = Signals::install().context("failed to listen for signals")?;
    reload_on_hangup(pool.clone())?;
    if args.reload.is_on() {
        let reload = Reload {
            pool: pool.clone(),
            collector: None,
            static_watch: Vec::new(),
        };
        reload.start()?;
    }
    let mut probe_server = match bound {
        Some(bound) => Some(bound.spawn(Arc::clone(&probes))?),
        None => {
            let probes = Arc::clone(&probes);
            tokio::spawn(async move { probes.watch().await });
            None
        }
    };

    let result = live(
        args,
        &plan,
        &Parts {
            desk: &desk,
            pool: &pool,
            lifecycle: &lifecycle,
            dispatcher: &dispatcher,
            probes: &probes,
            project: &project,
        },
        &mut signals,
        probe_server.as_mut(),
    )
    .await;

    lifecycle.drain();
    let ending = pool.stop_within(args.end.graceful_timeout.min(LAST));
    let result = match result {
        Err(error) if error.is::<Cut>() => Err(error),
        result => tokio::select! {
            biased;
            _ = signals.recv() => Err(Cut.into()),
            () = ending => result,
        },
    };
    lifecycle.stop();
    let end = match &result {
        Ok(()) => Event::new(EventKind::Shutdown, EventStatus::Succeeded),
        Err(error) => Event::new(EventKind::Shutdown, EventStatus::Failed)
            .with_traceback(format!("{error:#}")),
    };
    dispatcher.send(end);
    if let Err(error) = dispatcher.close(WEBHOOKS).await {
        warn!("{error}");
    }
    if let Some(server) = probe_server {
        tokio::task::spawn_blocking(|| server.shutdown()).await??;
    }
    if result.is_ok() {
        info!("Terminating Hurricane AMQP client");
    }
    result
}

/// What a life is made of.
struct Parts<'a> {
    desk: &'a Desk,
    pool: &'a Pool,
    lifecycle: &'a Lifecycle,
    dispatcher: &'a Dispatcher,
    probes: &'a Arc<Probes>,
    project: &'a ProjectWebhooks,
}

/// From the workers to the last message.
async fn live(
    args: &ConsumeArgs,
    plan: &Plan,
    parts: &Parts<'_>,
    signals: &mut Signals,
    mut probe_server: Option<&mut ProbeServer>,
) -> Result<()> {
    let &Parts {
        desk,
        pool,
        lifecycle,
        dispatcher,
        probes,
        project,
    } = parts;
    let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let start = async {
        let about = if args.reload.is_on() {
            pool.start_at_last(nowhere).await?
        } else {
            pool.start(nowhere).await?
        };
        project.ask().await;
        pool.pass_startup_checks().await;
        Ok::<_, StartError>(about)
    };
    let started = tokio::select! {
        biased;
        _ = signals.recv() => return Ok(()),
        started = start => started,
    };
    let about = match started {
        Ok(about) => about,
        Err(error) => {
            let event = Event::new(EventKind::Startup, EventStatus::Failed);
            dispatcher.send(event.with_traceback(error.to_string()));
            return Err(error.into());
        }
    };
    let consumers = consumers(args, plan, desk, &about)?;
    let statuses: Vec<Status> = consumers
        .iter()
        .map(|consumer| consumer.status().clone())
        .collect();
    watch(probes, plan, &statuses)?;
    probes.rehearse().await;
    // Without a broker the process is as alive as with one.
    lifecycle.run();
    // Dropped at the end, the set ends its tasks.
    let mut upkeep = JoinSet::new();
    upkeep.spawn(beat(probes.heartbeat("main runtime")));
    upkeep.spawn(tell_start(statuses, dispatcher.clone()));

    let mut running = JoinSet::new();
    for consumer in consumers {
        let lifecycle = lifecycle.clone();
        running.spawn(consumer.run(async move { lifecycle.reached(Phase::Draining).await }));
    }
    let ended = tokio::select! {
        biased;
        _ = signals.recv() => None,
        Some(ended) = running.join_next() => Some(verdict(ended)),
        () = died(&mut probe_server) => {
            error!("the probe server died, so nobody can tell how this process is");
            Some(Err(anyhow!("the probe server died")))
        }
    };

    // One that ends takes the others along. What is in hand is finished.
    lifecycle.drain();
    dispatcher.send(Event::new(EventKind::Drain, EventStatus::Succeeded));
    if ended.is_none() {
        // What no handler was given goes back at once.
        desk.drain();
    }
    let mut result = ended.unwrap_or(Ok(()));
    loop {
        tokio::select! {
            biased;
            _ = signals.recv() => return Err(Cut.into()),
            ended = running.join_next() => match ended {
                Some(ended) => result = result.and(verdict(ended)),
                None => return result,
            },
        }
    }
}

/// One consumer for each handler, as they and the options say.
fn consumers(args: &ConsumeArgs, plan: &Plan, desk: &Desk, about: &About) -> Result<Vec<Consumer>> {
    let handlers = desk.handlers().into_iter().zip(&about.handlers).enumerate();
    handlers
        .map(|(index, (handler, facts))| {
            let config = plan.consumer(args, index, facts)?;
            Ok(Consumer::builder(handler).config(config).build())
        })
        .collect()
}

/// Has the probes look at the consumers.
fn watch(probes: &Probes, plan: &Plan, statuses: &[Status]) -> Result<()> {
    let checks = probes.checks();
    for (status, handler) in statuses.iter().zip(&plan.desk.handlers) {
        // Of several each has its name.
        let of = (statuses.len() > 1).then_some(handler.class.as_str());
        checks.add(named(of, status.startup()), [Probe::Startup])?;
        checks.add(named(of, status.readiness()), [Probe::Readiness])?;
        checks.add(named(of, status.liveness()), [Probe::Liveness])?;
    }
    Ok(())
}

fn verdict(ended: Result<Result<Finished, ConsumeError>, JoinError>) -> Result<()> {
    match ended {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(panicked) => Err(panicked.into()),
    }
}

/// Shows that the main runtime turns.
async fn beat(heartbeat: Heartbeat) {
    loop {
        heartbeat.beat();
        sleep(BEAT).await;
    }
}

/// Tells webhooks when all consumers have subscribed.
async fn tell_start(statuses: Vec<Status>, dispatcher: Dispatcher) {
    for status in &statuses {
        status.wait_for(|link| *link == Link::Subscribed).await;
    }
    dispatcher.send(Event::new(EventKind::Startup, EventStatus::Succeeded));
}

/// Waits for the death of the probe server, for ever where there is none.
async fn died(server: &mut Option<&mut ProbeServer>) {
    match server {
        Some(server) => server.ended().await,
        None => pending().await,
    }
}

fn probe_config(args: &ConsumeArgs) -> ProbeConfig {
    let args = &args.probe;
    let host = args.probe_host.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let port = args.probe_port.unwrap_or(PROBE_PORT);
    ProbeConfig {
        addr: SocketAddr::new(host, port),
        ..serve::probe_paths(args)
    }
}

/// What is said at the start; `manage.py consume` has said the first line already.
fn announce(args: &ConsumeArgs, log: &Log, bound: Option<&Bound>) {
    if !log.is_djangos {
        let version = env!("CARGO_PKG_VERSION");
        info!("hurricane {version} (pid {})", std::process::id());
    }
    if args.reload.is_on() {
        info!("Autoreload was performed");
    }
    match bound {
        Some(bound) => info!(
            "Probe application running on port {}",
            bound.local_addr().port()
        ),
        None => info!("No probe application running"),
    }
    if args.broker.max_reconnects != Some(0) {
        info!("AMQP consumer running in auto-reconnect mode");
    }
}

/// A check under a name that tells which handler it is about.
struct Named<C> {
    name: String,
    check: C,
}

fn named<C: Check>(of: Option<&str>, check: C) -> Named<C> {
    let name = match of {
        Some(of) => format!("{} {of}", check.name()),
        None => check.name().to_owned(),
    };
    Named { name, check }
}

#[async_trait]
impl<C: Check> Check for Named<C> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        self.check.check().await
    }
}
