//! The access log: one line for each request, when the head of its response is there.

use std::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, Request, Response};
use hurricane_core::server::ConnectInfo;
use tower::Service;

use crate::log::ACCESS;

/// Logs the requests of a service.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog<S> {
    inner: S,
    has_ids: bool,
}

/// What a request says of where it belongs, as structlog is told it.
struct Ids {
    id: String,
    traceparent: String,
}

impl<S> AccessLog<S> {
    /// `has_ids` has the lines say where a request belongs.
    pub(crate) fn new(inner: S, has_ids: bool) -> Self {
        Self { inner, has_ids }
    }
}

impl<S, B, C> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    S::Error: Send,
    C: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let start = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let client = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let client = client.map(|client| client.0.ip().to_canonical());
        let ids = self.has_ids.then(|| Ids::of(request.headers()));
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            line(
                &method,
                &uri,
                client,
                response.status(),
                start,
                ids.as_ref(),
            );
            Ok(response)
        })
    }
}

impl Ids {
    fn of(headers: &HeaderMap) -> Self {
        // In the line a blank ends a field, so that what a client sends must not have one.
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            let value = value.filter(|text| !text.is_empty() && !text.contains([' ', '\t']));
            value.unwrap_or("n/a").to_owned()
        };
        Self {
            id: text("x-request-id"),
            traceparent: text("traceparent"),
        }
    }
}

fn line(
    method: &http::Method,
    uri: &http::Uri,
    client: Option<IpAddr>,
    status: http::StatusCode,
    start: Instant,
    ids: Option<&Ids>,
) {
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let uri = uri.path_and_query().map_or("*", |uri| uri.as_str());
    let code = status.as_u16();
    // The fields for machines, the message for people. Status decides on the level.
    macro_rules! log {
        ($level:ident) => {
            match ids {
                None => tracing::$level!(
                    target: ACCESS,
                    "{code} {method} {uri} ({client}) {millis:.2}ms"
                ),
                Some(Ids { id, traceparent }) => tracing::$level!(
                    target: ACCESS,
                    id,
                    traceparent,
                    "{code} {method} {uri} ({client}) {millis:.2}ms"
                ),
            }
        };
    }
    match code {
        500.. => log!(error),
        400.. => log!(warn),
        _ => log!(info),
    }
}
