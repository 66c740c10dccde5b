//! Python handlers of messages, in worker processes.
//!
//! # Theory of operation
//!
//! A [`Desk`] has what a consumer delivers and hands it to *clerks*. A clerk is a thread of a
//! worker that handles one message after the other, or an event loop that handles several at the
//! same time. Each belongs to one handler and has a channel of its own. Toward it go
//! [messages](event), many in one write where the handler is quick and one at a time where it is
//! slow. Back comes [what the handler said](said): this one is done and took so long, acknowledge
//! that one, publish this. Whatever comes up while a batch is handled shares one write.
//!
//! Each message is settled through the channel it came by, apart from the outcome of
//! [`Handler::handle`], which is [`Deferred`](Outcome::Deferred) at once. Toward Python it has a
//! number of its own in place of its delivery tag, since a tag dies with its connection, and
//! another message may get it while the handler is still at the first.
//!
//! A message that a clerk has not begun when its worker dies goes to another clerk. One that was
//! begun is tried again as a failure would be, so that a message that ends the process does so a
//! bounded number of times. What was begun the clerk notes in the page that it shares.
//!
//! A settlement waits for what was published before it while the same message was handled. If the
//! broker did not take that, the message is tried again instead.

mod channel;
mod check;
mod desk;
pub(crate) mod event;
mod field;
pub(crate) mod said;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use hurricane_core::{Handler, Message, Outcome};
use tokio::sync::oneshot;

pub use self::check::DeskCheck;
pub(crate) use self::desk::ClerkId;
pub use self::desk::Desk;
use crate::frame::marshal::{DecodeError, Reader, Writer};

/// Which handlers there are, and how they work.
#[derive(Clone, Debug, Default)]
pub struct DeskConfig {
    /// The handlers.
    pub handlers: Vec<HandlerConfig>,
    /// How many messages of each handler a worker handles at the same time.
    pub concurrency: usize,
    /// Has the consumer wait for what becomes of a message before it delivers the next one.
    pub ordered: bool,
    /// A message that takes longer is tried again, and the worker that is at it replaced.
    pub timeout: Option<Duration>,
}

/// A handler class, and what its instances are made with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HandlerConfig {
    /// Where the class is: `package.module.Class`.
    pub class: String,
    /// The name of the queue.
    pub queue: String,
    /// The name of the exchange.
    pub exchange: String,
    /// The broker's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The virtual host.
    pub vhost: String,
    /// Whom to log in as.
    pub user: String,
    /// With what password.
    pub password: String,
}

/// What a handler class says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerFacts {
    /// The kind of its exchange, such as `topic`.
    pub exchange_type: String,
    /// The keys its queue is bound with; none for the queue's name.
    pub routing_keys: Vec<String>,
    /// How many messages the broker may hand out ahead of their acknowledgement.
    pub prefetch: u16,
    /// Whether it runs on an event loop.
    pub is_async: bool,
}

/// A handler in Python, as a consumer sees it; made by [`Desk::handlers`].
#[derive(Clone, Debug)]
pub struct PythonHandler {
    desk: Desk,
    name: String,
    index: usize,
}

// === impl DeskConfig ===

impl DeskConfig {
    /// How many channels a worker has: one for each message that it may handle at the same time.
    pub(crate) fn channels(&self) -> usize {
        self.handlers.len() * self.concurrency
    }

    /// Writes the handlers, how many messages of each are handled at the same time, and how long a
    /// message may take (milliseconds, 0 for no limit).
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.tuple(3);
        writer.list(self.handlers.len());
        for handler in &self.handlers {
            handler.write(writer);
        }
        writer.int(i32::try_from(self.concurrency).unwrap_or(i32::MAX));
        let timeout = self.timeout.unwrap_or_default().as_millis();
        writer.int(i32::try_from(timeout).unwrap_or(i32::MAX));
    }
}

// === impl HandlerConfig ===

impl HandlerConfig {
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.tuple(8);
        for text in [&self.class, &self.queue, &self.exchange, &self.host] {
            writer.text(text);
        }
        writer.int(i32::from(self.port));
        for text in [&self.vhost, &self.user, &self.password] {
            writer.text(text);
        }
    }
}

impl fmt::Debug for HandlerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerConfig")
            .field("class", &self.class)
            .field("queue", &self.queue)
            .field("exchange", &self.exchange)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("vhost", &self.vhost)
            .field("user", &self.user)
            .field("password", &"***")
            .finish()
    }
}

// === impl HandlerFacts ===

impl HandlerFacts {
    /// Reads the facts of all handlers, as `amqp.py` tells them.
    pub(crate) fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let count = reader.sequence()?;
        (0..count).map(|_| Self::read(reader)).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let exchange_type = reader.fields(4)?.string()?;
        let keys = reader.sequence()?;
        let routing_keys = (0..keys)
            .map(|_| reader.string())
            .collect::<Result<_, _>>()?;
        let prefetch = reader.int32()?;
        Ok(Self {
            exchange_type,
            routing_keys,
            prefetch: u16::try_from(prefetch)
                .map_err(|_| DecodeError::Range(i64::from(prefetch)))?,
            is_async: reader.bool()?,
        })
    }
}

// === impl PythonHandler ===

#[async_trait]
impl Handler for PythonHandler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn handle(&self, message: Message) -> Outcome {
        if !self.desk.config().ordered {
            return self.desk.put(self.index, message, None);
        }
        let (verdict, settled) = oneshot::channel();
        match self.desk.put(self.index, message, Some(verdict)) {
            // The sender is dropped when there is nothing to be said any more.
            Outcome::Deferred => settled.await.unwrap_or(Outcome::Requeue),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let config = HandlerConfig {
            password: "secret".to_owned(),
            ..HandlerConfig::default()
        };
        assert!(!format!("{config:?}").contains("secret"));
    }
}
