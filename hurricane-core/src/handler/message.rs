//! What comes from a broker, and what goes there.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::Outcome;

/// A message as it came from the broker.
///
/// # Examples
///
/// ```
/// use hurricane_core::Message;
///
/// let message = Message::new("42");
/// assert_eq!(&message.body[..], b"42");
/// assert_eq!(message.attempt, 1);
/// assert!(message.channel().is_none(), "it came from no broker");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The payload.
    pub body: Bytes,
    /// The key the message was published with.
    pub routing_key: String,
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// What the publisher said about it.
    pub properties: Properties,
    /// Whether the broker has handed out this message before.
    pub redelivered: bool,
    /// Which attempt at the message this is, as far as is known; the first one is 1.
    pub attempt: u32,
    /// The number by which the message is settled on its channel.
    pub delivery_tag: u64,
    /// The name of the subscription it came by.
    pub consumer_tag: Arc<str>,
    channel: Option<ChannelRef>,
}

/// What a publisher says about a message: the properties of AMQP 0-9-1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The media type of the payload.
    pub content_type: Option<String>,
    /// The encoding of the payload.
    pub content_encoding: Option<String>,
    /// Headers, by name.
    pub headers: FieldTable,
    /// 2 for a message that survives a restart of the broker, in a queue that does.
    pub delivery_mode: Option<u8>,
    /// The priority, for queues that know them.
    pub priority: Option<u8>,
    /// What a reply refers to.
    pub correlation_id: Option<String>,
    /// The queue a reply is expected in.
    pub reply_to: Option<String>,
    /// When the message expires, as text: milliseconds from its publication.
    pub expiration: Option<String>,
    /// The publisher's name for the message.
    pub message_id: Option<String>,
    /// When it was published, in Unix seconds.
    pub timestamp: Option<u64>,
    /// What kind of message it is; `type` in AMQP.
    pub kind: Option<String>,
    /// The user who published it; the broker checks it.
    pub user_id: Option<String>,
    /// The application that published it.
    pub app_id: Option<String>,
    /// Not used any more, and passed through.
    pub cluster_id: Option<String>,
}

/// Fields by name.
pub type FieldTable = BTreeMap<String, FieldValue>;

/// A value in a table of fields, such as the headers of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// No value.
    Void,
    /// True or false.
    Bool(bool),
    /// A signed byte.
    I8(i8),
    /// An unsigned byte.
    U8(u8),
    /// A signed 16-bit integer.
    I16(i16),
    /// An unsigned 16-bit integer.
    U16(u16),
    /// A signed 32-bit integer.
    I32(i32),
    /// An unsigned 32-bit integer.
    U32(u32),
    /// A signed 64-bit integer.
    I64(i64),
    /// A 32-bit floating point number.
    F32(f32),
    /// A 64-bit floating point number.
    F64(f64),
    /// A decimal number: `value` divided by 10 to the `scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Bytes),
    /// A point in time, in Unix seconds.
    Timestamp(u64),
    /// Several values.
    Array(Vec<Self>),
    /// Fields by name.
    Table(FieldTable),
}

/// A message to be published.
///
/// # Examples
///
/// ```
/// use hurricane_core::Publication;
///
/// let mut reply = Publication::new("", "replies", "done");
/// reply.properties.correlation_id = Some("7".into());
/// reply.mandatory = true;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The exchange; empty for the default one, which knows every queue by its name.
    pub exchange: String,
    /// The key by which the exchange finds queues.
    pub routing_key: String,
    /// The payload.
    pub body: Bytes,
    /// What is said about it.
    pub properties: Properties,
    /// Whether it is an error when no queue takes it.
    pub mandatory: bool,
}

/// The way back to the broker, for handlers that need more than an [`Outcome`].
///
/// It belongs to the channel of the broker that the message came by; once that is lost, nothing can be settled any
/// more, since the broker delivers the messages anew.
#[async_trait]
pub trait MessageChannel: Send + Sync + 'static {
    /// Settles the message with that number, or with `multiple` all that came before it too.
    ///
    /// An outcome of [`Deferred`](Outcome::Deferred) changes nothing, and a number that is not in hand is only logged.
    ///
    /// # Errors
    ///
    /// The channel it came by is gone.
    fn settle(
        &self,
        delivery_tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) -> Result<(), SettleError>;

    /// Tells how long the handler was at a message for which it returned [`Deferred`](Outcome::Deferred), and how that
    /// went; for the metrics.
    fn handled(&self, _duration: Duration, _outcome: Outcome) {}

    /// Whether messages can still be settled; those that wait for their turn need not be begun when they cannot.
    fn is_open(&self) -> bool {
        true
    }

    /// Publishes a message and waits until the broker has taken it.
    ///
    /// # Errors
    ///
    /// The broker did not take it, or did not say so.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError>;
}

/// A message could not be settled, because the broker has given it back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel the message came by is gone")]
pub struct SettleError;

/// A message was not published, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message cannot be expressed in the broker's protocol.
    #[error("the message cannot be published: {0}")]
    Invalid(String),
    /// No queue takes the message, and it was mandatory.
    #[error("the message was returned: {code} {text}")]
    Returned {
        /// The broker's code.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker refused the message.
    #[error("the broker refused the message")]
    Refused,
    /// The channel was closed for the message, such as when its exchange is missing.
    #[error("the broker closed the channel: {0}")]
    Closed(String),
    /// There is no connection to the broker, or it was lost before the broker said that it has the message.
    #[error("the broker was not reached: {0}")]
    Disconnected(String),
    /// The broker did not answer in time.
    #[error("the broker did not confirm the message within {0:?}")]
    TimedOut(Duration),
}

#[derive(Clone)]
struct ChannelRef(Arc<dyn MessageChannel>);

// === impl Message ===

impl Message {
    /// A message with nothing but a payload.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            routing_key: String::new(),
            exchange: String::new(),
            properties: Properties::default(),
            redelivered: false,
            attempt: 1,
            delivery_tag: 0,
            consumer_tag: Arc::default(),
            channel: None,
        }
    }

    /// Gives the message a way back to the broker; for consumers.
    #[must_use]
    pub fn with_channel(mut self, channel: Arc<dyn MessageChannel>) -> Self {
        self.channel = Some(ChannelRef(channel));
        self
    }

    /// The way back to the broker; none for a message that did not come from one.
    #[must_use]
    pub fn channel(&self) -> Option<&Arc<dyn MessageChannel>> {
        self.channel.as_ref().map(|ChannelRef(channel)| channel)
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

// === impl FieldValue ===

impl FieldValue {
    /// The value as text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer, if it is one of any width, or a timestamp.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I8(value) => Some((*value).into()),
            Self::U8(value) => Some((*value).into()),
            Self::I16(value) => Some((*value).into()),
            Self::U16(value) => Some((*value).into()),
            Self::I32(value) => Some((*value).into()),
            Self::U32(value) => Some((*value).into()),
            Self::I64(value) => Some(*value),
            Self::Timestamp(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for FieldValue {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<i64> for FieldValue {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

// === impl Publication ===

impl Publication {
    /// A message that survives a restart of the broker, in a queue that does.
    #[must_use]
    pub fn new(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            body: body.into(),
            properties: Properties {
                delivery_mode: Some(2),
                ..Properties::default()
            },
            mandatory: false,
        }
    }
}

// === impl ChannelRef ===

impl fmt::Debug for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageChannel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_width_are_integers() {
        for value in [
            FieldValue::I8(7),
            FieldValue::U8(7),
            FieldValue::I16(7),
            FieldValue::U16(7),
            FieldValue::I32(7),
            FieldValue::U32(7),
            FieldValue::I64(7),
            FieldValue::Timestamp(7),
        ] {
            assert_eq!(value.as_i64(), Some(7), "{value:?}");
        }
        assert_eq!(FieldValue::Timestamp(u64::MAX).as_i64(), None);
        assert_eq!(FieldValue::from("7").as_i64(), None);
    }
}
