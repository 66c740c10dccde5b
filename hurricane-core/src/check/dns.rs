//! Whether a name resolves.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use tokio::{net::lookup_host, time::Instant};

use super::{Check, CheckResult};

/// Resolves a name as the system does: with its hosts file, name servers and search list.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use hurricane_core::{DnsCheck, Probe, Registry};
///
/// let mut registry = Registry::new();
/// let workers = DnsCheck::new("workers", "workers.default.svc.cluster.local")
///     .at_least(2)
///     .warn_above(Duration::from_millis(50));
/// registry.add_check(workers, Probe::Readiness)?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct DnsCheck {
    name: Cow<'static, str>,
    host: String,
    at_least: usize,
    warn_above: Duration,
}

// === impl DnsCheck ===

impl DnsCheck {
    /// A check of the name `host`.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            at_least: 1,
            warn_above: Duration::MAX,
        }
    }

    /// Fails with fewer addresses than this, as when a headless service has too few pods; 1 by default.
    #[must_use]
    pub fn at_least(mut self, addresses: usize) -> Self {
        self.at_least = addresses;
        self
    }

    /// Warns when the answer takes longer than `time`.
    #[must_use]
    pub fn warn_above(mut self, time: Duration) -> Self {
        self.warn_above = time;
        self
    }
}

#[async_trait]
impl Check for DnsCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let (host, began) = (&*self.host, Instant::now());
        let mut found: Vec<_> = match lookup_host((host, 0)).await {
            Ok(found) => found.map(|addr| addr.ip()).collect(),
            Err(error) => return CheckResult::fail(format!("{host} does not resolve: {error}")),
        };
        found.sort_unstable();
        found.dedup();
        let (took, count) = (began.elapsed(), found.len());
        if count < self.at_least {
            let least = self.at_least;
            CheckResult::fail(format!("{host} has {count} addresses, fewer than {least}"))
        } else if took > self.warn_above {
            CheckResult::warn(format!("resolving {host} took {took:.0?}"))
        } else {
            CheckResult::pass()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[tokio::test]
    async fn a_name_resolves_to_enough_addresses_or_not() {
        // An address is a name that needs no name server.
        let check = DnsCheck::new("me", "127.0.0.1");
        assert_eq!(check.check().await, CheckResult::pass());
        assert_eq!(
            check.clone().at_least(2).check().await,
            CheckResult::fail("127.0.0.1 has 1 addresses, fewer than 2")
        );
        let slow = check.warn_above(Duration::ZERO).check().await;
        assert_eq!(slow.status, Status::Warn);
        assert!(
            slow.message.starts_with("resolving 127.0.0.1 took "),
            "{slow:?}"
        );
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_fails() {
        // Longer than a label may be, so no name server is asked.
        let host = "x".repeat(64);
        let result = DnsCheck::new("nobody", host.clone()).check().await;
        assert_eq!(result.status, Status::Fail);
        assert!(
            result
                .message
                .starts_with(&format!("{host} does not resolve: ")),
            "{result:?}"
        );
    }
}
