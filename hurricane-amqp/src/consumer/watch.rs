//! Looking at the queue and at the connection while messages are consumed.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use lapin::{Channel, Event, options::QueueDeclareOptions, types::FieldTable};
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use crate::{BoxError, convert::short, metrics::Meters, status::Status};

pub(super) struct Watch {
    pub(super) channel: Channel,
    pub(super) queue: String,
    pub(super) interval: Duration,
    pub(super) silence_timeout: Option<Duration>,
    pub(super) status: Status,
    pub(super) meters: Arc<Meters>,
}

/// How long a queue has grown without anything being delivered.
#[derive(Debug, Default)]
struct Silence {
    since: Option<Instant>,
    delivered: u64,
    waiting: u32,
}

// === impl Watch ===

impl Watch {
    /// Asks the broker how long the queue is, and how many consume it.
    pub(super) async fn look(&self) -> Result<u32, BoxError> {
        let name = short(&self.queue)?;
        let options = QueueDeclareOptions::default().passive();
        let asked = self
            .channel
            .queue_declare(name, options, FieldTable::default());
        let queue = asked.await?;
        self.status.set_depth(queue.message_count().into());
        self.meters.depth.set(f64::from(queue.message_count()));
        self.meters.consumers.set(f64::from(queue.consumer_count()));
        Ok(queue.message_count())
    }

    /// Looks again and again; sends a word when the subscription counts as lost.
    pub(super) async fn run(self, events: impl Stream<Item = Event>, silent: oneshot::Sender<()>) {
        let mut events = pin!(events);
        let mut due = time::interval(self.interval);
        due.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        due.reset();
        let mut silence = Silence::default();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        warn!("The broker takes no messages at the moment: {reason}");
                        self.status.set_blocked(Some(reason));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        info!("The broker takes messages again");
                        self.status.set_blocked(None);
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = due.tick() => match self.look().await {
                    Ok(waiting) => {
                        let lasts = silence.observe(&self.status, waiting);
                        if self.silence_timeout.is_some_and(|timeout| lasts >= Some(timeout)) {
                            self.status.count_silence();
                            let _ = silent.send(());
                            return;
                        }
                    }
                    Err(error) => {
                        // The queue is gone, or the connection is; the subscription hears of it too.
                        debug!(%error, "the queue cannot be looked at");
                        return;
                    }
                },
            }
        }
    }
}

// === impl Silence ===

impl Silence {
    /// How long it has been silent while it should not be.
    fn observe(&mut self, status: &Status, waiting: u32) -> Option<Duration> {
        let delivered = status.delivered();
        if delivered != self.delivered {
            status.end_silence();
        }
        let silent = delivered == self.delivered
            && waiting > 0
            && waiting >= self.waiting
            && status.in_hand() == 0;
        self.delivered = delivered;
        self.waiting = waiting;
        if silent {
            self.since.get_or_insert_with(Instant::now);
        } else {
            self.since = None;
        }
        self.since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ConsumerConfig, publisher::Publisher};

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_grows_unseen_is_silence() {
        let config = ConsumerConfig::default();
        let status = Status::new(&config, Publisher::new(config.connection.clone()));
        let mut silence = Silence::default();
        let second = Duration::from_secs(1);
        assert_eq!(silence.observe(&status, 0), None, "nothing waits");
        assert_eq!(silence.observe(&status, 5), Some(Duration::ZERO));
        time::advance(second).await;
        assert_eq!(silence.observe(&status, 6), Some(second));
        status.count_delivery();
        assert_eq!(silence.observe(&status, 9), None, "something came");
        status.set_in_hand(1);
        assert_eq!(silence.observe(&status, 9), None, "the handler is at it");
        status.set_in_hand(0);
        assert_eq!(silence.observe(&status, 8), None, "somebody else consumes");
    }
}
