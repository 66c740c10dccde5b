//! The life of the process: starting, running, draining, stopped.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

/// A stage in the life of the process.
///
/// The order is the order of life, so `phase >= Phase::Draining` reads as it sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Start-up tasks run; no traffic is taken yet.
    Starting,
    /// The application serves.
    Running,
    /// The process is to end: what is in hand is finished, nothing new should come.
    Draining,
    /// Everything has ended.
    Stopped,
}

/// The one source of truth for probes, listeners and workers about where the process stands.
///
/// Clones share the same state. A lifecycle only moves forward.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Lifecycle, Phase};
///
/// let lifecycle = Lifecycle::new();
/// assert!(lifecycle.run());
/// assert!(lifecycle.drain());
/// assert!(!lifecycle.run(), "there is no way back");
/// assert_eq!(lifecycle.phase(), Phase::Draining);
/// ```
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
    startup: Arc<Startup>,
    draining: Arc<OnceLock<Instant>>,
}

#[derive(Debug)]
struct Startup {
    began: Instant,
    finished: OnceLock<(SystemTime, Duration)>,
}

// === impl Lifecycle ===

#[expect(
    clippy::must_use_candidate,
    reason = "most callers only want the change, whoever makes it"
)]
impl Lifecycle {
    /// Begins in [`Phase::Starting`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            startup: Arc::new(Startup {
                began: Instant::now(),
                finished: OnceLock::new(),
            }),
            draining: Arc::default(),
        }
    }

    /// Where the process stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A receiver that sees every later change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Ends the start-up; returns whether this call did it.
    pub fn run(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                // Set before the phase shows, so that whoever sees `Running` finds the time.
                let _ = self
                    .startup
                    .finished
                    .set((SystemTime::now(), self.startup.began.elapsed()));
                *phase = Phase::Running;
            }
            starting
        })
    }

    /// Begins the end; returns whether this call did it.
    pub fn drain(&self) -> bool {
        self.advance(Phase::Draining)
    }

    /// Marks the end; returns whether this call did it.
    pub fn stop(&self) -> bool {
        self.advance(Phase::Stopped)
    }

    /// Waits until the process has come as far as `phase`, or further.
    pub async fn reached(&self, phase: Phase) {
        // The error means that every sender is gone, and `self` holds one.
        let _ = self.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// When the start-up ended, once it has.
    #[must_use]
    pub fn startup_time(&self) -> Option<SystemTime> {
        self.startup.finished.get().map(|(time, _)| *time)
    }

    /// How long the start-up took, once it is over.
    #[must_use]
    pub fn startup_duration(&self) -> Option<Duration> {
        self.startup.finished.get().map(|(_, duration)| *duration)
    }

    /// When the end began, once it has. Unlike asking for the phase this takes no lock.
    #[must_use]
    pub fn draining_since(&self) -> Option<Instant> {
        self.draining.get().copied()
    }

    fn advance(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            if forward {
                // All phases that are advanced to are of the end. Set before they show, as above.
                self.draining.get_or_init(Instant::now);
                *phase = to;
            }
            forward
        })
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn moves_forward_only() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.startup_time(), None);
        assert!(lifecycle.run());
        assert!(!lifecycle.run());
        assert!(lifecycle.startup_time().is_some());
        assert!(lifecycle.startup_duration().is_some());
        assert!(lifecycle.stop());
        let since = lifecycle.draining_since();
        assert!(since.is_some());
        assert!(!lifecycle.drain());
        assert_eq!(lifecycle.phase(), Phase::Stopped);
        assert_eq!(lifecycle.draining_since(), since);
    }

    #[test]
    fn a_start_that_was_broken_off_never_runs() {
        let lifecycle = Lifecycle::new();
        assert!(lifecycle.drain());
        assert!(!lifecycle.run());
        assert_eq!(lifecycle.startup_time(), None);
    }

    #[test]
    fn reached_waits_for_the_phase_or_a_later_one() {
        let lifecycle = Lifecycle::new();
        let mut running = task::spawn(lifecycle.reached(Phase::Running));
        assert_pending!(running.poll());
        lifecycle.clone().stop();
        assert!(running.is_woken());
        assert_ready!(running.poll());
    }
}
