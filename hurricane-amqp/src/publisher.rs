//! Publishing, and knowing that the broker has it.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::StreamExt;
use hurricane_core::{Publication, PublishError};
use lapin::{
    Channel, Confirmation, Connection, ErrorKind, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{sync::Mutex, task::AbortHandle, time};
use tracing::{info, warn};

use crate::{
    BoxError,
    alarm::Alarm,
    config::ConnectionConfig,
    connection::{close, connect},
    convert::{short, to_properties},
    error_text,
    metrics::count_sent,
    topology::{Queue, Topology},
};

/// Publishes messages, and tells when the broker has taken them.
///
/// It has a connection of its own, which is made with the first message and again when it was lost: a broker that is
/// short of memory or disk stops reading from connections that publish, and acknowledgements must get through then.
/// Clones share it.
///
/// # Examples
///
/// ```no_run
/// use hurricane_amqp::{Publication, Publisher};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new("amqp://localhost".parse()?);
/// let mut message = Publication::new("shop", "order.new", r#"{"id": 7}"#);
/// message.properties.content_type = Some("application/json".into());
/// message.mandatory = true;
/// publisher.publish(message).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConnectionConfig,
    timeout: Duration,
    live: Mutex<Option<Live>>,
    alarm: Alarm,
}

struct Live {
    connection: Connection,
    channel: Channel,
    events: AbortHandle,
}

/// How long the broker has to confirm a message.
const TIMEOUT: Duration = Duration::from_secs(30);

// === impl Publisher ===

impl Publisher {
    /// A publisher that will connect with the first message.
    #[must_use]
    pub fn new(config: ConnectionConfig) -> Self {
        Self::with_timeout(config, TIMEOUT)
    }

    /// The same with another time for the broker to confirm a message; 30 s is the usual one.
    #[must_use]
    pub fn with_timeout(config: ConnectionConfig, timeout: Duration) -> Self {
        Self::with_alarm(config, timeout, Alarm::default())
    }

    /// The publisher of a consumer, whose metrics count its alarms.
    pub(crate) fn of_queue(config: ConnectionConfig, queue: &str) -> Self {
        Self::with_alarm(config, TIMEOUT, Alarm::of_queue(queue))
    }

    fn with_alarm(config: ConnectionConfig, timeout: Duration, alarm: Alarm) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                timeout,
                live: Mutex::new(None),
                alarm,
            }),
        }
    }

    /// Publishes a message and waits until the broker has taken it.
    ///
    /// # Errors
    ///
    /// The broker did not take it, or did not say so: then nobody knows, and publishing it again may double it.
    pub async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let timeout = self.inner.timeout;
        let published = time::timeout(timeout, self.send(&publication)).await;
        let result = published.unwrap_or(Err(PublishError::TimedOut(timeout)));
        count_sent(&publication.exchange, result.is_ok());
        result
    }

    /// Why the broker takes no messages at the moment; none when it does, or when nothing was published yet.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        self.inner.alarm.reason()
    }

    /// Closes the connection; the next message makes another one.
    pub async fn close(&self) {
        if let Some(live) = self.inner.live.lock().await.take() {
            close(&live.connection).await;
        }
    }

    /// Declares a queue on a channel of its own, so that a refusal harms nobody.
    pub(crate) async fn declare(&self, queue: Queue) -> Result<(), BoxError> {
        let channel = {
            let mut live = self.inner.live.lock().await;
            let live = self.live(&mut live).await?;
            live.connection.create_channel().await?
        };
        let declared = Topology::new(queue).declare(&channel).await;
        if channel.status().connected() {
            let _ = channel.close(200, "bye".into()).await;
        }
        declared?;
        Ok(())
    }

    async fn send(&self, publication: &Publication) -> Result<(), PublishError> {
        let invalid = |error: BoxError| PublishError::Invalid(error.to_string());
        let exchange = short(&publication.exchange).map_err(invalid)?;
        let routing_key = short(&publication.routing_key).map_err(invalid)?;
        let properties = to_properties(&publication.properties).map_err(invalid)?;
        let options = BasicPublishOptions {
            mandatory: publication.mandatory,
            immediate: false,
        };
        // The lock is held only until the channel is there: messages of several tasks are on their way together.
        let channel = {
            let mut live = self.inner.live.lock().await;
            self.live(&mut live).await?.channel.clone()
        };
        let body = &publication.body;
        let sent = channel.basic_publish(exchange, routing_key, options, body, properties);
        let confirmed = sent.await.map_err(|error| explain(&error))?;
        let confirmed = confirmed.await.map_err(|error| explain(&error))?;
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Err(PublishError::Returned {
                    code: returned.reply_code,
                    text: returned.reply_text.as_str().to_owned(),
                })
            }
            Confirmation::Nack(None) | Confirmation::NotRequested => Err(PublishError::Refused),
        }
    }

    async fn live<'a>(&self, slot: &'a mut Option<Live>) -> Result<&'a Live, PublishError> {
        let disconnected = |error: BoxError| PublishError::Disconnected(error_text(&*error));
        let kept = match slot.take() {
            Some(live) if live.channel.status().connected() => Some(live),
            // A message for a missing exchange costs the channel, not the connection.
            Some(mut live) if live.connection.status().connected() => {
                live.channel = channel(&live.connection)
                    .await
                    .map_err(|error| disconnected(error.into()))?;
                Some(live)
            }
            _ => None,
        };
        let live = match kept {
            Some(live) => live,
            None => {
                self.inner.alarm.set(None);
                let connection = connect(&self.inner.config)
                    .await
                    .map_err(|error| disconnected(error.into()))?;
                let channel = channel(&connection)
                    .await
                    .map_err(|error| disconnected(error.into()))?;
                let events = tokio::spawn(listen(
                    connection.events_listener(),
                    Arc::downgrade(&self.inner),
                ));
                Live {
                    connection,
                    channel,
                    events: events.abort_handle(),
                }
            }
        };
        Ok(slot.insert(live))
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("config", &self.inner.config)
            .field("blocked", &self.blocked())
            .finish_non_exhaustive()
    }
}

// === impl Live ===

impl Drop for Live {
    fn drop(&mut self) {
        self.events.abort();
    }
}

async fn channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

async fn listen(events: impl futures_util::Stream<Item = Event>, inner: std::sync::Weak<Inner>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        match event {
            Event::ConnectionBlocked(reason) => {
                warn!("The broker takes no messages at the moment: {reason}");
                inner.alarm.set(Some(reason));
            }
            Event::ConnectionUnblocked => {
                info!("The broker takes messages again");
                inner.alarm.set(None);
            }
            Event::Error(_) => inner.alarm.set(None),
            _ => {}
        }
    }
}

fn explain(error: &lapin::Error) -> PublishError {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => PublishError::Closed(amqp.to_string()),
        _ => PublishError::Disconnected(error.to_string()),
    }
}
