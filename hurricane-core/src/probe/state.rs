//! What the probes answer, whoever asks.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::runtime::Handle;
use tracing::info;

use super::{Details, PathError, Paths, ProbeConfig};
#[cfg(feature = "prometheus")]
use crate::{Exposition, metric::Metric};
use crate::{
    check::{CheckPolicy, CheckReport, CheckResult, CheckRunner, Probe, Status},
    heartbeat::Heartbeat,
    lifecycle::{Lifecycle, Phase},
    registry::Registry,
    traffic::Traffic,
    webhook::{Dispatcher, Event, EventKind, EventStatus},
};

/// Everything the probes look at: lifecycle, checks, heartbeats, traffic, and where changes are told.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use hurricane_core::{Lifecycle, Probe, Registry, Traffic, probe::{ProbeConfig, Probes}};
/// use tokio::runtime::Handle;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lifecycle = Lifecycle::new();
/// let probes = Probes::new(
///     &ProbeConfig::default(),
///     &Registry::new(),
///     lifecycle.clone(),
///     Arc::new(Traffic::new()),
///     Handle::current(),
/// )?;
/// assert_eq!(probes.ask(Probe::Readiness).await.status, 400);
/// lifecycle.run();
/// assert_eq!(probes.ask(Probe::Readiness).await.status, 200);
/// # Ok(())
/// # }
/// ```
pub struct Probes {
    paths: Paths,
    details: Details,
    lifecycle: Lifecycle,
    runner: CheckRunner,
    traffic: Arc<Traffic>,
    heartbeats: Mutex<Vec<(String, Heartbeat)>>,
    #[cfg(feature = "prometheus")]
    metrics: Vec<Arc<dyn Metric>>,
    #[cfg(feature = "prometheus")]
    exposition: Option<Exposition>,
    dispatcher: Option<Dispatcher>,
    liveness: Health,
    readiness: Health,
}

/// A probe's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The probe that was asked.
    pub probe: Probe,
    /// 200, or 400 for "not now", or 500 for "broken".
    pub status: StatusCode,
    /// The text that says so; often empty.
    pub text: String,
    /// What was looked at: the lifecycle where it decides, heartbeats, and checks.
    pub checks: Vec<CheckReport>,
}

/// What a probe last said, to see when it changes.
#[derive(Debug, Default)]
struct Health(AtomicU8);

// === impl Probes ===

impl Probes {
    /// Gathers what the probes look at; checks and metrics are run on the runtime behind `handle`.
    ///
    /// # Errors
    ///
    /// Two of the configured paths are the same.
    pub fn new(
        config: &ProbeConfig,
        registry: &Registry,
        lifecycle: Lifecycle,
        traffic: Arc<Traffic>,
        handle: Handle,
    ) -> Result<Self, PathError> {
        let runner = CheckRunner::new(
            registry.checks(),
            config.policy.clone(),
            Arc::clone(&traffic),
            handle,
        );
        Ok(Self {
            paths: config.paths()?,
            details: config.details,
            lifecycle,
            runner,
            traffic,
            heartbeats: Mutex::default(),
            #[cfg(feature = "prometheus")]
            metrics: registry.metrics().to_vec(),
            #[cfg(feature = "prometheus")]
            exposition: None,
            dispatcher: None,
            liveness: Health::default(),
            readiness: Health::default(),
        })
    }

    /// Tells the webhooks when liveness or readiness change.
    #[must_use]
    pub fn with_dispatcher(mut self, dispatcher: Dispatcher) -> Self {
        self.dispatcher = Some(dispatcher);
        self
    }

    /// Answers scrapes.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn with_exposition(mut self, exposition: Exposition) -> Self {
        self.exposition = Some(exposition);
        self
    }

    /// Makes a heartbeat that liveness looks at; `name` is whose it is, as in "main runtime".
    pub fn heartbeat(&self, name: impl Into<String>) -> Heartbeat {
        let heartbeat = Heartbeat::new();
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.into(), heartbeat.clone()));
        heartbeat
    }

    /// Asks a probe, and tells the webhooks if its answer has changed.
    pub async fn ask(&self, probe: Probe) -> Verdict {
        match (probe, self.lifecycle.phase()) {
            (_, Phase::Starting) => Verdict::not_now(probe, "starting"),
            (Probe::Startup, _) => self.startup().await,
            (Probe::Liveness, Phase::Running) => self.tell(EventKind::Liveness, self.alive().await),
            // The workers that answer the checks may be gone by now, which is no reason to be killed.
            (Probe::Liveness, _) => Verdict::ok(probe, self.load(), Vec::new()),
            (Probe::Readiness, Phase::Running) => {
                self.tell(EventKind::Readiness, self.ready().await)
            }
            (Probe::Readiness, _) => Verdict::not_now(probe, "draining"),
        }
    }

    /// Runs all checks once, whatever they find, so that there are results when the first probe comes.
    pub async fn rehearse(&self) {
        for probe in [Probe::Startup, Probe::Liveness, Probe::Readiness] {
            self.runner.ask(probe).await;
        }
    }

    /// The answer to a scrape, in the form that `headers` ask for; none if there is nothing that collects metrics.
    #[cfg(feature = "prometheus")]
    pub async fn scrape(&self, headers: &HeaderMap) -> Option<Response<Bytes>> {
        let exposition = self.exposition.as_ref()?;
        exposition
            .ask(&self.metrics, self.runner.handle(), self.policy().timeout)
            .await;
        exposition.observe(&self.traffic);
        Some(exposition.respond(headers))
    }

    /// The answer to a scrape; none without the feature `prometheus`.
    #[cfg(not(feature = "prometheus"))]
    pub async fn scrape(&self, _: &HeaderMap) -> Option<Response<Bytes>> {
        None
    }

    /// The paths of the endpoints.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// How much the probes tell of what checks found.
    #[must_use]
    pub fn details(&self) -> Details {
        self.details
    }

    /// Where the process stands.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// How long results count.
    #[must_use]
    pub fn policy(&self) -> &CheckPolicy {
        self.runner.policy()
    }

    /// What collects the metrics.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn exposition(&self) -> Option<&Exposition> {
        self.exposition.as_ref()
    }

    async fn startup(&self) -> Verdict {
        let Some(time) = self.lifecycle.startup_time() else {
            return Verdict::not_now(Probe::Startup, "ended before it had started");
        };
        let seconds = time
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let report = self.runner.ask(Probe::Startup).await;
        Verdict::of(report.probe, report.checks, || {
            format!("Startup was finished {seconds:?}")
        })
    }

    async fn alive(&self) -> Verdict {
        let mut checks = self.pulse();
        let report = self.runner.ask(Probe::Liveness).await;
        checks.extend(report.checks);
        Verdict::of(report.probe, checks, || self.load())
    }

    async fn ready(&self) -> Verdict {
        let report = self.runner.ask(Probe::Readiness).await;
        Verdict::of(report.probe, report.checks, String::new)
    }

    /// One report for each heartbeat that still beats.
    fn pulse(&self) -> Vec<CheckReport> {
        let heartbeats = self
            .heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let living = heartbeats.iter().filter_map(|(name, heartbeat)| {
            let age = heartbeat.age()?;
            let result = if age > self.policy().max_age {
                CheckResult::fail(format!("{name} stalled for {}s", age.as_secs()))
            } else {
                CheckResult::pass()
            };
            Some(CheckReport::observed(name, result, Some(age)))
        });
        living.collect()
    }

    fn load(&self) -> String {
        match self.traffic.average() {
            Some(average) if !average.is_zero() => format!(
                "Average response time: {:.2}ms Request queue size: {} Rx",
                average.as_secs_f64() * 1e3,
                self.traffic.queued()
            ),
            _ => "alive".to_owned(),
        }
    }

    fn tell(&self, kind: EventKind, verdict: Verdict) -> Verdict {
        let passed = verdict.passed();
        let health = if kind == EventKind::Liveness {
            &self.liveness
        } else {
            &self.readiness
        };
        if health.change(passed) {
            let status = if passed {
                EventStatus::Succeeded
            } else {
                EventStatus::Failed
            };
            info!("The {kind} probe changed: {status}");
            if let Some(dispatcher) = &self.dispatcher {
                dispatcher.send(Event::new(kind, status));
            }
        }
        verdict
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("paths", &self.paths)
            .field("phase", &self.lifecycle.phase())
            .field("runner", &self.runner)
            .finish_non_exhaustive()
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether the probe is green.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.status.is_success()
    }

    fn not_now(probe: Probe, phase: &'static str) -> Self {
        let lifecycle = CheckReport::observed("lifecycle", CheckResult::fail(phase), None);
        Self {
            probe,
            status: StatusCode::BAD_REQUEST,
            text: String::new(),
            checks: vec![lifecycle],
        }
    }

    fn ok(probe: Probe, text: String, checks: Vec<CheckReport>) -> Self {
        Self {
            probe,
            status: StatusCode::OK,
            text,
            checks,
        }
    }

    /// The worst of the checks decides; `text` is said when all is well.
    fn of(probe: Probe, checks: Vec<CheckReport>, text: impl FnOnce() -> String) -> Self {
        let failed = checks
            .iter()
            .find(|check| check.result.status == Status::Fail);
        let (status, text) = match failed {
            Some(check) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                check.result.message.clone().into_owned(),
            ),
            None if checks
                .iter()
                .any(|check| check.result.status == Status::Saturated) =>
            {
                (StatusCode::BAD_REQUEST, String::new())
            }
            None => (StatusCode::OK, text()),
        };
        Self {
            probe,
            status,
            text,
            checks,
        }
    }
}

// === impl CheckReport ===

impl CheckReport {
    /// A report of something that is looked at, not run.
    fn observed(name: &str, result: CheckResult, age: Option<Duration>) -> Self {
        Self {
            name: name.to_owned(),
            result,
            age,
            took: None,
            stale: false,
        }
    }
}

// === impl Health ===

impl Health {
    /// Takes note of an answer; returns whether it differs from the last one, or is the first.
    fn change(&self, passed: bool) -> bool {
        let now = 1 + u8::from(passed);
        self.0.swap(now, Relaxed) != now
    }
}
