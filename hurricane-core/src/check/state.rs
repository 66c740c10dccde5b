//! What the application itself says about its health, without being asked.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The application's own word on its health: not ready for as long as it holds a latch, broken once it says so.
///
/// Clones share the same state.
///
/// # Examples
///
/// ```
/// use hurricane_core::HealthState;
///
/// let state = HealthState::new();
/// let latch = state.latch("cache warm");
/// assert!(!state.is_ready());
/// drop(latch);
/// assert!(state.is_ready());
///
/// state.condemn("the write-ahead log is corrupt");
/// assert_eq!(state.condemned().as_deref(), Some("the write-ahead log is corrupt"));
/// assert!(!state.is_ready());
/// ```
#[derive(Clone, Default)]
pub struct HealthState {
    inner: Arc<Mutex<Inner>>,
}

/// Holds readiness back until it is dropped.
///
/// The readiness probe answers "not now" and names it. Made with [`HealthState::latch`].
#[derive(Debug)]
#[must_use = "a latch that is dropped holds nothing back"]
pub struct Latch {
    state: HealthState,
    number: u64,
}

#[derive(Debug, Default)]
struct Inner {
    latched: u64,
    latches: BTreeMap<u64, (String, Instant)>,
    condemned: Option<String>,
}

// === impl HealthState ===

impl HealthState {
    /// Begins ready and well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds readiness back until the latch is dropped, or [released](Latch::release), which is the same.
    ///
    /// `name` is what is waited for, as in "cache warm". Any number of latches may be held, of one name too; readiness
    /// comes back with the last of them. They are for what comes and goes while the process runs: a cache that is being
    /// filled, a leader being elected. Liveness does not look at them.
    pub fn latch(&self, name: impl Into<String>) -> Latch {
        let mut inner = self.lock();
        inner.latched += 1;
        let number = inner.latched;
        inner.latches.insert(number, (name.into(), Instant::now()));
        Latch {
            state: self.clone(),
            number,
        }
    }

    /// Says that the process is broken for good: liveness and readiness fail from now on, until it is restarted.
    ///
    /// There is no way back, and the first reason stays. For what only a restart can mend: state that is known to be
    /// corrupt, a task that must not have ended. The reason is shown to whoever asks.
    pub fn condemn(&self, reason: impl Into<String>) {
        self.lock().condemned.get_or_insert(reason.into());
    }

    /// Whether no latch is held and the process is not condemned.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let inner = self.lock();
        inner.latches.is_empty() && inner.condemned.is_none()
    }

    /// The latches that are held, the oldest first, and for how long they have been.
    #[must_use]
    pub fn latches(&self) -> Vec<(String, Duration)> {
        let inner = self.lock();
        let held = inner.latches.values();
        held.map(|(name, since)| (name.clone(), since.elapsed()))
            .collect()
    }

    /// Why the process is broken, once it is.
    #[must_use]
    pub fn condemned(&self) -> Option<String> {
        self.lock().condemned.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("HealthState")
            .field("latches", &inner.latches)
            .field("condemned", &inner.condemned)
            .finish()
    }
}

// === impl Latch ===

impl Latch {
    /// Lets readiness come back; dropping the latch does the same.
    pub fn release(self) {}
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.state.lock().latches.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_latch_to_go_brings_readiness_back() {
        let state = HealthState::new();
        let first = state.latch("cache warm");
        time::advance(Duration::from_secs(2)).await;
        let second = state.latch("cache warm");
        let held = |seconds| ("cache warm".to_owned(), Duration::from_secs(seconds));
        assert_eq!(state.latches(), [held(2), held(0)]);
        first.release();
        assert!(!state.is_ready());
        assert_eq!(state.latches(), [held(0)]);
        drop(second);
        assert!(state.is_ready());
    }

    #[test]
    fn a_latch_is_released_by_a_panic_too() {
        let state = HealthState::new();
        let held = state.clone();
        let died = std::thread::spawn(move || {
            let _latch = held.latch("index");
            panic!("while it is held");
        });
        assert!(died.join().is_err());
        assert!(state.is_ready());
    }

    #[test]
    fn the_first_reason_stays() {
        let state = HealthState::new();
        state.condemn("first");
        state.condemn("second");
        assert_eq!(state.condemned().as_deref(), Some("first"));
    }
}
