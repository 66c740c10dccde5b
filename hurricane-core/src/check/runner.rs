//! Running checks: shared runs, one deadline, last results.
//!
//! # Theory of operation
//!
//! Each check has a slot that holds whether it runs now, what it last found, and how it stands. Asking starts a run, or
//! joins the one that is going on, and then waits until the slot shows a result that was not there before. The run is a
//! task of its own on the main runtime: an asker that goes away does not cancel it, and a result that comes too late for
//! one probe counts for the next. A check in the background has one task that runs it over and over; askers look at its
//! slot and start nothing.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{Checks, Probe, ProbeReport, Selection};
use crate::{registry::RegisteredCheck, traffic::Traffic};

/// How long the probes wait for checks, and how long a result counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPolicy {
    /// How long a probe waits for fresh results; below Kubernetes' own default of one second.
    pub timeout: Duration,
    /// How long a check's last result counts when there is no fresh one.
    ///
    /// The result of a check in the background counts for two of its intervals, if that is longer.
    pub max_age: Duration,
    /// How long a probe waits when there is a last result that counts and the process is
    /// [busy](Traffic::is_busy), or the check is known to hang.
    pub patience: Duration,
}

/// Runs the registered checks for the probes.
#[derive(Debug)]
pub struct CheckRunner {
    checks: Checks,
}

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
    /// Takes the checks to run on the runtime behind `handle`; those in the background begin.
    #[must_use]
    pub fn new(
        checks: &[RegisteredCheck],
        policy: CheckPolicy,
        traffic: Arc<Traffic>,
        handle: Handle,
    ) -> Self {
        Self {
            checks: Checks::new(checks, policy, traffic, handle),
        }
    }

    /// The policy the runner was made with.
    #[must_use]
    pub fn policy(&self) -> &CheckPolicy {
        self.checks.policy()
    }

    /// The runtime the checks run on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.checks.handle()
    }

    /// The checks, to add to and to remove from.
    #[must_use]
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Asks all checks of a probe, and answers within the policy's deadline whatever they do.
    pub async fn ask(&self, probe: Probe) -> ProbeReport {
        self.ask_with(probe, &Selection::default()).await
    }

    /// Asks the selected checks of a probe, and answers within the policy's deadline whatever they do.
    pub async fn ask_with(&self, probe: Probe, selection: &Selection) -> ProbeReport {
        let mut picked = self.checks.pick(probe, selection);
        ProbeReport {
            probe,
            excluded: std::mem::take(&mut picked.excluded),
            unknown: std::mem::take(&mut picked.unknown),
            checks: self.checks.ask_all(picked).await,
        }
    }

    /// What [`ask_with`](Self::ask_with) would say about the names in the selection; no check is asked.
    #[cfg(feature = "server")]
    pub(crate) fn resolve(&self, probe: Probe, selection: &Selection) -> ProbeReport {
        let picked = self.checks.pick(probe, selection);
        ProbeReport {
            probe,
            checks: Vec::new(),
            excluded: picked.excluded,
            unknown: picked.unknown,
        }
    }

    /// Asks every check that any probe asks, once, whatever they find.
    pub async fn rehearse(&self) {
        self.checks.ask_all(self.checks.pick_all()).await;
    }
}

#[cfg(test)]
mod tests;
