//! Services of hyper's own trait.

use std::task::{Context, Poll};

use http::Request;
use hyper::body::Incoming;
use tower::Service;

/// Serves a service that is written against [`hyper::service::Service`] rather than tower's.
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, future::{Ready, ready}};
/// use http::{Request, Response};
/// use hurricane_core::server::{HyperApp, ServeConfig, serve};
/// use hyper::body::Incoming;
/// use tokio::net::TcpListener;
///
/// #[derive(Clone)]
/// struct Hello;
///
/// impl hyper::service::Service<Request<Incoming>> for Hello {
///     type Response = Response<String>;
///     type Error = Infallible;
///     type Future = Ready<Result<Response<String>, Infallible>>;
///
///     fn call(&self, _: Request<Incoming>) -> Self::Future {
///         ready(Ok(Response::new("hello".to_owned())))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let drain = async {};
/// serve(listener, HyperApp(Hello), ServeConfig::default(), drain).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HyperApp<S>(pub S);

// === impl HyperApp ===

impl<S> Service<Request<Incoming>> for HyperApp<S>
where
    S: hyper::service::Service<Request<Incoming>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        self.0.call(request)
    }
}
