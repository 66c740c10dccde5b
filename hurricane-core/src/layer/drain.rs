//! Sends clients away once the process is to end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{
    body::HeldBody,
    reject::{RETRY, Reason, reject},
};
use crate::lifecycle::Lifecycle;

/// Makes services that send clients away once the process is [draining](crate::Phase::Draining).
///
/// From then on every HTTP/1 answer says `Connection: close`, so that clients with a connection come back elsewhere.
/// With [`reject_after`](Self::reject_after), requests that still come some time later are answered 503.
///
/// The servers of this crate close connections themselves; this is for those who serve otherwise, or who want clients to
/// go during the shutdown delay already.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{Lifecycle, layer::DrainLayer};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let lifecycle = Lifecycle::new();
/// let layer = DrainLayer::new(lifecycle.clone()).reject_after(Duration::ZERO);
/// let service = layer.layer(service_fn(|request: http::Request<String>| async move {
///     Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
/// }));
/// lifecycle.drain();
/// let response = service.oneshot(http::Request::new("hello".to_owned())).await.unwrap();
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["connection"], "close");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrainLayer {
    lifecycle: Lifecycle,
    reject_after: Option<Duration>,
    retry_after: Duration,
}

/// Sends clients of the inner service away once the process is to end; made by [`DrainLayer`].
#[derive(Clone, Debug)]
pub struct Drain<S> {
    inner: S,
    layer: DrainLayer,
}

pin_project! {
    /// The future of [`Drain`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // None for a request that is rejected.
        #[pin]
        inner: Option<F>,
        lifecycle: Lifecycle,
        version: Version,
        retry_after: Duration,
    }
}

/// The body of [`Drain`]'s responses.
pub type ResponseBody<B> = HeldBody<B, ()>;

// === impl DrainLayer ===

impl DrainLayer {
    /// Looks at `lifecycle`.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle,
            reject_after: None,
            retry_after: RETRY,
        }
    }

    /// Answers 503 to requests that come so long after the draining began; if this is not called, none are.
    #[must_use]
    pub fn reject_after(mut self, delay: Duration) -> Self {
        self.reject_after = Some(delay);
        self
    }

    /// Sets how long these clients are asked to wait, in the header `Retry-After`; 1 s if this is not called.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    fn rejects(&self) -> bool {
        self.reject_after.is_some_and(|delay| {
            let since = self.lifecycle.draining_since();
            since.is_some_and(|since| since.elapsed() >= delay)
        })
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Drain {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl Drain ===

impl<S, A, B> Service<Request<A>> for Drain<S>
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
        let version = request.version();
        let rejects = self.layer.rejects();
        ResponseFuture {
            inner: (!rejects).then(|| self.inner.call(request)),
            lifecycle: self.layer.lifecycle.clone(),
            version,
            retry_after: self.layer.retry_after,
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
        let mut response = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx))?.map(HeldBody::plain),
            None => reject(Reason::Draining, *this.retry_after),
        };
        // Later versions have no such header, and an upgrade is no longer ours to close.
        if *this.version <= Version::HTTP_11
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
            && this.lifecycle.draining_since().is_some()
        {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use tokio::time;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn hello(request: Request<StatusCode>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut response = Response::new(Full::new(Bytes::from("hello")));
        *response.status_mut() = request.into_body();
        Ok(response)
    }

    async fn ask(
        layer: &DrainLayer,
        version: Version,
        status: StatusCode,
    ) -> Response<ResponseBody<Full<Bytes>>> {
        let mut request = Request::new(status);
        *request.version_mut() = version;
        layer
            .layer(service_fn(hello))
            .oneshot(request)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn connections_are_closed_from_the_beginning_of_the_end() {
        let lifecycle = Lifecycle::new();
        lifecycle.run();
        let layer = DrainLayer::new(lifecycle.clone());
        let closes = async |version, status| {
            ask(&layer, version, status)
                .await
                .headers()
                .contains_key(CONNECTION)
        };
        assert!(!closes(Version::HTTP_11, StatusCode::OK).await);
        lifecycle.drain();
        assert!(closes(Version::HTTP_11, StatusCode::OK).await);
        assert!(closes(Version::HTTP_10, StatusCode::NOT_FOUND).await);
        assert!(!closes(Version::HTTP_2, StatusCode::OK).await);
        assert!(!closes(Version::HTTP_11, StatusCode::SWITCHING_PROTOCOLS).await);
    }

    #[tokio::test]
    async fn an_answer_that_was_begun_before_closes_too() {
        let lifecycle = Lifecycle::new();
        let layer = DrainLayer::new(lifecycle.clone()).reject_after(Duration::ZERO);
        let drains = service_fn(move |_: Request<()>| {
            lifecycle.drain();
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) }
        });
        let response = layer.layer(drains).oneshot(Request::new(())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONNECTION], "close");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_refused_after_the_delay() {
        let lifecycle = Lifecycle::new();
        let layer = DrainLayer::new(lifecycle.clone())
            .reject_after(Duration::from_secs(5))
            .retry_after(Duration::from_millis(1_500));
        let ask = || ask(&layer, Version::HTTP_11, StatusCode::OK);
        time::advance(Duration::from_secs(60)).await;
        assert_eq!(ask().await.status(), StatusCode::OK);
        lifecycle.drain();
        time::advance(Duration::from_millis(4_999)).await;
        assert_eq!(ask().await.status(), StatusCode::OK);
        time::advance(Duration::from_millis(1)).await;
        let refused = ask().await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "2");
        assert_eq!(refused.headers()[CONNECTION], "close");
        assert!(
            refused
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
}
