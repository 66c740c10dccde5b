//! Why a worker is not started, or not kept.

use std::{fmt, io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::frame::PROTOCOL;

/// Why a worker did not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The interpreter could not be started.
    #[error("failed to start {}", python.display())]
    Spawn {
        /// The interpreter.
        python: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The application could not be loaded; its traceback has been shown.
    #[error("{message}")]
    Load {
        /// What could not be found or loaded.
        reason: LoadFailure,
        /// A sentence for the person who starts the server.
        message: String,
    },
    /// The process ended before it was ready.
    #[error("the worker ended while it was starting ({0})")]
    Exited(ExitStatus),
    /// The process was not ready in time.
    #[error("the worker was not ready after {} seconds", .0.as_secs_f32())]
    TimedOut(Duration),
    /// What the process said could not be understood.
    #[error("the worker does not speak protocol {PROTOCOL}: {0}")]
    Protocol(String),
}

/// What of the application could not be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadFailure {
    /// The application or its settings: not found, or failing to import.
    Application,
    /// Django is not installed for the interpreter.
    Django,
}

/// Why a worker has to be replaced.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The process has ended.
    Ended(io::Result<ExitStatus>),
    /// A request has been running for longer than it may.
    Hung,
    /// Its event loop has not turned for longer than it may.
    Stuck,
    /// What came from it made no sense.
    Broken,
}

// === impl StartError ===

impl StartError {
    /// Whether other code may mend it.
    pub(crate) fn is_the_applications(&self) -> bool {
        match self {
            Self::Load { reason, .. } => *reason == LoadFailure::Application,
            Self::Exited(_) | Self::TimedOut(_) => true,
            Self::Spawn { .. } | Self::Protocol(_) => false,
        }
    }
}

// === impl LoadFailure ===

impl LoadFailure {
    /// The worker's word for it, see `application.py`.
    pub(crate) fn of(reason: &[u8]) -> Self {
        match reason {
            b"django" => Self::Django,
            _ => Self::Application,
        }
    }
}

// === impl Unfit ===

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(Ok(status)) => status.fmt(f),
            Self::Ended(Err(error)) => write!(f, "it is lost: {error}"),
            Self::Hung => f.write_str("it hangs: a request has passed its timeout"),
            Self::Stuck => f.write_str("it hangs: its event loop does not turn"),
            Self::Broken => f.write_str("it cannot be understood"),
        }
    }
}
