//! A request from the first byte of its body to its answer.

use std::{
    borrow::Cow, convert::Infallible, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc,
};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::BodyExt;
use hurricane_core::server::ConnectInfo;
use percent_encoding::percent_decode;
use tokio::io::AsyncWriteExt;
use tower::Service;

use crate::{
    asgi::Interface,
    frame::prepared::Prepared,
    gateway::{Failure, Gateway, Ticket},
    job::JobBody,
    request::{below, environ},
    response::{Body, plain},
    websocket::handshake,
};

/// A body up to this size (bytes) is kept in memory, a longer one in a temporary file.
const INLINE: usize = 1 << 20;

/// Seconds after which a client that was told to come back may do so.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What has become of a request when its head was looked at.
pub(crate) enum Admission {
    /// It is in the queue, or was refused.
    Decided(Result<Ticket, Failure>),
    /// More has to be read before it can be handed on. Boxed, as that needs a lot of room, which
    /// each request would have to carry about.
    Continues(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// Why a request's body was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailure {
    #[error("the request's body is too long")]
    TooLong,
    #[error("the request's body broke off")]
    BrokenOff,
    #[error("failed to keep the request's body in a temporary file")]
    Spool(#[source] io::Error),
}

impl Gateway {
    /// Has a request answered by the application.
    ///
    /// For a thread the body is read here, before a slot is taken, so that a client that sends
    /// slowly costs no Python thread; for an event loop it is streamed. What goes wrong is answered
    /// too, with a line of text: 400 (the body broke off), 413, 500 (the application failed, its
    /// traceback is in the log), 502 (its worker died), 503 with `Retry-After` (the queue is full),
    /// 504 (the request timeout has passed).
    ///
    /// The client's address is looked for among the request's extensions, as [`ConnectInfo`]; and so
    /// is what tells it early hints, as [`EarlyHints`](hurricane_core::server::EarlyHints).
    ///
    /// A request without a body is in the queue when this returns, others when the future has
    /// read what is needed. Dropping the future withdraws the request.
    pub fn handle<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        let admission = self.admit(request);
        async {
            match admission {
                Admission::Decided(ticket) => answered(ticket).await,
                Admission::Continues(response) => response.await,
            }
        }
    }

    fn admit<B>(&self, request: Request<B>) -> Admission
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        if self.is_full() {
            return Admission::Decided(Err(Failure::QueueFull));
        }
        if self.is_for_loop(&request) {
            return self.admit_to_loop(request);
        }
        let (parts, body) = request.into_parts();
        if !body.is_end_stream() {
            return Admission::Continues(Box::pin(self.clone().read_and_admit(parts, body)));
        }
        let told =
            parts.headers.contains_key(header::CONTENT_LENGTH) || parts.method == Method::POST;
        let environ = self.environ(&parts, told.then_some(0));
        Admission::Decided(self.enqueue(environ, JobBody::Inline(Vec::new())))
    }

    async fn read_and_admit<B>(self, parts: request::Parts, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let (body, length) = match self.read(body).await {
            Ok(read) => read,
            Err(error) => return body_failed(&error),
        };
        let environ = self.environ(&parts, Some(length));
        drop(parts);
        answered(self.enqueue(environ, body)).await
    }

    fn environ(&self, parts: &request::Parts, length: Option<u64>) -> Prepared {
        environ(parts, client(parts), &self.config().root_path, length)
    }

    /// Whether a request is for the application's event loop, and not for its threads.
    fn is_for_loop<B>(&self, request: &Request<B>) -> bool {
        match self.interface() {
            Interface::Wsgi => false,
            Interface::Asgi => true,
            Interface::Hybrid => {
                handshake::is_wanted(request) || self.is_async(request.uri().path())
            }
        }
    }

    fn is_async(&self, path: &str) -> bool {
        let config = self.config();
        if config.async_paths.is_empty() {
            return false;
        }
        let path = below(path, &config.root_path);
        let path: Cow<'_, [u8]> = percent_decode(path.as_bytes()).into();
        let mut prefixes = config.async_paths.iter();
        prefixes.any(|prefix| path.starts_with(prefix.as_bytes()))
    }

    /// The gateway as a tower service, for a server of any kind.
    #[must_use]
    pub fn service<B>(
        &self,
    ) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        let gateway = self.clone();
        tower::service_fn(move |request| {
            let response = gateway.handle(request);
            async { Ok(response.await) }
        })
    }

    /// The whole body, and its length.
    async fn read<B>(&self, body: B) -> Result<(JobBody, u64), BodyFailure>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let declared = body.size_hint().exact();
        let most = self.config().max_body_size;
        if declared.is_some_and(|length| length > most) {
            return Err(BodyFailure::TooLong);
        }
        let mut body = std::pin::pin!(body);
        let mut data =
            Vec::with_capacity(declared.map_or(0, |length| length.min(INLINE as u64) as usize));
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            // What ended it is the client's doing, and the connection's to tell.
            let frame = frame.map_err(|_| BodyFailure::BrokenOff)?;
            // Trailers have no place in WSGI.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            length += piece.len() as u64;
            if length > most {
                return Err(BodyFailure::TooLong);
            }
            if data.len() + piece.len() > INLINE {
                data.extend_from_slice(&piece);
                return spool(data, body, length, most).await;
            }
            data.extend_from_slice(&piece);
        }
        Ok((JobBody::Inline(data), length))
    }
}

/// Waits for the answer, or says why there is none.
pub(crate) async fn answered(ticket: Result<Ticket, Failure>) -> Response<Body> {
    match ticket {
        Ok(ticket) => ticket.answer().await.unwrap_or_else(refusal),
        Err(failure) => refusal(failure),
    }
}

/// Goes on reading a body into an unlinked temporary file.
async fn spool<B>(
    begun: Vec<u8>,
    mut body: Pin<&mut B>,
    mut length: u64,
    most: u64,
) -> Result<(JobBody, u64), BodyFailure>
where
    B: http_body::Body<Data = Bytes>,
{
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
    let file = file
        .map_err(io::Error::other)
        .and_then(|file| file)
        .map_err(BodyFailure::Spool)?;
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(INLINE);
    file.write_all(&begun).await.map_err(BodyFailure::Spool)?;
    drop(begun);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyFailure::BrokenOff)?;
        let Ok(mut piece) = frame.into_data() else {
            continue;
        };
        length += piece.remaining() as u64;
        if length > most {
            return Err(BodyFailure::TooLong);
        }
        file.write_all_buf(&mut piece)
            .await
            .map_err(BodyFailure::Spool)?;
    }
    file.flush().await.map_err(BodyFailure::Spool)?;
    let mut file = file.into_std().await;
    io::Seek::rewind(&mut file).map_err(BodyFailure::Spool)?;
    Ok((JobBody::Spooled(Arc::new(file)), length))
}

/// The client's address, where the server tells it.
pub(crate) fn client(parts: &request::Parts) -> Option<SocketAddr> {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|info| info.0)
}

pub(crate) fn body_failed(error: &BodyFailure) -> Response<Body> {
    match error {
        BodyFailure::TooLong => {
            closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large\n"))
        }
        BodyFailure::BrokenOff => closing(plain(StatusCode::BAD_REQUEST, "Bad Request\n")),
        BodyFailure::Spool(source) => {
            tracing::error!(%source, "{error}");
            closing(plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal Server Error\n",
            ))
        }
    }
}

/// The rest of the request's body is still on its way: the connection is of no more use.
fn closing(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refusal(failure: Failure) -> Response<Body> {
    match failure {
        Failure::QueueFull => {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n");
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
            response
        }
        Failure::WorkerDied => plain(StatusCode::BAD_GATEWAY, "Bad Gateway\n"),
        Failure::Application => plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n"),
        Failure::TooLong => body_failed(&BodyFailure::TooLong),
        Failure::TimedOut => plain(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout\n"),
    }
}
