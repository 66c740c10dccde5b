//! Webhooks: telling others about the events of a process's life.

use std::{error::Error, fmt::Write as _};

use async_trait::async_trait;

#[cfg(feature = "webhooks")]
pub use self::http::HttpWebhook;
pub use self::{
    delivery::{Dispatcher, Undelivered},
    event::{Event, EventKind, EventStatus},
};

mod delivery;
mod event;
#[cfg(feature = "webhooks")]
pub(crate) mod http;
#[cfg(feature = "webhooks")]
mod signature;
#[cfg(feature = "webhooks")]
mod template;

/// Carries events of the process's life to somebody who wants to know.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Event, Webhook, WebhookError, async_trait};
///
/// struct Pager;
///
/// #[async_trait]
/// impl Webhook for Pager {
///     fn name(&self) -> &str {
///         "pager"
///     }
///
///     async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
///         println!("{}: {}", event.kind, event.status);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Webhook: Send + Sync + 'static {
    /// Name under which the webhook is registered and logged.
    fn name(&self) -> &str;

    /// Delivers one event, with as many attempts and as much patience as is right for the way it goes.
    async fn deliver(&self, event: &Event) -> Result<(), WebhookError>;

    /// Whether it is to be told about events of this kind; by default about all.
    fn wants(&self, _kind: EventKind) -> bool {
        true
    }

    /// Tells what is wrong with its configuration, so that it shows before there is an event; by default nothing.
    ///
    /// # Errors
    ///
    /// No event could ever be delivered.
    fn validate(&self) -> Result<(), WebhookError> {
        Ok(())
    }
}

/// A webhook that could not be delivered.
///
/// # Examples
///
/// ```
/// use hurricane_core::WebhookError;
///
/// let error = WebhookError::new("the pager is out of order").with_source("no batteries");
/// assert_eq!(error.to_string(), "the pager is out of order");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WebhookError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

// === impl WebhookError ===

impl WebhookError {
    /// A failure for the given reason.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = WebhookError::new("the request failed").with_source("connection refused");
        assert_eq!(chain(&error), "the request failed: connection refused");
    }
}
