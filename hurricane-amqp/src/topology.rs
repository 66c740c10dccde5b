//! Exchanges, queues and bindings.

use hurricane_core::FieldTable;
use lapin::{
    Channel, ExchangeKind as LapinKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::ShortString,
};
use tracing::info;

use crate::{
    BoxError,
    convert::{self, short},
};

/// A queue, and how messages come into it.
///
/// # Examples
///
/// A topic as django-hurricane declares it, and a quorum queue with two binding keys:
///
/// ```
/// use hurricane_amqp::{Exchange, ExchangeKind, Queue, Topology};
///
/// let topology = Topology::topic("mails", "shop");
/// assert_eq!(topology.keys(), ["mails"], "the binding key is the queue's name");
///
/// let topology = Topology::new(Queue::quorum("orders"))
///     .with_exchange(Exchange::new("shop", ExchangeKind::Topic).durable())
///     .with_binding_key("order.*")
///     .with_binding_key("invoice.#");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// The queue.
    pub queue: Queue,
    /// The exchange the queue is bound to; none for a queue that is published to by its name.
    pub exchange: Option<Exchange>,
    /// The keys it is bound with; for none the queue's name is taken, where the kind of exchange looks at keys.
    pub binding_keys: Vec<String>,
    /// Arguments of the bindings, which is what a headers exchange looks at.
    pub binding_arguments: FieldTable,
    /// Declares nothing, and only asks whether exchange and queue are there.
    pub passive: bool,
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    /// Its name; empty lets the broker choose one.
    pub name: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to this connection alone, and goes with it.
    pub exclusive: bool,
    /// Further arguments, such as `x-queue-type`.
    pub arguments: FieldTable,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it finds queues.
    pub kind: ExchangeKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it.
    pub internal: bool,
    /// Further arguments.
    pub arguments: FieldTable,
}

/// How an exchange finds queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// By patterns: `*` is one word, `#` any number.
    #[default]
    Topic,
    /// By the same key.
    Direct,
    /// All that are bound.
    Fanout,
    /// By the headers of the message.
    Headers,
    /// As a plug-in of the broker does.
    Other(String),
}

/// The queue could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The exchange is missing, is declared otherwise, or is not for this user.
    #[error("failed to declare the exchange {name:?}")]
    Exchange {
        /// Its name.
        name: String,
        /// What the broker said.
        source: BoxError,
    },
    /// The queue is missing, is declared otherwise, is locked, or is not for this user.
    #[error("failed to declare the queue {name:?}")]
    Queue {
        /// Its name.
        name: String,
        /// What the broker said.
        source: BoxError,
    },
    /// The queue cannot be bound.
    #[error("failed to bind the queue {queue:?} with the key {key:?}")]
    Bind {
        /// The queue's name.
        queue: String,
        /// The binding key.
        key: String,
        /// What the broker said.
        source: BoxError,
    },
}

// === impl Topology ===

impl Topology {
    /// A queue that is bound to nothing.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            ..Self::default()
        }
    }

    /// A queue at a topic exchange, bound with its own name, neither of them durable: what django-hurricane declares.
    #[must_use]
    pub fn topic(queue: impl Into<String>, exchange: impl Into<String>) -> Self {
        Self::new(Queue::new(queue)).with_exchange(Exchange::new(exchange, ExchangeKind::Topic))
    }

    /// Binds the queue to an exchange.
    #[must_use]
    pub fn with_exchange(mut self, exchange: Exchange) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// Adds a binding key.
    #[must_use]
    pub fn with_binding_key(mut self, key: impl Into<String>) -> Self {
        self.binding_keys.push(key.into());
        self
    }

    /// Declares nothing: whoever runs the broker has done so.
    #[must_use]
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// The keys the queue is bound with, as far as they are known before the broker has named it.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.keys_of(&self.queue.name)
    }

    fn keys_of(&self, queue: &str) -> Vec<String> {
        if !self.binding_keys.is_empty() {
            return self.binding_keys.clone();
        }
        match self.exchange.as_ref().map(|exchange| &exchange.kind) {
            None => Vec::new(),
            Some(ExchangeKind::Headers | ExchangeKind::Fanout) => vec![String::new()],
            Some(_) => vec![queue.to_owned()],
        }
    }

    /// Makes the queue ready and returns its name, which the broker may have chosen.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<String, TopologyError> {
        if let Some(exchange) = &self.exchange {
            info!("Declaring exchange: {}", exchange.name);
            exchange.declare(channel, self.passive).await?;
        }
        info!("Declaring queue {}", self.queue.name);
        let queue = self.queue.declare(channel, self.passive).await?;
        if let (Some(exchange), false) = (&self.exchange, self.passive) {
            info!("Binding to {queue}");
            for key in self.keys_of(&queue) {
                let failed = |source| TopologyError::Bind {
                    queue: queue.clone(),
                    key: key.clone(),
                    source,
                };
                let bound = channel.queue_bind(
                    short(&queue).map_err(failed)?,
                    short(&exchange.name).map_err(failed)?,
                    short(&key).map_err(failed)?,
                    QueueBindOptions::default(),
                    convert::to_table(&self.binding_arguments).map_err(failed)?,
                );
                bound.await.map_err(|error| failed(error.into()))?;
                info!("Queue bound: {queue} with routing key {key}");
            }
        }
        Ok(queue)
    }
}

// === impl Queue ===

impl Queue {
    /// A classic queue that lives as long as the broker runs.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// A classic queue that survives a restart of the broker.
    #[must_use]
    pub fn durable(name: impl Into<String>) -> Self {
        Self {
            durable: true,
            ..Self::new(name)
        }
    }

    /// A replicated queue, which also counts how often each message was delivered.
    #[must_use]
    pub fn quorum(name: impl Into<String>) -> Self {
        Self::durable(name).with_argument("x-queue-type", "quorum")
    }

    /// Adds an argument.
    #[must_use]
    pub fn with_argument(
        mut self,
        name: impl Into<String>,
        value: impl Into<hurricane_core::FieldValue>,
    ) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Lets the broker publish what is rejected to that exchange.
    #[must_use]
    pub fn with_dead_letter_exchange(self, exchange: impl Into<String>) -> Self {
        self.with_argument("x-dead-letter-exchange", exchange.into())
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<String, TopologyError> {
        let failed = |source| TopologyError::Queue {
            name: self.name.clone(),
            source,
        };
        let options = QueueDeclareOptions {
            passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            nowait: false,
        };
        let arguments = convert::to_table(&self.arguments).map_err(failed)?;
        let name = short(&self.name).map_err(failed)?;
        let declared = channel.queue_declare(name, options, arguments).await;
        let queue = declared.map_err(|error| failed(error.into()))?;
        Ok(queue.name().as_str().to_owned())
    }
}

// === impl Exchange ===

impl Exchange {
    /// An exchange that lives as long as the broker runs.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::new(),
        }
    }

    /// Lets it survive a restart of the broker.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<(), TopologyError> {
        let failed = |source| TopologyError::Exchange {
            name: self.name.clone(),
            source,
        };
        let options = ExchangeDeclareOptions {
            passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            nowait: false,
        };
        let kind = match &self.kind {
            ExchangeKind::Topic => LapinKind::Topic,
            ExchangeKind::Direct => LapinKind::Direct,
            ExchangeKind::Fanout => LapinKind::Fanout,
            ExchangeKind::Headers => LapinKind::Headers,
            // It goes over the wire as a short string, too.
            ExchangeKind::Other(kind) => LapinKind::Custom(
                ShortString::try_new(kind)
                    .map_err(|error| failed(error.into()))?
                    .into(),
            ),
        };
        let arguments = convert::to_table(&self.arguments).map_err(failed)?;
        let name = short(&self.name).map_err(failed)?;
        let declared = channel
            .exchange_declare(name, kind, options, arguments)
            .await;
        declared.map_err(|error| failed(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_kind_of_exchange() {
        let at = |kind| Topology::new(Queue::new("q")).with_exchange(Exchange::new("x", kind));
        assert_eq!(at(ExchangeKind::Direct).keys(), ["q"]);
        assert_eq!(at(ExchangeKind::Fanout).keys(), [""]);
        assert_eq!(at(ExchangeKind::Headers).keys(), [""]);
        assert_eq!(
            at(ExchangeKind::Topic).with_binding_key("a.*").keys(),
            ["a.*"]
        );
        assert!(Topology::new(Queue::new("q")).keys().is_empty());
    }
}
