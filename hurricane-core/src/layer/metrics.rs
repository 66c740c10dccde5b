//! Counts requests, from the head of the request to the end of the answer's body.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::series::{AllSeries, MethodIndex, RouteSeries, StatusIndex};
use crate::traffic::Traffic;

/// Makes services that count their requests in [`Traffic`] and through the [`metrics`](::metrics) facade.
///
/// Recorded are `http_server_requests_total`, `http_server_request_duration_seconds` and
/// `http_server_response_body_size_bytes`, with the labels
///
/// | label | value |
/// | --- | --- |
/// | `method` | the method; `_OTHER` for one that is not of the standard's |
/// | `status` | `1xx` to `5xx`; `cancelled` when the client left before the head of the answer, `error` when the service failed without an answer |
/// | `route` | the matched path of an axum router, as in `/users/{id}`; else empty |
///
/// The handles are looked up once for each combination and then kept, so the recorder is to be installed before the
/// first request. Layers made by cloning share them.
///
/// Time is measured until the body's end, and a request counts as in flight until then, however it ends.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use hurricane_core::{MetricsLayer, Traffic};
/// use tower::{ServiceBuilder, service_fn};
///
/// # type Request = http::Request<String>;
/// let traffic = Arc::new(Traffic::new());
/// let service = ServiceBuilder::new()
///     .layer(MetricsLayer::new(traffic))
///     .service(service_fn(|request: Request| async move {
///         Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
///     }));
/// ```
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    shared: Arc<Shared>,
}

/// Counts the requests of the inner service; made by [`MetricsLayer`].
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    traffic: Arc<Traffic>,
    series: AllSeries,
}

pin_project! {
    /// The future of [`Metrics`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        request: Option<InFlight>,
    }
}

pin_project! {
    /// The body of [`Metrics`]' responses, which counts its bytes and tells when it ends.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        request: Option<InFlight>,
    }
}

/// A request in flight. It is counted when this is dropped, so nothing that goes wrong can leave it in the gauge.
#[derive(Debug)]
struct InFlight {
    shared: Arc<Shared>,
    series: Arc<RouteSeries>,
    method: MethodIndex,
    status: StatusIndex,
    began: Instant,
    body_bytes: u64,
}

// === impl MetricsLayer ===

impl MetricsLayer {
    /// Counts in `traffic`.
    #[must_use]
    pub fn new(traffic: Arc<Traffic>) -> Self {
        Self {
            shared: Arc::new(Shared {
                traffic,
                series: AllSeries::new(),
            }),
        }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

// === impl Metrics ===

impl<S, A, B> Service<Request<A>> for Metrics<S>
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
        let in_flight = InFlight::begin(&self.shared, &request);
        ResponseFuture {
            inner: self.inner.call(request),
            request: Some(in_flight),
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
        let mut request = this.request.take();
        if let Some(request) = &mut request {
            match &result {
                Ok(response) => request.answered(response),
                Err(_) => request.status = StatusIndex::ERROR,
            }
        }
        Poll::Ready(result.map(|response| response.map(|inner| ResponseBody { inner, request })))
    }
}

// === impl ResponseBody ===

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(request), Some(data)) = (this.request, frame.data_ref()) {
                    request.body_bytes += data.remaining() as u64;
                }
            }
            // The end; servers may keep the body for some time after it.
            Some(Err(_)) | None => drop(this.request.take()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl InFlight ===

impl InFlight {
    fn begin<A>(shared: &Arc<Shared>, request: &Request<A>) -> Self {
        shared.traffic.begin();
        Self {
            shared: Arc::clone(shared),
            series: matched_path(request.extensions()).map_or_else(
                || shared.series.unrouted(),
                |route| shared.series.route(route),
            ),
            method: MethodIndex::of(request.method()),
            status: StatusIndex::CANCELLED,
            began: Instant::now(),
            body_bytes: 0,
        }
    }

    fn answered<B>(&mut self, response: &Response<B>) {
        self.status = StatusIndex::of(response.status());
        // Outside of the router the request does not have the path yet; the response may tell it.
        if let Some(route) = matched_path(response.extensions()) {
            self.series = self.shared.series.route(route);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let traffic = &self.shared.traffic;
        let series = self.series.get(self.method, self.status);
        series.requests.increment(1);
        series.seconds.record(duration);
        match &series.body_bytes {
            Some(body_bytes) => {
                body_bytes.record(self.body_bytes as f64);
                traffic.end(duration);
            }
            None => traffic.abandon(),
        }
    }
}

#[cfg(feature = "server")]
fn matched_path(extensions: &http::Extensions) -> Option<&str> {
    extensions
        .get::<axum::extract::MatchedPath>()
        .map(axum::extract::MatchedPath::as_str)
}

#[cfg(not(feature = "server"))]
fn matched_path(_: &http::Extensions) -> Option<&str> {
    None
}

#[cfg(test)]
mod tests;
