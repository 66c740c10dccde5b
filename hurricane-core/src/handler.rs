//! Handlers of messages: one message in, one verdict out.

use std::{borrow::Cow, future::Future, time::Duration};

use async_trait::async_trait;

pub use self::message::{
    FieldTable, FieldValue, Message, MessageChannel, Properties, Publication, PublishError,
    SettleError,
};

mod message;

/// Handles messages from a broker.
///
/// The consumer decides about connections, prefetch and acknowledgements; a handler only says what became of a message.
///
/// A consumer may call [`handle`](Self::handle) for several messages at once; one that is told to keep the order, or
/// to handle one at a time, never does. The future is dropped where it stands when the consumer cannot wait any longer
/// for it, and the message goes back to its queue. A panic is caught and counts as a [`Retry`](Outcome::Retry), unless
/// the consumer is told otherwise.
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

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the broker may forget it.
    Ack,
    /// Not now; it is to be delivered again, as often as the consumer allows.
    Retry {
        /// How long to wait before; none leaves it to the consumer.
        after: Option<Duration>,
    },
    /// Not here; it goes back to its queue at once, and is not counted as an attempt.
    Requeue,
    /// Never; it goes to the dead letters, where there are any.
    Reject,
    /// Not yet decided: the handler settles it through its [`MessageChannel`], or has done so already.
    Deferred,
}

/// Makes a handler from a closure.
///
/// # Examples
///
/// ```
/// use hurricane_core::{Outcome, handler_fn};
///
/// let handler = handler_fn("printer", |message| async move {
///     println!("{} bytes", message.body.len());
///     Outcome::Ack
/// });
/// ```
pub fn handler_fn<F, Fut>(name: impl Into<Cow<'static, str>>, handle: F) -> impl Handler
where
    F: Fn(Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    HandlerFn {
        name: name.into(),
        handle,
    }
}

struct HandlerFn<F> {
    name: Cow<'static, str>,
    handle: F,
}

#[async_trait]
impl<F, Fut> Handler for HandlerFn<F>
where
    F: Fn(Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn handle(&self, message: Message) -> Outcome {
        (self.handle)(message).await
    }
}
