//! What the tests need to look at a broker, and at a consumer.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hurricane_amqp::{
    Builder, ConnectionConfig, Consumer, Handler, Outcome, Publication, Publisher, Queue,
    ReconnectPolicy, Topology,
};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::time;

pub(crate) use crate::broker::{Broker, DEADLINE, uri};

/// A name that no other test has, nor another run against the same broker.
pub(crate) fn name(test: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{count}", std::process::id())
}

pub(crate) fn connection() -> ConnectionConfig {
    uri().parse().unwrap()
}

/// A consumer of a queue that survives whatever a test does.
pub(crate) fn consumer(queue: &str, handler: impl Handler) -> Builder {
    Consumer::builder(handler)
        .connection(connection())
        .topology(Topology::new(Queue::durable(queue)))
        .reconnect(quick())
}

pub(crate) fn quick() -> ReconnectPolicy {
    ReconnectPolicy {
        first: Duration::from_millis(50),
        longest: Duration::from_millis(200),
        max: None,
    }
}

/// Looks at the broker from outside.
pub(crate) struct Admin {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
    pub(crate) publisher: Publisher,
}

// === impl Admin ===

impl Admin {
    pub(crate) async fn new() -> Self {
        Self::at(uri()).await
    }

    pub(crate) async fn at(uri: &str) -> Self {
        let deadline = Instant::now() + DEADLINE;
        let connection = loop {
            match Connection::connect(uri, ConnectionProperties::default()).await {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < deadline, "{uri}: {error}"),
            }
            time::sleep(Duration::from_millis(50)).await;
        };
        Self {
            channel: connection.create_channel().await.unwrap(),
            publisher: Publisher::new(uri.parse().unwrap()),
            connection,
        }
    }

    pub(crate) async fn declare(&self, queue: &str) {
        let options = QueueDeclareOptions::durable();
        let declared = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Declares a queue and fills it with numbers from 0.
    pub(crate) async fn fill(&self, queue: &str, count: usize) {
        self.declare(queue).await;
        let publish = |number: usize| self.publish("", queue, number.to_string());
        futures_util::future::join_all((0..count).map(publish)).await;
    }

    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: impl Into<bytes::Bytes>) {
        let publication = Publication::new(exchange, key, body);
        self.publisher.publish(publication).await.unwrap();
    }

    /// Messages that wait in the queue.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let asked = self.ask(queue).await;
        asked.map_or(u32::MAX, |queue| queue.message_count())
    }

    /// Whether nothing is in the queue, nor with a consumer that is gone: the broker puts back what such a one had
    /// when it forgets it.
    pub(crate) async fn is_drained(&self, queue: &str, consumers: u32) -> bool {
        let asked = self.ask(queue).await;
        asked.is_some_and(|queue| (queue.message_count(), queue.consumer_count()) == (0, consumers))
    }

    async fn ask(&self, queue: &str) -> Option<lapin::Queue> {
        // A channel of its own, because a queue that is missing costs it.
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions::default().passive();
        let asked = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await;
        if channel.status().connected() {
            channel.close(200, "".into()).await.unwrap();
        }
        asked.ok()
    }

    /// Takes a message out of a queue, and waits for one if there is none.
    pub(crate) async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let options = BasicGetOptions { no_ack: true };
        let what = format!("a message in {queue}");
        until_some(&what, || async {
            let got = self.channel.basic_get(queue.into(), options).await.unwrap();
            got.map(|message| message.delivery)
        })
        .await
    }

    pub(crate) async fn until_depth(&self, queue: &str, depth: u32) {
        until(&format!("{depth} messages in {queue}"), || async {
            self.depth(queue).await == depth
        })
        .await;
    }
}

/// Waits for a condition.
pub(crate) async fn until<Fut: Future<Output = bool>>(what: &str, condition: impl Fn() -> Fut) {
    until_some(what, || async { condition().await.then_some(()) }).await;
}

async fn until_some<T, Fut: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> Fut) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// A consumer at work.
pub(crate) struct Running {
    pub(crate) status: hurricane_amqp::Status,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError>>,
}

// === impl Running ===

impl Running {
    /// Starts a consumer and waits until it is subscribed.
    pub(crate) async fn start(builder: Builder) -> Self {
        let running = Self::begin(builder);
        let status = &running.status;
        until("the subscription", || async { status.has_begun() }).await;
        running
    }

    pub(crate) fn begin(builder: Builder) -> Self {
        let consumer = builder.build();
        let status = consumer.status().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(consumer.run(async {
            let _ = stopped.await;
        }));
        Self { status, stop, task }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> hurricane_amqp::Finished {
        let _ = self.stop.send(());
        let ended = time::timeout(DEADLINE, self.task)
            .await
            .expect("it did not stop");
        ended.unwrap().unwrap()
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn ask_to_stop(
        self,
    ) -> impl Future<Output = Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError>> {
        let _ = self.stop.send(());
        async {
            time::timeout(DEADLINE, self.task)
                .await
                .expect("it did not stop")
                .unwrap()
        }
    }

    /// Waits for its end.
    pub(crate) async fn end(
        self,
    ) -> Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError> {
        let Self { stop, task, .. } = self;
        let ended = time::timeout(DEADLINE, task)
            .await
            .expect("it did not end")
            .unwrap();
        drop(stop);
        ended
    }
}

/// The number a message holds.
pub(crate) fn number(message: &hurricane_amqp::Message) -> usize {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

pub(crate) const RETRY: Outcome = Outcome::Retry { after: None };
