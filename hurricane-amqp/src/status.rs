//! How a consumer stands, for probes and for those who wait for it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hurricane_core::{Check, CheckResult, async_trait};
use tokio::{sync::watch, time::Instant};

use crate::{alarm::Alarm, config::ConsumerConfig, publisher::Publisher};

/// How a consumer stands; it can be looked at from anywhere, at no cost for the consumer.
///
/// Clones share the same state. [`startup`](Self::startup), [`readiness`](Self::readiness) and
/// [`liveness`](Self::liveness) are the checks for the three probes.
#[derive(Clone)]
pub struct Status {
    inner: Arc<Inner>,
}

/// The consumer and its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Not yet subscribed for the first time.
    Starting,
    /// Subscribed; the broker delivers.
    Subscribed,
    /// Not connected, and why.
    Disconnected(String),
    /// Finishing what is in hand.
    Draining,
    /// Ended.
    Stopped,
}

struct Inner {
    link: watch::Sender<Link>,
    began: AtomicBool,
    epoch: Instant,
    /// For each message being handled the time it began, in milliseconds since the epoch and one more; 0 is free.
    slots: Box<[AtomicU64]>,
    in_hand: AtomicUsize,
    delivered: AtomicU64,
    reconnects: AtomicU64,
    depth: AtomicU64,
    /// Subscriptions in a row that were lost without a word from the broker.
    silences: AtomicU32,
    alarm: Alarm,
    publisher: Publisher,
    handler_timeout: Option<Duration>,
    max_in_hand: Option<usize>,
}

/// In place of a number of messages: nobody has looked yet.
const UNKNOWN: u64 = u64::MAX;

// === impl Status ===

impl Status {
    pub(crate) fn new(config: &ConsumerConfig, publisher: Publisher) -> Self {
        Self {
            inner: Arc::new(Inner {
                link: watch::Sender::new(Link::Starting),
                began: AtomicBool::new(false),
                epoch: Instant::now(),
                slots: (0..config.slots()).map(|_| AtomicU64::new(0)).collect(),
                in_hand: AtomicUsize::new(0),
                delivered: AtomicU64::new(0),
                reconnects: AtomicU64::new(0),
                depth: AtomicU64::new(UNKNOWN),
                silences: AtomicU32::new(0),
                alarm: Alarm::of_queue(&config.topology.queue.name),
                publisher,
                handler_timeout: config.handler_timeout,
                max_in_hand: config.max_in_hand,
            }),
        }
    }

    /// How it stands with the broker.
    #[must_use]
    pub fn link(&self) -> Link {
        self.inner.link.borrow().clone()
    }

    /// A receiver that sees every later change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Link> {
        self.inner.link.subscribe()
    }

    /// Waits for a state; returns at once if it is the present one.
    pub async fn wait_for(&self, wanted: impl Fn(&Link) -> bool) {
        // The error means that every sender is gone, and `self` holds one.
        let _ = self.subscribe().wait_for(|link| wanted(link)).await;
    }

    /// Whether there has been a subscription.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.inner.began.load(Relaxed)
    }

    /// Messages that were given to the handler and are not settled.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        self.inner.in_hand.load(Relaxed)
    }

    /// Messages delivered since the start.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.inner.delivered.load(Relaxed)
    }

    /// Tries to connect again since the start.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.inner.reconnects.load(Relaxed)
    }

    /// Messages waiting in the queue when the broker was last asked.
    #[must_use]
    pub fn depth(&self) -> Option<u64> {
        Some(self.inner.depth.load(Relaxed)).filter(|depth| *depth != UNKNOWN)
    }

    /// Why the broker takes no messages from us at the moment, acknowledgements aside; none when it does.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        let reason = self.inner.alarm.reason();
        reason.or_else(|| self.inner.publisher.blocked())
    }

    /// How long the handler has been at the message it is longest at; none while it is at none.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let began = self.inner.slots.iter().map(|slot| slot.load(Relaxed));
        let oldest = began.filter(|began| *began > 0).min()?;
        Some(Duration::from_millis(self.now().saturating_sub(oldest)))
    }

    /// The check for the startup probe: whether there has been a subscription.
    #[must_use]
    pub fn startup(&self) -> impl Check + use<> {
        StatusCheck {
            name: "amqp subscription",
            status: self.clone(),
            ask: |status| match status.link() {
                _ if status.has_begun() => CheckResult::pass(),
                Link::Disconnected(reason) => {
                    CheckResult::saturated(format!("not yet subscribed: {reason}"))
                }
                _ => CheckResult::saturated("not yet subscribed"),
            },
        }
    }

    /// The check for the readiness probe: whether messages come in, replies get out, and not too many are in hand.
    #[must_use]
    pub fn readiness(&self) -> impl Check + use<> {
        StatusCheck {
            name: "amqp",
            status: self.clone(),
            ask: Self::is_ready,
        }
    }

    /// The check for the liveness probe, which fails for what only a restart cures: a handler that is stuck, and a
    /// subscription that stays silent, although it was renewed, while the queue grows.
    ///
    /// It passes while there is no broker, for no restart brings one back.
    #[must_use]
    pub fn liveness(&self) -> impl Check + use<> {
        StatusCheck {
            name: "amqp handler",
            status: self.clone(),
            ask: Self::is_alive,
        }
    }

    fn is_ready(&self) -> CheckResult {
        match self.link() {
            Link::Subscribed => {}
            Link::Starting => return CheckResult::saturated("not yet subscribed"),
            Link::Disconnected(reason) => {
                return CheckResult::fail(format!("not connected to the broker: {reason}"));
            }
            Link::Draining => return CheckResult::saturated("draining"),
            Link::Stopped => return CheckResult::fail("the consumer has ended"),
        }
        if let Some(reason) = self.blocked() {
            return CheckResult::saturated(format!("the broker takes no messages: {reason}"));
        }
        let in_hand = self.in_hand();
        if self.inner.max_in_hand.is_some_and(|max| in_hand >= max) {
            return CheckResult::saturated(format!("{in_hand} messages in hand"));
        }
        CheckResult::pass_with(format!("{in_hand} messages in hand"))
    }

    fn is_alive(&self) -> CheckResult {
        if let (Some(timeout), Some(longest)) = (self.inner.handler_timeout, self.longest())
            && longest > timeout
        {
            return CheckResult::fail(format!(
                "the handler has been at a message for {} s",
                longest.as_secs()
            ));
        }
        if self.inner.silences.load(Relaxed) > 1 {
            let depth = self.depth().unwrap_or_default();
            return CheckResult::fail(format!("{depth} messages wait, and none is delivered"));
        }
        CheckResult::pass()
    }

    pub(crate) fn set_link(&self, link: Link) {
        if link == Link::Subscribed {
            self.inner.began.store(true, Relaxed);
        }
        self.inner.link.send_if_modified(|now| {
            let changed = *now != link;
            *now = link;
            changed
        });
    }

    pub(crate) fn set_in_hand(&self, count: usize) {
        self.inner.in_hand.store(count, Relaxed);
    }

    pub(crate) fn count_delivery(&self) -> u64 {
        self.inner.delivered.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn count_reconnect(&self) {
        self.inner.reconnects.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_depth(&self, depth: u64) {
        self.inner.depth.store(depth, Relaxed);
    }

    pub(crate) fn set_blocked(&self, reason: Option<String>) {
        self.inner.alarm.set(reason);
    }

    pub(crate) fn count_silence(&self) {
        self.inner.silences.fetch_add(1, Relaxed);
    }

    pub(crate) fn end_silence(&self) {
        self.inner.silences.store(0, Relaxed);
    }

    pub(crate) fn begin_slot(&self, slot: usize) {
        self.inner.slots[slot].store(self.now(), Relaxed);
    }

    pub(crate) fn end_slot(&self, slot: usize) {
        self.inner.slots[slot].store(0, Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.inner.epoch.elapsed().as_millis()).map_or(u64::MAX, |now| now + 1)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("link", &self.link())
            .field("in_hand", &self.in_hand())
            .field("delivered", &self.delivered())
            .field("depth", &self.depth())
            .field("blocked", &self.blocked())
            .finish_non_exhaustive()
    }
}

struct StatusCheck {
    name: &'static str,
    status: Status,
    ask: fn(&Status) -> CheckResult,
}

#[async_trait]
impl Check for StatusCheck {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> CheckResult {
        (self.ask)(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use hurricane_core::Status as Health;
    use tokio::time;

    use super::*;

    fn status() -> Status {
        let config = ConsumerConfig {
            concurrency: 2,
            handler_timeout: Some(Duration::from_secs(5)),
            max_in_hand: Some(2),
            ..ConsumerConfig::default()
        };
        let publisher = Publisher::new(config.connection.clone());
        Status::new(&config, publisher)
    }

    #[test]
    fn readiness_follows_the_link_and_what_is_in_hand() {
        let status = status();
        assert_eq!(status.is_ready().status, Health::Saturated);
        status.set_link(Link::Subscribed);
        assert_eq!(status.is_ready().status, Health::Pass);
        status.set_in_hand(2);
        assert_eq!(status.is_ready().message, "2 messages in hand");
        assert_eq!(status.is_ready().status, Health::Saturated);
        status.set_in_hand(1);
        status.set_blocked(Some("low on memory".into()));
        assert_eq!(status.is_ready().status, Health::Saturated);
        status.set_link(Link::Disconnected("gone".into()));
        assert_eq!(status.is_ready().status, Health::Fail);
        assert!(status.has_begun());
        assert_eq!(
            status.is_alive().status,
            Health::Pass,
            "no restart brings a broker back"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn liveness_fails_for_a_handler_that_is_stuck() {
        let status = status();
        status.begin_slot(1);
        time::advance(Duration::from_secs(4)).await;
        status.begin_slot(0);
        assert_eq!(status.is_alive().status, Health::Pass);
        time::advance(Duration::from_secs(3)).await;
        assert_eq!(status.longest(), Some(Duration::from_secs(7)));
        assert_eq!(
            status.is_alive().message,
            "the handler has been at a message for 7 s"
        );
        status.end_slot(1);
        assert_eq!(status.is_alive().status, Health::Pass);
    }

    #[test]
    fn a_subscription_may_be_silent_once() {
        let status = status();
        status.count_silence();
        assert_eq!(status.is_alive().status, Health::Pass);
        status.count_silence();
        assert_eq!(status.is_alive().status, Health::Fail);
        status.end_silence();
        assert_eq!(status.is_alive().status, Health::Pass);
    }
}
