//! What the probes answer, whoever asks.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::runtime::Handle;
#[cfg(feature = "prometheus")]
use tokio::time::timeout;
use tracing::info;
#[cfg(feature = "prometheus")]
use tracing::warn;

use super::{
    Details, PathError, Paths, ProbeConfig,
    watch::{self, Health},
};
#[cfg(feature = "prometheus")]
use crate::{
    Exposition,
    exposition::{MetricSource, SourceFamily},
    metric::Metric,
};
use crate::{
    check::{
        CheckPolicy, CheckReport, CheckResult, CheckRunner, Checks, HealthState, Probe,
        ProbeReport, Selection, Status,
    },
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
    state: HealthState,
    traffic: Arc<Traffic>,
    heartbeats: Mutex<Vec<(String, Heartbeat)>>,
    stall_after: Duration,
    #[cfg(feature = "prometheus")]
    metrics: Vec<Arc<dyn Metric>>,
    #[cfg(feature = "prometheus")]
    sources: Vec<Arc<dyn MetricSource>>,
    #[cfg(feature = "prometheus")]
    exposition: Option<Exposition>,
    dispatcher: Option<Dispatcher>,
    watch_every: Duration,
    liveness: Health,
    readiness: Health,
}

/// A probe's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The probe that was asked.
    pub probe: Probe,
    /// 200, or 400 for "not now", or 500 for "broken".
    pub status: StatusCode,
    /// The text that says so; often empty.
    pub text: String,
    /// What was looked at: the lifecycle where it decides, the application's own state where it is broken, heartbeats,
    /// latches, and checks.
    pub checks: Vec<CheckReport>,
    /// Names of what the [`Selection`] excluded.
    pub excluded: Vec<String>,
    /// Names in the [`Selection`] that nothing of this probe has.
    pub unknown: Vec<String>,
}

/// The name under which the stage of the process's life is reported.
const LIFECYCLE: &str = "lifecycle";

/// The name under which the application's own word on its health is reported.
const APPLICATION: &str = "application";

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
            state: HealthState::new(),
            traffic,
            heartbeats: Mutex::default(),
            stall_after: config.stall_after,
            #[cfg(feature = "prometheus")]
            metrics: registry.metrics().to_vec(),
            #[cfg(feature = "prometheus")]
            sources: Vec::new(),
            #[cfg(feature = "prometheus")]
            exposition: None,
            dispatcher: None,
            watch_every: config.watch_every,
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

    /// Shows what is counted elsewhere in scrapes.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn with_sources(mut self, sources: Vec<Arc<dyn MetricSource>>) -> Self {
        self.sources = sources;
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
        let heartbeat = Heartbeat::with_tolerance(self.stall_after);
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.into(), heartbeat.clone()));
        heartbeat
    }

    /// Asks a probe, and tells the webhooks if its answer has changed.
    pub async fn ask(&self, probe: Probe) -> Verdict {
        self.ask_with(probe, &Selection::default()).await
    }

    /// Asks the selected checks of a probe.
    ///
    /// What the probe looks at besides checks has a name too, and no tags: the `lifecycle`, the `application`'s own
    /// [state](Self::state), heartbeats, and latches that are held. What is named in [`Selection::only`] is asked in
    /// every phase. The webhooks hear only of answers for which everything was asked.
    pub async fn ask_with(&self, probe: Probe, selection: &Selection) -> Verdict {
        let phase = self.lifecycle.phase();
        let not_now = self.not_now(probe, phase);
        if let Some(reason) = not_now
            && selection.takes(LIFECYCLE)
        {
            let mut report = self.runner.resolve(probe, selection);
            self.settle_names(&mut report, phase, selection);
            return Verdict::not_now(report, reason);
        }
        // The workers that answer the checks may be gone by now, which is no reason to be killed.
        let at_rest = probe == Probe::Liveness && phase > Phase::Running;
        let mut report = if at_rest && selection.only.is_empty() {
            self.runner.resolve(probe, selection)
        } else {
            self.runner.ask_with(probe, selection).await
        };
        let observed = self.settle_names(&mut report, phase, selection);
        report.checks.splice(0..0, observed);
        let verdict = Verdict::of(report, || self.text(probe));
        if selection.is_all() && phase == Phase::Running {
            self.tell(verdict)
        } else {
            verdict
        }
    }

    /// Runs all checks once, whatever they find, so that there are results when the first probe comes.
    pub async fn rehearse(&self) {
        self.runner.rehearse().await;
    }

    /// Asks liveness and readiness until the process is to end, each when nobody else has asked it for as long as
    /// [`ProbeConfig::watch_every`] says.
    ///
    /// So the webhooks hear of a change whether anybody probes or not. [`Hurricane`](crate::Hurricane) and
    /// [`Bound::spawn`](super::Bound::spawn) see to it; this is for a process that has neither. Where no webhook wants
    /// to hear of such changes it ends at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use hurricane_core::Probes;
    ///
    /// fn begin(probes: &Arc<Probes>) {
    ///     let probes = Arc::clone(probes);
    ///     tokio::spawn(async move { probes.watch().await });
    /// }
    /// ```
    pub async fn watch(&self) {
        watch::watch(self).await;
    }

    /// The checks, to add to and to remove from while the probes answer.
    #[must_use]
    pub fn checks(&self) -> &Checks {
        self.runner.checks()
    }

    /// The application's own word on its health: latches that hold readiness back, and the end of liveness.
    #[must_use]
    pub fn state(&self) -> &HealthState {
        &self.state
    }

    /// The answer to a scrape, in the form that `headers` ask for; none if there is nothing that collects metrics.
    #[cfg(feature = "prometheus")]
    pub async fn scrape(&self, headers: &HeaderMap) -> Option<Response<Bytes>> {
        let exposition = self.exposition.as_ref()?;
        exposition
            .ask(&self.metrics, self.runner.handle(), self.policy().timeout)
            .await;
        exposition.observe(&self.traffic);
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|(name, heartbeat)| exposition.observe_heartbeat(name, heartbeat));
        Some(exposition.respond_with(&self.foreign().await, headers))
    }

    /// The answer to a scrape; none without the feature `prometheus`.
    #[cfg(not(feature = "prometheus"))]
    pub async fn scrape(&self, _: &HeaderMap) -> Option<Response<Bytes>> {
        None
    }

    /// What is counted elsewhere; those that do not tell in time are left out.
    #[cfg(feature = "prometheus")]
    async fn foreign(&self) -> Vec<SourceFamily> {
        let mut families = Vec::new();
        let limit = self.policy().timeout;
        for source in &self.sources {
            let source = Arc::clone(source);
            // On the main runtime, where those who are asked live. That one may stall, so the time is kept here too.
            let asked = async move { timeout(limit, source.families()).await };
            match timeout(limit, self.runner.handle().spawn(asked)).await {
                Ok(Ok(Ok(found))) => families.extend(found),
                Ok(Err(error)) => warn!(%error, "metrics of the application are lost"),
                Ok(Ok(Err(_))) | Err(_) => warn!("metrics of the application did not come in time"),
            }
        }
        families
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

    /// Why the answer is "not now" whatever the checks say.
    fn not_now(&self, probe: Probe, phase: Phase) -> Option<&'static str> {
        match (probe, phase) {
            (_, Phase::Starting) => Some("starting"),
            (Probe::Startup, _) if self.lifecycle.startup_time().is_none() => {
                Some("ended before it had started")
            }
            (Probe::Readiness, Phase::Draining | Phase::Stopped) => Some("draining"),
            _ => None,
        }
    }

    /// Reports what is looked at besides the checks, as far as it is selected, and puts right what the checks could not
    /// know of the names in the selection.
    fn settle_names(
        &self,
        report: &mut ProbeReport,
        phase: Phase,
        selection: &Selection,
    ) -> Vec<CheckReport> {
        let mut observed = self.observe(report.probe, phase, selection);
        report
            .unknown
            .retain(|name| name != LIFECYCLE && observed.iter().all(|check| check.name != *name));
        for name in observed.iter().map(|check| &*check.name).chain([LIFECYCLE]) {
            if selection.excludes(name) && report.excluded.iter().all(|other| other != name) {
                report.excluded.push(name.to_owned());
            }
        }
        observed.retain(|check| selection.takes(&check.name));
        observed
    }

    /// Everything that the probe looks at besides the checks; the lifecycle only where it is asked for by name, since
    /// it is for others to decide by it.
    fn observe(&self, probe: Probe, phase: Phase, selection: &Selection) -> Vec<CheckReport> {
        let mut observed = Vec::new();
        let named = |name: &str| selection.only.iter().any(|only| only == name);
        if named(LIFECYCLE) {
            observed.push(CheckReport::observed(LIFECYCLE, CheckResult::pass(), None));
        }
        let at_rest = probe == Probe::Liveness && phase > Phase::Running;
        if probe == Probe::Startup || at_rest {
            return observed;
        }
        match self.state.condemned() {
            Some(reason) => {
                let result = CheckResult::fail(reason);
                observed.push(CheckReport::observed(APPLICATION, result, None));
            }
            None if named(APPLICATION) || selection.excludes(APPLICATION) => {
                observed.push(CheckReport::observed(
                    APPLICATION,
                    CheckResult::pass(),
                    None,
                ));
            }
            None => {}
        }
        if probe == Probe::Liveness {
            observed.extend(self.pulse());
        } else {
            observed.extend(self.latches());
        }
        observed
    }

    /// What is said when all is well.
    fn text(&self, probe: Probe) -> String {
        match (probe, self.lifecycle.startup_time()) {
            (Probe::Startup, Some(time)) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                format!("Startup was finished {:?}", since.as_secs_f64())
            }
            (Probe::Liveness, _) => self.load(),
            (Probe::Startup | Probe::Readiness, _) => String::new(),
        }
    }

    /// One report for each latch that is held.
    fn latches(&self) -> impl Iterator<Item = CheckReport> {
        let held = self.state.latches().into_iter();
        held.map(|(name, since)| {
            let result = CheckResult::saturated(format!("held for {}s", since.as_secs()));
            let mut report = CheckReport::observed(name, result, None);
            report.since = Some(since);
            report
        })
    }

    /// One report for each heartbeat that still beats.
    fn pulse(&self) -> Vec<CheckReport> {
        let heartbeats = self
            .heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let living = heartbeats.iter().filter_map(|(name, heartbeat)| {
            let age = heartbeat.age()?;
            let result = match heartbeat.stalled() {
                Some(late) if late > self.policy().max_age => {
                    CheckResult::fail(format!("{name} stalled for {}", rough(late)))
                }
                Some(late) => CheckResult::warn(format!("{name} stalled for {}", rough(late))),
                // Only where no stall is shown early.
                None if age > self.policy().max_age => {
                    CheckResult::fail(format!("{name} stalled for {}", rough(age)))
                }
                None => CheckResult::pass(),
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

    /// What the webhooks are told of, and what it was last; nothing for the startup probe, which changes once.
    pub(super) fn health(&self, probe: Probe) -> Option<(EventKind, &Health)> {
        match probe {
            Probe::Liveness => Some((EventKind::Liveness, &self.liveness)),
            Probe::Readiness => Some((EventKind::Readiness, &self.readiness)),
            Probe::Startup => None,
        }
    }

    /// Whether there is a webhook that wants to hear of it.
    pub(super) fn tells(&self, kind: EventKind) -> bool {
        let dispatcher = self.dispatcher.as_ref();
        dispatcher.is_some_and(|dispatcher| dispatcher.wants(kind))
    }

    pub(super) fn watch_every(&self) -> Duration {
        self.watch_every
    }

    fn tell(&self, verdict: Verdict) -> Verdict {
        let status = if verdict.passed() {
            EventStatus::Succeeded
        } else {
            EventStatus::Failed
        };
        if let Some((kind, health)) = self.health(verdict.probe)
            && health.change(status)
        {
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

    fn not_now(report: ProbeReport, reason: &'static str) -> Self {
        let lifecycle = CheckReport::observed(LIFECYCLE, CheckResult::fail(reason), None);
        Self {
            probe: report.probe,
            status: StatusCode::BAD_REQUEST,
            text: String::new(),
            checks: vec![lifecycle],
            excluded: report.excluded,
            unknown: report.unknown,
        }
    }

    /// The worst of the checks decides; `text` is said when all is well.
    fn of(report: ProbeReport, text: impl FnOnce() -> String) -> Self {
        let (status, text) = match (report.status(), report.first_failed()) {
            (_, Some(check)) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                check.result.message.clone().into_owned(),
            ),
            (Status::Saturated, None) => {
                let mut checks = report.checks.iter();
                let saturated = checks.find(|check| check.result.status == Status::Saturated);
                let why =
                    saturated.map(|check| format!("{}: {}", check.name, check.result.message));
                (StatusCode::BAD_REQUEST, why.unwrap_or_default())
            }
            (_, None) => (StatusCode::OK, text()),
        };
        Self {
            probe: report.probe,
            status,
            text,
            checks: report.checks,
            excluded: report.excluded,
            unknown: report.unknown,
        }
    }
}

/// Whole seconds, and milliseconds below one.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
