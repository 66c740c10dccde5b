//! What a consumer is told: where the broker is, and how to treat its messages.

use std::{fmt, str::FromStr, time::Duration};

use lapin::uri::{AMQPScheme, AMQPUri};

use crate::{retry::RetryPolicy, topology::Topology};

/// Where the broker is, and who we are.
///
/// # Examples
///
/// ```
/// use hurricane_amqp::ConnectionConfig;
///
/// let config: ConnectionConfig = "amqp://shop:secret@rabbit.example/orders?heartbeat=10".parse()?;
/// assert_eq!((config.host.as_str(), config.port), ("rabbit.example", 5672));
/// assert_eq!(config.vhost, "orders");
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<_, hurricane_amqp::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The virtual host.
    pub vhost: String,
    /// Whom to log in as.
    pub user: String,
    /// With what password.
    pub password: String,
    /// Encryption; none for plain TCP.
    pub tls: Option<Tls>,
    /// After twice this time without a sign of life the connection counts as lost; zero leaves it to the broker.
    pub heartbeat: Duration,
    /// What the broker's lists show for the connection.
    pub name: String,
    /// How long connecting may take, with the login.
    pub timeout: Duration,
}

/// How to encrypt the connection; needs the feature `tls`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities to trust beside the system's, as PEM.
    pub ca: Option<String>,
    /// Certificate and key to show to the broker.
    pub identity: Option<TlsIdentity>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate, and those between it and the authority, as PEM.
    pub certificate: Vec<u8>,
    /// The private key, as PEM.
    pub key: Vec<u8>,
}

/// How a consumer treats messages and the loss of its connection.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Where the broker is.
    pub connection: ConnectionConfig,
    /// The queue, and how messages come into it.
    pub topology: Topology,
    /// Most messages the broker hands out ahead of their acknowledgement; zero for no limit.
    pub prefetch: u16,
    /// Most messages handled at the same time.
    pub concurrency: usize,
    /// Handles one message after the other, and repeats one that is to be retried until it is done with, so that the
    /// order of the queue is kept. [`concurrency`](Self::concurrency) is then 1.
    pub ordered: bool,
    /// How messages are tried again.
    pub retry: RetryPolicy,
    /// What becomes of messages nobody can handle.
    pub dead_letters: DeadLetters,
    /// What a panic of the handler counts as.
    pub on_panic: OnPanic,
    /// Most acknowledgements held back to be sent as one; zero for a quarter of the prefetch, 256 at most.
    pub ack_batch: usize,
    /// How long an acknowledgement is held back at most, while messages are being handled.
    pub ack_linger: Duration,
    /// How the connection is made again when it is lost; none to end instead.
    pub reconnect: Option<ReconnectPolicy>,
    /// How long messages in hand may take to finish at the end.
    pub graceful_timeout: Duration,
    /// When a message takes longer than this the consumer counts as stuck, which fails liveness; none for never.
    pub handler_timeout: Option<Duration>,
    /// Readiness fails while as many messages are in hand; none for no such limit.
    pub max_in_hand: Option<usize>,
    /// The consumer ends after so many messages; none for no such limit.
    pub max_messages: Option<u64>,
    /// How often the broker is asked for the length of the queue; more often if
    /// [`silence_timeout`](Self::silence_timeout) is short.
    pub watch_interval: Duration,
    /// When the queue grows and nothing is delivered for so long, the subscription counts as lost; none for never.
    ///
    /// A queue with a single active consumer, or with priorities among its consumers, is silent to the others in good
    /// order: choose none there.
    pub silence_timeout: Option<Duration>,
    /// Name of the subscription; empty lets the broker choose.
    pub consumer_tag: String,
    /// Whether this is to be the only subscription to the queue.
    pub exclusive: bool,
}

/// What becomes of messages that are rejected, or were tried too often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetters {
    /// The broker decides: it has a dead letter exchange for the queue, or drops them.
    #[default]
    Broker,
    /// They are published to the durable queue of that name, which is declared, and whose messages tell in their
    /// headers why they are there. It serves queues that have no dead letter exchange and cannot get one.
    Queue(String),
}

/// What a panic of the handler counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The message is tried again.
    #[default]
    Retry,
    /// The message goes to the dead letters.
    Reject,
}

/// How a lost connection is made again.
///
/// The pauses double from the first to the longest one, and up to as much again is added by chance, so that many
/// consumers do not come back at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Most tries in a row; none for no limit. A subscription that lasts longer than 10 s begins a new row.
    pub max: Option<u32>,
}

/// An address that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// It is no address at all.
    #[error("the AMQP address is not valid: {0}")]
    Invalid(String),
    /// It asks for TLS.
    #[error("the AMQP address asks for TLS, and the feature `tls` is not compiled in")]
    NoTls,
}

// === impl ConnectionConfig ===

impl ConnectionConfig {
    /// The address without user and password, for logs.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub(crate) fn uri(&self) -> AMQPUri {
        let mut uri = AMQPUri::default();
        if self.tls.is_some() {
            uri.scheme = AMQPScheme::AMQPS;
        }
        uri.authority.host.clone_from(&self.host);
        uri.authority.port = self.port;
        uri.authority.userinfo.username.clone_from(&self.user);
        uri.authority.userinfo.password.clone_from(&self.password);
        uri.vhost.clone_from(&self.vhost);
        let seconds = u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat = (seconds > 0).then_some(seconds);
        uri
    }
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5672,
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            tls: None,
            heartbeat: Duration::from_secs(30),
            name: "hurricane".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }
}

impl FromStr for ConnectionConfig {
    type Err = UriError;

    /// Reads `amqp://user:password@host:port/vhost?heartbeat=seconds`, or the same with `amqps`.
    fn from_str(text: &str) -> Result<Self, UriError> {
        // The reason never holds the address, for that may hold a password.
        let uri: AMQPUri = text.parse().map_err(|reason: String| {
            let told = reason.contains(text);
            UriError::Invalid(if told { "no host".into() } else { reason })
        })?;
        let encrypted = uri.scheme == AMQPScheme::AMQPS;
        if encrypted && cfg!(not(feature = "tls")) {
            return Err(UriError::NoTls);
        }
        let default = Self::default();
        let vhost = match uri.vhost.as_str() {
            "" => default.vhost,
            vhost => vhost.to_owned(),
        };
        Ok(Self {
            // The parser knows names and IPv4 addresses only.
            host: ipv6_host(text).unwrap_or(uri.authority.host),
            port: uri.authority.port,
            vhost,
            user: uri.authority.userinfo.username,
            password: uri.authority.userinfo.password,
            tls: encrypted.then(Tls::default),
            heartbeat: match uri.query.heartbeat {
                Some(seconds) => Duration::from_secs(seconds.into()),
                None => default.heartbeat,
            },
            timeout: match uri.query.connection_timeout {
                Some(millis) => Duration::from_millis(millis),
                None => default.timeout,
            },
            name: default.name,
        })
    }
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("vhost", &self.vhost)
            .field("user", &self.user)
            .field("password", &"***")
            .field("tls", &self.tls)
            .field("heartbeat", &self.heartbeat)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish()
    }
}

// === impl Tls ===

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity)
            .finish()
    }
}

// === impl TlsIdentity ===

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

// === impl ConsumerConfig ===

impl ConsumerConfig {
    pub(crate) fn slots(&self) -> usize {
        if self.ordered {
            1
        } else {
            self.concurrency.max(1)
        }
    }

    /// How many acknowledgements make a batch. A broker that has handed out all it may waits for the next one, so a
    /// batch is a part of the prefetch only.
    pub(crate) fn batch(&self) -> usize {
        match (self.ack_batch, self.prefetch) {
            (0, 0) => 256,
            (0, prefetch) => usize::from(prefetch).div_ceil(4).min(256),
            (batch, 0) => batch,
            (batch, prefetch) => batch.min(usize::from(prefetch)),
        }
    }

    /// How often to ask for the length of the queue: often enough to notice silence in time.
    pub(crate) fn look_interval(&self) -> Duration {
        let noticed = self.silence_timeout.map_or(Duration::MAX, |time| time / 4);
        self.watch_interval
            .min(noticed)
            .max(Duration::from_millis(1))
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            topology: Topology::default(),
            prefetch: 100,
            concurrency: 1,
            ordered: false,
            retry: RetryPolicy::default(),
            dead_letters: DeadLetters::default(),
            on_panic: OnPanic::default(),
            ack_batch: 0,
            ack_linger: Duration::from_millis(5),
            reconnect: Some(ReconnectPolicy::default()),
            graceful_timeout: Duration::from_secs(25),
            handler_timeout: None,
            max_in_hand: None,
            max_messages: None,
            watch_interval: Duration::from_secs(15),
            silence_timeout: Some(Duration::from_secs(120)),
            consumer_tag: String::new(),
            exclusive: false,
        }
    }
}

// === impl ReconnectPolicy ===

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(2),
            max: None,
        }
    }
}

/// The address between the brackets.
fn ipv6_host(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, _) = host.strip_prefix('[')?.split_once(']')?;
    Some(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> ConnectionConfig {
        uri.parse().unwrap()
    }

    #[test]
    fn an_address_may_say_little() {
        let default = ConnectionConfig::default();
        for uri in [
            "amqp://localhost",
            "amqp://localhost/",
            "amqp://localhost:5672/%2f",
        ] {
            assert_eq!(parse(uri), default, "{uri}");
        }
    }

    #[test]
    fn an_address_may_say_much() {
        let config =
            parse("amqp://a%40b:p%2Fw@[::1]:5673/my%20host?heartbeat=7&connection_timeout=250");
        assert_eq!((config.host.as_str(), config.port), ("::1", 5673));
        assert_eq!(
            (config.user.as_str(), config.password.as_str()),
            ("a@b", "p/w")
        );
        assert_eq!(config.vhost, "my host");
        assert_eq!(config.heartbeat, Duration::from_secs(7));
        assert_eq!(config.timeout, Duration::from_millis(250));
        assert_eq!(config.address(), "[::1]:5673");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_has_a_port_of_its_own() {
        let config = parse("amqps://rabbit.example");
        assert_eq!(config.port, 5671);
        assert!(config.tls.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for uri in [
            "",
            "rabbit",
            "http://u:secret@h",
            "amqp:secret",
            "amqp://u:secret@h:port",
        ] {
            let error = uri.parse::<ConnectionConfig>().unwrap_err().to_string();
            assert!(
                error.starts_with("the AMQP address is not valid"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn silence_is_looked_for_often_enough() {
        let interval = |silence_timeout: Option<u64>| {
            let config = ConsumerConfig {
                silence_timeout: silence_timeout.map(Duration::from_secs),
                ..ConsumerConfig::default()
            };
            config.look_interval().as_millis()
        };
        let timeouts = [None, Some(120), Some(8), Some(0)];
        assert_eq!(timeouts.map(interval), [15_000, 15_000, 2_000, 1]);
    }

    #[test]
    fn a_batch_leaves_the_broker_something_to_hand_out() {
        let batch = |prefetch| {
            ConsumerConfig {
                prefetch,
                ..ConsumerConfig::default()
            }
            .batch()
        };
        assert_eq!([0, 1, 2, 100, 10_000].map(batch), [256, 1, 1, 25, 256]);
    }
}
