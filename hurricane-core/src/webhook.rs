//! Webhooks: telling others about the events of a process's life.

use std::{
    error::Error,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde::{Serialize, Serializer, ser::SerializeStruct};

pub use self::delivery::{Dispatcher, Undelivered};
#[cfg(feature = "webhooks")]
pub use self::http::HttpWebhook;

mod delivery;
#[cfg(feature = "webhooks")]
mod http;

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
}

/// Something happened in the life of the process.
///
/// Serialized it is the payload of a webhook: `info`, `type`, `traceback` (only where there is one), `status`,
/// `timestamp`, `podname`, `version`, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// How it went.
    pub status: EventStatus,
    /// Why it went wrong, where that is known.
    pub traceback: Option<String>,
    /// When, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// Host name, which in Kubernetes is the pod's name.
    pub pod_name: String,
    /// Version of the application, where it told one.
    pub version: Option<String>,
}

/// What an [`Event`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The start-up ended.
    Startup,
    /// The liveness probe changed.
    Liveness,
    /// The readiness probe changed.
    Readiness,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// Well.
    Succeeded,
    /// Not well.
    Failed,
    /// It could not even be tried.
    Warning,
}

/// A webhook that could not be delivered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WebhookError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

// === impl Event ===

impl Event {
    /// An event that happens now, on this host.
    #[must_use]
    pub fn new(kind: EventKind, status: EventStatus) -> Self {
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            kind,
            status,
            traceback: None,
            timestamp,
            pod_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            version: None,
        }
    }

    /// Adds why it went wrong.
    #[must_use]
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = Some(traceback.into());
        self
    }

    /// Adds the version of the application.
    #[must_use]
    pub fn with_version(mut self, version: Option<String>) -> Self {
        self.version = version;
        self
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 6 + usize::from(self.traceback.is_some());
        let mut payload = serializer.serialize_struct("Event", fields)?;
        payload.serialize_field("info", self.kind.info())?;
        payload.serialize_field("type", &self.kind)?;
        if let Some(traceback) = &self.traceback {
            payload.serialize_field("traceback", traceback)?;
        }
        payload.serialize_field("status", &self.status)?;
        payload.serialize_field("timestamp", &self.timestamp)?;
        payload.serialize_field("podname", &self.pod_name)?;
        payload.serialize_field("version", &self.version)?;
        payload.end()
    }
}

// === impl EventKind ===

impl EventKind {
    const fn info(self) -> &'static str {
        match self {
            Self::Startup => "Startup webhook",
            Self::Liveness => "Liveness webhook",
            Self::Readiness => "Readiness webhook",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        })
    }
}

// === impl EventStatus ===

impl fmt::Display for EventStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Warning => "warning",
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "webhooks")]
    #[test]
    fn payload_has_its_keys_in_order() {
        let mut event = Event::new(EventKind::Startup, EventStatus::Failed).with_traceback("boom");
        event.timestamp = 1_700_000_000;
        event.pod_name = "web-0".to_owned();
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"info":"Startup webhook","type":"startup","traceback":"boom","status":"failed","timestamp":1700000000,"podname":"web-0","version":null}"#
        );
        event.traceback = None;
        event.version = Some("1.2".to_owned());
        event.kind = EventKind::Readiness;
        event.status = EventStatus::Succeeded;
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"info":"Readiness webhook","type":"readiness","status":"succeeded","timestamp":1700000000,"podname":"web-0","version":"1.2"}"#
        );
    }

    #[test]
    fn an_event_knows_its_host_and_time() {
        let event = Event::new(EventKind::Liveness, EventStatus::Succeeded);
        assert!(!event.pod_name.is_empty());
        assert!(event.timestamp > 1_600_000_000);
    }
}
