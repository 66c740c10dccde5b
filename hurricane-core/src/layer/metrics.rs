//! Counts requests, from the head of the request to the end of the answer's body.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Extensions, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

pub use self::route::Route;
use self::{
    django::{DjangoSeries, PathSeries},
    method::MethodIndex,
    series::{AllSeries, Outcome, RouteSeries},
};
use crate::{names::MetricNames, traffic::Traffic};

mod django;
mod method;
mod route;
mod series;
mod table;

/// Makes services that count their requests in [`Traffic`] and through the [`metrics`] facade.
///
/// Recorded are `http_server_requests_total`, `http_server_request_duration_seconds` and
/// `http_server_response_body_size_bytes`, with the labels
///
/// | label | value |
/// | --- | --- |
/// | `http_request_method` | the method; `_OTHER` for one that is not of the standard's |
/// | `http_response_status_code` | the status, as in `200`; left out where there was no answer |
/// | `http_route` | the matched path of an axum router, as in `/users/{id}`, or the [`Route`] that the service tells; else left out |
/// | `error_type` | for errors only: the status from 500 up; `body` when the body failed after that status; `cancelled` when the client left before the head of the answer; `service` when the service failed without an answer |
///
/// Names and labels are those of the semantic conventions of `OpenTelemetry` for HTTP servers. Their `url_scheme` is
/// left out: behind a proxy the server does not know it. [`names`](Self::names) adds or chooses those of
/// django-hurricane.
///
/// Clients cannot make up series: routes beyond [`max_routes`](Self::max_routes) are all `_other`, and
/// `hurricane_metrics_overflow_total` counts their requests.
///
/// The handles are looked up once for each combination and then found without a lock, so the recorder is to be
/// installed before the layer is made. Layers made by cloning share them.
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
    names: MetricNames,
    max_routes: usize,
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
    series: Option<AllSeries>,
    django: Option<DjangoSeries>,
}

/// How many routes, and how many paths, are told apart unless it is said otherwise.
const MAX_ROUTES: usize = 1_000;

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
    /// None while no route is known.
    route: Option<Arc<RouteSeries>>,
    path: Option<Arc<PathSeries>>,
    method: MethodIndex,
    outcome: Outcome,
    began: Instant,
    body_bytes: u64,
}

// === impl MetricsLayer ===

impl MetricsLayer {
    /// Counts in `traffic`.
    #[must_use]
    pub fn new(traffic: Arc<Traffic>) -> Self {
        Self::with(traffic, MetricNames::default(), MAX_ROUTES)
    }

    /// Chooses the names of the metrics; those of `OpenTelemetry` if nothing is said.
    ///
    /// Those of django-hurricane are `request_counter_total`, `response_time_seconds`, `response_size_bytes` and, with
    /// the labels `method` and `path`, `path_requests_total`. They count requests that were answered. As many paths
    /// are told apart as routes are; the others, and paths of more than 256 bytes, are all `_other`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use hurricane_core::{MetricNames, MetricsLayer, Traffic};
    ///
    /// let layer = MetricsLayer::new(Arc::new(Traffic::new())).names(MetricNames::Both);
    /// ```
    #[must_use]
    pub fn names(self, names: MetricNames) -> Self {
        Self::with(Arc::clone(&self.shared.traffic), names, self.max_routes)
    }

    /// Sets how many routes are told apart; 1,000 if nothing is said.
    #[must_use]
    pub fn max_routes(self, max_routes: usize) -> Self {
        Self::with(Arc::clone(&self.shared.traffic), self.names, max_routes)
    }

    fn with(traffic: Arc<Traffic>, names: MetricNames, max_routes: usize) -> Self {
        let open_telemetry = names.has_open_telemetry();
        let django = names.has_django_hurricane();
        Self {
            names,
            max_routes,
            shared: Arc::new(Shared {
                traffic,
                series: open_telemetry.then(|| AllSeries::new(max_routes)),
                django: django.then(|| DjangoSeries::new(max_routes)),
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

// === impl Shared ===

impl Shared {
    /// The series of the route that is told there, if any is.
    fn route(&self, extensions: &Extensions) -> Option<Arc<RouteSeries>> {
        let series = self.series.as_ref()?;
        Some(series.route(route::of(extensions)?))
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
                Err(_) => request.outcome = Outcome::Failed,
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
            None => drop(this.request.take()),
            Some(Err(_)) => {
                if let Some(mut request) = this.request.take() {
                    request.outcome = request.outcome.broken_off();
                }
            }
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
        let django = shared.django.as_ref();
        Self {
            shared: Arc::clone(shared),
            route: shared.route(request.extensions()),
            path: django.map(|django| django.path(request.uri().path())),
            method: MethodIndex::of(request.method()),
            outcome: Outcome::Cancelled,
            began: Instant::now(),
            body_bytes: 0,
        }
    }

    fn answered<B>(&mut self, response: &Response<B>) {
        self.outcome = Outcome::Answered(response.status());
        // Outside of the router the request does not have the route yet; the response may tell it.
        if let Some(route) = self.shared.route(response.extensions()) {
            self.route = Some(route);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let Shared {
            traffic,
            series,
            django,
        } = &*self.shared;
        if let Some(series) = series {
            let route = self.route.as_deref().unwrap_or(series.unrouted());
            route.with(self.method, self.outcome, |series| {
                series.requests.increment(1);
                series.seconds.record(duration);
                if let Some(body_bytes) = &series.body_bytes {
                    body_bytes.record(self.body_bytes as f64);
                }
            });
        }
        if self.outcome.status().is_none() {
            return traffic.abandon();
        }
        if let (Some(django), Some(path)) = (django, &self.path) {
            django.record(path, self.method, duration, self.body_bytes);
        }
        traffic.end(duration);
    }
}

#[cfg(test)]
mod tests;
