//! How many requests may go to a slot at once.

use std::time::Duration;

/// A slot is given at most so much work at once, by the pace of late.
const AHEAD: Duration = Duration::from_millis(1);

/// However quick the application is, a slot is given at most so many requests at once.
const MOST: usize = 64;

/// Requests that take less are computing: nothing that one waits for answers so soon.
const BRIEF: Duration = Duration::from_micros(50);

/// The time that the application has taken for a request of late.
///
/// One request for each write between two processes costs more than a quick application itself.
/// So a quick application gets several at once. A slow one gets one at a time, so that none
/// waits behind another while a slot elsewhere falls idle. The estimate is quick to believe that
/// the application is slow and slow to believe that it is quick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    nanos: u64,
}

impl Pace {
    /// Unknown, so taken for slow.
    pub(crate) fn new() -> Self {
        Self {
            nanos: AHEAD.as_nanos() as u64,
        }
    }

    /// Learns that `count` requests took `time` together.
    pub(crate) fn observe(&mut self, time: Duration, count: usize) {
        let sample = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / count.max(1) as u64;
        self.nanos = if sample > self.nanos {
            self.nanos / 2 + sample / 2
        } else {
            self.nanos - (self.nanos - sample) / 8
        };
    }

    /// Whether the application takes next to no time.
    pub(crate) fn is_brief(self) -> bool {
        self.nanos < BRIEF.as_nanos() as u64
    }

    /// How many requests a slot may have in hand.
    pub(crate) fn limit(self) -> usize {
        let most = AHEAD.as_nanos() as u64 / self.nanos.max(1);
        usize::try_from(most).unwrap_or(MOST).clamp(1, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_quick_application_several_and_a_slow_one_one() {
        let mut pace = Pace::new();
        assert_eq!(pace.limit(), 1, "an unknown application counts as slow");
        for _ in 0..100 {
            pace.observe(Duration::from_micros(5), 1);
        }
        assert_eq!(pace.limit(), MOST);
        assert!(pace.is_brief());
        pace.observe(Duration::from_millis(50), 1);
        assert_eq!(pace.limit(), 1, "one slow request is believed at once");
    }

    #[test]
    fn shares_the_time_among_a_batch() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.observe(Duration::from_millis(1), 10);
        }
        assert_eq!(pace.limit(), 9);
    }
}
