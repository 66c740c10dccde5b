//! Checks that a worker runs.

use std::time::Duration;

use async_trait::async_trait;
use hurricane_core::{Check, CheckResult, Probe};

use crate::{
    gateway::Gateway,
    pool::{Asker, Pool},
};

/// Statuses of `checks.py`.
pub(crate) const PASS: i32 = 0;
const WARN: i32 = 1;

/// A question that Python answers: on a thread of its own in one of the workers.
#[derive(Debug)]
pub struct PythonCheck {
    name: &'static str,
    what: &'static str,
    asker: Asker,
}

impl Pool {
    /// The checks of the application, each with the probes that it belongs to: the system checks
    /// of a Django project tagged for the probe, and its databases. Of any other application
    /// they ask no more than that the interpreter answers.
    #[must_use]
    pub fn checks(&self) -> Vec<(PythonCheck, Vec<Probe>)> {
        let check = |name, what| PythonCheck {
            name,
            what,
            asker: self.asker(),
        };
        vec![
            (check("liveness checks", "liveness"), vec![Probe::Liveness]),
            (
                check("readiness checks", "readiness"),
                vec![Probe::Readiness],
            ),
            (
                check("database", "database"),
                vec![Probe::Liveness, Probe::Readiness],
            ),
        ]
    }
}

impl Pool {
    /// Waits until the system checks of a Django project that are tagged `startup` pass. They are asked again every
    /// second; what is wrong is logged when it is news.
    pub async fn pass_startup_checks(&self) {
        let asker = self.asker();
        let mut told = String::new();
        loop {
            let answer = asker.ask("startup").await;
            if matches!(answer.status, PASS | WARN) {
                return;
            }
            if answer.message != told {
                tracing::warn!(
                    "The start waits for the checks of the tag 'startup': {}",
                    answer.message
                );
                told = answer.message;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Whether the event loops of an ASGI application turn, as far as they have told.
#[derive(Debug)]
pub struct LoopCheck {
    gateway: Gateway,
    limit: Duration,
}

impl Pool {
    /// A check that fails when the event loop of a worker has not turned for longer than `limit`:
    /// a call that blocks holds up all requests that the loop has in hand. It asks nothing of the
    /// loop, which tells by itself once a second, and passes while no worker has one.
    #[must_use]
    pub fn loop_check(&self, limit: Duration) -> LoopCheck {
        LoopCheck {
            gateway: self.gateway().clone(),
            limit,
        }
    }
}

#[async_trait]
impl Check for LoopCheck {
    fn name(&self) -> &str {
        "event loop"
    }

    async fn check(&self) -> CheckResult {
        let Some(lag) = self.gateway.loop_lag() else {
            return CheckResult::pass_with("there is none");
        };
        let text = format!("the slowest turned {} ms late", lag.as_millis());
        if lag > self.limit {
            CheckResult::fail(text)
        } else {
            CheckResult::pass_with(text)
        }
    }
}

#[async_trait]
impl Check for PythonCheck {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> CheckResult {
        let answer = self.asker.ask(self.what).await;
        match answer.status {
            PASS => CheckResult::pass_with(answer.message),
            WARN => CheckResult::warn(answer.message),
            _ => CheckResult::fail(answer.message),
        }
    }
}
