//! What a consumer counts, with the names of the semantic conventions of `OpenTelemetry` where they have one.

use std::time::Duration;

use hurricane_core::Outcome;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

const CONSUMED: &str = "messaging_client_consumed_messages_total";
const SENT: &str = "messaging_client_sent_messages_total";
const DURATION: &str = "messaging_process_duration_seconds";
const SETTLED: &str = "hurricane_consumer_messages_total";
const REDELIVERED: &str = "hurricane_consumer_redelivered_total";
const IN_HAND: &str = "hurricane_consumer_in_hand";
const CONNECTED: &str = "hurricane_consumer_connected";
const BLOCKED: &str = "hurricane_consumer_blocked";
const RECONNECTS: &str = "hurricane_consumer_reconnects_total";
const DEPTH: &str = "hurricane_consumer_queue_depth";
const CONSUMERS: &str = "hurricane_consumer_queue_consumers";

const SYSTEM: (&str, &str) = ("messaging_system", "rabbitmq");

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    Retried,
    Requeued,
    Rejected,
    Panicked,
    /// Handled, but its channel was gone by then.
    Lost,
}

/// Handles for one queue, so that nothing is looked up for a message.
pub(crate) struct Meters {
    pub(crate) consumed: Counter,
    pub(crate) redelivered: Counter,
    pub(crate) in_hand: Gauge,
    pub(crate) connected: Gauge,
    pub(crate) reconnects: Counter,
    pub(crate) depth: Gauge,
    pub(crate) consumers: Gauge,
    durations: [Histogram; FATES.len()],
    settled: [Counter; FATES.len()],
}

const FATES: [(Fate, &str); 6] = [
    (Fate::Acknowledged, "acknowledged"),
    (Fate::Retried, "retried"),
    (Fate::Requeued, "requeued"),
    (Fate::Rejected, "rejected"),
    (Fate::Panicked, "panicked"),
    (Fate::Lost, "lost"),
];

// === impl Fate ===

impl Fate {
    /// What a handler's word means for its message.
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ack | Outcome::Deferred => Self::Acknowledged,
            Outcome::Retry { .. } => Self::Retried,
            Outcome::Requeue => Self::Requeued,
            Outcome::Reject => Self::Rejected,
        }
    }
}

// === impl Meters ===

impl Meters {
    pub(crate) fn new(queue: &str) -> Self {
        describe();
        let queue = label(queue);
        let destination = ("messaging_destination_name", queue.to_owned());
        let labels = [("queue", queue.to_owned())];
        let durations = FATES.map(|(fate, error)| match fate {
            Fate::Acknowledged => {
                histogram!(DURATION, SYSTEM.0 => SYSTEM.1, "messaging_operation_name" => "process", destination.0 => destination.1.clone())
            }
            _ => {
                histogram!(DURATION, SYSTEM.0 => SYSTEM.1, "messaging_operation_name" => "process", destination.0 => destination.1.clone(), "error_type" => error)
            }
        });
        gauge!(BLOCKED, &labels).set(0.0);
        Self {
            consumed: counter!(CONSUMED, SYSTEM.0 => SYSTEM.1, destination.0 => destination.1.clone()),
            redelivered: counter!(REDELIVERED, &labels),
            in_hand: gauge!(IN_HAND, &labels),
            connected: gauge!(CONNECTED, &labels),
            reconnects: counter!(RECONNECTS, &labels),
            depth: gauge!(DEPTH, &labels),
            consumers: gauge!(CONSUMERS, &labels),
            durations,
            settled: FATES.map(
                |(_, result)| counter!(SETTLED, "queue" => queue.to_owned(), "result" => result),
            ),
        }
    }

    pub(crate) fn handled(&self, fate: Fate, duration: Duration) {
        self.durations[fate as usize].record(duration);
    }

    pub(crate) fn settled(&self, fate: Fate) {
        self.settled[fate as usize].increment(1);
    }
}

pub(crate) fn count_sent(exchange: &str, sent: bool) {
    let exchange = exchange.to_owned();
    if sent {
        counter!(SENT, SYSTEM.0 => SYSTEM.1, "messaging_destination_name" => exchange).increment(1);
    } else {
        counter!(SENT, SYSTEM.0 => SYSTEM.1, "messaging_destination_name" => exchange, "error_type" => "unconfirmed")
            .increment(1);
    }
}

/// Counts a connection that the broker begins, or ends, to take no messages from.
pub(crate) fn count_blocked(queue: &str, blocked: bool) {
    let gauge = gauge!(BLOCKED, "queue" => label(queue).to_owned());
    if blocked {
        gauge.increment(1.0);
    } else {
        gauge.decrement(1.0);
    }
}

fn label(queue: &str) -> &str {
    match queue {
        "" => "(broker-named)",
        queue => queue,
    }
}

fn describe() {
    describe_counter!(CONSUMED, "Messages the broker delivered.");
    describe_counter!(SENT, "Messages published, by exchange.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Time the handler took for a message."
    );
    describe_counter!(SETTLED, "Messages by what became of them.");
    describe_counter!(REDELIVERED, "Messages that had been delivered before.");
    describe_gauge!(
        IN_HAND,
        "Messages delivered to the handler and not yet settled."
    );
    describe_gauge!(CONNECTED, "1 while subscribed to the queue.");
    describe_gauge!(
        BLOCKED,
        "Connections that the broker takes no messages from at the moment."
    );
    describe_counter!(RECONNECTS, "Tries to connect again.");
    describe_gauge!(DEPTH, "Messages waiting in the queue, at the last look.");
    describe_gauge!(CONSUMERS, "Subscriptions to the queue, at the last look.");
}
