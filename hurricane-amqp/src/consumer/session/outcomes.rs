//! What becomes of a message, by what its handler says.

use std::time::Duration;

use futures_util::FutureExt;
use hurricane_core::{Message, Outcome};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time;
use tracing::{debug, warn};

use super::{
    super::{
        Shared,
        crew::{Done, Verdict},
        settle::Settlement,
    },
    Session,
};
use crate::{
    BoxError,
    config::{DeadLetters, OnPanic},
    error_text,
    metrics::Fate,
    retry::{self, RetryVia},
    topology::Queue,
};

/// What became of a message that was to go to another queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    tag: u64,
    fate: Fate,
}

const REQUEUE: BasicNackOptions = BasicNackOptions {
    multiple: false,
    requeue: true,
};

const DROP: BasicNackOptions = BasicNackOptions {
    multiple: false,
    requeue: false,
};

// === impl Session ===

impl Session<'_> {
    /// Does what the handler said about a message.
    pub(super) fn finish(&mut self, done: Done) {
        let Done {
            session,
            message,
            verdict,
            duration,
            ..
        } = done;
        let meters = &self.shared.meters;
        if session != self.id {
            // The broker has given this one to somebody else by now, or will.
            meters.handled(Fate::Lost, duration);
            meters.settled(Fate::Lost);
            return;
        }
        let outcome = match verdict {
            Verdict::Said(outcome) => {
                // Of one that is settled later, the handler tells by itself.
                if outcome != Outcome::Deferred {
                    meters.handled(Fate::of(outcome), duration);
                }
                outcome
            }
            Verdict::Panicked => {
                meters.handled(Fate::Panicked, duration);
                match self.shared.config.on_panic {
                    OnPanic::Retry => Outcome::Retry { after: None },
                    OnPanic::Reject => Outcome::Reject,
                }
            }
        };
        let tag = message.delivery_tag;
        if !self.ledger.is_open(tag) {
            if outcome != Outcome::Deferred {
                debug!(tag, ?outcome, "the message was settled before");
            }
            return;
        }
        match (outcome, self.early.remove(&tag)) {
            (Outcome::Deferred, None) => {
                self.deferred.insert(tag, message);
            }
            (Outcome::Deferred, Some(early)) => self.apply(early, message),
            (outcome, _) => self.apply(outcome, message),
        }
    }

    /// Does what a handler wants apart from what it returns.
    pub(super) fn settle(&mut self, settlement: Settlement) {
        let Settlement {
            tag,
            multiple,
            outcome,
        } = settlement;
        let tags = match multiple {
            true => self.ledger.open_up_to(tag),
            false if self.ledger.is_open(tag) => vec![tag],
            false => Vec::new(),
        };
        if tags.is_empty() {
            warn!("The handler settled delivery tag {tag}, which is not in hand");
        }
        for tag in tags {
            match (outcome, self.deferred.remove(&tag)) {
                (Outcome::Deferred, Some(message)) => {
                    self.deferred.insert(tag, message);
                }
                (Outcome::Deferred, None) => {}
                (outcome, Some(message)) => self.apply(outcome, message),
                (Outcome::Ack, None) => self.acknowledge(tag),
                (Outcome::Requeue, None) => self.nack(tag, Fate::Requeued),
                // These may need the message itself, which the handler still holds.
                (outcome, None) => {
                    self.early.insert(tag, outcome);
                }
            }
        }
    }

    fn apply(&mut self, outcome: Outcome, message: Message) {
        let tag = message.delivery_tag;
        match outcome {
            Outcome::Ack => self.acknowledge(tag),
            Outcome::Requeue => self.nack(tag, Fate::Requeued),
            Outcome::Reject => self.reject(&message, "rejected"),
            Outcome::Retry { after } => self.retry(&message, after),
            Outcome::Deferred => {
                self.deferred.insert(tag, message);
            }
        }
    }

    fn acknowledge(&mut self, tag: u64) {
        if self.ledger.ack(tag) {
            self.shared.meters.settled(Fate::Acknowledged);
        }
    }

    /// Gives a message back or drops it, by a frame of its own.
    pub(super) fn nack(&mut self, tag: u64, fate: Fate) {
        if !self.ledger.settle(tag) {
            return;
        }
        self.shared.meters.settled(fate);
        let options = if fate == Fate::Rejected {
            DROP
        } else {
            REQUEUE
        };
        tell(self.channel.basic_nack(tag, options));
    }

    fn retry(&mut self, message: &Message, after: Option<Duration>) {
        let Shared {
            config, publisher, ..
        } = self.shared;
        let policy = &config.retry;
        if policy.is_exhausted(message.attempt) {
            return self.reject(message, "attempts");
        }
        let tag = message.delivery_tag;
        let pause = after.unwrap_or_else(|| policy.pause(message.attempt));
        match policy.via {
            RetryVia::Requeue => self.moves.spawn(async move {
                time::sleep(pause).await;
                Moved {
                    tag,
                    fate: Fate::Requeued,
                }
            }),
            RetryVia::DelayQueue => {
                let queue = retry::delay_queue(&self.queue, pause);
                let publication = retry::again(message, &queue.name, &config.connection.user);
                let publisher = publisher.clone();
                let first = policy.first;
                self.moves.spawn(async move {
                    let moved = async {
                        publisher.declare(queue).await?;
                        publisher.publish(publication).await?;
                        Ok::<_, BoxError>(())
                    };
                    or_back(tag, Fate::Retried, first, moved.await).await
                })
            }
        };
    }

    pub(super) fn reject(&mut self, message: &Message, reason: &'static str) {
        let Shared {
            config, publisher, ..
        } = self.shared;
        let tag = message.delivery_tag;
        let DeadLetters::Queue(name) = &config.dead_letters else {
            return self.nack(tag, Fate::Rejected);
        };
        let publication =
            retry::dead_letter(message, name, &config.connection.user, &self.queue, reason);
        let (publisher, queue, first) =
            (publisher.clone(), Queue::durable(name), config.retry.first);
        self.moves.spawn(async move {
            let moved = async {
                // Most often it is there, in whatever way it was declared.
                if publisher.publish(publication.clone()).await.is_err() {
                    publisher.declare(queue).await?;
                    publisher.publish(publication).await?;
                }
                Ok::<_, BoxError>(())
            };
            or_back(tag, Fate::Rejected, first, moved.await).await
        });
    }

    pub(super) fn moved(&mut self, moved: Moved) {
        let Moved { tag, fate } = moved;
        if fate == Fate::Requeued {
            self.nack(tag, fate);
        } else if self.ledger.ack(tag) {
            self.shared.meters.settled(fate);
        }
    }

    /// Tells the broker of all that is done.
    pub(super) fn flush(&mut self) {
        for ack in self.ledger.flush() {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            tell(self.channel.basic_ack(ack.tag, options));
        }
    }
}

/// Puts a frame on its way and does not wait until it is written: the next one waits behind it, and a channel that is
/// gone is seen by the deliveries.
fn tell(frame: impl Future<Output = Result<(), lapin::Error>>) {
    if let Some(Err(error)) = frame.now_or_never() {
        debug!(%error, "the broker cannot be told");
    }
}

/// A message that could not be moved goes back to its queue, after a pause that keeps it from going around in circles.
async fn or_back(tag: u64, fate: Fate, pause: Duration, moved: Result<(), BoxError>) -> Moved {
    let Err(error) = moved else {
        return Moved { tag, fate };
    };
    warn!(
        "A message could not be moved, and goes back: {}",
        error_text(&*error)
    );
    time::sleep(pause).await;
    Moved {
        tag,
        fate: Fate::Requeued,
    }
}
