//! A response of an ASGI application.

use std::{
    io,
    path::Path,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use crate::{
    asgi::{event, lane::LaneId, outcome::Headers},
    gateway::{Failure, Gateway, Reply},
    response::{Body, is_hop_by_hop, is_length},
};

/// The loop is told that the client took so much (bytes), and not each piece by itself.
const STEP: i32 = 64 * 1024;

/// What comes of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// A body that comes in pieces, as the client takes them.
#[derive(Debug)]
pub(crate) struct Download {
    pieces: mpsc::UnboundedReceiver<Piece>,
    gateway: Gateway,
    lane: LaneId,
    stream: i32,
    /// What the client has taken and the loop has not been told of.
    taken: i32,
    ended: bool,
}

/// A head that cannot go out over HTTP, or a body that does not fit to it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidResponse {
    #[error("status {0} is not between 200 and 999")]
    Status(i32),
    #[error("header name {0:?} is not a token")]
    Name(String),
    #[error("value {value:?} of header {name:?} has characters that HTTP does not allow")]
    Value { name: String, value: String },
    #[error("Content-Length {0:?} is no number, or there is another one")]
    Length(String),
    #[error("Content-Length is {promised} and the body has {found} bytes")]
    Mismatch { promised: u64, found: u64 },
}

// === impl InvalidResponse ===

impl InvalidResponse {
    #[cold]
    pub(crate) fn value(name: &HeaderName, value: &[u8]) -> Self {
        Self::Value {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
        }
    }
}

// === impl Download ===

impl Download {
    pub(crate) fn new(
        pieces: mpsc::UnboundedReceiver<Piece>,
        gateway: Gateway,
        lane: LaneId,
        stream: i32,
    ) -> Self {
        Self {
            pieces,
            gateway,
            lane,
            stream,
            taken: 0,
            ended: false,
        }
    }

    /// The next part; `Some(None)` where the body breaks off.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Option<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(Piece::Data(data)) => {
                self.took(data.len());
                Some(Some(Frame::data(data)))
            }
            Some(Piece::Trailers(trailers)) => {
                self.ended = true;
                Some(Some(Frame::trailers(trailers)))
            }
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(None)
            }
        })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn took(&mut self, length: usize) {
        self.taken += i32::try_from(length).expect("a piece is far below 2 GiB");
        if self.taken >= STEP {
            let (stream, taken) = (self.stream, std::mem::take(&mut self.taken));
            self.gateway
                .tell_lane(self.lane, |writer| event::credit(writer, stream, taken));
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.ended {
            self.gateway.tell_gone(self.lane, self.stream);
        }
    }
}

impl From<Download> for Body {
    fn from(download: Download) -> Self {
        Self::download(download)
    }
}

// === heads ===

/// Makes a head of what the application sent. Values are kept as parts of `source`, which all of
/// them lie in, and not copied.
pub(crate) fn response(
    status: i32,
    headers: &Headers<'_>,
    source: &Bytes,
) -> Result<Response<()>, InvalidResponse> {
    let code = u16::try_from(status).ok().filter(|code| *code >= 200);
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = Response::new(());
    *response.status_mut() = code.ok_or(InvalidResponse::Status(status))?;
    let map = response.headers_mut();
    map.reserve(headers.len() + 1);
    for &(name, value) in headers {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let parsed = HeaderName::from_bytes(name).map_err(|_| InvalidResponse::Name(text(name)))?;
        if is_hop_by_hop(&parsed) && !is_ours_to_pass(&parsed, value) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(source.slice_ref(value.trim_ascii()))
            .map_err(|_| InvalidResponse::value(&parsed, value))?;
        if parsed == header::CONTENT_LENGTH && !is_length(&value, map.get(header::CONTENT_LENGTH)) {
            return Err(InvalidResponse::Length(text(value.as_bytes())));
        }
        map.append(parsed, value);
    }
    Ok(response)
}

/// The connection is the server's business, but an application may announce trailers, and may
/// ask for the connection to be closed.
fn is_ours_to_pass(name: &HeaderName, value: &[u8]) -> bool {
    *name == header::TRAILER
        || (*name == header::CONNECTION && value.trim_ascii().eq_ignore_ascii_case(b"close"))
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Whether a body has the length that its head promised.
pub(crate) fn is_promised(length: Option<u64>, found: usize) -> Result<(), InvalidResponse> {
    let found = found as u64;
    match length {
        Some(promised) if promised != found => Err(InvalidResponse::Mismatch { promised, found }),
        _ => Ok(()),
    }
}

/// Answers with what is in a file (`http.response.pathsend`).
pub(crate) async fn send_file(
    path: String,
    response: Response<()>,
    answer: oneshot::Sender<Reply>,
) {
    let name = path.clone();
    let opened = spawn_blocking(move || {
        if !Path::new(&path).is_absolute() {
            let reason = "the path is not absolute";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let file = std::fs::File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        Ok((file, about.len()))
    });
    let opened = opened
        .await
        .map_err(io::Error::other)
        .and_then(|opened| opened);
    let reply = opened.and_then(|(file, length)| {
        let promised = content_length(response.headers()).unwrap_or(length);
        if promised > length {
            let reason = format!("Content-Length is {promised} and the file has {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(response.map(|()| Body::file(file, promised)))
    });
    let reply = reply.map_err(|error| {
        tracing::error!(%error, "the application's response cannot be sent: {name:?}");
        Failure::Application
    });
    // A client that has gone has dropped the other end.
    let _ = answer.send(reply);
}
