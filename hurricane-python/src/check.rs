//! Checks that a worker runs.

use async_trait::async_trait;
use hurricane_core::{Check, CheckResult, Probe};

use crate::pool::{Asker, Pool};

/// Statuses of `checks.py`.
const PASS: i32 = 0;
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
