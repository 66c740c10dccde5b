//! Handlers of messages: one message in, one verdict out.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// Handles messages from a broker.
///
/// The consumer decides about connections, prefetch and acknowledgements; a handler only says what became of a message.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Handler, Message, Outcome, async_trait};
///
/// struct Mailer;
///
/// #[async_trait]
/// impl Handler for Mailer {
///     fn name(&self) -> &str {
///         "mailer"
///     }
///
///     async fn handle(&self, message: Message) -> Outcome {
///         match std::str::from_utf8(&message.body) {
///             Ok(address) => {
///                 println!("mail to {address}");
///                 Outcome::Ack
///             }
///             // Nobody will ever be able to read this one.
///             Err(_) => Outcome::Reject,
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Name under which the handler is registered and logged.
    fn name(&self) -> &str;

    /// Handles one message and says what is to become of it.
    async fn handle(&self, message: Message) -> Outcome;
}

/// A message as it came from the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The payload.
    pub body: Bytes,
    /// The key the message was published with.
    pub routing_key: String,
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// The media type the publisher gave.
    pub content_type: Option<String>,
    /// Headers the publisher set, as text.
    pub headers: BTreeMap<String, String>,
    /// Whether the broker has handed out this message before.
    pub redelivered: bool,
}

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the broker may forget it.
    Ack,
    /// Not now; it is to be delivered again.
    Retry {
        /// How long to wait before; none leaves it to the consumer.
        after: Option<Duration>,
    },
    /// Never; it goes to the dead letters, where the broker has them.
    Reject,
}

// === impl Message ===

impl Message {
    /// A message with nothing but a payload.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }
}
