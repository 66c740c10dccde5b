//! How a check stands: what its results in a row amount to.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use super::config::Thresholds;

/// How far a check has come on its way from standing good to standing bad, or back.
///
/// # Examples
///
/// ```
/// use hurricane_core::Progress;
///
/// let progress = Progress::Failing { results: 2, threshold: 3, time: None };
/// assert_eq!(progress.to_string(), "failing 2 of 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It stands good, but the last results were bad.
    Failing {
        /// Bad results in a row, no more than the threshold.
        results: u32,
        /// How many it takes.
        threshold: u32,
        /// How long it has been in error, and how long it may be; none where no time is set.
        time: Option<(Duration, Duration)>,
    },
    /// It stands bad, but the last results were good.
    Passing {
        /// Good results in a row.
        results: u32,
        /// How many it takes.
        threshold: u32,
    },
}

/// Counts results. Pure: time comes in with the calls, and the same calls give the same answers.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    good: bool,
    since: Instant,
    row: Row,
}

/// The results since the last one of the other kind.
#[derive(Clone, Copy, Debug)]
enum Row {
    Empty,
    Good(u32),
    Bad {
        results: u32,
        first: Instant,
        /// When the results became as many as the threshold.
        enough: Option<Instant>,
    },
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(good: bool, now: Instant) -> Self {
        Self {
            good,
            since: now,
            row: Row::Empty,
        }
    }

    /// Takes a result into account; results come in the order of time.
    pub(super) fn observe(&mut self, good: bool, at: Instant, thresholds: Thresholds) {
        *self = self.at(at, thresholds);
        self.row = match (good, self.row) {
            (true, Row::Good(results)) => Row::Good(results.saturating_add(1)),
            (true, Row::Empty | Row::Bad { .. }) => Row::Good(1),
            (false, row) => {
                let (results, first, enough) = match row {
                    Row::Bad {
                        results,
                        first,
                        enough,
                    } => (results.saturating_add(1), first, enough),
                    Row::Empty | Row::Good(_) => (1, at, None),
                };
                Row::Bad {
                    results,
                    first,
                    enough: enough.or((results >= thresholds.failures).then_some(at)),
                }
            }
        };
        *self = self.at(at, thresholds);
    }

    /// How it stands at a time that is not before its last result.
    pub(super) fn at(&self, now: Instant, thresholds: Thresholds) -> Self {
        let changed = match self.row {
            Row::Good(results) if !self.good && results >= thresholds.successes => now,
            Row::Bad {
                first,
                enough: Some(enough),
                ..
            } if self.good => match first.checked_add(thresholds.time_in_error) {
                Some(late) if late.max(enough) <= now => late.max(enough),
                // A time beyond what an instant can hold is never reached.
                _ => return self.clone(),
            },
            _ => return self.clone(),
        };
        Self {
            good: !self.good,
            since: changed,
            row: self.row,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    /// When it came to stand as it does.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// How far it is on the way to the other side, if it is.
    pub(super) fn progress(&self, now: Instant, thresholds: Thresholds) -> Option<Progress> {
        match (self.good, self.row) {
            (true, Row::Bad { results, first, .. }) => Some(Progress::Failing {
                results: results.min(thresholds.failures),
                threshold: thresholds.failures,
                time: (!thresholds.time_in_error.is_zero()).then(|| {
                    let time = now.saturating_duration_since(first);
                    (time, thresholds.time_in_error)
                }),
            }),
            (false, Row::Good(results)) => Some(Progress::Passing {
                results,
                threshold: thresholds.successes,
            }),
            _ => None,
        }
    }
}

// === impl Progress ===

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing {
                results,
                threshold,
                time,
            } => {
                write!(f, "failing {results} of {threshold}")?;
                if let Some((time, max)) = time {
                    write!(
                        f,
                        ", for {:.1}s of {:.1}s",
                        time.as_secs_f64(),
                        max.as_secs_f64()
                    )?;
                }
                Ok(())
            }
            Self::Passing { results, threshold } => write!(f, "passing {results} of {threshold}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules as `CheckConfig` words them, looked at once in every unit of time, with the whole history in hand.
    struct Model {
        good: bool,
        history: Vec<(u64, bool)>,
    }

    impl Model {
        /// Lets time come to `now`, with at most one result in this unit of time.
        fn tick(&mut self, now: u64, result: Option<bool>, thresholds: Thresholds) {
            // First the last result stands until the new one comes, then that counts too.
            self.decide(now, thresholds);
            if let Some(good) = result {
                self.history.push((now, good));
                self.decide(now, thresholds);
            }
        }

        fn decide(&mut self, now: u64, thresholds: Thresholds) {
            let row: Vec<_> = {
                let last = self.history.last().map(|(_, good)| *good);
                let row = self.history.iter().rev();
                row.take_while(|(_, good)| Some(*good) == last).collect()
            };
            let Some((began, good)) = row.last() else {
                return;
            };
            let (enough, long) = if *good {
                (thresholds.successes, 0)
            } else {
                (thresholds.failures, thresholds.time_in_error.as_secs())
            };
            if row.len() >= enough as usize && now - began >= long {
                self.good = *good;
            }
        }
    }

    fn thresholds() -> impl Strategy<Value = Thresholds> {
        (1..5_u32, 1..5_u32, 0..12_u64).prop_map(|(failures, successes, time)| Thresholds {
            failures,
            successes,
            time_in_error: Duration::from_secs(time),
        })
    }

    proptest! {
        #[test]
        fn stands_as_the_slow_model_says(
            thresholds in thresholds(),
            initially in any::<bool>(),
            results in prop::collection::vec(
                prop_oneof![2 => Just(None), 3 => Just(Some(false)), 2 => Just(Some(true))],
                0..60,
            ),
        ) {
            let epoch = Instant::now();
            let mut standing = Standing::new(initially, epoch);
            let mut model = Model { good: initially, history: Vec::new() };
            let mut changed = 0;
            for (now, result) in (0..).zip(results) {
                let before = model.good;
                let mid = {
                    model.tick(now, None, thresholds);
                    model.good
                };
                model.tick(now, result, thresholds);
                if before != mid || mid != model.good {
                    changed = now;
                }
                let at = epoch + Duration::from_secs(now);
                if let Some(good) = result {
                    standing.observe(good, at, thresholds);
                }
                let seen = standing.at(at, thresholds);
                prop_assert_eq!(seen.is_good(), model.good, "at {}", now);
                prop_assert_eq!(seen.since(), epoch + Duration::from_secs(changed), "at {}", now);
                // There is progress exactly when the last result and the standing differ.
                let last = model.history.last().map(|(_, good)| *good);
                let differs = last.is_some_and(|good| good != model.good);
                prop_assert_eq!(seen.progress(at, thresholds).is_some(), differs);
            }
        }

        #[test]
        fn it_does_not_matter_how_often_one_looks(
            thresholds in thresholds(),
            results in prop::collection::vec((0..6_u64, any::<bool>()), 0..30),
        ) {
            let mut now = Instant::now();
            let mut watched = Standing::new(true, now);
            let mut left_alone = watched.clone();
            for (pause, good) in results {
                for _ in 0..pause {
                    now += Duration::from_secs(1);
                    watched = watched.at(now, thresholds);
                }
                watched.observe(good, now, thresholds);
                left_alone.observe(good, now, thresholds);
                prop_assert_eq!(watched.is_good(), left_alone.is_good());
                prop_assert_eq!(watched.since(), left_alone.since());
            }
        }
    }

    #[test]
    fn progress_is_told_in_words() {
        let now = Instant::now();
        let thresholds = Thresholds {
            failures: 3,
            successes: 2,
            time_in_error: Duration::from_secs(30),
        };
        let mut standing = Standing::new(true, now);
        let said = |standing: &Standing, after| {
            let now = now + Duration::from_secs(after);
            let standing = standing.at(now, thresholds);
            standing
                .progress(now, thresholds)
                .map(|progress| progress.to_string())
                .unwrap_or_default()
        };
        assert_eq!(said(&standing, 0), "");
        for _ in 0..4 {
            standing.observe(false, now, thresholds);
        }
        assert_eq!(said(&standing, 12), "failing 3 of 3, for 12.0s of 30.0s");
        assert_eq!(said(&standing, 30), "");
        standing.observe(true, now + Duration::from_secs(30), thresholds);
        assert_eq!(said(&standing, 31), "passing 1 of 2");
    }
}
