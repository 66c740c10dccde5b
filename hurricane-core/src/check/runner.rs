//! Running checks: shared runs, one deadline, last results.
//!
//! # Theory of operation
//!
//! Each check has a slot that holds whether it runs now and what it last found. Asking starts a run, or joins the one
//! that is going on, and then waits until the slot shows a result that was not there before. The run is a task of its
//! own on the main runtime: an asker that goes away does not cancel it, and a result that comes too late for one probe
//! counts for the next.

use std::{borrow::Cow, future::poll_fn, panic, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{self, Instant},
};
use tracing::error;

use super::{Check, CheckResult, Probe, Status};
use crate::{registry::RegisteredCheck, traffic::Traffic};

/// How long the probes wait for checks, and how long a result counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPolicy {
    /// How long a probe waits for fresh results; below Kubernetes' own default of one second.
    pub timeout: Duration,
    /// How long a check's last result counts when there is no fresh one.
    pub max_age: Duration,
    /// How long a probe waits when there is a last result that counts and the process is
    /// [busy](Traffic::is_busy), or the check is known to hang.
    pub patience: Duration,
}

/// Runs the registered checks for the probes.
#[derive(Debug)]
pub struct CheckRunner {
    slots: Vec<Slot>,
    policy: CheckPolicy,
    traffic: Arc<Traffic>,
    handle: Handle,
}

/// What all checks of one probe say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// The probe that was asked.
    pub probe: Probe,
    /// One report for each check, in the order of registration.
    pub checks: Vec<CheckReport>,
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The check's name.
    pub name: String,
    /// What it found.
    pub result: CheckResult,
    /// How long ago it found this; none when there is no result.
    pub age: Option<Duration>,
    /// How long it took; none when there is no result.
    pub took: Option<Duration>,
    /// Whether this is an older result, since no fresh one came in time.
    pub stale: bool,
}

struct Slot {
    check: Arc<dyn Check>,
    probes: Vec<Probe>,
    state: watch::Sender<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    running_since: Option<Instant>,
    /// Counts the results; a change of it is what askers wait for.
    results: u64,
    last: Option<Finished>,
}

#[derive(Clone, Debug)]
struct Finished {
    result: CheckResult,
    at: Instant,
    took: Duration,
}

/// An asker's view of one run.
struct Joined<'a> {
    slot: &'a Slot,
    updates: watch::Receiver<SlotState>,
    /// The number of results when the asker came.
    seen: u64,
    deadline: Instant,
}

/// Marks the slot as free again should the run be dropped, as it is when its runtime shuts down.
struct Running(Option<watch::Sender<SlotState>>);

// === impl CheckPolicy ===

impl Default for CheckPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(800),
            max_age: Duration::from_secs(30),
            patience: Duration::from_millis(2),
        }
    }
}

// === impl CheckRunner ===

impl CheckRunner {
    /// Takes the checks to run on the runtime behind `handle`.
    #[must_use]
    pub fn new(
        checks: &[RegisteredCheck],
        policy: CheckPolicy,
        traffic: Arc<Traffic>,
        handle: Handle,
    ) -> Self {
        let slots = checks
            .iter()
            .map(|registered| Slot {
                check: Arc::clone(&registered.check),
                probes: registered.probes.clone(),
                state: watch::Sender::new(SlotState::default()),
            })
            .collect();
        Self {
            slots,
            policy,
            traffic,
            handle,
        }
    }

    /// The policy the runner was made with.
    #[must_use]
    pub fn policy(&self) -> &CheckPolicy {
        &self.policy
    }

    /// The runtime the checks run on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Asks all checks of a probe, and answers within the policy's deadline whatever they do.
    pub async fn ask(&self, probe: Probe) -> ProbeReport {
        let now = Instant::now();
        let busy = self.traffic.is_busy();
        // All runs are started before the first is waited for, so that they share the time.
        let joined: Vec<_> = self
            .slots
            .iter()
            .filter(|slot| slot.probes.contains(&probe))
            .map(|slot| self.join(slot, now, busy))
            .collect();
        let mut checks = Vec::with_capacity(joined.len());
        for run in joined {
            checks.push(run.report(&self.policy).await);
        }
        ProbeReport { probe, checks }
    }

    fn join<'a>(&self, slot: &'a Slot, now: Instant, busy: bool) -> Joined<'a> {
        let updates = slot.state.subscribe();
        let mut start = false;
        let mut seen = 0;
        let mut wait = self.policy.timeout;
        slot.state.send_if_modified(|state| {
            start = state.running_since.is_none();
            let since = *state.running_since.get_or_insert(now);
            let hangs = now.saturating_duration_since(since) > self.policy.timeout;
            if (busy || hangs) && state.counts(now, &self.policy) {
                wait = self.policy.patience.min(self.policy.timeout);
            }
            seen = state.results;
            // That a run begins is nothing anybody waits for.
            false
        });
        if start {
            // The guard is made here: should the runtime be gone, the task is dropped without having been polled.
            let running = Running(Some(slot.state.clone()));
            let check = Arc::clone(&slot.check);
            self.handle
                .spawn(async move { running.finish(run(&*check).await) });
        }
        Joined {
            slot,
            updates,
            seen,
            deadline: now + wait,
        }
    }
}

// === impl ProbeReport ===

impl ProbeReport {
    /// The worst status of all checks; [`Status::Pass`] without any.
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks
            .iter()
            .map(|check| check.result.status)
            .max()
            .unwrap_or(Status::Pass)
    }

    /// The first check that failed.
    #[must_use]
    pub fn first_failed(&self) -> Option<&CheckReport> {
        self.checks
            .iter()
            .find(|check| check.result.status == Status::Fail)
    }
}

// === impl Joined ===

impl Joined<'_> {
    async fn report(mut self, policy: &CheckPolicy) -> CheckReport {
        let seen = self.seen;
        let fresh = {
            let update = self.updates.wait_for(|state| state.results != seen);
            match time::timeout_at(self.deadline, update).await {
                Ok(Ok(state)) => state.last.clone(),
                // The other error cannot be: the slot holds a sender.
                Ok(Err(_)) | Err(_) => None,
            }
        };
        let now = Instant::now();
        let name = self.slot.check.name().to_owned();
        let (finished, stale) = match fresh {
            Some(finished) => (Some(finished), false),
            None => {
                let state = self.slot.state.borrow();
                (
                    state.last.clone().filter(|_| state.counts(now, policy)),
                    true,
                )
            }
        };
        match finished {
            Some(finished) => CheckReport {
                name,
                result: finished.result,
                age: Some(now.saturating_duration_since(finished.at)),
                took: Some(finished.took),
                stale,
            },
            None => CheckReport {
                name,
                result: CheckResult::fail(format!("no result within {:?}", policy.timeout)),
                age: None,
                took: None,
                stale: true,
            },
        }
    }
}

// === impl SlotState ===

impl SlotState {
    /// Whether the last result is young enough to stand for a fresh one.
    fn counts(&self, now: Instant, policy: &CheckPolicy) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| now.saturating_duration_since(last.at) < policy.max_age)
    }
}

// === impl Running ===

impl Running {
    fn finish(mut self, result: CheckResult) {
        let Some(state) = self.0.take() else { return };
        state.send_modify(|state| {
            let at = Instant::now();
            let since = state.running_since.take().unwrap_or(at);
            let took = at - since;
            state.last = Some(Finished { result, at, took });
            state.results += 1;
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.send_if_modified(|state| {
                state.running_since = None;
                false
            });
        }
    }
}

// === impl Slot ===

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("check", &self.check.name())
            .field("probes", &self.probes)
            .field("state", &*self.state.borrow())
            .finish()
    }
}

/// Runs the check once; a panic is a result too.
async fn run(check: &dyn Check) -> CheckResult {
    let mut running: Option<Pin<Box<dyn Future<Output = CheckResult> + Send + '_>>> = None;
    let outcome = poll_fn(|cx| {
        // After a panic nothing of the future is used again, so its broken state cannot be observed.
        let polled = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            running
                .get_or_insert_with(|| check.check())
                .as_mut()
                .poll(cx)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await;
    outcome.unwrap_or_else(|payload| {
        let reason = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        error!(check.name = check.name(), "check panicked: {reason}");
        CheckResult {
            status: Status::Fail,
            message: Cow::Borrowed("check panicked"),
        }
    })
}

#[cfg(test)]
mod tests;
