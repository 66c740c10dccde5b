//! What there is to tell about the life of a process.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Something happened in the life of the process.
///
/// Serialized it is the payload of a webhook: `info`, `type`, `traceback` (only where there is one), `status`,
/// `timestamp`, `podname`, `version`, and `worker` (only where it is about one), in this order.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Event, EventKind, EventStatus};
///
/// let event = Event::new(EventKind::WorkerCrashed, EventStatus::Failed)
///     .with_worker("importer")
///     .with_traceback("signal: 9 (SIGKILL)");
/// assert_eq!(event.kind.to_string(), "worker_crashed");
/// ```
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
    /// Name of the worker that it is about.
    pub worker: Option<String>,
}

/// What an [`Event`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The start-up ended: succeeded, failed, or could not be tried.
    Startup,
    /// The liveness probe changed.
    Liveness,
    /// The readiness probe changed.
    Readiness,
    /// The end began: the process takes leave of its load balancers and finishes what is in hand.
    Drain,
    /// The process ends: succeeded if everything in hand was finished.
    Shutdown,
    /// A worker ended or was given up, and is replaced.
    WorkerCrashed,
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

// === impl Event ===

impl Event {
    /// An event that happens now, on this host.
    #[must_use]
    pub fn new(kind: EventKind, status: EventStatus) -> Self {
        Self {
            kind,
            status,
            traceback: None,
            timestamp: now(),
            pod_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            version: None,
            worker: None,
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

    /// Adds the name of the worker that it is about.
    #[must_use]
    pub fn with_worker(mut self, worker: impl Into<String>) -> Self {
        self.worker = Some(worker.into());
        self
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 6 + usize::from(self.traceback.is_some()) + usize::from(self.worker.is_some());
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
        if let Some(worker) = &self.worker {
            payload.serialize_field("worker", worker)?;
        }
        payload.end()
    }
}

// === impl EventKind ===

impl EventKind {
    /// All kinds, in the order of a process's life.
    pub const ALL: [Self; 6] = [
        Self::Startup,
        Self::Liveness,
        Self::Readiness,
        Self::WorkerCrashed,
        Self::Drain,
        Self::Shutdown,
    ];

    pub(super) const fn info(self) -> &'static str {
        match self {
            Self::Startup => "Startup webhook",
            Self::Liveness => "Liveness webhook",
            Self::Readiness => "Readiness webhook",
            Self::Drain => "Drain webhook",
            Self::Shutdown => "Shutdown webhook",
            Self::WorkerCrashed => "Worker webhook",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Drain => "drain",
            Self::Shutdown => "shutdown",
            Self::WorkerCrashed => "worker_crashed",
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

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
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
        event.kind = EventKind::WorkerCrashed;
        event.worker = Some("importer".to_owned());
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"info":"Worker webhook","type":"worker_crashed","status":"succeeded","timestamp":1700000000,"podname":"web-0","version":"1.2","worker":"importer"}"#
        );
    }

    #[cfg(feature = "webhooks")]
    #[test]
    fn a_kind_is_called_the_same_in_text_and_payload() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
    }

    #[test]
    fn an_event_knows_its_host_and_time() {
        let event = Event::new(EventKind::Liveness, EventStatus::Succeeded);
        assert!(!event.pod_name.is_empty());
        assert!(event.timestamp > 1_600_000_000);
    }
}
