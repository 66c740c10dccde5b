//! Gives every request an id, by which it is found again in logs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::{Span, info_span};
use uuid::Uuid;

/// Makes services whose requests have an id.
///
/// The id is that of the request's header `X-Request-ID` if it is sane: at most 128 letters, digits and `-_.~+/=:@`.
/// Else it is a new UUID of version 7, so that ids are in the order of time. It is found
///
/// - in the extensions of the request, as [`Id`], and in its header,
/// - in the header of the response,
/// - in the field `request.id` of the span `request`, which the service runs in.
///
/// What tower-http has for this takes whatever the client sends.
///
/// # Examples
///
/// ```
/// use hurricane_core::layer::{RequestIdLayer, request_id::Id};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let service = RequestIdLayer::new().layer(service_fn(|request: http::Request<()>| async move {
///     let id = request.extensions().get::<Id>().map(Id::to_string);
///     Ok::<_, std::convert::Infallible>(http::Response::new(id))
/// }));
/// let request = http::Request::get("/").header("x-request-id", "from-the-proxy").body(()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// assert_eq!(response.headers()["x-request-id"], "from-the-proxy");
/// assert_eq!(response.body().as_deref(), Some("from-the-proxy"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RequestIdLayer {
    header: HeaderName,
    takes_incoming: bool,
}

/// Gives the requests of the inner service an id; made by [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub struct RequestId<S> {
    inner: S,
    layer: RequestIdLayer,
}

/// The id of a request, in its extensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(HeaderValue);

pin_project! {
    /// The future of [`RequestId`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        span: Span,
        header: HeaderName,
        id: Id,
    }
}

/// The longest id that is taken from a client.
const MAX_BYTES: usize = 128;

// === impl RequestIdLayer ===

impl RequestIdLayer {
    /// Uses the header `X-Request-ID`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: HeaderName::from_static("x-request-id"),
            takes_incoming: true,
        }
    }

    /// Uses another header.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Makes an id for every request, for servers with no proxy before them that could be trusted.
    #[must_use]
    pub fn ignore_incoming(mut self) -> Self {
        self.takes_incoming = false;
        self
    }

    fn id<A>(&self, request: &Request<A>) -> Id {
        let incoming = request.headers().get(&self.header);
        incoming
            .filter(|id| self.takes_incoming && is_sane(id.as_bytes()))
            .map_or_else(Id::new, |id| Id(id.clone()))
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestId {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl RequestId ===

impl<S, A, B> Service<Request<A>> for RequestId<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let id = self.layer.id(&request);
        let header = self.layer.header.clone();
        request.headers_mut().insert(header.clone(), id.0.clone());
        request.extensions_mut().insert(id.clone());
        let span = info_span!("request", request.id = %id);
        ResponseFuture {
            inner: span.in_scope(|| self.inner.call(request)),
            span,
            header,
            id,
        }
    }
}

// === impl ResponseFuture ===

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let mut response = ready!(this.inner.poll(cx))?;
        let headers = response.headers_mut();
        headers.insert(this.header.clone(), this.id.0.clone());
        Poll::Ready(Ok(response))
    }
}

// === impl Id ===

impl Id {
    fn new() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID is a few letters, digits and hyphens"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0
            .to_str()
            .expect("an id is made of visible ASCII characters")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_sane(id: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:@".contains(byte);
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future};

    use tokio_test::{assert_ready, task};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// The id that the service saw, and the one that the client got.
    fn ids(layer: &RequestIdLayer, sent: Option<&[u8]>) -> (String, String) {
        let header = layer.header.clone();
        let echo = service_fn(|request: Request<()>| {
            let id = request.extensions().get::<Id>().unwrap().to_string();
            assert_eq!(
                request.headers()[&header],
                *id,
                "header and extension differ"
            );
            future::ready(Ok::<_, Infallible>(Response::new(id)))
        });
        let mut request = Request::new(());
        if let Some(sent) = sent {
            let value = HeaderValue::from_bytes(sent).unwrap();
            request.headers_mut().insert(layer.header.clone(), value);
        }
        let mut answer = task::spawn(layer.layer(echo).oneshot(request));
        let response = assert_ready!(answer.poll()).unwrap();
        let got = response.headers()[&layer.header]
            .to_str()
            .unwrap()
            .to_owned();
        (response.into_body(), got)
    }

    #[test]
    fn a_sane_id_is_taken() {
        let layer = RequestIdLayer::new();
        for id in ["a", "7b3d-9_f.~+/=:@", &"x".repeat(128)] {
            let (seen, got) = ids(&layer, Some(id.as_bytes()));
            assert_eq!((&*seen, &*got), (id, id));
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let layer = RequestIdLayer::new();
        let long = [b'x'; 129];
        let bad: [&[u8]; 5] = [b"", b"a b", b"<script>", b"\xff", &long];
        for sent in bad.map(Some).into_iter().chain([None]) {
            let (seen, got) = ids(&layer, sent);
            assert_eq!(seen, got);
            let id = Uuid::parse_str(&got).unwrap();
            assert_eq!(id.get_version_num(), 7, "{got}");
        }
    }

    #[test]
    fn no_two_are_the_same_and_later_ones_are_larger() {
        let layer = RequestIdLayer::new()
            .ignore_incoming()
            .header(HeaderName::from_static("x-trace"));
        let (first, _) = ids(&layer, Some(b"mine"));
        let (second, _) = ids(&layer, Some(b"mine"));
        assert!(first < second, "{first} {second}");
    }

    #[test]
    fn an_error_is_passed_on() {
        let failing = service_fn(|_: Request<()>| future::ready(Err::<Response<()>, _>("broken")));
        let mut answer = task::spawn(
            RequestIdLayer::new()
                .layer(failing)
                .oneshot(Request::new(())),
        );
        assert_eq!(assert_ready!(answer.poll()).unwrap_err(), "broken");
    }
}
