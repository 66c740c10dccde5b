//! Whether somebody accepts connections.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use tokio::{net::TcpStream, time::Instant};

use super::{Check, CheckResult};

/// Connects to a TCP port and closes the connection again.
///
/// It shows that the way is open and that a kernel accepts, not that a server behind it works. Where packets are dropped
/// a connection takes long to fail: give it a [timeout](super::CheckConfig::timeout).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{CheckConfig, Probe, Registry, TcpCheck};
///
/// let mut registry = Registry::new();
/// let broker = TcpCheck::new("broker", "rabbitmq:5672").warn_above(Duration::from_millis(100));
/// let config = CheckConfig::from(Probe::Readiness).timeout(Duration::from_millis(500));
/// registry.add_check(broker, config)?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct TcpCheck {
    name: Cow<'static, str>,
    addr: String,
    warn_above: Duration,
}

// === impl TcpCheck ===

impl TcpCheck {
    /// A check of `addr`, a name or address and a port, as in `rabbitmq:5672` or `[::1]:5672`.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, addr: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            addr: addr.into(),
            warn_above: Duration::MAX,
        }
    }

    /// Warns when connecting takes longer than `time`.
    #[must_use]
    pub fn warn_above(mut self, time: Duration) -> Self {
        self.warn_above = time;
        self
    }
}

#[async_trait]
impl Check for TcpCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let began = Instant::now();
        match TcpStream::connect(&*self.addr).await {
            Ok(_) if began.elapsed() > self.warn_above => {
                let took = began.elapsed();
                CheckResult::warn(format!("connecting to {} took {took:.0?}", self.addr))
            }
            Ok(_) => CheckResult::pass(),
            Err(error) => CheckResult::fail(format!("no connection to {}: {error}", self.addr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::Status;

    #[tokio::test]
    async fn a_port_that_listens_passes_and_one_that_does_not_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let check = TcpCheck::new("peer", addr.to_string());
        assert_eq!(check.check().await, CheckResult::pass());
        let slow = check.clone().warn_above(Duration::ZERO).check().await;
        assert_eq!(slow.status, Status::Warn);
        assert!(
            slow.message
                .starts_with(&format!("connecting to {addr} took ")),
            "{slow:?}"
        );

        drop(listener);
        let result = check.check().await;
        assert_eq!(result.status, Status::Fail);
        assert!(
            result
                .message
                .starts_with(&format!("no connection to {addr}: ")),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn an_address_without_a_port_is_told() {
        let result = TcpCheck::new("peer", "127.0.0.1").check().await;
        assert_eq!(
            result.message,
            "no connection to 127.0.0.1: invalid socket address"
        );
    }
}
