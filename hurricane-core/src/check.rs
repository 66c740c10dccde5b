//! Checks: questions about the process's health, asked by the probes.

use std::{borrow::Cow, fmt, future::Future, sync::Arc};

use async_trait::async_trait;

#[cfg(feature = "check-certificate")]
pub use self::certificate::CertificateCheck;
#[cfg(feature = "check-disk")]
pub use self::disk::DiskCheck;
#[cfg(feature = "check-dns")]
pub use self::dns::DnsCheck;
#[cfg(feature = "check-http")]
pub use self::http::HttpCheck;
#[cfg(feature = "check-memory")]
pub use self::memory::MemoryCheck;
#[cfg(feature = "check-tcp")]
pub use self::tcp::TcpCheck;
pub use self::{
    checks::Checks,
    combine::{CheckExt, all_of, any_of},
    config::{CheckConfig, Severity},
    deadman::Deadman,
    report::{CheckReport, ProbeReport, Selection},
    runner::{CheckPolicy, CheckRunner},
    standing::Progress,
    state::{HealthState, Latch},
};

#[cfg(feature = "check-certificate")]
mod certificate;
mod checks;
mod combine;
mod config;
mod deadman;
#[cfg(feature = "check-disk")]
mod disk;
#[cfg(feature = "check-dns")]
mod dns;
#[cfg(feature = "check-http")]
mod http;
#[cfg(feature = "check-memory")]
mod memory;
mod report;
mod run;
mod runner;
mod slot;
mod standing;
mod state;
#[cfg(feature = "check-tcp")]
mod tcp;

/// A question about the process's health.
///
/// A check runs on the main runtime, with the resources the application uses. Concurrent probes share one run. A panic
/// counts as a failed result, and so does a run that takes too long. A [`CheckConfig`] says which probes ask it, when it
/// runs, and what its results count for.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Check, CheckResult, async_trait};
///
/// struct DiskSpace {
///     free_bytes: u64,
/// }
///
/// #[async_trait]
/// impl Check for DiskSpace {
///     fn name(&self) -> &str {
///         "disk space"
///     }
///
///     async fn check(&self) -> CheckResult {
///         match self.free_bytes {
///             0 => CheckResult::fail("disk is full"),
///             1..1_000_000 => CheckResult::warn("disk is nearly full"),
///             _ => CheckResult::pass(),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Name under which the probes report the check.
    fn name(&self) -> &str;

    /// Asks the question once.
    async fn check(&self) -> CheckResult;
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// How it stands.
    pub status: Status,
    /// What is to be said about it; a failed probe answers with this text. Probes tell no more than its first 4 KiB.
    pub message: Cow<'static, str>,
}

/// How a check stands; the worst one decides about the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is well.
    Pass,
    /// Worth a look; the probe stays green.
    Warn,
    /// Too busy just now; the probe answers 400.
    Saturated,
    /// Broken; the probe answers 500.
    Fail,
}

/// The three questions Kubernetes asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// Has it started?
    Startup,
    /// Is it alive, or is it to be restarted?
    Liveness,
    /// Can it take traffic now?
    Readiness,
}

/// Makes a check from a closure.
///
/// # Examples
///
/// ```
/// use hurricane_core::{CheckResult, check_fn};
///
/// let check = check_fn("clock", || async {
///     match std::time::SystemTime::now().elapsed() {
///         Ok(_) => CheckResult::pass(),
///         Err(_) => CheckResult::fail("clock went backwards"),
///     }
/// });
/// ```
pub fn check_fn<F, Fut>(name: impl Into<Cow<'static, str>>, check: F) -> impl Check
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = CheckResult> + Send + 'static,
{
    CheckFn {
        name: name.into(),
        check,
    }
}

// === impl Check ===

#[async_trait]
impl<C: Check + ?Sized> Check for Box<C> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn check(&self) -> CheckResult {
        (**self).check().await
    }
}

#[async_trait]
impl<C: Check + ?Sized> Check for Arc<C> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn check(&self) -> CheckResult {
        (**self).check().await
    }
}

// === impl CheckResult ===

impl CheckResult {
    /// All is well.
    #[must_use]
    pub const fn pass() -> Self {
        Self {
            status: Status::Pass,
            message: Cow::Borrowed(""),
        }
    }

    /// All is well, and there is something to say.
    #[must_use]
    pub fn pass_with(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with(Status::Pass, message)
    }

    /// Worth a look; the probe stays green.
    #[must_use]
    pub fn warn(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with(Status::Warn, message)
    }

    /// Too busy just now; the probe answers 400.
    #[must_use]
    pub fn saturated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with(Status::Saturated, message)
    }

    /// Broken; the probe answers 500 with the message.
    #[must_use]
    pub fn fail(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with(Status::Fail, message)
    }

    pub(crate) fn with(status: Status, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl<E: fmt::Display> From<Result<(), E>> for CheckResult {
    /// An error fails with its own text, which is shown as it is; what caused it is not.
    fn from(outcome: Result<(), E>) -> Self {
        match outcome {
            Ok(()) => Self::pass(),
            Err(error) => Self::fail(error.to_string()),
        }
    }
}

// === impl Status ===

impl Status {
    /// Whether the probe stays green.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Pass | Self::Warn)
    }
}

// === impl Probe ===

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The probe's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

// === impl CheckFn ===

struct CheckFn<F> {
    name: Cow<'static, str>,
    check: F,
}

#[async_trait]
impl<F, Fut> Check for CheckFn<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = CheckResult> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        (self.check)().await
    }
}
