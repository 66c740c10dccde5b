//! Webhooks over HTTP and HTTPS.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use http::{StatusCode, header::CONTENT_TYPE};
use reqwest::{Client, Url, redirect};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::sync::OnceCell;
use tracing::debug;

use super::{Event, Webhook, WebhookError};

/// Time for one attempt, from the look-up of the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Posts events as JSON to a URL.
///
/// An attempt has five seconds. A network error, a 5xx answer and a 429 answer are tried again, three times, with
/// growing pauses; every other answer that is not a success is final, redirects included.
///
/// # Examples
///
/// ```
/// use hurricane_core::{HttpWebhook, Webhook};
///
/// let webhook = HttpWebhook::new("https://user:secret@ops.example/hooks?token=secret");
/// assert_eq!(webhook.name(), "https://ops.example/hooks", "no secrets in the logs");
/// ```
#[derive(Debug)]
pub struct HttpWebhook {
    name: String,
    url: Result<Url, String>,
    backoff: ExponentialBuilder,
    /// Made at the first delivery: it reads the certificates of the system, which takes a moment.
    client: OnceCell<Client>,
}

struct Attempt {
    error: WebhookError,
    again: bool,
}

// === impl HttpWebhook ===

impl HttpWebhook {
    /// A webhook that posts to `url`; a URL that makes no sense shows at the first delivery.
    #[must_use]
    pub fn new(url: impl AsRef<str>) -> Self {
        let text = url.as_ref();
        let url = parse(text);
        let name = match &url {
            Ok(url) => without_secrets(url),
            // It may hold a secret all the same.
            Err(_) => "an invalid URL".to_owned(),
        };
        Self {
            name,
            url,
            backoff: ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(250))
                .with_max_delay(Duration::from_secs(5))
                .with_max_times(3)
                .with_jitter(),
            client: OnceCell::new(),
        }
    }

    async fn attempt(&self, client: &Client, url: &Url, body: &[u8]) -> Result<(), Attempt> {
        let request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let response = request.send().await.map_err(|error| Attempt {
            error: WebhookError::new("the request failed").with_source(error.without_url()),
            again: true,
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Attempt {
            error: WebhookError::new(format!("the receiver answered {status}")),
            again: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        })
    }
}

#[async_trait]
impl Webhook for HttpWebhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        let url = self
            .url
            .as_ref()
            .map_err(|reason| WebhookError::new(format!("the URL is not valid: {reason}")))?;
        let client = self
            .client
            .get_or_try_init(|| async { client(url.scheme() == "https") })
            .await?;
        let body = serde_json::to_vec(event).map_err(|error| {
            WebhookError::new("the event could not be written as JSON").with_source(error)
        })?;
        let attempts = || self.attempt(client, url, &body);
        attempts
            .retry(self.backoff)
            .when(|attempt| attempt.again)
            .notify(|attempt, pause| {
                let error = &attempt.error;
                debug!(
                    "webhook to {} is tried again in {pause:?}: {error}",
                    self.name
                );
            })
            .await
            .map_err(|attempt| attempt.error)
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("{other} is neither http nor https")),
    }
}

/// The URL without user, password, query and fragment, which may be secret.
fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // These fail for URLs without a host only, which http and https always have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A client of our own TLS configuration, so that no provider needs to be installed for the whole process.
fn client(tls: bool) -> Result<Client, WebhookError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let broken = |error| WebhookError::new("TLS could not be set up").with_source(error);
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let config = if tls {
        versions.with_platform_verifier().map_err(broken)?
    } else {
        // Small images have no certificates, which is no reason to refuse plain HTTP.
        versions.with_root_certificates(rustls::RootCertStore::empty())
    };
    Client::builder()
        .tls_backend_preconfigured(config.with_no_client_auth())
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("hurricane/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| WebhookError::new("the HTTP client could not be made").with_source(error))
}

#[cfg(test)]
mod tests;
