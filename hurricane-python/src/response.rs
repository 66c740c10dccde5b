//! A worker's answer as an HTTP response.

use std::{
    borrow::Cow,
    fs::File,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::asgi::body::Download;

/// How much of a file is read at a time (bytes).
const FILE_BLOCK: usize = 128 * 1024;

/// How many pieces of a body wait for the client before the application has to.
const PIECES: usize = 2;

/// The body of a response that comes from a worker, or from the gateway itself.
#[derive(Debug)]
pub struct Body(Source);

/// Why a body ended early. The connection is closed, so that the client can tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The application failed, or its worker died, after the head had been sent.
    #[error("the application ended the response before it was complete")]
    Aborted,
    /// The file could not be read.
    #[error("failed to read the file that is being sent")]
    File(#[source] io::Error),
}

/// What a worker adds to the body of a response that it streams.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    File {
        file: File,
        offset: u64,
        length: u64,
    },
    End,
}

/// A status or header that cannot go out over HTTP.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHead {
    #[error("status {0:?} is not a three-digit number and a reason")]
    Status(String),
    #[error("status {0} is no final status")]
    Informational(u16),
    #[error("Content-Length {0:?} is no number, or there is another one")]
    Length(String),
    #[error("header name {0:?} is not a token")]
    Name(String),
    #[error("value {value:?} of header {name:?} has characters that HTTP does not allow")]
    Value { name: String, value: String },
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Stream(mpsc::Receiver<Piece>),
    Download(Download),
    File(Reading),
    /// It ended early, which is told at the next turn.
    Broken,
    Done,
}

#[derive(Debug)]
struct Reading {
    file: Arc<File>,
    offset: u64,
    left: u64,
    block: Option<JoinHandle<io::Result<Bytes>>>,
}

// === impl Body ===

impl Body {
    /// A body that is there already.
    pub fn whole(data: impl Into<Bytes>) -> Self {
        Self(Source::Whole(data.into()))
    }

    /// A body that comes in pieces.
    pub(crate) fn stream() -> (mpsc::Sender<Piece>, Self) {
        let (sender, receiver) = mpsc::channel(PIECES);
        (sender, Self(Source::Stream(receiver)))
    }

    /// A body that an event loop sends.
    pub(crate) fn download(download: Download) -> Self {
        Self(Source::Download(download))
    }

    /// The first `length` bytes of a file.
    pub(crate) fn file(file: File, length: u64) -> Self {
        Self(Source::File(Reading::new(file, 0, length)))
    }

    /// The server sends what it has when a body makes it wait, and drops it on an error: so it
    /// waits for a turn, and what came before goes out.
    fn break_off<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.0 = Source::Broken;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.0 {
                Source::Done => return Poll::Ready(None),
                Source::Broken => {
                    self.0 = Source::Done;
                    return Poll::Ready(Some(Err(BodyError::Aborted)));
                }
                Source::Whole(data) => {
                    let data = std::mem::take(data);
                    self.0 = Source::Done;
                    return Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))));
                }
                Source::Stream(pieces) => match ready!(pieces.poll_recv(context)) {
                    Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Some(Piece::End) => self.0 = Source::Done,
                    Some(Piece::File {
                        file,
                        offset,
                        length,
                    }) => {
                        self.0 = Source::File(Reading::new(file, offset, length));
                    }
                    None => return self.break_off(context),
                },
                Source::Download(download) => match ready!(download.poll_frame(context)) {
                    Some(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                    Some(None) => return self.break_off(context),
                    None => self.0 = Source::Done,
                },
                Source::File(reading) => {
                    let block = ready!(reading.poll_block(context));
                    if !matches!(block, Some(Ok(_))) {
                        self.0 = Source::Done;
                    }
                    return Poll::Ready(
                        block.map(|block| block.map(Frame::data).map_err(BodyError::File)),
                    );
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Done => true,
            Source::Whole(data) => data.is_empty(),
            Source::Stream(_) | Source::Broken => false,
            Source::Download(download) => download.is_end_stream(),
            Source::File(reading) => reading.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Done => SizeHint::with_exact(0),
            Source::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Source::Stream(_) | Source::Download(_) | Source::Broken => SizeHint::default(),
            Source::File(reading) => SizeHint::with_exact(reading.left),
        }
    }
}

// === impl Reading ===

impl Reading {
    fn new(file: File, offset: u64, length: u64) -> Self {
        Self {
            file: Arc::new(file),
            offset,
            left: length,
            block: None,
        }
    }

    fn poll_block(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let block = self.block.get_or_insert_with(|| {
            let (file, offset) = (Arc::clone(&self.file), self.offset);
            let size = usize::try_from(self.left)
                .unwrap_or(FILE_BLOCK)
                .min(FILE_BLOCK);
            spawn_blocking(move || {
                let mut data = vec![0; size];
                let got = file.read_at(&mut data, offset)?;
                data.truncate(got);
                Ok(Bytes::from(data))
            })
        });
        let read = ready!(Pin::new(block).poll(context));
        self.block = None;
        let data = read.map_err(io::Error::other).and_then(|read| read);
        Poll::Ready(Some(data.and_then(|data| {
            if data.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file has become shorter",
                ));
            }
            self.offset += data.len() as u64;
            self.left -= data.len() as u64;
            Ok(data)
        })))
    }
}

// === heads ===

/// Makes a response of what the application gave to `start_response`. Values are kept as parts of
/// `source`, which all of them lie in, and not copied.
pub(crate) fn response(
    status: &[u8],
    headers: &[(&[u8], &[u8])],
    body: Body,
    source: &Bytes,
) -> Result<Response<Body>, InvalidHead> {
    let mut response = Response::new(body);
    let invalid = || InvalidHead::Status(String::from_utf8_lossy(status).into_owned());
    let code = status.get(..3).ok_or_else(invalid)?;
    let code = StatusCode::from_bytes(code).map_err(|_| invalid())?;
    if code.is_informational() {
        return Err(InvalidHead::Informational(code.as_u16()));
    }
    let reason = match &status[3..] {
        [] => &[],
        [b' ', reason @ ..] => reason,
        _ => return Err(invalid()),
    };
    *response.status_mut() = code;
    if code.canonical_reason().map(str::as_bytes) != Some(reason) {
        let reason = native(reason).ok_or_else(invalid)?;
        let reason = ReasonPhrase::try_from(reason.into_owned()).map_err(|_| invalid())?;
        response.extensions_mut().insert(reason);
    }
    let map = response.headers_mut();
    map.reserve(headers.len() + 1);
    for &(name, value) in headers {
        let parsed = HeaderName::from_bytes(name)
            .map_err(|_| InvalidHead::Name(String::from_utf8_lossy(name).into_owned()))?;
        if is_hop_by_hop(&parsed) {
            continue;
        }
        let value = header_value(value, source).ok_or_else(|| InvalidHead::Value {
            name: parsed.as_str().to_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
        })?;
        if parsed == header::CONTENT_LENGTH && !is_length(&value, map.get(header::CONTENT_LENGTH)) {
            return Err(InvalidHead::Length(
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ));
        }
        map.append(parsed, value);
    }
    Ok(response)
}

fn header_value(value: &[u8], source: &Bytes) -> Option<HeaderValue> {
    match native(value)? {
        Cow::Borrowed(value) => {
            HeaderValue::from_maybe_shared(source.slice_ref(value.trim_ascii())).ok()
        }
        Cow::Owned(value) => HeaderValue::from_bytes(value.trim_ascii()).ok(),
    }
}

/// Whether this is a body's length, and the only one (RFC 9110 section 8.6).
pub(crate) fn is_length(value: &HeaderValue, before: Option<&HeaderValue>) -> bool {
    let digits = value.as_bytes();
    before.is_none()
        && !digits.is_empty()
        && digits.len() < 19
        && digits.iter().all(u8::is_ascii_digit)
}

/// The bytes that a "native string" of PEP 3333 stands for: one for each character.
fn native(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if text.is_ascii() {
        return Some(Cow::Borrowed(text));
    }
    let text = std::str::from_utf8(text).ok()?;
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.map(Cow::Owned)
}

/// The connection is the server's business (PEP 3333, "Other HTTP Features"; RFC 9110 section 7.6.1).
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::TRAILER
        || *name == header::TE
        || name == "keep-alive"
        || name == "proxy-connection"
}

/// A response of the gateway's own, with one line of text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests;
