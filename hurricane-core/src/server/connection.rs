//! One connection: HTTP/1 spoken with one client.

use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode, header::CONNECTION};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tower::{Service, ServiceExt as _, util::Oneshot};
use tracing::debug;

use super::{
    ConnectInfo,
    activity::{Activity, Busy, BusyBody},
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

/// Serves one connection until its end. On a word from `end` it is closed as soon as it has nothing in hand.
pub(super) async fn drive<S, B>(
    http: http1::Builder,
    stream: Stream,
    service: PerConnection<S>,
    end: oneshot::Receiver<()>,
) where
    S: App<B>,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let peer = service.peer;
    let mut connection = pin!(
        http.serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let result = tokio::select! {
        biased;
        // An atomic load while nothing has been sent, where a channel for all connections would have a lock.
        _ = end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        debug!(client.addr = %peer, %error, "connection ended with an error");
    }
}

/// The application as one client meets it.
#[derive(Debug)]
pub(super) struct PerConnection<S> {
    app: S,
    peer: SocketAddr,
    closing: Arc<AtomicBool>,
    /// Kept where idle connections may have to be told from others.
    activity: Option<Arc<Activity>>,
}

pin_project! {
    /// An answer, which says `Connection: close` once the server is to end.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
        closing: Arc<AtomicBool>,
        busy: Option<Busy>,
    }
}

// === impl PerConnection ===

impl<S> PerConnection<S> {
    pub(super) fn new(
        app: S,
        peer: SocketAddr,
        closing: Arc<AtomicBool>,
        activity: Option<Arc<Activity>>,
    ) -> Self {
        Self {
            app,
            peer,
            closing,
            activity,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for PerConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<BusyBody<B>>;
    type Error = S::Error;
    type Future = Answer<Oneshot<S, Request<Incoming>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        Answer {
            inner: self.app.clone().oneshot(request),
            closing: Arc::clone(&self.closing),
            busy: self.activity.as_ref().map(Activity::begin),
        }
    }
}

// === impl Answer ===

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<BusyBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
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
