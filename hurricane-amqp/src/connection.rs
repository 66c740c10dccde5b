//! Connecting, and telling what stood in the way.

use std::time::Duration;

use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::{OwnedIdentity, OwnedTLSConfig},
};
use tokio::time;
use tracing::{debug, info};

use crate::{BoxError, config::ConnectionConfig};

/// The broker could not be connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// User or password are wrong.
    #[error("the broker at {address} refused the login of user {user:?}")]
    Login {
        /// The broker.
        address: String,
        /// The user.
        user: String,
        /// What the broker said.
        source: BoxError,
    },
    /// There is no such virtual host, or not for this user.
    #[error("the broker at {address} refused the virtual host {vhost:?} to user {user:?}")]
    Vhost {
        /// The broker.
        address: String,
        /// The virtual host.
        vhost: String,
        /// The user.
        user: String,
        /// What the broker said.
        source: BoxError,
    },
    /// Encryption failed: a certificate is not trusted, or not for this name, or cannot be read.
    #[error("failed to agree on TLS with the broker at {address}")]
    Tls {
        /// The broker.
        address: String,
        /// What went wrong.
        source: BoxError,
    },
    /// Nobody answers there, or not as a broker does.
    #[error("failed to connect to the broker at {address}")]
    Unreachable {
        /// The broker.
        address: String,
        /// What went wrong.
        source: BoxError,
    },
    /// It took too long.
    #[error("the broker at {address} did not answer within {timeout:?}")]
    TimedOut {
        /// The broker.
        address: String,
        /// How long that was.
        timeout: Duration,
    },
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether trying again may help although nobody changes anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

/// Connects and logs in.
pub(crate) async fn connect(config: &ConnectionConfig) -> Result<Connection, ConnectError> {
    let address = config.address();
    info!("Connecting to {address}{}", config.vhost);
    let properties = ConnectionProperties::default()
        .with_connection_name(config.name.as_str().into())
        .with_client_property("product".into(), "hurricane".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let tls = config.tls.clone().unwrap_or_default();
    let tls = OwnedTLSConfig {
        identity: tls.identity.map(|identity| OwnedIdentity::PKCS8 {
            pem: identity.certificate,
            key: identity.key,
        }),
        cert_chain: tls.ca,
    };
    let runtime = lapin::runtime::default_runtime().map_err(|error| ConnectError::Unreachable {
        address: address.clone(),
        source: error.into(),
    })?;
    let connecting = Connection::connect_uri_with_config(config.uri(), properties, tls, runtime);
    let timeout = config.timeout;
    match time::timeout(timeout, connecting).await {
        Err(_) => Err(ConnectError::TimedOut { address, timeout }),
        Ok(Err(error)) => Err(classify(config, address, error)),
        Ok(Ok(connection)) => {
            info!("Connection opened");
            Ok(connection)
        }
    }
}

/// Says goodbye, if the broker still listens.
pub(crate) async fn close(connection: &Connection) {
    let closing = connection.close(200, "bye".into());
    match time::timeout(Duration::from_secs(2), closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "the connection was closed already"),
        Err(_) => debug!("the broker did not say goodbye"),
    }
}

fn classify(config: &ConnectionConfig, address: String, error: lapin::Error) -> ConnectError {
    let (user, vhost) = (config.user.clone(), config.vhost.clone());
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => ConnectError::Login {
                address,
                user,
                source: error.into(),
            },
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => ConnectError::Vhost {
                address,
                vhost,
                user,
                source: error.into(),
            },
            _ => ConnectError::Unreachable {
                address,
                source: error.into(),
            },
        },
        ErrorKind::IOError(io) if config.tls.is_some() && is_tls(io) => ConnectError::Tls {
            address,
            source: error.into(),
        },
        _ => ConnectError::Unreachable {
            address,
            source: error.into(),
        },
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other};

    matches!(error.kind(), InvalidData | InvalidInput | Other)
}
