//! What a clerk has in hand, and what it may have.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hurricane_core::{Message, MessageChannel, Outcome};
use tokio::sync::oneshot;

use crate::{
    asgi::channel::Outbox,
    handler::{channel::ClerkLink, event},
    worker::Command,
};

/// A clerk among all that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClerkId(pub(super) u64);

/// A message on its way to a clerk.
pub(super) struct Parcel {
    pub(super) message: Message,
    /// Whoever waits for what becomes of it, in ordered mode.
    pub(super) verdict: Option<oneshot::Sender<Outcome>>,
}

/// One who handles messages: a thread of a worker, or an event loop.
pub(super) struct Clerk {
    pub(super) id: ClerkId,
    pub(super) link: ClerkLink,
    pub(super) handler: usize,
    /// How many messages it handles at the same time, if it is an event loop.
    pub(super) places: Option<usize>,
    /// What it has, by number.
    pub(super) hands: BTreeMap<i32, Hold>,
    /// The bytes of the bodies it has.
    pub(super) bytes: usize,
    /// How many messages it has been given, and how many of them its handler has returned.
    given: u32,
    returned: u32,
    /// How many it had begun when that was looked at last, and since when it has been that many.
    begun: u32,
    since: Instant,
    pub(super) outbox: Outbox,
    /// Gets no more messages.
    pub(super) retired: bool,
    /// Is at a message for longer than it may.
    pub(super) hung: bool,
    /// A channel for what is published while no message is handled.
    pub(super) last: Option<Arc<dyn MessageChannel>>,
}

/// A message that a clerk has.
pub(super) struct Hold {
    pub(super) parcel: Parcel,
    /// Which of those that the clerk was given.
    pub(super) order: u32,
    given: Instant,
    /// The handler has not returned.
    running: bool,
    /// Publications on their way that its settlement waits for.
    pub(super) publishing: usize,
    /// One of them has failed.
    pub(super) unpublished: bool,
    /// What is to become of it.
    pub(super) outcome: Option<Outcome>,
}

/// A clerk has no more than this in hand, unless a single message is larger (bytes).
pub(super) const MOST_BYTES: usize = 1 << 20;

// === impl Parcel ===

impl Parcel {
    pub(super) fn is_stale(&self) -> bool {
        match &self.verdict {
            Some(verdict) => verdict.is_closed(),
            None => self.message.channel().is_some_and(|way| !way.is_open()),
        }
    }

    pub(super) fn settle(self, outcome: Outcome) {
        match (self.verdict, self.message.channel()) {
            // An error, here and below, means that the broker has given it to somebody else.
            (Some(verdict), _) => {
                let _ = verdict.send(outcome);
            }
            (None, Some(channel)) => {
                let _ = channel.settle(self.message.delivery_tag, false, outcome);
            }
            (None, None) => {}
        }
    }
}

// === impl Clerk ===

impl Clerk {
    /// One who has nothing in hand.
    pub(super) fn new(id: ClerkId, link: ClerkLink, handler: usize, places: Option<usize>) -> Self {
        Self {
            id,
            link,
            handler,
            places,
            hands: BTreeMap::new(),
            bytes: 0,
            given: 0,
            returned: 0,
            begun: 0,
            since: Instant::now(),
            outbox: Outbox::default(),
            retired: false,
            hung: false,
            last: None,
        }
    }

    /// How many messages its handler has not returned.
    pub(super) fn running(&self) -> usize {
        self.given.wrapping_sub(self.returned) as usize
    }

    /// How many more it may have, where a thread may have `ahead`.
    pub(super) fn room(&self, ahead: usize) -> usize {
        let full = self.bytes >= MOST_BYTES && self.running() > 0;
        if self.retired || self.hung || full || self.outbox.is_stuck() {
            return 0;
        }
        let running = self.running();
        match self.places {
            Some(places) => places.saturating_sub(running),
            // Half empty: topping up by one at a time would cost a write for each.
            None if running * 2 <= ahead || running == 0 => ahead.max(1) - running,
            None => 0,
        }
    }

    pub(super) fn give(&mut self, number: i32, parcel: Parcel) {
        self.outbox
            .push(|writer| event::deliver(writer, number, &parcel.message));
        let now = Instant::now();
        if self.running() == 0 {
            self.since = now;
        }
        self.last = parcel.message.channel().cloned();
        self.bytes += parcel.message.body.len();
        let hold = Hold {
            parcel,
            order: self.given,
            given: now,
            running: true,
            publishing: 0,
            unpublished: false,
            outcome: None,
        };
        self.given = self.given.wrapping_add(1);
        self.hands.insert(number, hold);
    }

    /// The handler has returned.
    pub(super) fn done(&mut self, number: i32, time: Duration, outcome: Outcome) {
        self.returned = self.returned.wrapping_add(1);
        self.since = Instant::now();
        let channel = match self.hands.get_mut(&number) {
            Some(hold) => {
                hold.running = false;
                if hold.parcel.verdict.is_some() {
                    // The consumer waits, and sees by itself how long it takes.
                    return;
                }
                hold.parcel.message.channel()
            }
            // It was settled while it was handled.
            None => self.last.as_ref(),
        };
        if let Some(channel) = channel {
            channel.handled(time, outcome);
        }
    }

    pub(super) fn settle(&mut self, number: i32, outcome: Outcome) {
        if let Some(hold) = self.hands.get_mut(&number) {
            hold.outcome.get_or_insert(outcome);
            self.finish(number);
        }
    }

    /// Something that a handler wanted cannot be done.
    pub(super) fn unpublished(&mut self, number: i32) {
        if let Some(hold) = self.hands.get_mut(&number) {
            hold.unpublished = true;
        }
    }

    /// Settles a message if that is wanted, and nothing is on its way any more that it waits for.
    pub(super) fn finish(&mut self, number: i32) {
        let Some(hold) = self.hands.get(&number) else {
            return;
        };
        let (0, Some(mut outcome)) = (hold.publishing, hold.outcome) else {
            return;
        };
        if hold.unpublished && outcome == Outcome::Ack {
            outcome = Outcome::Retry { after: None };
        }
        if let Some(hold) = self.hands.remove(&number) {
            self.bytes -= hold.parcel.message.body.len();
            hold.parcel.settle(outcome);
        }
    }

    /// Notes whether it gets on, and has its worker replaced when it does not.
    pub(super) fn look(&mut self, now: Instant, limit: Duration) {
        let begun = self.link.begun.count(self.link.index);
        if begun != self.begun {
            self.begun = begun;
            self.since = now;
        }
        let late = match self.places {
            None => self.running() > 0 && now.duration_since(self.since) > limit,
            // The loop ends what takes too long by itself, as long as it turns.
            Some(_) => {
                let late = |hold: &Hold| hold.running && now.duration_since(hold.given) > limit * 2;
                self.hands.values().any(late)
            }
        };
        if late && !self.hung {
            self.hung = true;
            // An error means that the worker is gone already.
            let _ = self.link.control.send(Command::Hung);
        }
    }
}
