//! The endpoints as a tower service: alone, or before an application on its port.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower::{Service, ServiceExt as _, util::Oneshot};

use super::{Probes, routes};

/// Answers the probes and metrics, and every other path with 404: the probe server without a server.
///
/// It takes requests with any body, which it drops unread, so it serves behind hyper, axum or whatever speaks tower.
/// [`router`](super::router) is the same as an axum `Router`, [`WithProbes`] the same before an application.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use http::Request;
/// use hurricane_core::{Lifecycle, ProbeConfig, Probes, Registry, Traffic, probe::ProbeService};
/// use tokio::runtime::Handle;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lifecycle = Lifecycle::new();
/// lifecycle.run();
/// let probes = Probes::new(
///     &ProbeConfig::default(),
///     &Registry::new(),
///     lifecycle,
///     Arc::new(Traffic::new()),
///     Handle::current(),
/// )?;
/// let service = ProbeService::new(Arc::new(probes));
/// let answer = service.oneshot(Request::get("/readyz").body(())?).await?;
/// assert_eq!(answer.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ProbeService {
    probes: Arc<Probes>,
}

/// The future of [`ProbeService`].
pub struct ProbeFuture {
    answer: Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>,
}

/// Answers the probes and metrics, and gives every other request to the application.
///
/// Probes do not wait for the application to be ready. Only the configured paths are taken from the application:
/// neither the [aliases](super::ProbeConfig::aliases), unless [asked for](Self::with_aliases), nor the paths of single
/// checks such as `/ready/database`, for which there is `/ready?check=database`.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// use axum::{Router, routing::get};
/// use http::Request;
/// # use hurricane_core::{Lifecycle, ProbeConfig, Probes, Registry, Traffic};
/// use hurricane_core::WithProbes;
/// # use tokio::runtime::Handle;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let probes = Arc::new(Probes::new(
/// #     &ProbeConfig::default(),
/// #     &Registry::new(),
/// #     Lifecycle::new(),
/// #     Arc::new(Traffic::new()),
/// #     Handle::current(),
/// # )?);
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let app = WithProbes::new(probes, app);
/// let request = |path| Request::get(path).body(axum::body::Body::empty());
/// assert_eq!(app.clone().oneshot(request("/")?).await?.status(), 200);
/// assert_eq!(app.oneshot(request("/ready")?).await?.status(), 400, "it has not started yet");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WithProbes<S> {
    probes: Arc<Probes>,
    aliases: bool,
    app: S,
}

pin_project! {
    /// The future of [`WithProbes`].
    pub struct WithProbesFuture<S: Service<R>, R> {
        #[pin]
        kind: Kind<S, R>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S: Service<R>, R> {
        Probe { #[pin] answer: ProbeFuture },
        App { #[pin] answer: Oneshot<S, R> },
    }
}

// === impl ProbeService ===

impl ProbeService {
    /// Answers from `probes`.
    #[must_use]
    pub fn new(probes: Arc<Probes>) -> Self {
        Self { probes }
    }
}

impl<B> Service<Request<B>> for ProbeService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProbeFuture {
        // The body is ignored, and with it dropped a server does not read it.
        let (head, _) = request.into_parts();
        let probes = Arc::clone(&self.probes);
        ProbeFuture {
            answer: Box::pin(async move { routes::answer(&probes, &head).await }),
        }
    }
}

// === impl ProbeFuture ===

impl Future for ProbeFuture {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ProbeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").finish_non_exhaustive()
    }
}

// === impl WithProbes ===

impl<S> WithProbes<S> {
    /// Puts the endpoints before `app`.
    pub fn new(probes: Arc<Probes>, app: S) -> Self {
        Self {
            probes,
            aliases: false,
            app,
        }
    }

    /// Takes `/livez`, `/readyz` and `/healthz` from the application as well.
    #[must_use]
    pub fn with_aliases(mut self) -> Self {
        self.aliases = true;
        self
    }
}

impl<S, A, B> Service<Request<A>> for WithProbes<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = S::Error;
    type Future = WithProbesFuture<S, Request<A>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Whether the application is ready is asked once it is known that the request is for it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (paths, path) = (self.probes.paths(), request.uri().path());
        let ours = paths.find(path).is_some() || (self.aliases && paths.find_alias(path).is_some());
        let kind = if ours {
            Kind::Probe {
                answer: ProbeService::new(Arc::clone(&self.probes)).call(request),
            }
        } else {
            Kind::App {
                answer: self.app.clone().oneshot(request),
            }
        };
        WithProbesFuture { kind }
    }
}

// === impl WithProbesFuture ===

impl<S, A, B> Future for WithProbesFuture<S, Request<A>>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Output = Result<Response<Either<Full<Bytes>, B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().kind.project() {
            KindProjection::Probe { answer } => {
                let Ok(answer) = ready!(answer.poll(cx));
                Ok(answer.map(Either::Left))
            }
            KindProjection::App { answer } => {
                ready!(answer.poll(cx)).map(|answer| answer.map(Either::Right))
            }
        })
    }
}
