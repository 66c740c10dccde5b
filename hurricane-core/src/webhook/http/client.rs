//! Requests to one server, by reqwest.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, response::Parts, uri::Scheme};
use reqwest::{ClientBuilder, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{task, time};

use crate::webhook::WebhookError;

type BoxError = Box<dyn Error + Send + Sync>;

/// How much of an answer's body is read, and for how long, so that the receiver can finish its sentence.
const BODY: usize = 64 << 10;
const BODY_TIME: Duration = Duration::from_secs(1);

/// Sends requests to one server, by way of a proxy where the environment names one.
pub(crate) struct Client {
    url: Url,
    client: reqwest::Client,
}

// === impl Client ===

impl Client {
    /// A client for the server of `uri`, which trusts whom the system trusts.
    pub(crate) async fn new(uri: &Uri) -> Result<Self, WebhookError> {
        let builder = reqwest::Client::builder();
        if uri.scheme() != Some(&Scheme::HTTPS) {
            // Small images have no certificates, which is no reason to refuse plain HTTP.
            let nobody = trusting(RootCertStore::empty()).map_err(no_tls)?;
            return Self::build(uri, builder, nobody);
        }
        // It reads the certificates of the system, which takes a moment.
        let system = task::spawn_blocking(trusting_the_system)
            .await
            .unwrap_or_else(|panicked| Err(panicked.into()))
            .map_err(no_tls)?;
        Self::build(uri, builder, system)
    }

    /// The same, with what the caller knows of proxies and certificates.
    pub(crate) fn build(
        uri: &Uri,
        builder: ClientBuilder,
        tls: ClientConfig,
    ) -> Result<Self, WebhookError> {
        let url = Url::parse(&uri.to_string())
            .map_err(|error| WebhookError::new("the URL is not valid").with_source(error))?;
        let client = builder
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            // Requests are few, so nothing is kept open between them.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| {
                WebhookError::new("the HTTP client could not be made").with_source(error)
            })?;
        Ok(Self { url, client })
    }

    /// Sends a request to the URL, and returns the head of the answer.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Parts, BoxError> {
        let (head, body) = request.into_parts();
        let request = self
            .client
            .request(head.method, self.url.clone())
            .headers(head.headers)
            .body(body);
        // The URL may hold secrets.
        let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.headers_mut() = answer.headers().clone();
        task::spawn(time::timeout(BODY_TIME, async move {
            let mut read = 0;
            while let Ok(Some(chunk)) = answer.chunk().await {
                read += chunk.len();
                if read > BODY {
                    break;
                }
            }
        }));
        Ok(head.into_parts().0)
    }
}

fn no_tls(error: BoxError) -> WebhookError {
    WebhookError::new("TLS could not be set up").with_source(error)
}

/// TLS with a provider of our own, so that none needs to be installed for the whole process.
pub(crate) fn trusting(roots: RootCertStore) -> Result<ClientConfig, BoxError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

pub(crate) fn trusting_the_system() -> Result<ClientConfig, BoxError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    Ok(config)
}
