//! Signs of life from the loops that must not stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A sign of life: one loop beats, others look at how long ago that was.
///
/// Liveness fails once a heartbeat is older than [`CheckPolicy::max_age`](crate::CheckPolicy::max_age), so a runtime
/// that hangs is seen although the probe server, on a thread of its own, still answers. Clones share the same beat.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::Heartbeat;
///
/// let heartbeat = Heartbeat::new();
/// heartbeat.beat();
/// assert!(heartbeat.age().unwrap() < Duration::from_secs(1));
/// heartbeat.retire();
/// assert_eq!(heartbeat.age(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Heartbeat {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: Instant,
    last_millis: AtomicU64,
}

/// In place of a time: the loop has ended as it should.
const RETIRED: u64 = u64::MAX;

// === impl Heartbeat ===

impl Heartbeat {
    /// Begins with a beat.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                epoch: Instant::now(),
                last_millis: AtomicU64::new(0),
            }),
        }
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        self.inner.last_millis.store(self.inner.now(), Relaxed);
    }

    /// How long ago the last beat was; none once [retired](Self::retire).
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        match self.inner.last_millis.load(Relaxed) {
            RETIRED => None,
            last => Some(Duration::from_millis(self.inner.now().saturating_sub(last))),
        }
    }

    /// Says that no more beats are to be expected, because the loop has ended in good order.
    ///
    /// Merely dropping a heartbeat does not retire it: a loop that died of a panic is to be missed.
    pub fn retire(&self) {
        self.inner.last_millis.store(RETIRED, Relaxed);
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(RETIRED - 1)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ages_until_the_next_beat() {
        let heartbeat = Heartbeat::new();
        time::advance(Duration::from_secs(3)).await;
        assert_eq!(heartbeat.age(), Some(Duration::from_secs(3)));
        heartbeat.clone().beat();
        assert_eq!(heartbeat.age(), Some(Duration::ZERO));
    }
}
