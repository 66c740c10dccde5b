//! Which connections are idle, and since when.
//!
//! Idle is a connection without a request in hand; a head that has not come to its end is none yet. So for how long a
//! connection has been idle is also for how long the next head has been on its way, and one timer for all connections
//! does for what would otherwise be a timer for each request. A client that takes the last of an answer slowly is given
//! as long for each part.

#[cfg(feature = "http2")]
use std::sync::atomic::AtomicBool;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{sync::Notify, time::Instant};

/// What one connection does, for whoever may have to close it.
#[derive(Debug)]
pub(super) struct Activity {
    epoch: Instant,
    requests: AtomicUsize,
    /// When the connection began, its last answer ended, or the client took more of it, in microseconds since the epoch.
    idle_since: AtomicU64,
    /// Something else sees to it that the connection ends when its client is gone.
    #[cfg(feature = "http2")]
    attended: AtomicBool,
    /// Told when the connection has nothing in hand any longer.
    idle: Option<Arc<Notify>>,
}

/// A request in hand, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

pin_project! {
    /// A body, or none, that keeps its connection busy until it has ended.
    #[derive(Debug)]
    pub(super) struct BusyBody<B> {
        #[pin]
        inner: Option<B>,
        busy: Option<Busy>,
    }
}

// === impl Activity ===

impl Activity {
    pub(super) fn new(epoch: Instant, idle: Option<Arc<Notify>>) -> Arc<Self> {
        let activity = Self {
            epoch,
            requests: AtomicUsize::new(0),
            #[cfg(feature = "http2")]
            attended: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            idle,
        };
        activity.rest();
        Arc::new(activity)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// Since when nothing is in hand, from the epoch on; none if something is.
    pub(super) fn idle_since(&self) -> Option<Duration> {
        let is_idle = self.requests.load(Relaxed) == 0;
        is_idle.then(|| Duration::from_micros(self.idle_since.load(Relaxed)))
    }

    /// Whether nothing has been in hand since a moment after the epoch.
    pub(super) fn is_late(&self, moment: Duration) -> bool {
        #[cfg(feature = "http2")]
        if self.attended.load(Relaxed) {
            return false;
        }
        self.idle_since().is_some_and(|since| since <= moment)
    }

    /// Notes that its protocol finds out by itself whether the client is still there, so that it is never late.
    #[cfg(feature = "http2")]
    pub(super) fn attend(&self) {
        self.attended.store(true, Relaxed);
    }

    /// Notes that the connection began, or the client took something of an answer, perhaps the last of it.
    pub(super) fn rest(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Relaxed);
    }
}

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
        if self.0.requests.fetch_sub(1, Relaxed) == 1
            && let Some(idle) = &self.0.idle
        {
            idle.notify_one();
        }
    }
}

// === impl BusyBody ===

impl<B> BusyBody<B> {
    pub(super) fn new(inner: B, busy: Option<Busy>) -> Self {
        let inner = Some(inner);
        Self { inner, busy }
    }

    pub(super) fn none(busy: Option<Busy>) -> Self {
        Self { inner: None, busy }
    }
}

impl<B: Body> Body for BusyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn is_late_when_nothing_has_been_in_hand_for_long() {
        let activity = Activity::new(Instant::now(), None);
        let second = Duration::from_secs(1);
        assert!(activity.is_late(second));

        let busy = activity.begin();
        assert!(!activity.is_late(second));
        tokio::time::advance(second * 2).await;
        drop(busy);
        assert!(!activity.is_late(second));
        assert!(activity.is_late(second * 2));
    }

    #[cfg(feature = "http2")]
    #[tokio::test]
    async fn is_never_late_when_its_protocol_attends_to_it() {
        let activity = Activity::new(Instant::now(), None);
        activity.attend();
        assert!(!activity.is_late(Duration::from_secs(1)));
    }
}
