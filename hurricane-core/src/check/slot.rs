//! A registered check at work: whether it runs, what it found, how it stands.

use std::{
    collections::hash_map::RandomState, fmt, hash::BuildHasher as _, sync::Arc, time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::AbortHandle,
    time::{self, Instant},
};
use tracing::info;

use super::{
    Check, CheckConfig, CheckPolicy, CheckReport, CheckResult, Status, run::run, standing::Standing,
};

/// A check, its configuration and its results.
pub(super) struct Slot {
    pub(super) name: Arc<str>,
    pub(super) config: CheckConfig,
    check: Arc<dyn Check>,
    /// How long a run may take.
    bound: Duration,
    state: watch::Sender<State>,
}

/// A check that runs by itself, until this is dropped.
#[derive(Debug)]
pub(super) struct Background(AbortHandle);

/// An asker's view of a slot.
pub(super) struct Joined {
    slot: Arc<Slot>,
    updates: watch::Receiver<State>,
    /// The number of results when the asker came; none when the last one will do.
    seen: Option<u64>,
    deadline: Instant,
}

#[derive(Debug)]
struct State {
    running_since: Option<Instant>,
    /// Counts the results; a change of it is what askers wait for.
    results: u64,
    last: Option<Finished>,
    /// What is told while the check stands bad although its last result was good.
    last_bad: CheckResult,
    standing: Standing,
}

#[derive(Clone, Debug)]
struct Finished {
    result: CheckResult,
    at: Instant,
    took: Duration,
}

/// Marks the slot as free again should the run be dropped, as it is when its runtime shuts down.
struct Running(Option<Arc<Slot>>);

// === impl Slot ===

impl Slot {
    pub(super) fn new(check: Arc<dyn Check>, config: CheckConfig, policy: &CheckPolicy) -> Self {
        let initially = config.initially;
        Self {
            name: check.name().into(),
            bound: config.timeout.unwrap_or(policy.max_age.saturating_mul(2)),
            state: watch::Sender::new(State {
                running_since: None,
                results: 0,
                last: None,
                last_bad: CheckResult::with(initially, "no good result yet"),
                standing: Standing::new(initially.is_good(), Instant::now()),
            }),
            config,
            check,
        }
    }

    /// Runs the check in the background, if that is where it is to run.
    pub(super) fn start(self: &Arc<Self>, handle: &Handle) -> Option<Background> {
        self.config.interval?;
        let slot = Arc::clone(self);
        let task = handle.spawn(async move {
            time::sleep(slot.config.initial_delay).await;
            loop {
                slot.state.send_if_modified(|state| {
                    state.running_since = Some(Instant::now());
                    false
                });
                Running(Some(Arc::clone(&slot))).run().await;
                time::sleep(slot.pause()).await;
            }
        });
        Some(Background(task.abort_handle()))
    }

    /// Sees to it that there is, or will be, a result to wait for.
    pub(super) fn join(
        self: &Arc<Self>,
        now: Instant,
        busy: bool,
        policy: &CheckPolicy,
        handle: &Handle,
    ) -> Joined {
        let updates = self.state.subscribe();
        let mut start = false;
        let mut seen = None;
        let mut wait = policy.timeout;
        self.state.send_if_modified(|state| {
            if self.is_fresh(state, now) {
                return false;
            }
            seen = Some(state.results);
            if self.config.interval.is_none() {
                start = state.running_since.is_none();
                let since = *state.running_since.get_or_insert(now);
                let hangs = now.saturating_duration_since(since) > policy.timeout;
                if (busy || hangs) && self.counts(state, now, policy) {
                    wait = policy.patience.min(policy.timeout);
                }
            }
            // That a run begins is nothing anybody waits for.
            false
        });
        if start {
            // The guard is made here: should the runtime be gone, the task is dropped without having been polled.
            let running = Running(Some(Arc::clone(self)));
            handle.spawn(running.run());
        }
        Joined {
            slot: Arc::clone(self),
            updates,
            seen,
            deadline: now + wait,
        }
    }

    /// What the check says at `now`, without a run.
    pub(super) fn report(&self, now: Instant, policy: &CheckPolicy) -> CheckReport {
        let state = self.state.borrow();
        let stale = !self.is_fresh(&state, now);
        self.report_of(&state, stale, now, policy)
    }

    /// Whether the last result will do without a new one.
    fn is_fresh(&self, state: &State, now: Instant) -> bool {
        state.last.as_ref().is_some_and(|last| {
            self.config.interval.is_some()
                || now.saturating_duration_since(last.at) < self.time_to_live(last)
        })
    }

    /// Whether the last result is young enough to stand for a fresh one.
    fn counts(&self, state: &State, now: Instant, policy: &CheckPolicy) -> bool {
        state.last.as_ref().is_some_and(|last| {
            let max_age = match self.config.interval {
                None => policy.max_age.saturating_add(self.time_to_live(last)),
                Some(_) => {
                    let two_turns = self.config.longest_pause().saturating_mul(2);
                    two_turns.max(policy.max_age)
                }
            };
            now.saturating_duration_since(last.at) < max_age
        })
    }

    fn time_to_live(&self, last: &Finished) -> Duration {
        if last.result.status.is_good() {
            self.config.ttl_pass
        } else {
            self.config.ttl_fail
        }
    }

    fn report_of(
        &self,
        state: &State,
        stale: bool,
        now: Instant,
        policy: &CheckPolicy,
    ) -> CheckReport {
        let last = state.last.as_ref();
        let thresholds = self.config.thresholds;
        let mut report = CheckReport {
            name: String::from(&*self.name),
            result: CheckResult::pass(),
            found: None,
            severity: self.config.severity,
            progress: None,
            since: None,
            age: None,
            took: None,
            stale,
            tags: self.config.tags.clone(),
        };
        let mut result = match last.filter(|_| self.counts(state, now, policy)) {
            Some(last) => {
                let standing = state.standing.at(now, thresholds);
                report.found = Some(last.result.status);
                report.progress = standing.progress(now, thresholds);
                report.since = Some(now.saturating_duration_since(standing.since()));
                report.age = Some(now.saturating_duration_since(last.at));
                report.took = Some(last.took);
                match (standing.is_good(), last.result.status.is_good()) {
                    (false, true) => state.last_bad.clone(),
                    (true, false) => CheckResult::with(Status::Warn, last.result.message.clone()),
                    (true, true) | (false, false) => last.result.clone(),
                }
            }
            None => {
                report.stale = true;
                let status = last.map_or(self.config.initially, |_| Status::Fail);
                CheckResult::with(status, self.missing(last, now, policy))
            }
        };
        result.status = self.config.severity.weigh(result.status);
        report.result = result;
        report
    }

    /// Why there is no result that counts.
    fn missing(&self, last: Option<&Finished>, now: Instant, policy: &CheckPolicy) -> String {
        match (self.config.interval, last) {
            (None, _) => format!("no result within {:?}", policy.timeout),
            (Some(_), None) => "no result yet".to_owned(),
            (Some(_), Some(last)) => {
                let age = now.saturating_duration_since(last.at);
                format!("no result for {}s", age.as_secs())
            }
        }
    }

    /// The pause until the next run in the background.
    fn pause(&self) -> Duration {
        let interval = self.config.interval.unwrap_or_default();
        let stretch = self.config.longest_pause().saturating_sub(interval);
        // A new hasher has random keys; there is no need for better dice.
        let thrown = RandomState::new().hash_one(0_u8) as u32;
        let share = f64::from(thrown) / f64::from(u32::MAX);
        let stretch = Duration::try_from_secs_f64(stretch.as_secs_f64() * share).unwrap_or(stretch);
        interval.saturating_add(stretch)
    }

    fn finish(&self, result: CheckResult) {
        let good = result.status.is_good();
        let mut failed = None;
        let mut passes = false;
        self.state.send_modify(|state| {
            let at = Instant::now();
            let since = state.running_since.take().unwrap_or(at);
            let first = state.results == 0;
            let stood_good = state.standing.is_good();
            state.standing.observe(good, at, self.config.thresholds);
            let stands_good = state.standing.is_good();
            if !stands_good && (first || stood_good) {
                failed = Some(result.message.clone());
            }
            passes = stands_good && !stood_good && !first;
            if !good {
                state.last_bad = result.clone();
            }
            state.last = Some(Finished {
                result,
                at,
                took: at - since,
            });
            state.results += 1;
        });
        if let Some(message) = failed {
            info!(check.name = &*self.name, "The check failed: {message}");
        } else if passes {
            info!(check.name = &*self.name, "The check passes");
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("check", &self.name)
            .field("config", &self.config)
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

// === impl Background ===

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Joined ===

impl Joined {
    pub(super) async fn report(mut self, policy: &CheckPolicy) -> CheckReport {
        let Some(seen) = self.seen else {
            let state = self.updates.borrow();
            return self.slot.report_of(&state, false, Instant::now(), policy);
        };
        let update = self.updates.wait_for(|state| state.results != seen);
        let stale = match time::timeout_at(self.deadline, update).await {
            Ok(Ok(state)) => return self.slot.report_of(&state, false, Instant::now(), policy),
            // The other error cannot be: the slot holds a sender.
            Ok(Err(_)) | Err(_) => true,
        };
        let state = self.slot.state.borrow();
        self.slot.report_of(&state, stale, Instant::now(), policy)
    }
}

// === impl Running ===

impl Running {
    async fn run(mut self) {
        let Some(slot) = &self.0 else { return };
        let result = run(&*slot.check, slot.bound).await;
        if let Some(slot) = self.0.take() {
            slot.finish(result);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            slot.state.send_if_modified(|state| {
                state.running_since = None;
                false
            });
        }
    }
}

#[cfg(test)]
mod tests;
