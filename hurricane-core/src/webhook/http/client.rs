//! One request over a connection of its own: events are few, so nothing is kept open between them.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Uri,
    header::{HOST, PROXY_AUTHORIZATION},
    response::Parts,
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{task, time};
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::webhook::WebhookError;

type BoxError = Box<dyn Error + Send + Sync>;

/// How much of an answer's body is read, and for how long, so that the receiver can finish its sentence.
const BODY: usize = 64 << 10;
const BODY_TIME: Duration = Duration::from_secs(1);

/// Sends requests to one server, by way of a proxy where the environment names one.
pub(crate) struct Client {
    uri: Uri,
    host: HeaderValue,
    way: Way,
    /// None for plain HTTP.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// How the server is reached.
enum Way {
    Direct(HttpConnector),
    /// A proxy that passes bytes on.
    Tunnel(Tunnel<HttpConnector>),
    /// A proxy that passes requests on.
    Forward(HttpConnector, Intercept),
}

// === impl Client ===

impl Client {
    /// A client for the server of `uri`, which has a host.
    pub(crate) async fn new(uri: &Uri, proxies: &Matcher) -> Result<Self, WebhookError> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Self::with_tls(uri, proxies, None);
        }
        // It reads the certificates of the system, which takes a moment.
        let config = task::spawn_blocking(system_tls)
            .await
            .unwrap_or_else(|panicked| Err(panicked.into()))
            .map_err(|error| WebhookError::new("TLS could not be set up").with_source(error))?;
        Self::with_tls(uri, proxies, Some(config))
    }

    /// The same, with a TLS configuration of the caller's.
    pub(crate) fn with_tls(
        uri: &Uri,
        proxies: &Matcher,
        tls: Option<ClientConfig>,
    ) -> Result<Self, WebhookError> {
        let broken = |error: BoxError| WebhookError::new("the URL is not valid").with_source(error);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let tls = tls.map(|config| {
            let name = uri.host().unwrap_or_default();
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(name.to_owned())?;
            Ok((TlsConnector::from(Arc::new(config)), name))
        });
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let way = match proxies.intercept(uri) {
            None => Way::Direct(connector),
            Some(proxy) if proxy.uri().scheme() != Some(&Scheme::HTTP) => {
                return Err(WebhookError::new(
                    "the proxy that the environment names is not an http:// one",
                ));
            }
            Some(proxy) if tls.is_some() => {
                let tunnel = Tunnel::new(proxy.uri().clone(), connector);
                Way::Tunnel(match proxy.basic_auth() {
                    Some(auth) => tunnel.with_auth(auth.clone()),
                    None => tunnel,
                })
            }
            Some(proxy) => Way::Forward(connector, proxy),
        };
        Ok(Self {
            uri: uri.clone(),
            host: HeaderValue::try_from(authority).map_err(|error| broken(error.into()))?,
            way,
            tls: tls.transpose().map_err(broken)?,
        })
    }

    /// Sends a request, and returns the head of the answer.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Parts, BoxError> {
        request.headers_mut().insert(HOST, self.host.clone());
        *request.uri_mut() = match &self.way {
            Way::Forward(..) => self.uri.clone(),
            Way::Direct(_) | Way::Tunnel(_) => self
                .uri
                .path_and_query()
                .map_or_else(|| Uri::from_static("/"), |path| path.clone().into()),
        };
        let stream = match &self.way {
            Way::Direct(connector) => connector.clone().oneshot(self.uri.clone()).await?,
            Way::Tunnel(tunnel) => tunnel.clone().oneshot(self.uri.clone()).await?,
            Way::Forward(connector, proxy) => {
                if let Some(auth) = proxy.basic_auth() {
                    let headers = request.headers_mut();
                    headers.insert(PROXY_AUTHORIZATION, auth.clone());
                }
                connector.clone().oneshot(proxy.uri().clone()).await?
            }
        };
        match &self.tls {
            None => exchange(stream, request).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), TokioIo::new(stream)).await?;
                exchange(TokioIo::new(stream), request).await
            }
        }
    }
}

async fn exchange<T>(stream: T, request: Request<Full<Bytes>>) -> Result<Parts, BoxError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    // It ends when the sender and the body of the answer are dropped; its error is the request's too.
    task::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    task::spawn(time::timeout(BODY_TIME, Limited::new(body, BODY).collect()));
    Ok(head)
}

/// TLS as the system trusts it, with a provider of our own, so that none needs to be installed for the whole process.
fn system_tls() -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    Ok(config)
}
