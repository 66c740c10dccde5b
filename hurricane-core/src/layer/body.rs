//! The body of answers that something is held for until their end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that lets go of something when it ends, however it ends; or no body at all.
    #[derive(Debug)]
    pub struct HeldBody<B, H> {
        #[pin]
        inner: Option<B>,
        held: Option<H>,
    }
}

// === impl HeldBody ===

impl<B, H> HeldBody<B, H> {
    pub(super) fn new(inner: B, held: H) -> Self {
        Self {
            inner: Some(inner),
            held: Some(held),
        }
    }

    /// A body that holds nothing.
    pub(super) fn plain(inner: B) -> Self {
        Self {
            inner: Some(inner),
            held: None,
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            inner: None,
            held: None,
        }
    }
}

impl<B: Body, H> Body for HeldBody<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll_frame(cx)),
            None => None,
        };
        // The end; servers may keep the body for some time after it.
        if !matches!(frame, Some(Ok(_))) {
            drop(this.held.take());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
