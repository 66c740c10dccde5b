//! The way of events to the webhooks: in order, bounded, beside everything else.

use std::{
    error::Error,
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time,
};
use tracing::{info, warn};

use super::{Event, Webhook};

/// Events that may wait for one webhook; a process has few events, so this many mean that the receiver is gone.
const CAPACITY: usize = 64;

/// Hands events to the webhooks without ever holding up who sends them.
///
/// Each webhook has a bounded queue and a task of its own: events arrive in order, and a receiver that hangs does not
/// hold up another. Clones share the queues.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

/// How many events had not been delivered when the time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} webhook events were not delivered within {deadline:?}")]
pub struct Undelivered {
    /// Events that were still waiting or on their way.
    pub count: usize,
    /// The time they had.
    pub deadline: Duration,
}

struct Shared {
    lanes: Vec<Lane>,
    version: Option<String>,
    closed: AtomicBool,
}

struct Lane {
    name: String,
    events: mpsc::Sender<Option<Arc<Event>>>,
    /// Events sent but not done with.
    pending: Arc<AtomicUsize>,
    done: watch::Receiver<bool>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Starts one task for each webhook on the runtime behind `handle`.
    ///
    /// `version` is the application's version, told in each event that does not have one.
    #[must_use]
    pub fn spawn(webhooks: &[Arc<dyn Webhook>], version: Option<String>, handle: &Handle) -> Self {
        let lanes = webhooks
            .iter()
            .map(|webhook| {
                let (events, queue) = mpsc::channel(CAPACITY);
                let (finished, done) = watch::channel(false);
                let pending = Arc::new(AtomicUsize::new(0));
                handle.spawn(deliver_all(
                    Arc::clone(webhook),
                    queue,
                    Arc::clone(&pending),
                    finished,
                ));
                Lane {
                    name: webhook.name().to_owned(),
                    events,
                    pending,
                    done,
                }
            })
            .collect();
        Self {
            shared: Arc::new(Shared {
                lanes,
                version,
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Queues the event for every webhook; never waits.
    ///
    /// An event that finds a full queue is counted as undelivered and logged.
    pub fn send(&self, mut event: Event) {
        if event.version.is_none() {
            event.version.clone_from(&self.shared.version);
        }
        let event = Arc::new(event);
        for lane in &self.shared.lanes {
            lane.pending.fetch_add(1, Relaxed);
            let reason = if self.shared.closed.load(Relaxed) {
                "the process ends"
            } else if lane.events.try_send(Some(Arc::clone(&event))).is_err() {
                "too many events wait"
            } else {
                continue;
            };
            lane.pending.fetch_sub(1, Relaxed);
            undelivered(&lane.name, reason);
        }
    }

    /// Takes no more events and waits until those sent are delivered, at most until the deadline.
    ///
    /// # Errors
    ///
    /// Events were left when the time was up; they are given up.
    pub async fn close(&self, deadline: Duration) -> Result<(), Undelivered> {
        self.shared.closed.store(true, Relaxed);
        let flushed = time::timeout(deadline, async {
            for lane in &self.shared.lanes {
                // The mark of the end. Errors mean that the task has ended already.
                let _ = lane.events.send(None).await;
                let _ = lane.done.clone().wait_for(|done| *done).await;
            }
        });
        if flushed.await.is_ok() {
            return Ok(());
        }
        let mut count = 0;
        for lane in &self.shared.lanes {
            let left = lane.pending.load(Relaxed);
            for _ in 0..left {
                undelivered(&lane.name, "the process ends");
            }
            count += left;
        }
        Err(Undelivered { count, deadline })
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.shared.lanes.iter().map(|lane| &lane.name).collect();
        f.debug_struct("Dispatcher")
            .field("webhooks", &names)
            .finish()
    }
}

/// Delivers one event after the other until the mark of the end.
async fn deliver_all(
    webhook: Arc<dyn Webhook>,
    mut queue: mpsc::Receiver<Option<Arc<Event>>>,
    pending: Arc<AtomicUsize>,
    finished: watch::Sender<bool>,
) {
    while let Some(Some(event)) = queue.recv().await {
        let name = webhook.name();
        info!("Start sending {} webhook to {name}", event.kind);
        if let Err(error) = webhook.deliver(&event).await {
            undelivered(name, &chain(&error));
        }
        pending.fetch_sub(1, Relaxed);
    }
    finished.send_replace(true);
}

fn undelivered(name: &str, reason: &str) {
    metrics::counter!(crate::names::WEBHOOKS_UNDELIVERED).increment(1);
    warn!("Sending webhook to {name} has failed due to {reason}");
}

/// The error and its causes in one line.
fn chain(error: &dyn Error) -> String {
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
mod tests;
