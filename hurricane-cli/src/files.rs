//! Static and media files, served before the application and without it.
//!
//! A request whose path lies below a [mount] is answered from a folder, every other one goes
//! to the application. What is asked of the file system for one answer is asked in one task of
//! the runtime's pool for that: the thread that does HTTP waits for no disk.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use hurricane_core::bytes::Bytes;
use pin_project_lite::pin_project;
use tower::Service;

use self::answer::FileBody;
pub(crate) use self::mount::Mounts;

mod answer;
mod disk;
mod hashed;
mod mount;
mod name;
mod project;

/// Answers requests for files, and gives all others to an application.
///
/// Until there are mounts, all requests are the application's.
#[derive(Clone, Debug)]
pub(crate) struct Files<S> {
    mounts: Arc<OnceLock<Mounts>>,
    app: S,
}

pin_project! {
    /// The future of [`Files`].
    pub(crate) struct FilesFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F> {
        File { answer: Pin<Box<dyn Future<Output = Response<FileBody>> + Send>> },
        App { #[pin] answer: F },
    }
}

// === impl Files ===

impl<S> Files<S> {
    pub(crate) fn new(mounts: Arc<OnceLock<Mounts>>, app: S) -> Self {
        Self { mounts, app }
    }
}

impl<S, A, B> Service<Request<A>> for Files<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Either<FileBody, B>>;
    type Error = Infallible;
    type Future = FilesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let mounts = self.mounts.get();
        let kind = match mounts.and_then(|mounts| mounts.find(request.uri().path())) {
            Some(found) => {
                // The body is ignored, and with it dropped a server does not read it.
                let (head, _) = request.into_parts();
                Kind::File {
                    answer: Box::pin(answer::answer(found, head)),
                }
            }
            None => Kind::App {
                answer: self.app.call(request),
            },
        };
        FilesFuture { kind }
    }
}

// === impl FilesFuture ===

impl<F, B> Future for FilesFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Either<FileBody, B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().kind.project() {
            KindProjection::File { answer } => {
                Ok(ready!(answer.as_mut().poll(cx)).map(Either::Left))
            }
            KindProjection::App { answer } => {
                ready!(answer.poll(cx)).map(|answer| answer.map(Either::Right))
            }
        })
    }
}

#[cfg(test)]
mod tests;
