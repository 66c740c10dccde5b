//! One connection: HTTP spoken with one client.

use std::{
    cell::RefCell,
    error::Error,
    future::Future,
    mem,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
#[cfg(feature = "http2")]
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tower::{Service, ServiceExt as _, util::Oneshot};
use tracing::debug;

use super::{
    ConnectInfo, ServeConfig,
    activity::{Activity, Busy, BusyBody},
    hints::{EarlyHints, Hints},
    host,
    stream::Stream,
};

/// What can be served: a tower service from requests to responses, such as an axum `Router`.
///
/// Implemented for all of them, and only a shorter way to say so.
pub trait App<B>:
    Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static
{
}

impl<S, B> App<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static
{
}

/// What is spoken with clients.
#[derive(Clone)]
pub(super) struct Protocols {
    http1: http1::Builder,
    /// With prior knowledge, for clients that begin with it.
    #[cfg(feature = "http2")]
    http2: Option<http2::Builder<TokioExecutor>>,
}

/// Serves one connection until its end. On a word from `end` it is closed as soon as it has nothing in hand.
#[cfg_attr(
    not(feature = "http2"),
    expect(unused_mut, reason = "only HTTP/2 looks at the stream first")
)]
pub(super) async fn drive<S, B>(
    protocols: Protocols,
    mut stream: Stream,
    service: PerConnection<S>,
    mut end: oneshot::Receiver<()>,
) where
    S: App<B>,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let peer = service.peer;
    #[cfg(feature = "http2")]
    if let Some(http2) = protocols.http2 {
        let is_http2 = tokio::select! {
            biased;
            _ = &mut end => return,
            is_http2 = stream.speaks_http2() => is_http2,
        };
        match is_http2 {
            Ok(false) => {}
            Ok(true) => {
                // By its pings.
                service.activity.attend();
                // An answer of HTTP/2 says nothing of connections; it is told by a frame.
                let service = PerConnection {
                    closing: Arc::default(),
                    ..service
                };
                let connection = http2.serve_connection(TokioIo::new(stream), service);
                let ended = until(connection, end, http2::Connection::graceful_shutdown).await;
                return log(peer, ended);
            }
            Err(error) => return debug!(client.addr = %peer, %error, "connection is lost"),
        }
    }
    let connection = protocols
        .http1
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let ended = until(
        connection,
        end,
        http1::UpgradeableConnection::graceful_shutdown,
    );
    log(peer, ended.await);
}

/// Waits for the end of a connection, which `close` begins on a word from `end`.
async fn until<C>(
    connection: C,
    end: oneshot::Receiver<()>,
    close: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // An atomic load while nothing has been sent, where a channel for all connections would have a lock.
        _ = end => {
            close(connection.as_mut());
            connection.await
        }
        ended = connection.as_mut() => ended,
    }
}

fn log(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(client.addr = %peer, %error, "connection ended with an error");
    }
}

/// How much hyper reads of a connection, and holds of an answer, where it is not told otherwise.
const BUFFER: usize = 408 * 1024;

/// Most requests at a time on a connection of HTTP/2.
#[cfg(feature = "http2")]
const STREAMS: u32 = 128;

/// The application as one client meets it.
#[derive(Debug)]
pub(super) struct PerConnection<S> {
    app: RefCell<S>,
    peer: SocketAddr,
    closing: Arc<AtomicBool>,
    activity: Arc<Activity>,
    hints: Option<Arc<Hints>>,
}

pin_project! {
    /// An answer, which says `Connection: close` once the server is to end.
    pub(super) struct Answer<S, R>
    where
        S: Service<R>,
    {
        // None where the request was malformed, so that nobody is asked.
        #[pin]
        inner: Option<Asked<S, R>>,
        closing: Arc<AtomicBool>,
        busy: Option<Busy>,
        hints: Option<EarlyHints>,
    }
}

pin_project! {
    /// A service that was ready has been called; another is waited for.
    #[project = AskedProjection]
    enum Asked<S, R>
    where
        S: Service<R>,
    {
        Called { #[pin] future: S::Future },
        Waiting { #[pin] oneshot: Oneshot<S, R> },
    }
}

// === impl Protocols ===

impl Protocols {
    pub(super) fn new(config: &ServeConfig) -> Self {
        // Not with hyper's `pipeline_flush`: it holds back an answer for as long as bytes of the client are unread, and
        // loses the answer to a request that cannot be parsed.
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(None)
            .max_header_size(config.max_header_bytes);
        if config.max_header_bytes > BUFFER {
            http1.max_buf_size(config.max_header_bytes);
        }
        Self {
            http1,
            #[cfg(feature = "http2")]
            http2: config.http2.then(|| {
                let mut http2 = http2::Builder::new(TokioExecutor::new());
                http2
                    .timer(TokioTimer::new())
                    .max_header_list_size(
                        u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX),
                    )
                    .max_concurrent_streams(STREAMS)
                    // A client that does not even answer a ping is gone.
                    .keep_alive_interval(Some(config.header_timeout))
                    .keep_alive_timeout(config.header_timeout);
                http2
            }),
        }
    }
}

// === impl PerConnection ===

impl<S> PerConnection<S> {
    pub(super) fn new(
        app: S,
        peer: SocketAddr,
        closing: Arc<AtomicBool>,
        activity: Arc<Activity>,
        hints: Option<Arc<Hints>>,
    ) -> Self {
        Self {
            app: RefCell::new(app),
            peer,
            closing,
            activity,
            hints,
        }
    }

    /// For the request that begins, if its client can be told hints.
    fn begin_hints(&self, version: Version) -> Option<EarlyHints> {
        let hints = self.hints.as_ref()?;
        (version == Version::HTTP_11).then(|| hints.begin())
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for PerConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<BusyBody<B>>;
    type Error = S::Error;
    type Future = Answer<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let mut hints = None;
        let inner = host::is_told(&request).then(|| {
            hints = self.begin_hints(request.version());
            let extensions = request.extensions_mut();
            extensions.insert(ConnectInfo(self.peer));
            if let Some(hints) = &hints {
                extensions.insert(hints.clone());
            }
            Asked::new(&mut *self.app.borrow_mut(), request)
        });
        Answer {
            inner,
            closing: Arc::clone(&self.closing),
            busy: Some(self.activity.begin()),
            hints,
        }
    }
}

// === impl Asked ===

impl<S, R> Asked<S, R>
where
    S: Service<R> + Clone,
{
    /// Calls the service at once if it is ready, as most always are: that spares a clone, and moving the request about.
    fn new(app: &mut S, request: R) -> Self {
        if let Poll::Ready(Ok(())) = app.poll_ready(&mut Context::from_waker(Waker::noop())) {
            let future = app.call(request);
            return Self::Called { future };
        }
        // The one that was asked may have a place in a queue; a clone of it has none.
        let next = app.clone();
        let oneshot = mem::replace(app, next).oneshot(request);
        Self::Waiting { oneshot }
    }
}

impl<S, R> Future for Asked<S, R>
where
    S: Service<R>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AskedProjection::Called { future } => future.poll(cx),
            AskedProjection::Waiting { oneshot } => oneshot.poll(cx),
        }
    }
}

// === impl Answer ===

impl<S, R, B> Future for Answer<S, R>
where
    S: Service<R, Response = Response<B>>,
{
    type Output = Result<Response<BusyBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Ok(bad_request(this.busy.take())));
        };
        let Poll::Ready(mut result) = inner.poll(cx) else {
            if let Some(hints) = this.hints {
                hints.sent_by(cx.waker());
            }
            return Poll::Pending;
        };
        if let Some(hints) = this.hints {
            hints.end();
        }
        if this.closing.load(Relaxed)
            && let Ok(response) = &mut result
            // An upgrade says `Connection: upgrade`, and is no longer ours to close.
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(result.map(|response| {
            let busy = this.busy.take();
            response.map(|body| BusyBody::new(body, busy))
        }))
    }
}

/// As hyper answers what it cannot read, and likewise the end of the connection.
fn bad_request<B>(busy: Option<Busy>) -> Response<BusyBody<B>> {
    let mut response = Response::new(BusyBody::none(busy));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
