//! `hurricane consume` with a real `RabbitMQ`: the one at `AMQP_URL`, or one that is started for it.

mod delivery;
mod documents;
mod faults;
mod manage;
mod options;
mod outage;
mod tls;

#[path = "../hurricane-amqp/tests/broker/broker.rs"]
mod broker;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hurricane_amqp::{Properties, Publication, Publisher};
use lapin::{
    Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::runtime::Runtime;

use crate::harness::{Launch, ports, until, until_true};

/// Looks at the broker from outside.
struct Admin {
    runtime: Runtime,
    channel: Channel,
    publisher: Publisher,
    connection: Connection,
}

// === impl Admin ===

impl Admin {
    fn new() -> Self {
        Self::at(broker::uri())
    }

    fn at(uri: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let deadline = Instant::now() + broker::DEADLINE;
        let (connection, channel) = runtime.block_on(async {
            let connection = loop {
                match Connection::connect(uri, ConnectionProperties::default()).await {
                    Ok(connection) => break connection,
                    Err(error) => assert!(Instant::now() < deadline, "{uri}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let channel = connection.create_channel().await.unwrap();
            (connection, channel)
        });
        Self {
            runtime,
            channel,
            publisher: Publisher::new(uri.parse().unwrap()),
            connection,
        }
    }

    fn declare(&self, queue: &str) {
        let declared = self.channel.queue_declare(
            queue.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        );
        self.runtime.block_on(declared).unwrap();
    }

    fn delete(&self, queue: &str) {
        let deleted = self
            .channel
            .queue_delete(queue.into(), QueueDeleteOptions::default());
        self.runtime.block_on(deleted).unwrap();
    }

    fn publish(&self, exchange: &str, key: &str, body: &[u8]) {
        self.publish_with(exchange, key, body, Properties::default());
    }

    fn publish_with(&self, exchange: &str, key: &str, body: &[u8], properties: Properties) {
        let mut publication = Publication::new(exchange, key, body.to_vec());
        publication.properties = properties;
        publication.properties.delivery_mode = Some(2);
        publication.mandatory = true;
        let published = self.publisher.publish(publication);
        self.runtime.block_on(published).unwrap();
    }

    /// Fills a durable queue with texts.
    fn fill(&self, queue: &str, texts: impl IntoIterator<Item = String>) {
        self.declare(queue);
        self.runtime.block_on(async {
            for text in texts {
                let publication = Publication::new("", queue, text);
                self.publisher.publish(publication).await.unwrap();
            }
        });
    }

    /// Fills a durable queue with numbers from 0, in any order.
    fn fill_with_numbers(&self, queue: &str, count: usize) {
        self.declare(queue);
        self.runtime.block_on(async {
            let mut publishing = tokio::task::JoinSet::new();
            for number in 0..count {
                let publication = Publication::new("", queue, number.to_string());
                let publisher = self.publisher.clone();
                publishing.spawn(async move { publisher.publish(publication).await });
            }
            while let Some(published) = publishing.join_next().await {
                published.unwrap().unwrap();
            }
        });
    }

    /// Messages that wait in a durable queue; none when there is no such queue.
    fn depth(&self, queue: &str) -> Option<u32> {
        self.runtime.block_on(async {
            // A channel of its own, because a queue that is missing costs it.
            let channel = self.connection.create_channel().await.unwrap();
            let options = QueueDeclareOptions::default().passive();
            let asked = channel
                .queue_declare(queue.into(), options, FieldTable::default())
                .await;
            asked.ok().map(|queue| queue.message_count())
        })
    }

    fn until_depth(&self, queue: &str, depth: u32) {
        until_true(&format!("{depth} messages wait in {queue}"), || {
            self.depth(queue) == Some(depth)
        });
    }

    /// Takes a message out of a queue, and waits for one if there is none.
    fn take(&self, queue: &str) -> BasicGetMessage {
        until(&format!("there is a message in {queue}"), || {
            // Asked for in a queue that is missing, it would cost the channel.
            self.depth(queue).filter(|depth| *depth > 0)?;
            let options = BasicGetOptions { no_ack: true };
            let got = self.channel.basic_get(queue.into(), options);
            self.runtime.block_on(got).unwrap()
        })
    }
}

/// A name that no other test has, nor another run against the same broker.
fn name(test: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{count}", std::process::id())
}

/// A consumer of a durable queue.
fn consume(handler: &str, queue: &str) -> Launch {
    Launch::consume(&format!("consumers.{handler}"))
        .arg("--amqp-url", broker::uri())
        .arg("--queue", queue)
        .flag("--durable")
        .arg("--retry-delay", "20ms")
}
