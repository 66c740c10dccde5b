//! Whether a server answers over HTTP.

use std::{borrow::Cow, fmt, ops::RangeInclusive, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, USER_AGENT},
};
use tokio::{sync::OnceCell, time::Instant};

use super::{Check, CheckResult};
use crate::webhook::{
    chain,
    http::{client::Client, target::Target},
};

/// Sends a GET to a URL and looks at the status of the answer.
///
/// As for Kubernetes, 200 to 399 is well; redirects are not followed. The body is not looked at. TLS trusts whom the
/// system trusts, and the proxies of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) are used. A user and a
/// password in the URL are sent, and shown to nobody; of the path and the query no more is shown than is surely no
/// secret.
///
/// A server that does not answer takes long to fail: give the check a [timeout](super::CheckConfig::timeout).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{CheckConfig, HttpCheck, Probe, Registry, Severity};
///
/// let mut registry = Registry::new();
/// let search = HttpCheck::new("search", "http://elastic:9200/_cluster/health?wait_for_status=yellow")
///     .expect_status(200..=200)
///     .warn_above(Duration::from_millis(200));
/// let config = CheckConfig::from(Probe::Readiness)
///     .severity(Severity::Degraded)
///     .every(Duration::from_secs(10))
///     .timeout(Duration::from_secs(1));
/// registry.add_check(search, config)?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
pub struct HttpCheck {
    name: Cow<'static, str>,
    /// The error is what is wrong with the URL.
    target: Result<Target, String>,
    expected: RangeInclusive<u16>,
    warn_above: Duration,
    /// Made at the first run.
    client: OnceCell<Client>,
}

const AGENT: &str = concat!("hurricane/", env!("CARGO_PKG_VERSION"));

// === impl HttpCheck ===

impl HttpCheck {
    /// A check of `url`; one that is not valid fails with the reason.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, url: impl AsRef<str>) -> Self {
        Self {
            name: name.into(),
            target: Target::parse(url.as_ref()),
            expected: 200..=399,
            warn_above: Duration::MAX,
            client: OnceCell::new(),
        }
    }

    /// Sets the statuses that are well; 200 to 399 by default.
    #[must_use]
    pub fn expect_status(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.expected = statuses;
        self
    }

    /// Warns when the answer takes longer than `time`.
    #[must_use]
    pub fn warn_above(mut self, time: Duration) -> Self {
        self.warn_above = time;
        self
    }

    async fn get(&self, target: &Target) -> Result<StatusCode, String> {
        let client = self
            .client
            .get_or_try_init(|| Client::new(&target.uri))
            .await
            .map_err(|error| chain(&error))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, http::HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, http::HeaderValue::from_static("*/*"));
        if let Some(authorization) = &target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match client.send(request).await {
            Ok(head) => Ok(head.status),
            Err(error) => Err(chain(&*error)),
        }
    }
}

#[async_trait]
impl Check for HttpCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let target = match &self.target {
            Ok(target) => target,
            Err(reason) => return CheckResult::fail(format!("the URL is not valid: {reason}")),
        };
        let (url, began) = (target.public(), Instant::now());
        match self.get(target).await {
            Ok(status) if !self.expected.contains(&status.as_u16()) => {
                CheckResult::fail(format!("{url} answers {status}"))
            }
            Ok(_) if began.elapsed() > self.warn_above => {
                CheckResult::warn(format!("{url} took {:.0?}", began.elapsed()))
            }
            Ok(_) => CheckResult::pass(),
            Err(error) => CheckResult::fail(format!("no answer from {url}: {error}")),
        }
    }
}

impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("name", &self.name)
            .field("url", &self.target.as_ref().map(Target::public))
            .field("expected", &self.expected)
            .field("warn_above", &self.warn_above)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rustls::RootCertStore;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;
    use crate::{Status, webhook::http::client::trusting};

    /// Answers one request with `status`; the handle gives its head.
    async fn server(status: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        (addr, served)
    }

    /// A check that uses no proxy, wherever the tests run.
    fn check(url: &str) -> HttpCheck {
        let mut check = HttpCheck::new("peer", url);
        if let Ok(target) = &check.target {
            let tls = trusting(RootCertStore::empty()).unwrap();
            let builder = reqwest::Client::builder().no_proxy();
            let client = Client::build(&target.uri, builder, tls).unwrap();
            check.client = OnceCell::new_with(Some(client));
        }
        check
    }

    #[tokio::test]
    async fn the_status_decides() {
        for (answer, status, message) in [
            ("204 No Content", Status::Pass, ""),
            ("302 Found", Status::Pass, ""),
            ("404 Not Found", Status::Fail, " answers 404 Not Found"),
            ("503 Busy", Status::Fail, " answers 503 Service Unavailable"),
        ] {
            let (addr, served) = server(answer).await;
            let result = check(&format!("http://{addr}/health")).check().await;
            assert_eq!(result.status, status);
            if status == Status::Fail {
                assert_eq!(result.message, format!("http://{addr}/health{message}"));
            }
            let head = served.await.unwrap();
            assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("host: {addr}\r\n")), "{head}");
        }
        let (addr, _served) = server("302 Found").await;
        let strict = check(&format!("http://{addr}/")).expect_status(200..=200);
        assert_eq!(strict.check().await.status, Status::Fail);
    }

    #[tokio::test]
    async fn a_slow_answer_is_a_warning() {
        let (addr, _served) = server("200 OK").await;
        let result = check(&format!("http://{addr}/"))
            .warn_above(Duration::ZERO)
            .check()
            .await;
        assert_eq!(result.status, Status::Warn);
        assert!(
            result.message.starts_with(&format!("http://{addr}/ took ")),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn secrets_are_sent_and_not_shown() {
        let (addr, served) = server("500 No").await;
        let check = check(&format!("http://me:hush@{addr}/health/TOKEN?key=hush"));
        let result = check.check().await;
        assert_eq!(
            result.message,
            format!("http://{addr}/health/… answers 500 Internal Server Error")
        );
        assert!(!format!("{check:?}").contains("hush"));
        let head = served.await.unwrap();
        assert!(head.starts_with("GET /health/TOKEN?key=hush "), "{head}");
        assert!(
            head.contains("authorization: Basic bWU6aHVzaA==\r\n"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn nobody_there_and_no_url_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let result = check(&format!("http://{addr}/")).check().await;
        assert_eq!(result.status, Status::Fail);
        let reason = format!("no answer from http://{addr}/: ");
        assert!(result.message.starts_with(&reason), "{result:?}");
        assert_eq!(
            check("localhost:80").check().await.message,
            "the URL is not valid: it does not begin with http:// or https://"
        );
    }
}
