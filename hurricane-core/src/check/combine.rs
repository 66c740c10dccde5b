//! Checks made of checks.

use std::{borrow::Cow, future::poll_fn, task::Poll, time::Duration};

use async_trait::async_trait;
use tokio::time;

use super::{Check, CheckResult, Status, run::run};

/// What can be done with any check.
///
/// How a check is *registered* is in [`CheckConfig`](super::CheckConfig): severity, timeout and thresholds belong there.
/// This is for the parts of an [`all_of`] or [`any_of`], and for checks that others have made.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{Check, CheckExt as _, CheckResult, any_of, check_fn};
///
/// # fn ping(host: &'static str) -> impl Check { check_fn(host, || async { CheckResult::pass() }) }
/// let near = ping("near.example").retry(3, Duration::from_millis(50));
/// let far = ping("far.example").with_timeout(Duration::from_millis(300)).named("far away");
/// let one_of_two: [Box<dyn Check>; 2] = [Box::new(near), Box::new(far)];
/// let names = any_of("name servers", one_of_two);
/// ```
pub trait CheckExt: Check + Sized {
    /// Gives the check another name.
    fn named(self, name: impl Into<Cow<'static, str>>) -> impl Check {
        Named {
            check: self,
            name: name.into(),
        }
    }

    /// Changes what the check finds.
    fn map(
        self,
        change: impl Fn(CheckResult) -> CheckResult + Send + Sync + 'static,
    ) -> impl Check {
        Mapped {
            check: self,
            change,
        }
    }

    /// Takes whatever is bad for a warning.
    fn warn_only(self) -> impl Check {
        self.map(|mut result| {
            result.status = result.status.min(Status::Warn);
            result
        })
    }

    /// Gives the check up after a while, which is a failure.
    fn with_timeout(self, timeout: Duration) -> impl Check {
        Limited {
            check: self,
            timeout,
        }
    }

    /// Asks up to `attempts` times, with a pause in between, until the answer is good; the last answer counts.
    fn retry(self, attempts: u32, pause: Duration) -> impl Check {
        Retried {
            check: self,
            attempts,
            pause,
        }
    }
}

impl<C: Check> CheckExt for C {}

/// Makes one check of several, all asked at the same time: the worst answer counts.
///
/// The message names those that have something to say.
///
/// # Examples
///
/// ```
/// use hurricane_core::{CheckResult, all_of, check_fn};
///
/// let shards = (0..4).map(|n| check_fn(format!("shard {n}"), || async { CheckResult::pass() }));
/// let database = all_of("database", shards);
/// ```
pub fn all_of<C: Check>(
    name: impl Into<Cow<'static, str>>,
    checks: impl IntoIterator<Item = C>,
) -> impl Check {
    Group::new(name, checks, |statuses| {
        statuses.max().unwrap_or(Status::Pass)
    })
}

/// Makes one check of several, all asked at the same time: one good answer is enough.
///
/// If not all are good it warns. If none is, the best of the bad ones counts. The message names those that have
/// something to say. Without any checks it fails.
///
/// # Examples
///
/// ```
/// use hurricane_core::{CheckResult, any_of, check_fn};
///
/// let replicas = ["a", "b"].map(|name| check_fn(name, || async { CheckResult::pass() }));
/// let database = any_of("replicas", replicas);
/// ```
pub fn any_of<C: Check>(
    name: impl Into<Cow<'static, str>>,
    checks: impl IntoIterator<Item = C>,
) -> impl Check {
    Group::new(name, checks, |statuses| {
        let (good, bad): (Vec<_>, Vec<_>) = statuses.partition(|status| status.is_good());
        match (good.iter().max(), bad.iter().min()) {
            (Some(worst), None) => *worst,
            (Some(_), Some(_)) => Status::Warn,
            (None, Some(best)) => *best,
            (None, None) => Status::Fail,
        }
    })
}

struct Named<C> {
    check: C,
    name: Cow<'static, str>,
}

struct Mapped<C, F> {
    check: C,
    change: F,
}

struct Limited<C> {
    check: C,
    timeout: Duration,
}

struct Retried<C> {
    check: C,
    attempts: u32,
    pause: Duration,
}

struct Group {
    name: Cow<'static, str>,
    checks: Vec<Box<dyn Check>>,
    weigh: fn(&mut dyn Iterator<Item = Status>) -> Status,
}

// === impl Named ===

#[async_trait]
impl<C: Check> Check for Named<C> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        self.check.check().await
    }
}

// === impl Mapped ===

#[async_trait]
impl<C, F> Check for Mapped<C, F>
where
    C: Check,
    F: Fn(CheckResult) -> CheckResult + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        self.check.name()
    }

    async fn check(&self) -> CheckResult {
        (self.change)(self.check.check().await)
    }
}

// === impl Limited ===

#[async_trait]
impl<C: Check> Check for Limited<C> {
    fn name(&self) -> &str {
        self.check.name()
    }

    async fn check(&self) -> CheckResult {
        run(&self.check, self.timeout).await
    }
}

// === impl Retried ===

#[async_trait]
impl<C: Check> Check for Retried<C> {
    fn name(&self) -> &str {
        self.check.name()
    }

    async fn check(&self) -> CheckResult {
        let mut left = self.attempts;
        loop {
            let result = self.check.check().await;
            left = left.saturating_sub(1);
            if result.status.is_good() || left == 0 {
                return result;
            }
            time::sleep(self.pause).await;
        }
    }
}

// === impl Group ===

impl Group {
    fn new<C: Check>(
        name: impl Into<Cow<'static, str>>,
        checks: impl IntoIterator<Item = C>,
        weigh: fn(&mut dyn Iterator<Item = Status>) -> Status,
    ) -> Self {
        let boxed = |check| Box::new(check) as Box<dyn Check>;
        Self {
            name: name.into(),
            checks: checks.into_iter().map(boxed).collect(),
            weigh,
        }
    }
}

#[async_trait]
impl Check for Group {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let found = ask_all(&self.checks).await;
        let status = (self.weigh)(&mut found.iter().map(|result| result.status));
        let said: Vec<_> = self
            .checks
            .iter()
            .zip(&found)
            .filter(|(_, result)| !result.message.is_empty())
            .map(|(check, result)| format!("{}: {}", check.name(), result.message))
            .collect();
        CheckResult::with(status, said.join("; "))
    }
}

/// Asks all of them at the same time; that one panics is its own failure.
async fn ask_all(checks: &[Box<dyn Check>]) -> Vec<CheckResult> {
    let mut running: Vec<_> = checks
        .iter()
        .map(|check| (Box::pin(run(&**check, Duration::MAX)), None))
        .collect();
    poll_fn(|cx| {
        let mut outcome = Poll::Ready(());
        for (run, found) in running.iter_mut().filter(|(_, found)| found.is_none()) {
            match run.as_mut().poll(cx) {
                Poll::Ready(result) => *found = Some(result),
                Poll::Pending => outcome = Poll::Pending,
            }
        }
        outcome
    })
    .await;
    running.into_iter().filter_map(|(_, found)| found).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        future,
        sync::atomic::{AtomicU32, Ordering::SeqCst},
    };

    use tokio::time::Instant;

    use super::*;
    use crate::check_fn;

    fn finds(name: &'static str, result: CheckResult) -> Box<dyn Check> {
        Box::new(check_fn(name, move || future::ready(result.clone())))
    }

    fn broken() -> Box<dyn Check> {
        finds("broken", CheckResult::fail("refused"))
    }

    fn well() -> Box<dyn Check> {
        finds("well", CheckResult::pass())
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_the_worst_counts_and_of_any_the_best() {
        let busy = || finds("busy", CheckResult::saturated("queue is full"));
        let both = "busy: queue is full; broken: refused";
        for (checks, all, any) in [
            (
                vec![well(), well()],
                CheckResult::pass(),
                CheckResult::pass(),
            ),
            (
                vec![well(), broken()],
                CheckResult::fail("broken: refused"),
                CheckResult::warn("broken: refused"),
            ),
            (
                vec![busy(), broken()],
                CheckResult::fail(both),
                CheckResult::saturated(both),
            ),
            (vec![], CheckResult::pass(), CheckResult::fail("")),
        ] {
            let checks: Vec<_> = checks.into_iter().map(std::sync::Arc::new).collect();
            assert_eq!(all_of("all", checks.clone()).check().await, all);
            assert_eq!(any_of("any", checks).check().await, any);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_asked_at_the_same_time_and_survives_a_panic() {
        let slow = ["a", "b"].map(|name| {
            check_fn(name, || async {
                time::sleep(Duration::from_secs(1)).await;
                CheckResult::pass()
            })
        });
        let before = Instant::now();
        assert_eq!(all_of("slow", slow).check().await, CheckResult::pass());
        assert_eq!(before.elapsed(), Duration::from_secs(1));

        let panics: Box<dyn Check> = Box::new(check_fn("panics", || async { panic!("now") }));
        let result = any_of("any", [panics, well()]).check().await;
        assert_eq!(result, CheckResult::warn("panics: check panicked"));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_until_it_is_good_or_enough() {
        for (good_at, attempts, status, asked) in [
            (1, 3, Status::Pass, 1),
            (3, 3, Status::Pass, 3),
            (4, 3, Status::Fail, 3),
            (2, 0, Status::Fail, 1),
        ] {
            let calls = std::sync::Arc::new(AtomicU32::new(0));
            let count = std::sync::Arc::clone(&calls);
            let check = check_fn("flaky", move || {
                let good = count.fetch_add(1, SeqCst) + 1 >= good_at;
                future::ready(if good {
                    CheckResult::pass()
                } else {
                    CheckResult::fail("not yet")
                })
            });
            let check = check.retry(attempts, Duration::from_secs(1));
            assert_eq!(check.check().await.status, status);
            assert_eq!(calls.load(SeqCst), asked);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_limits_and_warnings() {
        let check = check_fn("hangs", future::pending)
            .with_timeout(Duration::from_secs(2))
            .named("slow");
        assert_eq!(check.name(), "slow");
        assert_eq!(
            check.check().await,
            CheckResult::fail("no result within 2s")
        );
        assert_eq!(
            broken().warn_only().check().await,
            CheckResult::warn("refused")
        );
        assert_eq!(well().warn_only().check().await, CheckResult::pass());
    }
}
