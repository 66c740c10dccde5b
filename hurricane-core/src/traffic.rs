//! What the process knows of its own load.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Counts requests in flight, waiting and done, shared by everything that serves and everything that reports.
///
/// All numbers are plain relaxed atomics: each is right by itself, and none waits for another.
#[derive(Debug, Default)]
pub struct Traffic {
    in_flight: AtomicUsize,
    completed: AtomicU64,
    total_nanos: AtomicU64,
    queued: AtomicUsize,
    executing: AtomicUsize,
}

// === impl Traffic ===

impl Traffic {
    /// Starts with nothing in hand.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request that has come in; each call is answered by one [`end`](Self::end) or [`abandon`](Self::abandon).
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts a request whose answer is complete.
    pub fn end(&self, duration: Duration) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.completed.fetch_add(1, Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.total_nanos.fetch_add(nanos, Relaxed);
    }

    /// Counts down a request that got no answer, so that it does not blur the average.
    pub fn abandon(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Requests that have come in and are not yet answered to the end.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Requests answered to the end since the start.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.load(Relaxed)
    }

    /// Mean time of the answered requests; none before the first.
    #[must_use]
    pub fn average(&self) -> Option<Duration> {
        let total = self.total_nanos.load(Relaxed);
        total
            .checked_div(self.completed())
            .map(Duration::from_nanos)
    }

    /// Requests accepted and waiting for a free worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Sets how many requests wait for a free worker; for the owner of the queue.
    pub fn set_queued(&self, count: usize) {
        self.queued.store(count, Relaxed);
    }

    /// Counts a request that has to wait; each call is answered by one [`leave_queue`](Self::leave_queue).
    ///
    /// For queues that do not know their length; not to be mixed with [`set_queued`](Self::set_queued).
    pub fn enter_queue(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// Counts down a request that waits no longer, for whatever reason.
    pub fn leave_queue(&self) {
        self.queued.fetch_sub(1, Relaxed);
    }

    /// Pieces of work being executed by workers.
    #[must_use]
    pub fn executing(&self) -> usize {
        self.executing.load(Relaxed)
    }

    /// Sets how many pieces of work are being executed; for the owner of the workers.
    pub fn set_executing(&self, count: usize) {
        self.executing.store(count, Relaxed);
    }

    /// Whether the process has work in hand.
    ///
    /// A busy process answers checks slowly for reasons that are not its health; the checks then get
    /// [less time](crate::CheckPolicy::patience) before their last result counts.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.in_flight() > 0 || self.executing() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_what_was_answered() {
        let traffic = Traffic::new();
        assert_eq!(traffic.average(), None);
        for millis in [10, 30] {
            traffic.begin();
            traffic.end(Duration::from_millis(millis));
        }
        traffic.begin();
        traffic.abandon();
        assert_eq!(traffic.average(), Some(Duration::from_millis(20)));
        assert_eq!(traffic.completed(), 2);
        assert!(!traffic.is_busy());
    }

    #[test]
    fn is_busy_with_requests_or_with_other_work() {
        let traffic = Traffic::new();
        traffic.begin();
        assert!(traffic.is_busy());
        traffic.abandon();
        traffic.set_executing(1);
        assert!(traffic.is_busy());
    }
}
