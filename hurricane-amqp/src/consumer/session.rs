//! One subscription on one channel of one connection, from its beginning to its end.

use std::{
    collections::HashMap,
    future::ready,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{Fuse, FusedFuture, poll_immediate},
};
use hurricane_core::{Message, MessageChannel, Outcome};
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use self::outcomes::Moved;
use super::{
    ConsumeError, Finished, Shared,
    crew::{Crew, Done, Job},
    settle::{Settlement, WayBack},
    watch::Watch,
};
use crate::{
    BoxError,
    connection::{close, connect},
    convert::{from_properties, short},
    ledger::Ledger,
    metrics::Fate,
    retry,
    status::Link,
};

mod outcomes;

/// A subscription that broker and consumer agree about.
pub(super) struct Session<'a> {
    shared: &'a Shared,
    id: u64,
    connection: Connection,
    channel: Channel,
    deliveries: lapin::Consumer,
    queue: String,
    consumer_tag: Arc<str>,
    ledger: Ledger,
    way_back: Arc<dyn MessageChannel>,
    settlements: mpsc::UnboundedReceiver<Settlement>,
    /// Messages whose handler has returned and will settle them later.
    deferred: HashMap<u64, Message>,
    /// What handlers want for messages that they have not returned yet.
    early: HashMap<u64, Outcome>,
    /// Messages on their way to another queue.
    moves: JoinSet<Moved>,
    /// Ends with the session.
    _watch: JoinSet<()>,
    silent: oneshot::Receiver<()>,
    /// Whether messages are handed to the handler.
    taking: bool,
    /// Whether the broker delivers any.
    subscribed: bool,
}

/// What is agreed upon with the broker.
struct Subscription {
    channel: Channel,
    deliveries: lapin::Consumer,
    watch: Watch,
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// In good order.
    Finished(Finished),
    /// Not so.
    Lost(ConsumeError),
}

/// How long the broker has for the last words.
const GOODBYE: Duration = Duration::from_secs(5);

/// How often the channel is looked at while nobody asks for deliveries.
const HEALTH: Duration = Duration::from_millis(200);

/// After so many messages without a pause others get their turn.
const BURST: usize = 64;

/// Tells sessions apart, so that what belongs to an older one is never mistaken.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

// === impl Session ===

impl<'a> Session<'a> {
    /// Connects, makes the queue ready, subscribes, and proves it.
    pub(super) async fn open(shared: &'a Shared) -> Result<Self, ConsumeError> {
        let connection = connect(&shared.config.connection).await?;
        let subscription = match subscribe(shared, &connection).await {
            Ok(subscription) => subscription,
            Err(error @ ConsumeError::Lost(_)) => return Err(error),
            // Whatever was asked for, it is not that which failed.
            Err(error) if !connection.status().connected() => {
                return Err(ConsumeError::Lost(error.into()));
            }
            Err(error) => return Err(error),
        };
        let Subscription {
            channel,
            deliveries,
            watch,
        } = subscription;
        let queue = watch.queue.clone();
        let (word, silent) = oneshot::channel();
        let mut watching = JoinSet::new();
        watching.spawn(watch.run(connection.events_listener(), word));
        let (sender, settlements) = mpsc::unbounded_channel();
        let way_back = WayBack {
            settlements: sender,
            publisher: shared.publisher.clone(),
            meters: Arc::clone(&shared.meters),
        };
        Ok(Self {
            shared,
            id: SESSIONS.fetch_add(1, Relaxed),
            consumer_tag: deliveries.tag().as_str().into(),
            connection,
            channel,
            deliveries,
            queue,
            ledger: Ledger::new(),
            way_back: Arc::new(way_back),
            settlements,
            deferred: HashMap::new(),
            early: HashMap::new(),
            moves: JoinSet::new(),
            _watch: watching,
            silent,
            taking: true,
            subscribed: true,
        })
    }

    /// Consumes until it is to stop, or the subscription is lost.
    pub(super) async fn run<F>(mut self, crew: &mut Crew, mut stop: Pin<&mut Fuse<F>>) -> End
    where
        F: Future<Output = ()>,
    {
        let config = &self.shared.config;
        let batch = config.batch();
        let mut linger = pin!(time::sleep(Duration::ZERO));
        let mut lingering = false;
        let mut deadline = pin!(time::sleep(config.graceful_timeout));
        let mut health = time::interval(HEALTH);
        let mut finished = Finished::Stopped;
        let mut burst = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut stop, if self.taking && !stop.is_terminated() => {
                    deadline.as_mut().reset(Instant::now() + config.graceful_timeout);
                    self.drain(crew).await;
                }
                () = &mut deadline, if !self.taking => {
                    warn!("{} messages did not finish within {:?}", self.ledger.open(), config.graceful_timeout);
                    break;
                }
                Some(settlement) = self.settlements.recv() => self.settle(settlement),
                done = crew.next(), if !crew.is_idle() => self.finish(done),
                Some(moved) = self.moves.join_next(), if !self.moves.is_empty() => match moved {
                    Ok(moved) => self.moved(moved),
                    Err(error) => warn!(%error, "a message was not moved"),
                },
                Ok(()) = &mut self.silent, if self.taking => {
                    let queue = self.queue.clone();
                    return self.lost(ConsumeError::Silent { queue }).await;
                }
                delivery = self.deliveries.next(), if self.taking && crew.has_room() => match delivery {
                    Some(Ok(delivery)) => {
                        burst += 1;
                        if let Some(done) = self.take(delivery, crew).await {
                            self.finish(done);
                        }
                        if self.shared.config.max_messages == Some(self.shared.status.delivered()) {
                            finished = Finished::MaxMessages;
                            deadline.as_mut().reset(Instant::now() + config.graceful_timeout);
                            self.drain(crew).await;
                        }
                    }
                    Some(Err(error)) => return self.lost(ConsumeError::Lost(error.into())).await,
                    None => {
                        let error = self.cancelled();
                        return self.lost(error).await;
                    }
                },
                () = &mut linger, if lingering => self.flush(),
                // Nothing is ready, and nobody is at work whose acknowledgement could go along.
                () = ready(()), if self.ledger.acked() > 0 && crew.is_idle() => self.flush(),
                // Without room, or when draining, nobody asks for deliveries, which tell of a loss.
                _ = health.tick(), if !self.taking || !crew.has_room() => {
                    if !self.channel.status().connected() {
                        let draining = !self.taking;
                        let error = self.cancelled();
                        let end = self.lost(error).await;
                        return if draining { End::Finished(finished) } else { end };
                    }
                }
            }
            if self.ledger.acked() >= batch {
                self.flush();
            }
            if self.ledger.acked() == 0 {
                lingering = false;
            } else if !lingering {
                lingering = true;
                linger.as_mut().reset(Instant::now() + config.ack_linger);
            }
            self.shared.status.set_in_hand(self.ledger.open());
            self.shared.meters.in_hand.set(self.ledger.open() as f64);
            if !self.taking && self.ledger.open() == 0 {
                break;
            }
            if burst >= BURST {
                burst = 0;
                tokio::task::yield_now().await;
            }
        }
        self.end(crew).await;
        End::Finished(finished)
    }

    /// Hands a message to the handler.
    async fn take(&mut self, delivery: Delivery, crew: &mut Crew) -> Option<Done> {
        let Shared {
            config,
            status,
            meters,
            handler,
            ..
        } = self.shared;
        status.count_delivery();
        meters.consumed.increment(1);
        if delivery.redelivered {
            meters.redelivered.increment(1);
        }
        let message = self.message(delivery);
        self.ledger.deliver(message.delivery_tag);
        // A message that ends the process never gets as far as a verdict; only the broker has counted it.
        if config.retry.max_attempts > 0 && message.attempt > config.retry.max_attempts {
            self.reject(&message, "attempts");
            return None;
        }
        status.set_in_hand(self.ledger.open());
        let job = Job {
            session: self.id,
            message,
            handler: Arc::clone(handler),
            status: status.clone(),
            in_place: config.ordered.then(|| config.retry.clone()),
        };
        crew.start(job).await
    }

    fn message(&self, delivery: Delivery) -> Message {
        let mut message = Message::new(delivery.data);
        message.exchange = delivery.exchange.into();
        message.routing_key = delivery.routing_key.into();
        message.properties = from_properties(&delivery.properties);
        message.redelivered = delivery.redelivered;
        message.delivery_tag = delivery.delivery_tag;
        message.consumer_tag = Arc::clone(&self.consumer_tag);
        if !message.properties.headers.is_empty() {
            message.attempt = retry::attempt(&message.properties.headers, &self.queue);
            retry::restore(&mut message);
        }
        message.with_channel(Arc::clone(&self.way_back))
    }

    /// Takes nothing more, and gives back what was not begun.
    async fn drain(&mut self, crew: &Crew) {
        self.taking = false;
        self.shared.status.set_link(Link::Draining);
        // In ordered mode nobody else may begin with the next message before the one in hand is done.
        if !self.shared.config.ordered || crew.is_idle() {
            self.cancel().await;
        }
    }

    async fn cancel(&mut self) {
        if !std::mem::take(&mut self.subscribed) {
            return;
        }
        let mut given_back = self.give_back().await;
        let tag = self.deliveries.tag();
        let cancelling = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        if time::timeout(GOODBYE, cancelling).await.is_err() {
            debug!("the broker did not confirm the end of the subscription");
        }
        given_back += self.give_back().await;
        info!("Cancelled the subscription, {given_back} messages given back");
    }

    /// What was delivered, and not handed to the handler, goes back to the queue.
    async fn give_back(&mut self) -> usize {
        let mut count = 0;
        while let Some(Some(Ok(delivery))) = poll_immediate(self.deliveries.next()).await {
            let tag = delivery.delivery_tag;
            self.ledger.deliver(tag);
            self.nack(tag, Fate::Requeued);
            count += 1;
        }
        count
    }

    /// Why the deliveries have ended.
    fn cancelled(&self) -> ConsumeError {
        if self.channel.status().connected() {
            ConsumeError::Cancelled {
                queue: self.queue.clone(),
            }
        } else {
            ConsumeError::Lost("the channel was closed".into())
        }
    }

    /// Leaves a connection that is lost, or of no use any more. All that is not acknowledged comes back.
    async fn lost(mut self, error: ConsumeError) -> End {
        let done = self.ledger.acked();
        if self.channel.status().connected() {
            self.flush();
        } else if done > 0 {
            info!("{done} acknowledgements were lost with the channel; these messages come again");
        }
        self.shared.status.set_in_hand(0);
        self.shared.meters.in_hand.set(0.0);
        close(&self.connection).await;
        End::Lost(error)
    }

    /// Ends in good order.
    async fn end(mut self, crew: &mut Crew) {
        self.cancel().await;
        // What is left of older connections is waited for elsewhere.
        if self.ledger.open() > 0 {
            crew.drop_all().await;
        }
        self.moves.shutdown().await;
        let rest = self.ledger.open_up_to(0);
        if !rest.is_empty() {
            warn!("{} messages in hand go back to the queue", rest.len());
        }
        for tag in rest {
            self.nack(tag, Fate::Requeued);
        }
        self.flush();
        self.shared.status.set_in_hand(0);
        self.shared.meters.in_hand.set(0.0);
        // The broker works in order: when it has closed the channel, it has read what came before.
        let closing = self.channel.close(200, "bye".into());
        match time::timeout(GOODBYE, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "the broker may not have read the last acknowledgements");
            }
            Err(_) => warn!("the broker did not confirm the last acknowledgements"),
        }
        info!("Closing connection");
        close(&self.connection).await;
    }
}

async fn subscribe(shared: &Shared, connection: &Connection) -> Result<Subscription, ConsumeError> {
    let config = &shared.config;
    let lost = |error: lapin::Error| ConsumeError::Lost(error.into());
    info!("Creating a new channel");
    let channel = connection.create_channel().await.map_err(lost)?;
    info!("Channel opened");
    let queue = config.topology.declare(&channel).await?;
    let qos = channel.basic_qos(config.prefetch, BasicQosOptions::default());
    qos.await.map_err(lost)?;
    info!("QOS set to: {}", config.prefetch);
    info!("Issuing consumer");
    let refused = |source: BoxError| ConsumeError::Subscribe {
        queue: queue.clone(),
        source,
    };
    let options = BasicConsumeOptions {
        exclusive: config.exclusive,
        ..BasicConsumeOptions::default()
    };
    let deliveries = channel
        .basic_consume(
            short(&queue).map_err(refused)?,
            short(&config.consumer_tag).map_err(refused)?,
            options,
            FieldTable::default(),
        )
        .await
        .map_err(|error| refused(error.into()))?;
    let watch = Watch {
        channel: connection.create_channel().await.map_err(lost)?,
        queue: queue.clone(),
        interval: config.look_interval(),
        silence_timeout: config.silence_timeout,
        status: shared.status.clone(),
        meters: Arc::clone(&shared.meters),
    };
    // The broker answers on this connection, and the queue is there: the subscription stands.
    watch.look().await.map_err(refused)?;
    Ok(Subscription {
        channel,
        deliveries,
        watch,
    })
}
