//! Counts requests in flight, without metrics.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::body::HeldBody;
use crate::traffic::Traffic;

/// Makes services that count their requests in [`Traffic`], and nothing else.
///
/// The probes and their checks then know how busy the process is, though something else measures its requests. A
/// [`MetricsLayer`](super::MetricsLayer) does this as well: one of them is enough.
///
/// A request counts until the end of the answer's body, however it ends.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use hurricane_core::{Traffic, layer::InFlightLayer};
/// use tower::{ServiceBuilder, service_fn};
///
/// # type Request = http::Request<String>;
/// let traffic = Arc::new(Traffic::new());
/// let service = ServiceBuilder::new()
///     .layer(InFlightLayer::new(Arc::clone(&traffic)))
///     .service(service_fn(|request: Request| async move {
///         Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
///     }));
/// assert_eq!(traffic.in_flight(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct InFlightLayer {
    traffic: Arc<Traffic>,
}

/// Counts the requests of the inner service; made by [`InFlightLayer`].
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    inner: S,
    traffic: Arc<Traffic>,
}

pin_project! {
    /// The future of [`InFlight`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
    }
}

/// The body of [`InFlight`]'s responses, which tells when it ends.
pub type ResponseBody<B> = HeldBody<B, Guard>;

/// A request that counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Guard {
    traffic: Arc<Traffic>,
    began: Instant,
    answered: bool,
}

// === impl InFlightLayer ===

impl InFlightLayer {
    /// Counts in `traffic`.
    #[must_use]
    pub fn new(traffic: Arc<Traffic>) -> Self {
        Self { traffic }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight {
            inner,
            traffic: Arc::clone(&self.traffic),
        }
    }
}

// === impl InFlight ===

impl<S, A, B> Service<Request<A>> for InFlight<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let guard = Guard::new(&self.traffic);
        ResponseFuture {
            inner: self.inner.call(request),
            guard: Some(guard),
        }
    }
}

// === impl ResponseFuture ===

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let guard = this.guard.take();
        Poll::Ready(result.map(|response| {
            response.map(|body| match guard {
                Some(mut guard) => {
                    guard.answered = true;
                    HeldBody::new(body, guard)
                }
                None => HeldBody::plain(body),
            })
        }))
    }
}

// === impl Guard ===

impl Guard {
    fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.begin();
        Self {
            traffic: Arc::clone(traffic),
            began: Instant::now(),
            answered: false,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.answered {
            self.traffic.end(self.began.elapsed());
        } else {
            self.traffic.abandon();
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use std::{convert::Infallible, future};

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full};
    use tokio_test::{assert_pending, assert_ready, task};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn traffic() -> (Arc<Traffic>, InFlightLayer) {
        let traffic = Arc::new(Traffic::new());
        (Arc::clone(&traffic), InFlightLayer::new(traffic))
    }

    #[test]
    fn counts_until_the_end_of_the_body() {
        let (traffic, layer) = traffic();
        let hello = service_fn(|_: Request<()>| {
            future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
                "hello",
            )))))
        });
        let mut answer = task::spawn(layer.layer(hello).oneshot(Request::new(())));
        let mut body = assert_ready!(answer.poll()).unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(assert_ready!(task::spawn(body.frame()).poll()).is_some());
        assert_eq!(traffic.in_flight(), 1, "the end is not known yet");
        assert!(assert_ready!(task::spawn(body.frame()).poll()).is_none());
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 1));
        drop(body);
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 1));
    }

    #[test]
    fn what_got_no_answer_is_not_completed() {
        let (traffic, layer) = traffic();
        let never = service_fn(|_: Request<()>| {
            future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let mut answer = task::spawn(layer.layer(never).oneshot(Request::new(())));
        assert_pending!(answer.poll());
        assert_eq!(traffic.in_flight(), 1);
        drop(answer);
        let failing =
            service_fn(|_: Request<()>| future::ready(Err::<Response<Empty<Bytes>>, _>("broken")));
        let mut answer = task::spawn(layer.layer(failing).oneshot(Request::new(())));
        assert!(assert_ready!(answer.poll()).is_err());
        assert_eq!((traffic.in_flight(), traffic.completed()), (0, 0));
    }
}
