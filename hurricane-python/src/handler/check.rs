//! How the handlers are, for the probes.

use std::time::Duration;

use async_trait::async_trait;
use hurricane_core::{Check, CheckResult};

use super::Desk;

/// Whether there is a worker, and none is stuck at a message.
#[derive(Debug)]
pub struct DeskCheck {
    desk: Desk,
    patience: Duration,
}

impl Desk {
    /// A check that fails when no worker has been up for longer than `patience`, and while one
    /// that is at a message for longer than it may is not yet replaced.
    #[must_use]
    pub fn check(&self, patience: Duration) -> DeskCheck {
        DeskCheck {
            desk: self.clone(),
            patience,
        }
    }
}

#[async_trait]
impl Check for DeskCheck {
    fn name(&self) -> &str {
        "handlers"
    }

    async fn check(&self) -> CheckResult {
        if let Some(alone) = self.desk.alone()
            && alone > self.patience
        {
            return CheckResult::fail(format!("no worker for {} s", alone.as_secs()));
        }
        if self.desk.any_hung() {
            return CheckResult::fail("a handler is at a message for longer than it may");
        }
        CheckResult::pass()
    }
}
