//! How many requests may go to a slot at once.

use std::time::Duration;

/// A slot is given at most so much work at once, by the pace of late.
const AHEAD: Duration = Duration::from_millis(1);

/// However quick the application is, a slot is given at most so many requests at once.
const MOST: usize = 64;

/// Requests that take less (nanoseconds) are computing: nothing that one waits for answers so soon.
const BRIEF: u64 = 50_000;

/// From this part of the time on (per mille) the threads of a process keep the interpreter busy.
const COMPUTING: u64 = 700;

/// What a worker's thread reports of the requests that it has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// How long it took.
    pub(crate) time: Duration,
    /// For how long of it the thread had a processor.
    pub(crate) computing: Duration,
}

/// How the application has been of late.
///
/// One request for each write between two processes costs more than a quick application itself.
/// So a quick application gets several at once. A slow one gets one at a time, so that none
/// waits behind another while a slot elsewhere falls idle. The estimate is quick to believe that
/// the application is slow and slow to believe that it is quick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The time for a request.
    nanos: u64,
    /// How much of the time the busy threads of a process together are computing, per mille.
    computing: u64,
}

impl Pace {
    /// Unknown, so taken for slow and waiting.
    pub(crate) fn new() -> Self {
        Self {
            nanos: AHEAD.as_nanos() as u64,
            computing: 0,
        }
    }

    /// Learns what `count` requests took while `load` threads of the process were busy.
    pub(crate) fn observe(&mut self, spent: Spent, count: usize, load: usize) {
        if count == 0 {
            return;
        }
        let time = u64::try_from(spent.time.as_nanos()).unwrap_or(u64::MAX);
        self.learn(time / count as u64);
        let computing = u64::try_from(spent.computing.as_nanos()).unwrap_or(u64::MAX);
        let part = computing.saturating_mul(1000) / time.max(1);
        let all = part.saturating_mul(load as u64).min(1000);
        self.computing = (self.computing * 7 + all) / 8;
    }

    /// Learns that a request has been running for some time.
    pub(crate) fn slow(&mut self, time: Duration) {
        self.learn(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn learn(&mut self, sample: u64) {
        self.nanos = if sample > self.nanos {
            self.nanos / 2 + sample / 2
        } else {
            self.nanos - (self.nanos - sample) / 8
        };
    }

    /// Whether another thread of a process that is busy would only wait for its interpreter.
    pub(crate) fn is_computing(self) -> bool {
        self.nanos < BRIEF || self.computing >= COMPUTING
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

    fn waiting(time: Duration) -> Spent {
        Spent {
            time,
            computing: Duration::ZERO,
        }
    }

    #[test]
    fn tells_computing_from_waiting_however_many_share_the_interpreter() {
        let time = Duration::from_millis(4);
        for (load, computing, expected) in [
            (1, 4, true),
            (4, 1, true),
            (1, 1, false),
            (2, 1, false),
            (3, 1, true),
        ] {
            let mut pace = Pace::new();
            for _ in 0..50 {
                pace.observe(
                    Spent {
                        time,
                        computing: Duration::from_millis(computing),
                    },
                    1,
                    load,
                );
            }
            assert_eq!(
                pace.is_computing(),
                expected,
                "{load} threads, {computing} of 4 ms each"
            );
        }
    }

    #[test]
    fn gives_a_quick_application_several_and_a_slow_one_one() {
        let mut pace = Pace::new();
        assert_eq!(pace.limit(), 1, "an unknown application counts as slow");
        for _ in 0..100 {
            pace.observe(waiting(Duration::from_micros(5)), 1, 1);
        }
        assert_eq!(pace.limit(), MOST);
        assert!(
            pace.is_computing(),
            "nothing that one waits for answers so soon"
        );
        pace.observe(waiting(Duration::from_millis(50)), 1, 1);
        assert_eq!(pace.limit(), 1, "one slow request is believed at once");
    }

    #[test]
    fn shares_the_time_among_a_batch() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.observe(waiting(Duration::from_millis(1)), 10, 1);
        }
        assert_eq!(pace.limit(), 9);
    }
}
