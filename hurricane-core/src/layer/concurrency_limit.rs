//! Lets only so many requests run at a time; the others wait in a queue that has an end.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tower::{Layer, Service, ServiceExt as _, util::Oneshot};

use super::{
    body::HeldBody,
    reject::{RETRY, Reason, reject},
};
use crate::traffic::Traffic;

/// Makes services that let only so many requests run at a time.
///
/// Others wait, first come first served, in a queue with a limit of its own. A request that finds it full, or waits too
/// long, is answered 503 with `Retry-After`: a client that is told at once can go elsewhere. With
/// [`traffic`](Self::traffic) the length of the queue shows in the metrics, and readiness can look at it.
///
/// A request runs until the end of its answer's body. One whose client leaves while it waits is forgotten. Layers made
/// by cloning, and all services made by them, share one limit.
///
/// What tower has for this waits without limit before a request is even read, where nobody can count or refuse it. Here
/// the service is always ready, and it is the answer that waits. Only a request that has to wait costs an allocation.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use hurricane_core::{CheckResult, Traffic, check_fn, layer::ConcurrencyLimitLayer};
/// use tower::{ServiceBuilder, service_fn};
///
/// # type Request = http::Request<String>;
/// let traffic = Arc::new(Traffic::new());
/// let service = ServiceBuilder::new()
///     .layer(
///         ConcurrencyLimitLayer::new(64, 256)
///             .max_wait(Duration::from_secs(5))
///             .traffic(Arc::clone(&traffic)),
///     )
///     .service(service_fn(|request: Request| async move {
///         Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
///     }));
///
/// // For readiness: new requests go elsewhere while the queue is long.
/// let queue = check_fn("queue", move || {
///     let result = if traffic.queued() < 200 { CheckResult::pass() } else { CheckResult::saturated("too many wait") };
///     async { result }
/// });
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer {
    limiter: Arc<Limiter>,
    max_wait: Duration,
    retry_after: Duration,
    traffic: Option<Arc<Traffic>>,
}

/// Lets only so many requests into the inner service; made by [`ConcurrencyLimitLayer`].
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    layer: ConcurrencyLimitLayer,
}

#[derive(Debug)]
struct Limiter {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

pin_project! {
    /// The future of [`ConcurrencyLimit`].
    pub struct ResponseFuture<S, A>
    where
        S: Service<Request<A>>,
    {
        #[pin]
        state: State<S, A>,
        retry_after: Duration,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, A>
    where
        S: Service<Request<A>>,
    {
        Waiting { turn: Turn, place: Place, call: Option<(S, Request<A>)> },
        Running { #[pin] answer: Oneshot<S, Request<A>>, permit: Option<Permit> },
        Full,
    }
}

/// Resolves to a permit, or to none when the time is over.
type Turn = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

/// The body of [`ConcurrencyLimit`]'s responses, at whose end another request may run.
pub type ResponseBody<B> = HeldBody<B, Permit>;

/// The right to run, given back when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue, given up when this is dropped.
#[derive(Debug)]
struct Place {
    limiter: Arc<Limiter>,
    traffic: Option<Arc<Traffic>>,
}

/// How long requests wait unless it is said otherwise.
const MAX_WAIT: Duration = Duration::from_secs(10);

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// Lets `limit` requests run and `queue` more wait.
    ///
    /// # Panics
    ///
    /// The limit is zero, so that none could ever run, or more than [`Semaphore::MAX_PERMITS`].
    #[must_use]
    pub fn new(limit: usize, queue: usize) -> Self {
        assert!(limit > 0, "a limit of no requests lets none run");
        Self {
            limiter: Arc::new(Limiter {
                running: Arc::new(Semaphore::new(limit)),
                waiting: AtomicUsize::new(0),
                max_waiting: queue,
            }),
            max_wait: MAX_WAIT,
            retry_after: RETRY,
            traffic: None,
        }
    }

    /// Sets how long a request may wait; 10 s if this is not called.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Sets how long refused clients are asked to wait, in the header `Retry-After`; 1 s if this is not called.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Tells `traffic` how many requests wait.
    #[must_use]
    pub fn traffic(mut self, traffic: Arc<Traffic>) -> Self {
        self.traffic = Some(traffic);
        self
    }

    /// How many requests wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.limiter.waiting.load(Relaxed)
    }

    fn turn(&self) -> Turn {
        let running = Arc::clone(&self.limiter.running);
        let max_wait = self.max_wait;
        Box::pin(async move {
            // The semaphore is never closed, so the inner error does not happen.
            let permit = time::timeout(max_wait, running.acquire_owned()).await;
            let permit = permit.ok()?.ok()?;
            Some(Permit { _permit: permit })
        })
    }

    /// A place in the queue, if there is one.
    fn place(&self) -> Option<Place> {
        let Limiter {
            waiting,
            max_waiting,
            ..
        } = &*self.limiter;
        waiting
            .fetch_update(Relaxed, Relaxed, |count| {
                (count < *max_waiting).then_some(count + 1)
            })
            .ok()?;
        if let Some(traffic) = &self.traffic {
            traffic.enter_queue();
        }
        Some(Place {
            limiter: Arc::clone(&self.limiter),
            traffic: self.traffic.clone(),
        })
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl ConcurrencyLimit ===

impl<S, A, B> Service<Request<A>> for ConcurrencyLimit<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, A>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Whether the inner service is ready is asked when the request may run.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let layer = &self.layer;
        let free = Arc::clone(&layer.limiter.running).try_acquire_owned();
        let state = match (free, layer.limiter.max_waiting) {
            // While others wait there is none: the semaphore hands what is given back to the first of them.
            (Ok(permit), _) => State::Running {
                answer: self.inner.clone().oneshot(request),
                permit: Some(Permit { _permit: permit }),
            },
            (Err(_), 0) => State::Full,
            (Err(_), _) => match layer.place() {
                Some(place) => State::Waiting {
                    turn: layer.turn(),
                    place,
                    call: Some((self.inner.clone(), request)),
                },
                None => State::Full,
            },
        };
        ResponseFuture {
            state,
            retry_after: layer.retry_after,
        }
    }
}

// === impl ResponseFuture ===

impl<S, A, B> Future for ResponseFuture<S, A>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting { turn, call, .. } => {
                    match (ready!(turn.as_mut().poll(cx)), call.take()) {
                        (Some(permit), Some((service, request))) => State::Running {
                            answer: service.oneshot(request),
                            permit: Some(permit),
                        },
                        _ => return Poll::Ready(Ok(reject(Reason::Waited, *this.retry_after))),
                    }
                }
                StateProjection::Running { answer, permit } => {
                    let response = ready!(answer.poll(cx));
                    let permit = permit.take();
                    return Poll::Ready(response.map(|response| {
                        response.map(|body| match permit {
                            Some(permit) => HeldBody::new(body, permit),
                            None => HeldBody::plain(body),
                        })
                    }));
                }
                StateProjection::Full => {
                    return Poll::Ready(Ok(reject(Reason::QueueFull, *this.retry_after)));
                }
            };
            // Leaves the queue.
            this.state.set(next);
        }
    }
}

impl<S, A> std::fmt::Debug for ResponseFuture<S, A>
where
    S: Service<Request<A>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.limiter.waiting.fetch_sub(1, Relaxed);
        if let Some(traffic) = &self.traffic {
            traffic.leave_queue();
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests;
