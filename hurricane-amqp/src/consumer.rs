//! A consumer: from its configuration to its end, over as many connections as it takes.

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::FutureExt;
use hurricane_core::Handler;
use lapin::ErrorKind;
use tokio::time::{self, Instant};
use tracing::{error, info, warn};

pub use self::builder::Builder;
use self::{
    crew::Crew,
    session::{End, Session},
};
use crate::{
    BoxError,
    config::{ConsumerConfig, ReconnectPolicy},
    connection::ConnectError,
    error_text,
    metrics::Meters,
    publisher::Publisher,
    status::{Link, Status},
    topology::TopologyError,
};

mod builder;
mod crew;
mod session;
mod settle;
mod watch;

/// Consumes a queue, and lets a [`Handler`] decide about each message.
///
/// # Examples
///
/// ```no_run
/// use hurricane_amqp::{Consumer, Handler, Message, Outcome, Queue, Topology, async_trait};
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
///         println!("{} bytes", message.body.len());
///         Outcome::Ack
///     }
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let consumer = Consumer::builder(Mailer)
///     .uri("amqp://localhost")?
///     .topology(Topology::new(Queue::quorum("mails")))
///     .build();
/// consumer.run(async { let _ = tokio::signal::ctrl_c().await; }).await?;
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    handler: Arc<dyn Handler>,
    config: ConsumerConfig,
    publisher: Publisher,
    status: Status,
}

/// How a consumer ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finished {
    /// It was asked to.
    Stopped,
    /// It has had its [number of messages](ConsumerConfig::max_messages).
    MaxMessages,
}

/// A consumer that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The broker could not be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The queue could not be made ready.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The broker refused the subscription.
    #[error("failed to subscribe to the queue {queue:?}")]
    Subscribe {
        /// The queue.
        queue: String,
        /// What the broker said.
        source: BoxError,
    },
    /// The connection was lost, or the broker closed the channel.
    #[error("the connection to the broker was lost")]
    Lost(#[source] BoxError),
    /// The broker ended the subscription; most often the queue was deleted.
    #[error("the broker ended the subscription to the queue {queue:?}")]
    Cancelled {
        /// The queue.
        queue: String,
    },
    /// The queue grew and nothing was delivered.
    #[error("the queue {queue:?} grew, and nothing was delivered")]
    Silent {
        /// The queue.
        queue: String,
    },
    /// The broker did not come back.
    #[error("gave up after {tries} tries to connect again")]
    GaveUp {
        /// The tries in a row.
        tries: u32,
        /// The last failure.
        source: Box<Self>,
    },
}

/// A subscription that lasts so long was a good one.
const SETTLED_IN: Duration = Duration::from_secs(10);

/// What the parts of a consumer share.
struct Shared {
    handler: Arc<dyn Handler>,
    config: ConsumerConfig,
    publisher: Publisher,
    status: Status,
    meters: Arc<Meters>,
}

// === impl Consumer ===

impl Consumer {
    /// Begins to put a consumer together.
    #[must_use]
    pub fn builder(handler: impl Handler) -> Builder {
        Builder::new(Arc::new(handler))
    }

    /// Begins to put a consumer together for a handler that is shared, such as one from a registry.
    #[must_use]
    pub fn for_handler(handler: Arc<dyn Handler>) -> Builder {
        Builder::new(handler)
    }

    fn new(handler: Arc<dyn Handler>, config: ConsumerConfig) -> Self {
        let mut connection = config.connection.clone();
        connection.name.push_str(" publisher");
        let publisher = Publisher::of_queue(connection, &config.topology.queue.name);
        Self {
            handler,
            status: Status::new(&config, publisher.clone()),
            config,
            publisher,
        }
    }

    /// How the consumer stands, with the checks for the probes.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What publishes replies, retries and dead letters.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Consumes until `stop` is ready, and then finishes what is in hand.
    ///
    /// At the end the subscription is cancelled, messages that were not begun go back to the queue at once, those in
    /// hand have the [graceful timeout](ConsumerConfig::graceful_timeout), and go back too if it is not enough.
    ///
    /// # Errors
    ///
    /// There is a mistake that no waiting mends: a wrong password, virtual host or certificate, or a queue that is
    /// declared otherwise; they count until the first subscription only. Or the connection was lost and is not to be
    /// made again, or not any more.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Finished, ConsumeError> {
        let shared = Shared {
            meters: Arc::new(Meters::new(&self.config.topology.queue.name)),
            handler: self.handler,
            config: self.config,
            publisher: self.publisher,
            status: self.status,
        };
        let mut stop = pin!(stop.fuse());
        let mut crew = Crew::new(shared.config.slots());
        let mut row = Row::new(shared.config.reconnect.as_ref());
        let finished = loop {
            let opened = tokio::select! {
                biased;
                () = &mut stop => break Ok(Finished::Stopped),
                opened = Session::open(&shared) => opened,
            };
            let lost = match opened {
                Ok(session) => {
                    let began = Instant::now();
                    shared.status.set_link(Link::Subscribed);
                    shared.meters.connected.set(1.0);
                    let end = session.run(&mut crew, stop.as_mut()).await;
                    shared.meters.connected.set(0.0);
                    shared.status.set_blocked(None);
                    if began.elapsed() > SETTLED_IN {
                        row = Row::new(shared.config.reconnect.as_ref());
                    }
                    match end {
                        End::Finished(finished) => break Ok(finished),
                        End::Lost(error) => {
                            if let ConsumeError::Lost(reason) = &error {
                                warn!("Channel 1 was closed: {}", in_words(reason));
                            }
                            error
                        }
                    }
                }
                Err(error) if !error.is_transient() && !shared.status.has_begun() => {
                    break Err(error);
                }
                Err(error) => error,
            };
            let reason = error_text(&lost);
            shared.status.set_link(Link::Disconnected(reason.clone()));
            let Some(pause) = row.next() else {
                break Err(row.give_up(lost));
            };
            warn!("Connection closed, reconnect necessary: {reason}");
            warn!("Reconnecting after {} seconds", pause.as_secs());
            shared.status.count_reconnect();
            shared.meters.reconnects.increment(1);
            tokio::select! {
                biased;
                () = &mut stop => break Ok(Finished::Stopped),
                () = time::sleep(pause) => {}
            }
        };
        // What began before a connection was lost may end in peace, although nobody waits for its outcome.
        shared.status.set_link(Link::Draining);
        if !crew.finish(shared.config.graceful_timeout).await {
            warn!(
                "Handlers did not finish within {:?}",
                shared.config.graceful_timeout
            );
        }
        shared.publisher.close().await;
        shared.status.set_link(Link::Stopped);
        match &finished {
            Ok(_) => info!("Stopped consuming"),
            Err(error) => error!("Stopped consuming: {}", error_text(error)),
        }
        finished
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("handler", &self.handler.name())
            .field("config", &self.config)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

// === impl ConsumeError ===

impl ConsumeError {
    /// Whether trying again may help although nobody changes anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Topology(_) | Self::Subscribe { .. } | Self::GaveUp { .. } => false,
            Self::Lost(_) | Self::Cancelled { .. } | Self::Silent { .. } => true,
        }
    }
}

/// Why a channel was closed; in the words that users of django-hurricane know where nobody said why.
fn in_words(reason: &BoxError) -> String {
    let text = error_text(&**reason);
    match reason.downcast_ref().map(lapin::Error::kind) {
        Some(ErrorKind::IOError(_) | ErrorKind::MissingHeartbeatError) => {
            format!("Transport indicated EOF ({text})")
        }
        _ => text,
    }
}

/// Tries in a row.
struct Row {
    pauses: Option<ExponentialBackoff>,
    tries: u32,
}

// === impl Row ===

impl Row {
    fn new(policy: Option<&ReconnectPolicy>) -> Self {
        let pauses = policy.map(|policy| {
            let builder = ExponentialBuilder::default()
                .with_min_delay(policy.first)
                .with_max_delay(policy.longest)
                .with_jitter();
            match policy.max {
                Some(max) => builder.with_max_times(max as usize),
                None => builder.without_max_times(),
            }
            .build()
        });
        Self { pauses, tries: 0 }
    }

    /// The pause before the next try; none when there is to be no more.
    fn next(&mut self) -> Option<Duration> {
        let pause = self.pauses.as_mut()?.next()?;
        self.tries += 1;
        Some(pause)
    }

    fn give_up(&self, lost: ConsumeError) -> ConsumeError {
        if self.tries == 0 {
            return lost;
        }
        ConsumeError::GaveUp {
            tries: self.tries,
            source: Box::new(lost),
        }
    }
}
