//! A loop that must give signs of life.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Check, CheckResult};
use crate::heartbeat::Heartbeat;

/// Fails when nobody has touched it for too long: for loops that nothing else watches.
///
/// Clones share the same touches; one is registered, another goes with the loop. It begins as if just touched. That it
/// is dropped changes nothing: a loop that died is to be missed. One that ends in good order says so with
/// [`retire`](Self::retire).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{Deadman, Probe, Registry};
///
/// let deadman = Deadman::new("importer", Duration::from_secs(60)).warn_after(Duration::from_secs(20));
/// let mut registry = Registry::new();
/// registry.add_check(deadman.clone(), [Probe::Liveness])?;
/// std::thread::spawn(move || {
///     for _batch in 0..10 {
///         deadman.touch();
///     }
///     deadman.retire();
/// });
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deadman {
    name: Arc<str>,
    heartbeat: Heartbeat,
    max_silence: Duration,
    warn_after: Duration,
}

// === impl Deadman ===

impl Deadman {
    /// Fails after more than `max_silence` without a touch.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, max_silence: Duration) -> Self {
        Self {
            name: name.into(),
            heartbeat: Heartbeat::new(),
            max_silence,
            warn_after: Duration::MAX,
        }
    }

    /// Warns after more than `silence` without a touch.
    #[must_use]
    pub fn warn_after(mut self, silence: Duration) -> Self {
        self.warn_after = silence;
        self
    }

    /// Gives a sign of life.
    pub fn touch(&self) {
        self.heartbeat.beat();
    }

    /// Says that no more touches are to be expected, because the loop has ended in good order.
    pub fn retire(&self) {
        self.heartbeat.retire();
    }
}

#[async_trait]
impl Check for Deadman {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let Some(silence) = self.heartbeat.age() else {
            return CheckResult::pass_with("ended in good order");
        };
        let message = || format!("silent for {:.1}s", silence.as_secs_f64());
        if silence > self.max_silence {
            CheckResult::fail(message())
        } else if silence > self.warn_after {
            CheckResult::warn(message())
        } else {
            CheckResult::pass()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_warning_then_a_failure_until_the_next_touch() {
        let second = Duration::from_secs(1);
        let deadman = Deadman::new("loop", 10 * second).warn_after(5 * second);
        let touching = deadman.clone();
        time::advance(5 * second).await;
        assert_eq!(deadman.check().await, CheckResult::pass());
        time::advance(second).await;
        assert_eq!(deadman.check().await, CheckResult::warn("silent for 6.0s"));
        time::advance(5 * second).await;
        assert_eq!(deadman.check().await, CheckResult::fail("silent for 11.0s"));
        touching.touch();
        assert_eq!(deadman.check().await, CheckResult::pass());
        drop(touching);
        time::advance(11 * second).await;
        assert_eq!(deadman.check().await, CheckResult::fail("silent for 11.0s"));
        deadman.retire();
        assert_eq!(
            deadman.check().await,
            CheckResult::pass_with("ended in good order")
        );
    }
}
