//! The probes as `grpc.health.v1.Health`.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::{sync::mpsc, time};
use tower::Service;

use self::message::{ServingStatus, check_response, list_response};
use super::Probes;
use crate::{check::Probe, lifecycle::Phase};

mod message;

/// Answers `grpc.health.v1.Health`: `Check`, `Watch` and `List`.
///
/// The services are `startup`, `liveness` and `readiness`; the one without a name is readiness. 200 is `SERVING`,
/// everything else `NOT_SERVING`. `Watch` tells changes of the phase at once, and looks for others every five seconds.
///
/// The probe server answers it on its own port, where HTTP/2 is spoken with prior knowledge, as Kubernetes does for the
/// probes of the kind `grpc`. To have it elsewhere, as a tower service:
///
/// ```
/// # use std::sync::Arc;
/// # use hurricane_core::{Lifecycle, ProbeConfig, Probes, Registry, Traffic};
/// use axum::{Router, routing::get};
/// use hurricane_core::{ServeConfig, probe::GrpcHealth};
/// # use tokio::runtime::Handle;
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
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .route_service(GrpcHealth::ROUTE, GrpcHealth::new(probes));
/// let config = ServeConfig {
///     http2: true,
///     ..ServeConfig::default()
/// };
/// # drop((app, config));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    probes: Arc<Probes>,
    interval: Duration,
}

/// The future of [`GrpcHealth`].
pub struct GrpcFuture {
    answer: Pin<Box<dyn Future<Output = Response<GrpcBody>> + Send>>,
}

/// A body of [`GrpcHealth`]: messages, and how it ended.
#[derive(Debug)]
pub struct GrpcBody {
    messages: Messages,
    /// None once it has been sent.
    trailers: Option<HeaderMap>,
}

#[derive(Debug)]
enum Messages {
    One(Option<Bytes>),
    /// Ends when the process does.
    Watched(mpsc::Receiver<Bytes>),
}

/// The outcome of a call that has no message.
struct Failure {
    code: u8,
    reason: String,
}

const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const UNAVAILABLE: u8 = 14;

/// Most bytes in a request; the name of a service is shorter.
const MOST: usize = 1024;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often `Watch` looks for changes.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is escaped in the text of a status, as the protocol has it.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

// === impl GrpcHealth ===

impl GrpcHealth {
    /// The path of its methods, as axum's routes have it.
    pub const ROUTE: &'static str = "/grpc.health.v1.Health/{method}";

    /// Answers from `probes`.
    #[must_use]
    pub fn new(probes: Arc<Probes>) -> Self {
        Self {
            probes,
            interval: INTERVAL,
        }
    }

    /// Sets how often `Watch` looks for changes, which runs the checks.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    async fn answer<B>(self, request: Request<B>) -> Response<GrpcBody>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        if request.version() < Version::HTTP_2 {
            return refused(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        }
        let headers = request.headers();
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if !headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
            return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let (head, body) = request.into_parts();
        let method = head.uri.path().rsplit('/').next().unwrap_or_default();
        let answered = match method {
            "Check" => self.check(body).await,
            "Watch" => self.watch(body).await,
            "List" => self.list(body).await,
            _ => Err(Failure {
                code: UNIMPLEMENTED,
                reason: format!("there is no method {method}"),
            }),
        };
        answered.map_or_else(Failure::into_response, respond)
    }

    async fn check<B>(&self, body: B) -> Result<GrpcBody, Failure>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let service = receive(body).await?;
        let Some(probe) = probe_of(&service) else {
            return Err(Failure {
                code: NOT_FOUND,
                reason: format!("there is no service {service:?}"),
            });
        };
        Ok(GrpcBody::one(check_response(self.ask(probe).await)))
    }

    async fn list<B>(&self, body: B) -> Result<GrpcBody, Failure>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        receive(body).await?;
        let (startup, liveness, readiness) = tokio::join!(
            self.ask(Probe::Startup),
            self.ask(Probe::Liveness),
            self.ask(Probe::Readiness),
        );
        Ok(GrpcBody::one(list_response(&[
            ("", readiness),
            (Probe::Startup.name(), startup),
            (Probe::Liveness.name(), liveness),
            (Probe::Readiness.name(), readiness),
        ])))
    }

    async fn watch<B>(self, body: B) -> Result<GrpcBody, Failure>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let service = receive(body).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = self.follow(probe_of(&service), &sender) => {}
            }
        });
        Ok(GrpcBody {
            messages: Messages::Watched(receiver),
            trailers: Some(trailers(UNAVAILABLE, "the process ends")),
        })
    }

    /// Sends how a service stands, and then each change, until the process ends.
    async fn follow(&self, probe: Option<Probe>, sender: &mpsc::Sender<Bytes>) {
        let mut phases = self.probes.lifecycle().subscribe();
        let mut last = None;
        loop {
            let ended = *phases.borrow_and_update() == Phase::Stopped;
            let status = match probe {
                Some(probe) => self.ask(probe).await,
                None => ServingStatus::ServiceUnknown,
            };
            if last.replace(status) != Some(status)
                && sender.send(check_response(status)).await.is_err()
            {
                return;
            }
            if ended {
                return;
            }
            // An error of the second means that nothing will change any more.
            let _ = time::timeout(self.interval, phases.changed()).await;
        }
    }

    async fn ask(&self, probe: Probe) -> ServingStatus {
        if self.probes.ask(probe).await.passed() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

impl<B> Service<Request<B>> for GrpcHealth
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<GrpcBody>;
    type Error = Infallible;
    type Future = GrpcFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> GrpcFuture {
        GrpcFuture {
            answer: Box::pin(self.clone().answer(request)),
        }
    }
}

// === impl GrpcFuture ===

impl Future for GrpcFuture {
    type Output = Result<Response<GrpcBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for GrpcFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture").finish_non_exhaustive()
    }
}

// === impl GrpcBody ===

impl GrpcBody {
    fn one(message: Bytes) -> Self {
        Self {
            messages: Messages::One(Some(message)),
            trailers: Some(trailers(0, "")),
        }
    }

    fn empty() -> Self {
        Self {
            messages: Messages::One(None),
            trailers: None,
        }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let message = match &mut self.messages {
            Messages::One(message) => message.take(),
            Messages::Watched(receiver) => match receiver.poll_recv(cx) {
                Poll::Ready(message) => message,
                Poll::Pending => return Poll::Pending,
            },
        };
        let frame = match message {
            Some(message) => Some(Frame::data(message)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.messages, Messages::One(None)) && self.trailers.is_none()
    }
}

// === impl Failure ===

impl Failure {
    /// A response without a message has its status in the head.
    fn into_response(self) -> Response<GrpcBody> {
        let mut response = respond(GrpcBody::empty());
        response
            .headers_mut()
            .extend(trailers(self.code, &self.reason));
        response
    }
}

fn probe_of(service: &str) -> Option<Probe> {
    match service {
        "" => Some(Probe::Readiness),
        name => Probe::ALL.into_iter().find(|probe| probe.name() == name),
    }
}

/// Reads the one message of a request, the name of a service.
async fn receive<B>(body: B) -> Result<String, Failure>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let failure = |code, reason: &str| Failure {
        code,
        reason: reason.to_owned(),
    };
    let collected = time::timeout(PATIENCE, Limited::new(body, MOST).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) => return Err(failure(RESOURCE_EXHAUSTED, "the request is too long")),
        Err(_) => return Err(failure(DEADLINE_EXCEEDED, "the request did not come")),
    };
    let malformed = || failure(INVALID_ARGUMENT, "the request cannot be understood");
    let (prefix, message) = bytes.split_at_checked(5).ok_or_else(malformed)?;
    if prefix[0] != 0 {
        return Err(failure(UNIMPLEMENTED, "requests cannot be compressed"));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if usize::try_from(length) != Ok(message.len()) {
        return Err(malformed());
    }
    message::service(message).map_err(|_| malformed())
}

fn respond(body: GrpcBody) -> Response<GrpcBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/grpc+proto"),
    );
    response
}

fn refused(status: StatusCode) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::empty());
    *response.status_mut() = status;
    response
}

fn trailers(code: u8, reason: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", u16::from(code).into());
    if !reason.is_empty() {
        let escaped = utf8_percent_encode(reason, ESCAPED).to_string();
        // What is escaped holds nothing that a header cannot.
        if let Ok(escaped) = HeaderValue::try_from(escaped) {
            trailers.insert("grpc-message", escaped);
        }
    }
    trailers
}

#[cfg(test)]
mod tests;
