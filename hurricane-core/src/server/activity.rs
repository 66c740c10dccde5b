//! Which connections are idle, and since when.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{sync::Notify, time::Instant};

/// What one connection does, for whoever may have to close it.
#[derive(Debug)]
pub(super) struct Activity {
    epoch: Instant,
    requests: AtomicUsize,
    /// When the connection began, or its last answer ended, in milliseconds since the epoch.
    idle_since: AtomicU64,
    /// Told when the connection has nothing in hand any longer.
    idle: Arc<Notify>,
}

/// A request in hand, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

pin_project! {
    /// A body that keeps its connection busy until it has ended.
    #[derive(Debug)]
    pub(super) struct BusyBody<B> {
        #[pin]
        inner: B,
        busy: Option<Busy>,
    }
}

// === impl Activity ===

impl Activity {
    pub(super) fn new(epoch: Instant, idle: Arc<Notify>) -> Arc<Self> {
        let activity = Self {
            epoch,
            requests: AtomicUsize::new(0),
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

    /// Since when nothing is in hand; none if something is.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.requests.load(Relaxed) == 0).then(|| self.idle_since.load(Relaxed))
    }

    fn rest(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Relaxed);
    }
}

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
        if self.0.requests.fetch_sub(1, Relaxed) == 1 {
            self.0.idle.notify_one();
        }
    }
}

// === impl BusyBody ===

impl<B> BusyBody<B> {
    pub(super) fn new(inner: B, busy: Option<Busy>) -> Self {
        Self { inner, busy }
    }
}

impl<B: Body> Body for BusyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
