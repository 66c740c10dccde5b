//! How a check is registered: who asks it, when it runs, and what its results count for.

use std::{borrow::Cow, time::Duration};

use super::{Probe, Status};

/// Says who asks a check, when it runs, and what its results count for.
///
/// One probe, an array or a vector of them converts into the configuration of a check that they ask each time:
/// critical, counting from the first result, without any memory.
///
/// # When it runs
///
/// *On demand*, which is the default, a probe that asks starts a run or joins the one that is going on. A result
/// younger than its [time to live](Self::ttl_pass) is used again instead. *In the background*, with
/// [`every`](Self::every), it runs by itself and a probe takes what it last found; only before the first result a probe
/// waits for it.
///
/// Either way there is at most one run at a time, and one that takes longer than the [`timeout`](Self::timeout) is
/// given up and counts as failed.
///
/// # What a result counts for
///
/// Each result is good ([`Pass`](Status::Pass), [`Warn`](Status::Warn)) or bad ([`Saturated`](Status::Saturated),
/// [`Fail`](Status::Fail)), and the check *stands* good or bad:
///
/// - Before anything has been found it stands as [`initially`](Self::initially) says: bad.
/// - It comes to stand bad once the last [`failure_threshold`](Self::failure_threshold) results were all bad **and** the
///   first bad one of this row is [`max_time_in_error`](Self::max_time_in_error) ago. Both have to be crossed; by default
///   (1, zero) the first bad result does it. The last result stands until the next one comes, so the time passes without
///   further results too.
/// - It comes to stand good once the last [`success_threshold`](Self::success_threshold) results were all good.
///
/// While it stands good, a bad result is told as a warning. While it stands bad, a good result is told as the last bad
/// one. Both say how far they have come: "failing 2 of 3".
///
/// Runs are counted, not probes. A check that several probes ask on demand runs more often than one that a single probe
/// asks; where a number of results is to mean a time, give it an interval or times to live.
///
/// Last, the [severity](Self::severity) says what a check that stands bad does to the probe.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{CheckConfig, CheckResult, Probe, Registry, Severity, check_fn};
///
/// let mut registry = Registry::new();
/// let cache = check_fn("cache", || async { CheckResult::pass() });
/// let config = CheckConfig::new([Probe::Readiness])
///     .tag("redis")
///     .severity(Severity::Degraded)
///     .every(Duration::from_secs(10))
///     .jitter(0.1)
///     .failure_threshold(3);
/// registry.add_check(cache, config)?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    pub(super) probes: Vec<Probe>,
    pub(super) tags: Vec<Cow<'static, str>>,
    pub(super) severity: Severity,
    pub(super) timeout: Option<Duration>,
    /// None for a check on demand.
    pub(super) interval: Option<Duration>,
    /// A share of the interval, from 0 to 1.
    pub(super) jitter: f64,
    pub(super) initial_delay: Duration,
    pub(super) ttl_pass: Duration,
    pub(super) ttl_fail: Duration,
    pub(super) initially: Status,
    pub(super) thresholds: Thresholds,
}

/// What a check that stands bad does to the probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The probe fails.
    #[default]
    Critical,
    /// The probe stays green, and says that something is degraded: a failure counts as [`Status::Warn`].
    Degraded,
    /// The probe shows it, and is not moved by it: whatever it finds counts as [`Status::Pass`].
    Informational,
}

/// How many results, and how much time, it takes to change how a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    pub(super) failures: u32,
    pub(super) successes: u32,
    pub(super) time_in_error: Duration,
}

/// The shortest interval, lest a zero keep a thread busy.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

// === impl CheckConfig ===

impl CheckConfig {
    /// A check that the given probes ask; without any it is left to [`Checks::ask`](super::Checks::ask).
    #[must_use]
    pub fn new(probes: impl IntoIterator<Item = Probe>) -> Self {
        let mut probes: Vec<_> = probes.into_iter().collect();
        probes.sort_unstable();
        probes.dedup();
        Self {
            probes,
            tags: Vec::new(),
            severity: Severity::Critical,
            timeout: None,
            interval: None,
            jitter: 0.0,
            initial_delay: Duration::ZERO,
            ttl_pass: Duration::ZERO,
            ttl_fail: Duration::ZERO,
            initially: Status::Fail,
            thresholds: Thresholds {
                failures: 1,
                successes: 1,
                time_in_error: Duration::ZERO,
            },
        }
    }

    /// Adds a tag, by which a [`Selection`](super::Selection) finds the check.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Cow<'static, str>>) -> Self {
        let tag = tag.into();
        if !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
        self
    }

    /// Sets what the check does to the probe when it stands bad; [`Severity::Critical`] by default.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets how long a run may take before it is given up and counts as failed; twice
    /// [`CheckPolicy::max_age`](super::CheckPolicy::max_age) by default.
    ///
    /// This is not how long a probe waits, which is [`CheckPolicy::timeout`](super::CheckPolicy::timeout) for all checks
    /// together. Only a run that awaits can be given up: one that blocks its thread keeps it until it returns.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs the check in the background: at once, and again each time this long after its end. At least a millisecond.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(MIN_INTERVAL));
        self
    }

    /// Stretches each pause between two runs in the background by a random part of `share` of the interval, so that
    /// checks and processes that began together do not go on in step.
    ///
    /// From 0, the default, to 1. A check on demand has no pauses.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self
    }

    /// Lets this long pass before the first run in the background; zero by default.
    ///
    /// A check on demand runs when it is first asked.
    #[must_use]
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Uses a good result again, instead of a run on demand, for this long; zero by default.
    #[must_use]
    pub fn ttl_pass(mut self, ttl: Duration) -> Self {
        self.ttl_pass = ttl;
        self
    }

    /// Uses a bad result again, instead of a run on demand, for this long; zero by default.
    #[must_use]
    pub fn ttl_fail(mut self, ttl: Duration) -> Self {
        self.ttl_fail = ttl;
        self
    }

    /// Sets how the check stands before its first result; [`Status::Fail`] by default.
    ///
    /// [`Status::Saturated`] makes the probe answer "not now" until then, [`Status::Pass`] does not hold it up. As long
    /// as it stands bad, thresholds of failure have nothing to protect: a check that has never been good is never told as
    /// a warning.
    #[must_use]
    pub fn initially(mut self, status: Status) -> Self {
        self.initially = status;
        self
    }

    /// Sets how many bad results in a row it takes to stand bad; 1 by default and at least.
    #[must_use]
    pub fn failure_threshold(mut self, results: u32) -> Self {
        self.thresholds.failures = results.max(1);
        self
    }

    /// Sets how many good results in a row it takes to stand good; 1 by default and at least.
    #[must_use]
    pub fn success_threshold(mut self, results: u32) -> Self {
        self.thresholds.successes = results.max(1);
        self
    }

    /// Sets how long the results must have been bad before the check stands bad; zero by default.
    #[must_use]
    pub fn max_time_in_error(mut self, time: Duration) -> Self {
        self.thresholds.time_in_error = time;
        self
    }

    /// The probes that ask the check.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The longest pause between two runs in the background.
    pub(super) fn longest_pause(&self) -> Duration {
        let interval = self.interval.unwrap_or_default();
        let stretch = interval.as_secs_f64() * self.jitter;
        interval.saturating_add(Duration::try_from_secs_f64(stretch).unwrap_or(Duration::MAX))
    }
}

impl From<Probe> for CheckConfig {
    fn from(probe: Probe) -> Self {
        Self::new([probe])
    }
}

impl<const N: usize> From<[Probe; N]> for CheckConfig {
    fn from(probes: [Probe; N]) -> Self {
        Self::new(probes)
    }
}

impl From<Vec<Probe>> for CheckConfig {
    fn from(probes: Vec<Probe>) -> Self {
        Self::new(probes)
    }
}

// === impl Severity ===

impl Severity {
    /// The severity's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Degraded => "degraded",
            Self::Informational => "informational",
        }
    }

    /// What `status` counts for.
    pub(super) fn weigh(self, status: Status) -> Status {
        match self {
            Self::Critical => status,
            Self::Degraded => status.min(Status::Warn),
            Self::Informational => Status::Pass,
        }
    }
}
