//! The answer to a request for a file: tower-http's `ServeDir` finds it and knows ranges, conditions
//! and encodings; what it leaves to others is added here.

use std::{io, pin::pin, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts,
};
use http_body_util::{Either, Empty, Full};
use hurricane_core::bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{runtime::Handle, task::spawn_blocking};
use tower_http::services::{ServeDir, fs::ServeFileSystemResponseBody};

use super::{
    disk::{Disk, Wanted},
    mount::{Found, Kind, Mount},
};

/// A file's content, or a line of text.
pub(crate) type FileBody = Either<ServeFileSystemResponseBody, Full<Bytes>>;

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Answers a request for a file.
pub(super) async fn answer(found: Found, head: Parts) -> Response<FileBody> {
    let route = found.mount.route.clone();
    let mut response = if head.method == Method::GET || head.method == Method::HEAD {
        match (found.name, &found.mount.root) {
            (Some(name), Some(_)) => in_pool(found.mount, name, head).await,
            _ => text(StatusCode::NOT_FOUND, "Not Found\n"),
        }
    } else {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        response.headers_mut().insert(header::ALLOW, METHODS);
        response
    };
    response.extensions_mut().insert(route);
    response
}

/// Asks the file system where that may take its time.
async fn in_pool(mount: Arc<Mount>, name: String, head: Parts) -> Response<FileBody> {
    let runtime = Handle::current();
    // Nothing in it waits for anything but the file system, so it is done when it returns: one
    // change of threads for all questions, where one for each would cost more than they do.
    let answer = spawn_blocking(move || {
        let response = runtime.block_on(respond(&mount, &name, head.method, head.headers));
        response.unwrap_or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return text(StatusCode::NOT_FOUND, "Not Found\n");
            }
            tracing::error!(%error, "failed to read {name:?} below {}", mount.route);
            text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n")
        })
    });
    // It does not panic, so the process is at its end.
    answer
        .await
        .unwrap_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n"))
}

async fn respond(
    mount: &Mount,
    name: &str,
    method: Method,
    mut headers: HeaderMap,
) -> io::Result<Response<FileBody>> {
    keep_ranges(&method, &mut headers);
    let range = headers.get(header::IF_RANGE).cloned();
    let mut response = look(mount, name, &method, headers.clone()).await?;
    if let Some(condition) = range
        && response.status() == StatusCode::PARTIAL_CONTENT
        && !is_current(&condition, response.headers())
    {
        // The client has a part of something else: it gets all of this.
        headers.remove(header::RANGE);
        response = look(mount, name, &method, headers).await?;
    }
    Ok(finish(mount, name, response))
}

/// Takes away what RFC 9110 (section 14.2) wants ignored: ranges of other methods than GET, and
/// of other units than bytes.
fn keep_ranges(method: &Method, headers: &mut HeaderMap) {
    let bytes = headers.get(header::RANGE).is_some_and(|range| {
        let unit = range.as_bytes().get(..6);
        unit.is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes="))
    });
    if !bytes || *method != Method::GET {
        headers.remove(header::RANGE);
    }
}

/// Whether what `If-Range` names is what there is (RFC 9110 section 13.1.5): the very tag, or the
/// very date.
fn is_current(condition: &HeaderValue, current: &HeaderMap) -> bool {
    let current = if condition.as_bytes().contains(&b'"') {
        current.get(header::ETAG)
    } else {
        current.get(header::LAST_MODIFIED)
    };
    current == Some(condition)
}

/// Has `ServeDir` answer.
async fn look(
    mount: &Mount,
    name: &str,
    method: &Method,
    headers: HeaderMap,
) -> io::Result<Response<ServeFileSystemResponseBody>> {
    let root = mount.root.as_ref().map(Arc::clone);
    let root = root.ok_or(io::ErrorKind::NotFound)?;
    let disk = Disk::new(root, wanted(method, &headers));
    let mut folder = ServeDir::with_backend("", disk)
        .append_index_html_on_directories(false)
        .ignore_multi_range_requests(true);
    if let Kind::Static(_) = mount.kind {
        folder = folder
            .precompressed_br()
            .precompressed_zstd()
            .precompressed_gzip();
    }
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::try_from(format!("/{}", utf8_percent_encode(name, PLAIN)))
        .map_err(|_| io::ErrorKind::NotFound)?;
    *request.headers_mut() = headers;
    pin!(folder.try_call(request)).await
}

/// How much of the file the answer is going to have.
fn wanted(method: &Method, headers: &HeaderMap) -> Wanted {
    let conditions = [
        header::RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ];
    if *method == Method::HEAD {
        Wanted::About
    } else if conditions.iter().any(|name| headers.contains_key(name)) {
        Wanted::Part
    } else {
        Wanted::All
    }
}

/// Adds what `ServeDir` leaves to others.
fn finish(
    mount: &Mount,
    name: &str,
    mut response: Response<ServeFileSystemResponseBody>,
) -> Response<FileBody> {
    match response.status() {
        StatusCode::NOT_FOUND => return text(StatusCode::NOT_FOUND, "Not Found\n"),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, mount.cache_control(name));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            if let Some(with_charset) = headers.get(header::CONTENT_TYPE).and_then(charset) {
                headers.insert(header::CONTENT_TYPE, with_charset);
            }
        }
        StatusCode::NOT_MODIFIED => {
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, mount.cache_control(name));
            if let Kind::Static(_) = mount.kind {
                headers.insert(header::VARY, VARY);
            }
        }
        _ => {}
    }
    response.map(Either::Left)
}

/// The type of a text with its charset, unless it says one.
fn charset(of_text: &HeaderValue) -> Option<HeaderValue> {
    let name = of_text.to_str().ok()?;
    let is_text = name.starts_with("text/") || name == "application/javascript";
    if !is_text || name.contains(';') {
        return None;
    }
    HeaderValue::try_from(format!("{name}; charset=utf-8")).ok()
}

/// A line of text.
fn text(status: StatusCode, line: &'static str) -> Response<FileBody> {
    let body = Full::new(Bytes::from_static(line.as_bytes()));
    let mut response = Response::new(Either::Right(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}
