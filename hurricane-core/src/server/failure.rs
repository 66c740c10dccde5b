//! The failure of a start-up task, for those who are told of it.

use std::{error::Error, fmt};

use super::StartupError;
use crate::webhook::{Event, EventKind, EventStatus};

/// The failure of a start-up task that has more to tell the webhooks than its own words.
///
/// Any error fails the start-up. This one wraps an error, reads as that error does, and says what the event of the
/// failed start-up holds.
///
/// # Examples
///
/// ```
/// use hurricane_core::{EventStatus, server::StartupFailure};
///
/// let failure = StartupFailure::new("no database after 30 seconds")
///     .with_status(EventStatus::Warning)
///     .with_traceback("Traceback (most recent call last): ...");
/// assert_eq!(failure.to_string(), "no database after 30 seconds");
/// ```
#[derive(Debug)]
pub struct StartupFailure {
    error: StartupError,
    status: EventStatus,
    traceback: Option<String>,
}

impl StartupFailure {
    /// Wraps an error.
    #[must_use]
    pub fn new(error: impl Into<StartupError>) -> Self {
        Self {
            error: error.into(),
            status: EventStatus::Failed,
            traceback: None,
        }
    }

    /// Sets the status of the event, which is [`EventStatus::Failed`] otherwise.
    #[must_use]
    pub fn with_status(mut self, status: EventStatus) -> Self {
        self.status = status;
        self
    }

    /// Sets the traceback of the event, which is the error and its causes otherwise.
    #[must_use]
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = Some(traceback.into());
        self
    }

    /// The error that was wrapped.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// The event, whose traceback is `causes` if there is no better one.
    pub(super) fn event(&self, causes: String) -> Event {
        let traceback = self.traceback.clone().unwrap_or(causes);
        Event::new(EventKind::Startup, self.status).with_traceback(traceback)
    }
}

impl fmt::Display for StartupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for StartupFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
