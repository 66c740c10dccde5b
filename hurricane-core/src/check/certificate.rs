//! How long certificates are valid still.

use std::{
    borrow::Cow,
    error::Error,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::{net::TcpStream, task};
use tokio_rustls::TlsConnector;
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode as _,
};

use super::{Check, CheckResult};

/// Looks at the dates of certificates: those in a PEM file, or those that a TLS server shows.
///
/// Of several the one that expires first counts. By default the check warns within 21 days of the end, and fails within
/// 3. It reads dates and nothing else: whether a certificate is to be trusted is for those who connect to find out.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{CertificateCheck, CheckConfig, Probe, Registry, Severity};
///
/// let mut registry = Registry::new();
/// // An end that is near is no reason to take no more traffic, but somebody has to hear of it.
/// let config = || {
///     CheckConfig::from(Probe::Readiness)
///         .severity(Severity::Degraded)
///         .every(Duration::from_secs(3600))
/// };
/// registry.add_check(CertificateCheck::file("certificate", "/tls/tls.crt"), config())?;
/// let peer = CertificateCheck::server("partner", "api.example:443").warn_within_days(7);
/// registry.add_check(peer, config())?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct CertificateCheck {
    name: Cow<'static, str>,
    source: Source,
    warn: Duration,
    fail: Duration,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Server(String),
}

/// From when to when a certificate is valid, since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct Validity {
    begin: Duration,
    end: Duration,
}

/// Takes any certificate: what comes over this connection is looked at, and nothing is sent.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

type BoxError = Box<dyn Error + Send + Sync>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// === impl CertificateCheck ===

impl CertificateCheck {
    /// A check of all certificates in a PEM file, which is read anew each time.
    #[must_use]
    pub fn file(name: impl Into<Cow<'static, str>>, path: impl Into<PathBuf>) -> Self {
        Self::new(name.into(), Source::File(path.into()))
    }

    /// A check of the certificates of a TLS server at `addr`, a name or address and a port, as in `api.example:443`.
    #[must_use]
    pub fn server(name: impl Into<Cow<'static, str>>, addr: impl Into<String>) -> Self {
        Self::new(name.into(), Source::Server(addr.into()))
    }

    /// Warns when fewer days than this are left; 21 by default.
    #[must_use]
    pub fn warn_within_days(mut self, days: u32) -> Self {
        self.warn = DAY * days;
        self
    }

    /// Fails when fewer days than this are left; 3 by default. With 0 it fails when it is too late.
    #[must_use]
    pub fn fail_within_days(mut self, days: u32) -> Self {
        self.fail = DAY * days;
        self
    }

    fn new(name: Cow<'static, str>, source: Source) -> Self {
        Self {
            name,
            source,
            warn: DAY * 21,
            fail: DAY * 3,
        }
    }

    fn judge(&self, now: Duration, validities: &[Validity]) -> CheckResult {
        if let Some(early) = validities.iter().find(|validity| validity.begin > now) {
            return CheckResult::fail(format!("valid only in {}", days(early.begin - now)));
        }
        let Some(end) = validities.iter().map(|validity| validity.end).min() else {
            return CheckResult::fail("there is no certificate");
        };
        let left = end.saturating_sub(now);
        let expires = || format!("expires in {}", days(left));
        if left.is_zero() {
            CheckResult::fail(format!("expired {} ago", days(now - end)))
        } else if left < self.fail {
            CheckResult::fail(expires())
        } else if left < self.warn {
            CheckResult::warn(expires())
        } else {
            CheckResult::pass_with(expires())
        }
    }
}

#[async_trait]
impl Check for CertificateCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let (read, from) = match &self.source {
            Source::File(path) => (read(path.clone()).await, path.display().to_string()),
            Source::Server(addr) => (show(addr).await, addr.clone()),
        };
        let validities = read.and_then(|certificates| {
            let validities = certificates.iter().map(Validity::of);
            validities.collect::<Result<Vec<_>, _>>()
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        match validities {
            Ok(validities) => self.judge(now.unwrap_or_default(), &validities),
            Err(error) => CheckResult::fail(format!("no certificate from {from}: {error}")),
        }
    }
}

// === impl Validity ===

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, BoxError> {
        // Others are stricter about what a certificate may hold; here only its dates matter.
        let certificate = CertificateInner::<Raw>::from_der(certificate)
            .map_err(|error| format!("it cannot be understood: {error}"))?;
        let validity = certificate.tbs_certificate().validity();
        Ok(Self {
            begin: validity.not_before.to_unix_duration(),
            end: validity.not_after.to_unix_duration(),
        })
    }
}

// === impl Anybody ===

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates in a PEM file.
async fn read(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let text = task::spawn_blocking(move || fs::read(path)).await??;
    Ok(CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>()?)
}

/// The certificates that a TLS server shows.
async fn show(addr: &str) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let (host, _) = addr.rsplit_once(':').ok_or("there is no port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(addr).await?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().unwrap_or_default();
    Ok(shown
        .iter()
        .map(|shown| shown.clone().into_owned())
        .collect())
}

fn days(time: Duration) -> String {
    match (time.as_secs() / DAY.as_secs(), time.as_secs() / 3600) {
        (0, 1) => "1 hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::Status;

    /// A certificate that ends after some days, and its key.
    fn ending_in(days: u32) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        // The hour is for the test to run.
        let end = SystemTime::now() + DAY * days + Duration::from_secs(3600);
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    async fn found(text: &str) -> CheckResult {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        CertificateCheck::file("certificate", file.path())
            .check()
            .await
    }

    #[tokio::test]
    async fn the_first_end_in_a_file_counts() {
        let pem = |days| ending_in(days).0.pem();
        assert_eq!(
            found(&pem(40)).await,
            CheckResult::pass_with("expires in 40 days")
        );
        assert_eq!(
            found(&pem(20)).await,
            CheckResult::warn("expires in 20 days")
        );
        assert_eq!(found(&pem(1)).await, CheckResult::fail("expires in 1 day"));
        assert_eq!(found(&pem(0)).await.status, Status::Fail);
        let chain = format!("{}\n{}\n{}", pem(40), pem(10), pem(30));
        assert_eq!(found(&chain).await, CheckResult::warn("expires in 10 days"));
    }

    #[tokio::test]
    async fn dates_in_the_past_and_in_the_future_fail() {
        let key = KeyPair::generate().unwrap();
        let pem = |begin, end| {
            let mut params = CertificateParams::new([]).unwrap();
            params.not_before = date_time_ymd(begin, 1, 1);
            params.not_after = date_time_ymd(end, 1, 1);
            params.self_signed(&key).unwrap().pem()
        };
        for (pem, message) in [
            (pem(2001, 2002), "expired "),
            (pem(3000, 3001), "valid only in "),
        ] {
            let result = found(&pem).await;
            assert_eq!(result.status, Status::Fail);
            assert!(result.message.starts_with(message), "{result:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_certificate_fails_with_the_reason() {
        assert_eq!(
            found("hello").await,
            CheckResult::fail("there is no certificate")
        );
        let rubbish = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let result = found(rubbish).await;
        assert!(
            result.message.contains("it cannot be understood: "),
            "{result:?}"
        );
        let missing = CertificateCheck::file("certificate", "/nowhere/tls.crt")
            .check()
            .await;
        let reason = "no certificate from /nowhere/tls.crt: No such file";
        assert!(missing.message.starts_with(reason), "{missing:?}");
    }

    #[tokio::test]
    async fn a_server_is_looked_at_whoever_trusts_it() {
        let (certificate, key) = ending_in(30);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // That the other side goes away is what it is expected to do.
                let _ = acceptor.accept(stream).await;
            }
        });
        let check = CertificateCheck::server("server", addr.to_string());
        let said = "expires in 30 days";
        assert_eq!(check.check().await, CheckResult::pass_with(said));
        let early = check.clone().warn_within_days(60);
        assert_eq!(early.check().await, CheckResult::warn(said));
        let strict = check.clone().fail_within_days(60);
        assert_eq!(strict.check().await, CheckResult::fail(said));

        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        let result = check.check().await;
        let reason = format!("no certificate from {addr}: Connection refused");
        assert!(result.message.starts_with(&reason), "{result:?}");
    }
}
