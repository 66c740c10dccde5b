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
/// A heartbeat that is late by more than its tolerance is shown as stalled, by the probes and the metrics. Liveness
/// fails once it is older than [`CheckPolicy::max_age`](crate::CheckPolicy::max_age), so a runtime that hangs is seen
/// although the probe server, on a thread of its own, still answers. Clones share the same beat.
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
    tolerance: Duration,
    last_millis: AtomicU64,
    stalls: AtomicU64,
}

/// In place of a time: the loop has ended as it should.
const RETIRED: u64 = u64::MAX;

/// Longer than a busy runtime takes between two beats.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(2);

/// The longest pause between two beats.
#[cfg(feature = "server")]
const PAUSE: Duration = Duration::from_secs(1);

// === impl Heartbeat ===

impl Heartbeat {
    /// Begins with a beat, and tolerates two seconds between beats.
    #[must_use]
    pub fn new() -> Self {
        Self::with_tolerance(TOLERANCE)
    }

    /// Begins with a beat; it is stalled when there is none for longer than `tolerance`.
    #[must_use]
    pub fn with_tolerance(tolerance: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                epoch: Instant::now(),
                tolerance,
                last_millis: AtomicU64::new(0),
                stalls: AtomicU64::new(0),
            }),
        }
    }

    /// Gives a sign of life, unless it is [retired](Self::retire).
    pub fn beat(&self) {
        let Inner {
            last_millis,
            stalls,
            ..
        } = &*self.inner;
        let now = self.inner.now();
        let beaten = last_millis.fetch_update(Relaxed, Relaxed, |last| {
            (last != RETIRED).then_some(now.max(last))
        });
        if let Ok(last) = beaten
            && Duration::from_millis(now.saturating_sub(last)) > self.inner.tolerance
        {
            stalls.fetch_add(1, Relaxed);
        }
    }

    /// For how long there has been no beat, if that is longer than tolerated.
    #[must_use]
    pub fn stalled(&self) -> Option<Duration> {
        self.age().filter(|age| *age > self.inner.tolerance)
    }

    /// How often it stalled and beat again.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.inner.stalls.load(Relaxed)
    }

    /// How long to wait between two beats.
    #[cfg(feature = "server")]
    pub(crate) fn pause(&self) -> Duration {
        (self.inner.tolerance / 2).clamp(Duration::from_millis(1), PAUSE)
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

    #[tokio::test(start_paused = true)]
    async fn is_stalled_beyond_its_tolerance() {
        let second = Duration::from_secs(1);
        let heartbeat = Heartbeat::with_tolerance(2 * second);
        time::advance(2 * second).await;
        assert_eq!((heartbeat.stalled(), heartbeat.stalls()), (None, 0));
        heartbeat.beat();
        time::advance(3 * second).await;
        assert_eq!(heartbeat.stalled(), Some(3 * second));
        assert_eq!(heartbeat.stalls(), 0, "it is not over yet");
        heartbeat.beat();
        assert_eq!((heartbeat.stalled(), heartbeat.stalls()), (None, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_retired_one_stays_so() {
        let heartbeat = Heartbeat::new();
        heartbeat.retire();
        heartbeat.beat();
        time::advance(Duration::from_secs(60)).await;
        assert_eq!((heartbeat.age(), heartbeat.stalled()), (None, None));
    }
}
