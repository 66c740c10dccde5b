//! The endpoints before an application, on its port.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower::{Service, ServiceExt as _, util::Oneshot};

use super::{Probes, routes::respond};

/// Answers the probes and metrics, and gives every other request to the application.
///
/// Probes do not wait for the application to be ready.
#[derive(Clone, Debug)]
pub struct WithProbes<S> {
    probes: Arc<Probes>,
    app: S,
}

pin_project! {
    /// The future of [`WithProbes`].
    pub struct WithProbesFuture<S: Service<R>, R> {
        #[pin]
        kind: Kind<S, R>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S: Service<R>, R> {
        Probe { answer: Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>> },
        App { #[pin] answer: Oneshot<S, R> },
    }
}

// === impl WithProbes ===

impl<S> WithProbes<S> {
    /// Puts the endpoints before `app`.
    pub fn new(probes: Arc<Probes>, app: S) -> Self {
        Self { probes, app }
    }
}

impl<S, A, B> Service<Request<A>> for WithProbes<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = S::Error;
    type Future = WithProbesFuture<S, Request<A>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Whether the application is ready is asked once it is known that the request is for it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let kind = match self.probes.paths().find(request.uri().path()) {
            Some(endpoint) => {
                let probes = Arc::clone(&self.probes);
                let (head, _) = request.into_parts();
                let answer = async move {
                    respond(&probes, endpoint, &head.method, &head.uri, &head.headers).await
                };
                Kind::Probe {
                    answer: Box::pin(answer),
                }
            }
            None => Kind::App {
                answer: self.app.clone().oneshot(request),
            },
        };
        WithProbesFuture { kind }
    }
}

// === impl WithProbesFuture ===

impl<S, A, B> Future for WithProbesFuture<S, Request<A>>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Output = Result<Response<Either<Full<Bytes>, B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().kind.project() {
            KindProjection::Probe { answer } => {
                Ok(ready!(answer.as_mut().poll(cx)).map(Either::Left))
            }
            KindProjection::App { answer } => {
                ready!(answer.poll(cx)).map(|answer| answer.map(Either::Right))
            }
        })
    }
}
