//! The access log: one line for each request, when the head of its response is there.

use std::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response};
use hurricane_core::server::ConnectInfo;
use tower::Service;

use crate::log::ACCESS;

/// Logs the requests of a service.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog<S> {
    inner: S,
}

impl<S> AccessLog<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
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
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            line(&method, &uri, client, response.status(), start);
            Ok(response)
        })
    }
}

fn line(
    method: &http::Method,
    uri: &http::Uri,
    client: Option<IpAddr>,
    status: http::StatusCode,
    start: Instant,
) {
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let uri = uri.path_and_query().map_or("*", |uri| uri.as_str());
    let code = status.as_u16();
    // The fields for machines, the message for people. Status decides on the level.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(target: ACCESS, "{code} {method} {uri} ({client}) {millis:.2}ms")
        };
    }
    match code {
        500.. => log!(error),
        400.. => log!(warn),
        _ => log!(info),
    }
}
