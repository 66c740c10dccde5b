//! Whether the broker takes messages, which it does not while it is short of memory or disk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics::count_blocked;

/// What the broker last said of one connection.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    reason: Mutex<Option<String>>,
    /// Whose metric counts it; none for a connection that belongs to no consumer.
    queue: Option<String>,
}

// === impl Alarm ===

impl Alarm {
    pub(crate) fn of_queue(queue: &str) -> Self {
        Self {
            reason: Mutex::default(),
            queue: Some(queue.to_owned()),
        }
    }

    /// Why the broker takes no messages; none when it does.
    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn set(&self, reason: Option<String>) {
        let mut now = self.lock();
        let (was, is) = (now.is_some(), reason.is_some());
        *now = reason;
        if let Some(queue) = &self.queue
            && was != is
        {
            count_blocked(queue, is);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // A panic cannot leave an option half written.
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.set(None);
    }
}

#[cfg(test)]
mod tests {
    use hurricane_core::Exposition;

    use super::*;

    #[test]
    fn each_connection_counts_once() {
        let exposition = Exposition::new();
        let count = || {
            let metrics = exposition.render();
            let line = metrics
                .lines()
                .find(|line| line.starts_with("hurricane_consumer_blocked{"));
            line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
        };
        exposition.local(|| {
            let (one, other) = (Alarm::of_queue("q"), Alarm::of_queue("q"));
            Alarm::default().set(Some("low on disk".into()));
            assert_eq!(count(), None);
            one.set(Some("low on memory".into()));
            one.set(Some("low on disk".into()));
            other.set(Some("low on disk".into()));
            assert_eq!(one.reason().as_deref(), Some("low on disk"));
            assert_eq!(count().as_deref(), Some("2"));
            one.set(None);
            one.set(None);
            assert_eq!(count().as_deref(), Some("1"));
            drop(other);
            assert_eq!(count().as_deref(), Some("0"));
        });
    }
}
