//! Putting a consumer together.

use std::{fmt, sync::Arc, time::Duration};

use hurricane_core::Handler;

use super::Consumer;
use crate::{
    config::{ConnectionConfig, ConsumerConfig, DeadLetters, ReconnectPolicy, UriError},
    retry::RetryPolicy,
    topology::Topology,
};

/// Builds a [`Consumer`].
///
/// What has no method of its own here can be set in a [`ConsumerConfig`].
pub struct Builder {
    handler: Arc<dyn Handler>,
    config: ConsumerConfig,
}

// === impl Builder ===

impl Builder {
    pub(super) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            config: ConsumerConfig::default(),
        }
    }

    /// Replaces all that was set.
    #[must_use]
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets where the broker is, as `amqp://user:password@host:port/vhost`.
    ///
    /// # Errors
    ///
    /// That is no such address.
    pub fn uri(self, uri: &str) -> Result<Self, UriError> {
        let name = self.config.connection.name.clone();
        let mut connection: ConnectionConfig = uri.parse()?;
        connection.name = name;
        Ok(self.connection(connection))
    }

    /// Sets where the broker is.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.config.connection = connection;
        self
    }

    /// Sets the name that the broker's lists show for the connection.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.connection.name = name.into();
        self
    }

    /// Sets the queue, and how messages come into it.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.config.topology = topology;
        self
    }

    /// Sets how many messages the broker hands out ahead of their acknowledgement; 100 by default.
    #[must_use]
    pub fn prefetch(mut self, count: u16) -> Self {
        self.config.prefetch = count;
        self
    }

    /// Sets how many messages are handled at the same time; one by default.
    #[must_use]
    pub fn concurrency(mut self, count: usize) -> Self {
        self.config.concurrency = count;
        self
    }

    /// Keeps the order of the queue: one message at a time, retried in place.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.config.ordered = true;
        self
    }

    /// Sets how messages are tried again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// Sets what becomes of messages nobody can handle.
    #[must_use]
    pub fn dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.config.dead_letters = dead_letters;
        self
    }

    /// Sets how a lost connection is made again.
    #[must_use]
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.config.reconnect = Some(policy);
        self
    }

    /// Ends with an error when the connection is lost, or cannot be made at first.
    #[must_use]
    pub fn no_reconnect(mut self) -> Self {
        self.config.reconnect = None;
        self
    }

    /// Sets how long messages in hand may take to finish at the end; 25 s by default.
    #[must_use]
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.config.graceful_timeout = timeout;
        self
    }

    /// Sets how long a message may take before the handler counts as stuck; there is no limit by default.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.config.handler_timeout = Some(timeout);
        self
    }

    /// Puts it together; nothing is connected yet.
    #[must_use]
    pub fn build(self) -> Consumer {
        Consumer::new(self.handler, self.config)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("handler", &self.handler.name())
            .field("config", &self.config)
            .finish()
    }
}
