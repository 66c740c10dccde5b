//! The way of events to the webhooks: in order, bounded, beside everything else.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time,
};
use tracing::{debug, info, warn};

use super::{Event, EventKind, Webhook, chain};
use crate::names;

/// Events that may wait for one webhook; a process has few events, so this many mean that the receiver is gone.
const CAPACITY: usize = 64;

/// Hands events to the webhooks without ever holding up who sends them.
///
/// Each webhook has a bounded queue and a task of its own: events arrive in order, and a receiver that hangs does not
/// hold up another. Clones share the queues.
///
/// What was delivered and what was not is counted, for each webhook by its name, in
/// `hurricane_webhooks_delivered_total` and `hurricane_webhooks_undelivered_total`.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use hurricane_core::{Dispatcher, Event, EventKind, EventStatus, Webhook};
///
/// # async fn run(webhooks: Vec<Arc<dyn Webhook>>) -> Result<(), Box<dyn std::error::Error>> {
/// let dispatcher = Dispatcher::start(&webhooks, Some("1.4.2".to_owned()))?;
/// dispatcher.send(Event::new(EventKind::Startup, EventStatus::Succeeded));
/// dispatcher.close(Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
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
    webhook: Arc<dyn Webhook>,
    events: mpsc::Sender<Option<Arc<Event>>>,
    /// Events sent but not done with.
    pending: Arc<AtomicUsize>,
    done: watch::Receiver<bool>,
    task: AbortHandle,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Delivers on a thread of its own, so that events get through while everything else is busy or stands still.
    ///
    /// `version` is the application's version, told in each event that does not have one. The thread ends when the
    /// dispatcher is closed or dropped; without webhooks there is none.
    ///
    /// # Errors
    ///
    /// The thread or its runtime could not be started.
    pub fn start(webhooks: &[Arc<dyn Webhook>], version: Option<String>) -> io::Result<Self> {
        if webhooks.is_empty() {
            return Ok(Self::with_lanes(Vec::new(), version));
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let dispatcher = Self::spawn(webhooks, version, runtime.handle());
        let lanes = dispatcher.shared.lanes.iter();
        let done: Vec<_> = lanes.map(|lane| lane.done.clone()).collect();
        thread::Builder::new()
            .name("hurricane-webhook".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    for mut done in done {
                        // The error means that the task was given up.
                        let _ = done.wait_for(|done| *done).await;
                    }
                });
            })?;
        Ok(dispatcher)
    }

    /// Delivers on the runtime behind `handle`, with one task for each webhook.
    ///
    /// `version` is the application's version, told in each event that does not have one.
    #[must_use]
    pub fn spawn(webhooks: &[Arc<dyn Webhook>], version: Option<String>, handle: &Handle) -> Self {
        let lanes = webhooks.iter().map(|webhook| {
            let (events, queue) = mpsc::channel(CAPACITY);
            let (finished, done) = watch::channel(false);
            let pending = Arc::new(AtomicUsize::new(0));
            let task = handle.spawn(deliver_all(
                Arc::clone(webhook),
                queue,
                Arc::clone(&pending),
                finished,
            ));
            Lane {
                webhook: Arc::clone(webhook),
                events,
                pending,
                done,
                task: task.abort_handle(),
            }
        });
        Self::with_lanes(lanes.collect(), version)
    }

    fn with_lanes(lanes: Vec<Lane>, version: Option<String>) -> Self {
        Self {
            shared: Arc::new(Shared {
                lanes,
                version,
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Whether there is a webhook that wants to hear of such events.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        let mut lanes = self.shared.lanes.iter();
        lanes.any(|lane| lane.webhook.wants(kind))
    }

    /// Queues the event for every webhook that wants it; never waits.
    ///
    /// An event that finds a full queue is counted as undelivered and logged.
    pub fn send(&self, mut event: Event) {
        if event.version.is_none() {
            event.version.clone_from(&self.shared.version);
        }
        let event = Arc::new(event);
        let lanes = self.shared.lanes.iter();
        for lane in lanes.filter(|lane| lane.webhook.wants(event.kind)) {
            lane.pending.fetch_add(1, Relaxed);
            let reason = if self.shared.closed.load(Relaxed) {
                "the process ends"
            } else if lane.events.try_send(Some(Arc::clone(&event))).is_err() {
                "too many events wait"
            } else {
                continue;
            };
            lane.pending.fetch_sub(1, Relaxed);
            undelivered(lane.webhook.name(), reason);
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
            lane.task.abort();
            let left = lane.pending.swap(0, Relaxed);
            for _ in 0..left {
                undelivered(lane.webhook.name(), "the process ends");
            }
            count += left;
        }
        Err(Undelivered { count, deadline })
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes = self.shared.lanes.iter();
        let names: Vec<_> = lanes.map(|lane| lane.webhook.name()).collect();
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
    // Each delivery is a task of its own, so that one that panics is no more than one that failed.
    let mut delivery = JoinSet::new();
    while let Some(Some(event)) = queue.recv().await {
        let name = webhook.name();
        info!("Start sending {} webhook to {name}", event.kind);
        let webhook = Arc::clone(&webhook);
        delivery.spawn({
            let event = Arc::clone(&event);
            async move { webhook.deliver(&event).await }
        });
        match delivery.join_next().await {
            Some(Ok(Ok(()))) => {
                metrics::counter!(names::WEBHOOKS_DELIVERED, "webhook" => name.to_owned())
                    .increment(1);
                debug!("The {} webhook to {name} is delivered", event.kind);
            }
            Some(Ok(Err(error))) => undelivered(name, &chain(&error)),
            Some(Err(panicked)) => undelivered(name, &chain(&panicked)),
            None => {}
        }
        pending.fetch_sub(1, Relaxed);
    }
    finished.send_replace(true);
}

fn undelivered(name: &str, reason: &str) {
    metrics::counter!(names::WEBHOOKS_UNDELIVERED, "webhook" => name.to_owned()).increment(1);
    warn!("Sending webhook to {name} has failed due to {reason}");
}

#[cfg(test)]
mod tests;
