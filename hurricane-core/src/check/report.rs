//! What checks and probes say, and which of the checks are asked.

use std::{borrow::Cow, time::Duration};

use super::{CheckResult, Probe, Progress, Severity, Status};

/// What all checks of one probe say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The probe that was asked.
    pub probe: Probe,
    /// One report for each check that was asked, in the order of registration.
    pub checks: Vec<CheckReport>,
    /// Names of checks that the [`Selection`] excluded.
    pub excluded: Vec<String>,
    /// Names in the [`Selection`] that no check of this probe has.
    pub unknown: Vec<String>,
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The check's name.
    pub name: String,
    /// What counts: what the check found, after its thresholds and its severity.
    pub result: CheckResult,
    /// What the check itself found last; none when there is no result.
    pub found: Option<Status>,
    /// What it does to the probe when it stands bad.
    pub severity: Severity,
    /// How far it is from standing otherwise, where its last results say something else than how it stands.
    pub progress: Option<Progress>,
    /// How long it has stood as it does, good or bad; none when nothing counts.
    pub since: Option<Duration>,
    /// How long ago it found this; none when there is no result.
    pub age: Option<Duration>,
    /// How long it took; none when there is no result.
    pub took: Option<Duration>,
    /// Whether this is an older result, since no fresh one came in time.
    pub stale: bool,
    /// Its tags.
    pub tags: Vec<Cow<'static, str>>,
}

/// Which checks of a probe are asked; all by default.
///
/// # Examples
///
/// ```
/// use hurricane_core::Selection;
///
/// let one = Selection::only("database");
/// let all_but_one = Selection::default().exclude("database");
/// let of_a_kind = Selection::default().tag("redis");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of what is asked; empty for whatever has one of the tags.
    pub only: Vec<String>,
    /// Names of what is left out, even if it is named in `only`.
    pub exclude: Vec<String>,
    /// Tags of which one is enough; empty for all. What is named in `only` needs none.
    pub tags: Vec<String>,
}

// === impl ProbeReport ===

impl ProbeReport {
    /// The worst status of all checks; [`Status::Pass`] without any.
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks
            .iter()
            .map(|check| check.result.status)
            .max()
            .unwrap_or(Status::Pass)
    }

    /// The first check that failed.
    #[must_use]
    pub fn first_failed(&self) -> Option<&CheckReport> {
        self.checks
            .iter()
            .find(|check| check.result.status == Status::Fail)
    }
}

// === impl CheckReport ===

impl CheckReport {
    /// A report of something that is looked at, not run.
    #[cfg(feature = "server")]
    pub(crate) fn observed(
        name: impl Into<String>,
        result: CheckResult,
        age: Option<Duration>,
    ) -> Self {
        Self {
            name: name.into(),
            found: Some(result.status),
            result,
            severity: Severity::Critical,
            progress: None,
            since: None,
            age,
            took: None,
            stale: false,
            tags: Vec::new(),
        }
    }
}

// === impl Selection ===

impl Selection {
    /// What has this name, and nothing else.
    #[must_use]
    pub fn only(name: impl Into<String>) -> Self {
        Self {
            only: vec![name.into()],
            ..Self::default()
        }
    }

    /// Leaves out what has this name.
    #[must_use]
    pub fn exclude(mut self, name: impl Into<String>) -> Self {
        self.exclude.push(name.into());
        self
    }

    /// Takes what has this tag, and what has one of the others.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.only.is_empty() && self.exclude.is_empty() && self.tags.is_empty()
    }

    /// Whether something of this name, without tags, is wanted and not excluded.
    #[cfg(feature = "server")]
    pub(crate) fn takes(&self, name: &str) -> bool {
        let wanted = if self.only.is_empty() {
            self.tags.is_empty()
        } else {
            self.only.iter().any(|only| only == name)
        };
        wanted && !self.excludes(name)
    }

    #[cfg(feature = "server")]
    pub(crate) fn excludes(&self, name: &str) -> bool {
        self.exclude.iter().any(|excluded| excluded == name)
    }
}
