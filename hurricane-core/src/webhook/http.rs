//! Webhooks over HTTP and HTTPS.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
    response::Parts,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{
    sync::OnceCell,
    time::{self, Instant},
};
use tracing::{debug, warn};

use self::{client::Client, target::Target};
use super::{
    Event, EventKind, Webhook, WebhookError,
    event::now,
    signature::{Secret, signatures},
    template::Template,
};

pub(crate) mod client;
pub(crate) mod target;

/// Posts events as JSON to a URL.
///
/// An answer of 2xx is a success. A network error and the answers 408, 429 and 5xx are tried again, with growing
/// pauses or when `Retry-After` says; every other answer is final, redirects included: an event, and its signature, go
/// to the one server that was named. After 410 (Gone) the receiver is told nothing more.
///
/// Every attempt has the headers `webhook-id`, the same for all attempts at one event, and `webhook-timestamp`. With a
/// [`secret`](Self::secret) it is signed. TLS trusts whom the system trusts. The proxies of the environment
/// (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) are used.
///
/// What is wrong with a URL, a template, a secret or a header shows in [`validate`](Webhook::validate), which
/// [`Builder::build`](crate::server::Builder::build) asks.
///
/// # Examples
///
/// ```
/// use hurricane_core::{EventKind, HttpWebhook, Webhook};
///
/// let webhook = HttpWebhook::new("https://user:secret@ops.example/hooks?token=secret");
/// assert_eq!(webhook.name(), "https://ops.example/hooks", "no secrets in the logs");
///
/// // To a channel of Slack, or of Teams, when something is wrong.
/// let slack = HttpWebhook::new("https://hooks.slack.com/services/T000/B000/XXXX")
///     .template(r#"{"text": ":rotating_light: {podname}: {type} {status} {traceback}"}"#)
///     .only([EventKind::Liveness, EventKind::WorkerCrashed]);
/// assert_eq!(slack.name(), "https://hooks.slack.com/services/…");
/// slack.validate()?;
///
/// // Signed, so that the receiver knows who sent it.
/// let signed = HttpWebhook::new("https://ops.example/hooks")
///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
///     .header("x-tenant", "blue");
/// signed.validate()?;
///
/// let wrong = HttpWebhook::new("https://ops.example/hooks").template(r#"{"text": "{pod}"}"#);
/// assert!(wrong.validate().unwrap_err().to_string().contains("unknown placeholder {pod}"));
/// # Ok::<_, hurricane_core::WebhookError>(())
/// ```
pub struct HttpWebhook {
    name: String,
    target: Option<Target>,
    /// The first thing that is wrong with the configuration.
    problem: Option<String>,
    template: Option<Template>,
    secrets: Vec<Secret>,
    headers: HeaderMap,
    only: Option<Vec<EventKind>>,
    timeout: Duration,
    patience: Duration,
    backoff: ExponentialBuilder,
    /// Made at the first delivery.
    client: OnceCell<Client>,
    /// The receiver has said that it wants no more.
    gone: AtomicBool,
}

struct Attempt {
    error: WebhookError,
    again: bool,
    /// How long the receiver wants to be left alone.
    retry_after: Option<Duration>,
}

const AGENT: &str = concat!("hurricane/", env!("CARGO_PKG_VERSION"));

/// Headers that are part of how a message is sent.
const OURS: [&str; 7] = [
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

// === impl HttpWebhook ===

impl HttpWebhook {
    /// A webhook that posts to `url`.
    #[must_use]
    pub fn new(url: impl AsRef<str>) -> Self {
        let (target, problem) = match Target::parse(url.as_ref()) {
            Ok(target) => (Some(target), None),
            Err(reason) => (None, Some(format!("the URL is not valid: {reason}"))),
        };
        Self {
            name: match &target {
                Some(target) => target.public(),
                // It may hold a secret all the same.
                None => "an invalid URL".to_owned(),
            },
            target,
            problem,
            template: None,
            secrets: Vec::new(),
            headers: HeaderMap::new(),
            only: None,
            timeout: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            backoff: ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(250))
                .with_max_delay(Duration::from_secs(15))
                .with_max_times(5)
                .with_jitter(),
            client: OnceCell::new(),
            gone: AtomicBool::new(false),
        }
    }

    /// Sets the name, which is the URL as far as it is surely no secret: host and first word of the path.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sends a payload of another form than the [event's own](Event).
    ///
    /// The template is a JSON document. In its texts `{id}`, `{info}`, `{type}`, `{status}`, `{timestamp}`,
    /// `{podname}`, `{version}`, `{traceback}` and `{worker}` stand for the values of an event; `{{` and `}}` are
    /// braces. A text that is nothing but one of them becomes the value itself, a number or null; in a longer text what
    /// is missing is left out. Values cannot change the structure of the document.
    #[must_use]
    pub fn template(mut self, template: impl AsRef<str>) -> Self {
        match Template::parse(template.as_ref()) {
            Ok(template) => self.template = Some(template),
            Err(error) => self.found(super::chain(&error)),
        }
        self
    }

    /// Signs with a secret, as [Standard Webhooks](https://www.standardwebhooks.com) describes it: `whsec_` and base64.
    ///
    /// Called more than once it signs with each of them, so that receivers can go over to a new secret at leisure.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<str>) -> Self {
        match Secret::parse(secret.as_ref()) {
            Ok(secret) => self.secrets.push(secret),
            Err(reason) => self.found(reason.to_owned()),
        }
        self
    }

    /// Sets a header; its value is treated as a secret.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        match (name.parse(), HeaderValue::try_from(value.as_ref())) {
            (Ok(name), _) if is_ours(&name) => self.found(format!(
                "the header {name} is part of how webhooks are sent"
            )),
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.found(format!("{name:?} is no name of a header")),
            (_, Err(_)) => self.found(format!("the value of the header {name} is not valid")),
        }
        self
    }

    /// Tells about events of these kinds only; without it about all.
    #[must_use]
    pub fn only(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.only = Some(kinds.into_iter().collect());
        self
    }

    /// Sets how long an attempt may take, from the look-up of the name to the head of the answer; 5 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how often a failed attempt is repeated; five times by default.
    #[must_use]
    pub fn retries(mut self, retries: usize) -> Self {
        self.backoff = self.backoff.with_max_times(retries);
        self
    }

    /// Sets how long after the first attempt another one may begin, whatever `Retry-After` says; 60 s by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Notes what is wrong; the first one is told.
    fn found(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    fn sound(&self) -> Result<&Target, WebhookError> {
        match (&self.problem, &self.target) {
            (None, Some(target)) => Ok(target),
            (problem, _) => Err(WebhookError::new(problem.clone().unwrap_or_default())),
        }
    }

    async fn attempt(
        &self,
        client: &Client,
        target: &Target,
        id: &HeaderValue,
        body: &Bytes,
    ) -> Result<(), Attempt> {
        let request = self.request(target, id, body).map_err(|error| Attempt {
            error: WebhookError::new("the request could not be made").with_source(error),
            again: false,
            retry_after: None,
        })?;
        let failed = |error| Attempt {
            error,
            again: true,
            retry_after: None,
        };
        let answer = time::timeout(self.timeout, client.send(request)).await;
        let head = answer
            .map_err(|_| {
                let timeout = self.timeout;
                failed(WebhookError::new(format!("no answer within {timeout:?}")))
            })?
            .map_err(|error| failed(WebhookError::new("the request failed").with_source(error)))?;
        let status = head.status;
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::GONE {
            self.gone.store(true, Relaxed);
        }
        Err(Attempt {
            error: WebhookError::new(format!("the receiver answered {status}")),
            again: status.is_server_error()
                || matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                ),
            retry_after: retry_after(&head),
        })
    }

    /// A message as it is sent at this moment; its path and its host are the client's to know.
    fn request(
        &self,
        target: &Target,
        id: &HeaderValue,
        body: &Bytes,
    ) -> Result<Request<Bytes>, http::Error> {
        let timestamp = now();
        let mut request = Request::post("/").body(body.clone())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = &target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.extend(self.headers.clone());
        headers.insert("webhook-id", id.clone());
        headers.insert("webhook-timestamp", timestamp.into());
        if !self.secrets.is_empty() {
            let id = id.to_str().unwrap_or_default();
            let signatures = signatures(&self.secrets, id, timestamp, body);
            headers.insert("webhook-signature", signatures.try_into()?);
        }
        Ok(request)
    }
}

#[async_trait]
impl Webhook for HttpWebhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self, kind: EventKind) -> bool {
        let asked = self.only.as_ref().is_none_or(|only| only.contains(&kind));
        asked && !self.gone.load(Relaxed)
    }

    fn validate(&self) -> Result<(), WebhookError> {
        self.sound().map(drop)
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        let target = self.sound()?;
        let client = self
            .client
            .get_or_try_init(|| Client::new(&target.uri))
            .await?;
        let id = new_id()?;
        let body = match &self.template {
            Some(template) => serde_json::to_vec(&template.render(event, &id)),
            None => serde_json::to_vec(event),
        };
        let body = Bytes::from(body.map_err(|error| {
            WebhookError::new("the event could not be written as JSON").with_source(error)
        })?);
        let id = HeaderValue::try_from(id)
            .map_err(|error| WebhookError::new("the id is not valid").with_source(error))?;
        let began = Instant::now();
        let attempts = || self.attempt(client, target, &id, &body);
        // What goes wrong is told at once, not after a minute of attempts; and once.
        let mut is_told = false;
        attempts
            .retry(self.backoff)
            .when(|attempt| attempt.again)
            .adjust(|attempt, pause| {
                let pause = pause?.max(attempt.retry_after.unwrap_or_default());
                Some(pause).filter(|pause| began.elapsed().saturating_add(*pause) <= self.patience)
            })
            .notify(|attempt, pause| {
                let error = super::chain(&attempt.error);
                let name = &self.name;
                if std::mem::replace(&mut is_told, true) {
                    debug!(
                        "Sending webhook to {name} has failed again, next try in {pause:?}: {error}"
                    );
                } else {
                    warn!("Sending webhook to {name} has failed due to {error}; it is tried again");
                }
            })
            .await
            .map_err(|attempt| attempt.error)
    }
}

impl fmt::Debug for HttpWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWebhook")
            .field("name", &self.name)
            .field("problem", &self.problem)
            .field("template", &self.template)
            .field("secrets", &self.secrets.len())
            .field("headers", &self.headers)
            .field("only", &self.only)
            .field("timeout", &self.timeout)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(&name.as_str())
}

/// An id that no other message has, and that nobody can guess.
fn new_id() -> Result<String, WebhookError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| WebhookError::new("the system has no random numbers"))?;
    Ok(format!("msg_{:032x}", u128::from_be_bytes(bytes)))
}

/// `Retry-After` in seconds, or as a date.
fn retry_after(head: &Parts) -> Option<Duration> {
    let value = head.headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that has passed asks for no pause.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
