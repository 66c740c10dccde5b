//! How long to wait before a worker that ended is replaced.

use std::time::Duration;

/// A worker that ran for so long counts as sound: the next one is started at once.
const SOUND: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Longer and longer pauses between workers that end, or do not become ready.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a worker that was up for `uptime`, zero when it did not become ready.
    pub(crate) fn after(&mut self, uptime: Duration) -> Duration {
        if uptime >= SOUND {
            *self = Self::default();
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST
                .saturating_mul(2_u32.saturating_pow(failures - 1))
                .min(LONGEST),
        };
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replaces_at_once_and_then_waits_longer_and_longer() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..5)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800]);
        assert_eq!(
            backoff.after(SOUND),
            Duration::ZERO,
            "a sound worker is replaced at once"
        );
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
    }

    proptest! {
        #[test]
        fn never_waits_longer_than_the_longest(uptimes in prop::collection::vec(0_u64..20, 0..200)) {
            let mut backoff = Backoff::default();
            for uptime in uptimes {
                prop_assert!(backoff.after(Duration::from_secs(uptime)) <= LONGEST);
            }
        }
    }
}
