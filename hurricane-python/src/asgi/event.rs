//! What a worker's loop is told; the counterpart of `Link.take` in `asgi_link.py`, whose table of
//! events this follows.

use std::{borrow::Cow, net::SocketAddr};

use http::{HeaderMap, header, request};
use percent_encoding::percent_decode;

use crate::{
    frame::{marshal::Writer, prepared::Prepared},
    request::address,
};

/// How many fields the event of an HTTP request has.
const REQUEST: u8 = 10;

/// How many that of a request for a WebSocket has.
const WEBSOCKET: u8 = 8;

/// What a client takes, in any sum.
const TRAILERS: i32 = 1;
const EARLY_HINTS: i32 = 2;

/// The body of a request as far as it goes along with it.
#[derive(Debug)]
pub(crate) enum Start<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It comes when there is room.
    Later,
    /// Likewise, and the client waits to be told that it is wanted (`Expect: 100-continue`).
    Expected,
}

/// Writes an HTTP request from behind its stream id to the end.
///
/// It is written once, when the request comes in, and kept until the worker answers.
pub(crate) fn request(
    parts: &request::Parts,
    client: Option<SocketAddr>,
    root_path: &str,
    start: &Start<'_>,
    takes_hints: bool,
) -> Prepared {
    Prepared::new(|writer| {
        writer.common(|writer| writer.text(parts.method.as_str()));
        target(writer, parts, root_path);
        version(writer, parts.version);
        peer(writer, client);
        headers(writer, &parts.headers);
        match start {
            Start::Whole(data) => writer.bytes(data),
            Start::Later => writer.none(),
            Start::Expected => writer.bool(true),
        }
        let mut takes = 0;
        if takes_trailers(&parts.headers) {
            takes |= TRAILERS;
        }
        if takes_hints {
            takes |= EARLY_HINTS;
        }
        writer.int(takes);
    })
}

/// Writes a request for a WebSocket from behind its stream id to the end.
pub(crate) fn websocket(
    parts: &request::Parts,
    client: Option<SocketAddr>,
    root_path: &str,
    subprotocols: &[String],
) -> Prepared {
    Prepared::new(|writer| {
        target(writer, parts, root_path);
        version(writer, parts.version);
        peer(writer, client);
        headers(writer, &parts.headers);
        writer.list(subprotocols.len());
        for subprotocol in subprotocols {
            writer.text(subprotocol);
        }
    })
}

/// Writes the head of a request and its stream id; what [`request`] or [`websocket`] wrote
/// follows.
pub(crate) fn head(writer: &mut Writer<'_>, stream: i32, websocket: bool) {
    writer.tuple(if websocket { WEBSOCKET } else { REQUEST });
    writer.int(stream);
}

/// A message on a WebSocket. Text has been found to be UTF-8.
pub(crate) fn message(writer: &mut Writer<'_>, stream: i32, text: bool, data: &[u8]) {
    writer.tuple(2);
    writer.int(stream);
    match std::str::from_utf8(data) {
        Ok(data) if text => writer.text(data),
        _ => writer.bytes(data),
    }
}

/// A WebSocket has been closed.
pub(crate) fn closed(writer: &mut Writer<'_>, stream: i32, code: u16, reason: &str) {
    writer.tuple(4);
    writer.int(stream);
    writer.int(i32::from(code));
    writer.text(reason);
    writer.none();
}

/// A part of a request's body.
pub(crate) fn body(writer: &mut Writer<'_>, stream: i32, data: &[u8], more: bool) {
    writer.tuple(3);
    writer.int(stream);
    writer.bytes(data);
    writer.bool(more);
}

/// Room for more of the response: so many bytes, or of a WebSocket so many messages.
pub(crate) fn credit(writer: &mut Writer<'_>, stream: i32, count: i32) {
    writer.tuple(2);
    writer.int(stream);
    writer.int(count);
}

/// The client has gone.
pub(crate) fn gone(writer: &mut Writer<'_>, stream: i32) {
    writer.tuple(1);
    writer.int(stream);
}

/// `path`, `raw_path` and `query_string`. The path begins with the root path, whether a proxy
/// has cut that off or not.
fn target(writer: &mut Writer<'_>, parts: &request::Parts, root_path: &str) {
    let raw = parts.uri.path();
    let inside = raw
        .strip_prefix(root_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let raw: Cow<'_, str> = if inside {
        raw.into()
    } else {
        format!("{root_path}{raw}").into()
    };
    if raw.contains('%') {
        writer.text(&percent_decode(raw.as_bytes()).decode_utf8_lossy());
    } else {
        writer.text(&raw);
    }
    writer.bytes(raw.as_bytes());
    writer.bytes(parts.uri.query().unwrap_or_default().as_bytes());
}

/// `http_version`, but for HTTP/1.1, which the worker takes it for when nothing is said.
fn version(writer: &mut Writer<'_>, version: http::Version) {
    match version {
        http::Version::HTTP_10 => writer.text("1.0"),
        http::Version::HTTP_2 => writer.text("2"),
        _ => writer.none(),
    }
}

fn peer(writer: &mut Writer<'_>, client: Option<SocketAddr>) {
    let Some(client) = client else {
        return writer.none();
    };
    writer.tuple(2);
    writer.common(|writer| address(writer, client.ip()));
    writer.int(i32::from(client.port()));
}

fn headers(writer: &mut Writer<'_>, headers: &HeaderMap) {
    // `X_Real_IP` would become the same variable of Django as `X-Real-IP`, which a proxy in
    // front sets: an underscore would let a client forge it.
    let passed = || {
        headers
            .iter()
            .filter(|(name, _)| !name.as_str().contains('_'))
    };
    writer.list(passed().count());
    for (name, value) in passed() {
        writer.common(|writer| {
            writer.tuple(2);
            writer.bytes(name.as_str().as_bytes());
            writer.bytes(value.as_bytes());
        });
    }
}

/// Whether the client has said that it understands trailers (RFC 9110 section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        let codings = value.as_bytes().split(|byte| *byte == b',');
        codings
            .map(<[u8]>::trim_ascii)
            .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    })
}
