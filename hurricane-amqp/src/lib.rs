//! An AMQP 0-9-1 consumer for `RabbitMQ` that can be asked, watched and stopped, as Kubernetes does.
//!
//! ```no_run
//! use hurricane_amqp::{Consumer, Handler, Message, Outcome, Topology, async_trait};
//!
//! struct Mailer;
//!
//! #[async_trait]
//! impl Handler for Mailer {
//!     fn name(&self) -> &str {
//!         "mailer"
//!     }
//!
//!     async fn handle(&self, message: Message) -> Outcome {
//!         match std::str::from_utf8(&message.body) {
//!             Ok(address) => {
//!                 println!("mail to {address}");
//!                 Outcome::Ack
//!             }
//!             Err(_) => Outcome::Reject,
//!         }
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let consumer = Consumer::builder(Mailer)
//!         .uri("amqp://guest:guest@localhost")?
//!         .topology(Topology::topic("mails", "shop"))
//!         .build();
//!     consumer.run(async { let _ = tokio::signal::ctrl_c().await; }).await?;
//!     Ok(())
//! }
//! ```
//!
//! # The parts
//!
//! | part | what it is for |
//! | --- | --- |
//! | [`Handler`] | what an application brings along: one message in, one [`Outcome`] out |
//! | [`Consumer`], [`Builder`], [`ConsumerConfig`] | the subscription, over as many connections as it takes |
//! | [`ConnectionConfig`], [`Tls`] | where the broker is, and who we are |
//! | [`Topology`], [`Queue`], [`Exchange`] | what is declared |
//! | [`RetryPolicy`], [`DeadLetters`] | what becomes of messages that fail |
//! | [`Publisher`] | messages on their way out, with confirms |
//! | [`Status`] | how the consumer stands, and the checks for the probes |
//!
//! # What becomes of a message
//!
//! | outcome | what happens |
//! | --- | --- |
//! | [`Ack`](Outcome::Ack) | acknowledged |
//! | [`Retry`](Outcome::Retry) | delivered again after a pause, as often as the [`RetryPolicy`] allows; then as `Reject` |
//! | [`Requeue`](Outcome::Requeue) | back to the queue at once |
//! | [`Reject`](Outcome::Reject) | to the [`DeadLetters`] |
//! | [`Deferred`](Outcome::Deferred) | what the handler says through its [`MessageChannel`] |
//! | a panic | as `Retry`, or as `Reject`: [`OnPanic`] |
//!
//! # At least once
//!
//! A message is acknowledged when its handler has said so, never before. Whatever ends before that, the connection, the
//! channel, the process, the broker gives the message to the next consumer. It may thus come twice: when the handler
//! was done and its acknowledgement was lost. A handler that must not do a thing twice has to remember what it has done.
//!
//! Acknowledgements are held back for a moment, and one frame tells of many: of a quarter of the prefetch, of those of
//! [5 ms](ConsumerConfig::ack_linger), or of what there is when there is nothing else to do. Such a frame never reaches
//! beyond the first message that is still in hand. With a prefetch of 1 nothing is held back.
//!
//! A retry is published to another queue and acknowledged once the broker has confirmed that. In between it exists
//! twice, never not at all.
//!
//! # Losing the broker
//!
//! The connection is made again after 1 to 4 s, for as long as it takes. Messages in hand are finished, and come again.
//! Their delivery tags die with the channel. What is wrong from the start, such as a password, ends the consumer with
//! an error instead. [`ReconnectPolicy`] has the numbers.
//!
//! # Probes
//!
//! [`Status`] has a check for each of them.
//!
//! | probe | passes |
//! | --- | --- |
//! | startup | since the first subscription |
//! | readiness | while subscribed, unless draining, blocked by the broker, or [full](ConsumerConfig::max_in_hand) |
//! | liveness | unless the handler is [stuck](ConsumerConfig::handler_timeout), or a subscription stays [silent](ConsumerConfig::silence_timeout) after it was renewed; without a broker, too |
//!
//! A handler that blocks its thread blocks the consumer with it, up to the heartbeats of the connection: it belongs
//! into [`spawn_blocking`](tokio::task::spawn_blocking).
//!
//! # Metrics
//!
//! They are recorded through the [`metrics`](::metrics) facade.
//!
//! | name | type, labels | meaning |
//! | --- | --- | --- |
//! | `messaging_client_consumed_messages_total` | counter; `messaging_system`, `messaging_destination_name` | messages the broker delivered |
//! | `messaging_client_sent_messages_total` | counter; the same, `error_type` | messages published |
//! | `messaging_process_duration_seconds` | histogram; the same, `messaging_operation_name` | time the handler took |
//! | `hurricane_consumer_messages_total` | counter; `queue`, `result` | acknowledged, retried, requeued, rejected, lost |
//! | `hurricane_consumer_redelivered_total` | counter; `queue` | messages that had been delivered before |
//! | `hurricane_consumer_in_hand` | gauge; `queue` | messages given to the handler and not settled |
//! | `hurricane_consumer_connected` | gauge; `queue` | 1 while subscribed |
//! | `hurricane_consumer_blocked` | gauge; `queue` | connections, of subscription and publisher, that the broker takes no messages from: it is short of memory or disk |
//! | `hurricane_consumer_reconnects_total` | counter; `queue` | tries to connect again |
//! | `hurricane_consumer_queue_depth` | gauge; `queue` | messages waiting in the queue, at the last look |
//! | `hurricane_consumer_queue_consumers` | gauge; `queue` | subscriptions to the queue, at the last look |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `tls` | yes | `amqps`; rustls with ring |
#![forbid(unsafe_code)]

use std::error::Error;

pub use hurricane_core::{
    self, FieldTable, FieldValue, Handler, Message, MessageChannel, Outcome, Properties,
    Publication, PublishError, SettleError, async_trait, handler_fn,
};

pub use self::{
    config::{
        ConnectionConfig, ConsumerConfig, DeadLetters, OnPanic, ReconnectPolicy, Tls, TlsIdentity,
        UriError,
    },
    connection::ConnectError,
    consumer::{Builder, ConsumeError, Consumer, Finished},
    publisher::Publisher,
    retry::{RetryPolicy, RetryVia},
    status::{Link, Status},
    topology::{Exchange, ExchangeKind, Queue, Topology, TopologyError},
};

mod alarm;
mod config;
mod connection;
mod consumer;
mod convert;
mod ledger;
mod metrics;
mod publisher;
mod retry;
mod status;
mod topology;

/// What lies behind an error, such as the words of the broker.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error and its causes, in one line.
fn error_text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
