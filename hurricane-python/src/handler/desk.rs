//! Hands messages to clerks, and carries what they say back.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hurricane_core::{Message, MessageChannel, Outcome, Publication, PublishError};
use tokio::sync::{Notify, oneshot};

use super::{
    DeskConfig, PythonHandler,
    channel::{self, ClerkLink},
    event,
    said::Said,
};
use crate::{
    asgi::channel::{Outbox, write_rest},
    pace::{Pace, Spent},
    worker::Command,
};

/// Hands the messages of consumers to Python handlers, each as a [`PythonHandler`]. Cloning shares
/// it.
///
/// The workers behind it are those of a [`Pool`](crate::Pool) that was made
/// [for it](crate::Pool::for_desk).
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
}

/// A clerk among all that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClerkId(u64);

struct Shared {
    config: DeskConfig,
    state: Mutex<State>,
    /// There is something to be handed out or sent.
    news: Notify,
}

struct State {
    clerks: Vec<Clerk>,
    serial: u64,
    /// The number of the next message.
    number: i32,
    /// What waits, by handler, in the order of arrival.
    queues: Vec<VecDeque<Parcel>>,
    /// How the messages of each handler have been of late.
    paces: Vec<Pace>,
    /// Nothing more is handed out.
    draining: bool,
    /// Since when there has been no worker.
    alone: Option<Instant>,
}

/// A message on its way to a clerk.
struct Parcel {
    message: Message,
    /// Whoever waits for what becomes of it, in ordered mode.
    verdict: Option<oneshot::Sender<Outcome>>,
}

/// One who handles messages: a thread of a worker, or an event loop.
struct Clerk {
    id: ClerkId,
    link: ClerkLink,
    handler: usize,
    /// How many messages it handles at the same time, if it is an event loop.
    places: Option<usize>,
    /// What it has, by number.
    hands: BTreeMap<i32, Hold>,
    /// The bytes of the bodies it has.
    bytes: usize,
    /// How many messages it has been given, and how many of them its handler has returned.
    given: u32,
    returned: u32,
    /// How many it had begun when that was looked at last, and since when it has been that many.
    begun: u32,
    since: Instant,
    outbox: Outbox,
    /// Gets no more messages.
    retired: bool,
    /// Is at a message for longer than it may.
    hung: bool,
    /// A channel for what is published while no message is handled.
    last: Option<Arc<dyn MessageChannel>>,
}

/// A message that a clerk has.
struct Hold {
    parcel: Parcel,
    /// Which of those that the clerk was given.
    order: u32,
    given: Instant,
    /// The handler has not returned.
    running: bool,
    /// Publications on their way that its settlement waits for.
    publishing: usize,
    /// One of them has failed.
    unpublished: bool,
    /// What is to become of it.
    outcome: Option<Outcome>,
}

/// A clerk has no more than this in hand, unless a single message is larger (bytes).
const MOST_BYTES: usize = 1 << 20;

/// How often clerks are looked at, at most and at least.
const MIN_LOOK: Duration = Duration::from_millis(5);
const MAX_LOOK: Duration = Duration::from_millis(100);

// === impl Desk ===

impl Desk {
    /// A desk without clerks; messages wait for them.
    #[must_use]
    pub fn new(config: DeskConfig) -> Self {
        let count = config.handlers.len();
        let state = State {
            clerks: Vec::new(),
            serial: 0,
            number: 0,
            queues: (0..count).map(|_| VecDeque::new()).collect(),
            paces: vec![Pace::new(); count],
            draining: false,
            alone: Some(Instant::now()),
        };
        Self {
            shared: Arc::new(Shared {
                config,
                state: Mutex::new(state),
                news: Notify::new(),
            }),
        }
    }

    /// The handlers, for consumers, in the order of the configuration.
    #[must_use]
    pub fn handlers(&self) -> Vec<PythonHandler> {
        let handlers = self.config().handlers.iter().enumerate();
        handlers
            .map(|(index, handler)| PythonHandler {
                desk: self.clone(),
                name: handler.class.clone(),
                index,
            })
            .collect()
    }

    /// How the handlers work.
    #[must_use]
    pub fn config(&self) -> &DeskConfig {
        &self.shared.config
    }

    /// Gives back to the broker what was not yet handed to a handler, and hands out nothing more.
    pub fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let waiting: Vec<_> = state.queues.iter_mut().flat_map(std::mem::take).collect();
        drop(state);
        for parcel in waiting {
            parcel.settle(Outcome::Requeue);
        }
    }

    /// Takes a message of a consumer.
    pub(super) fn put(
        &self,
        handler: usize,
        message: Message,
        verdict: Option<oneshot::Sender<Outcome>>,
    ) -> Outcome {
        let mut state = self.lock();
        if state.draining {
            return Outcome::Requeue;
        }
        state.queues[handler].push_back(Parcel { message, verdict });
        drop(state);
        self.shared.news.notify_one();
        Outcome::Deferred
    }

    /// Hands out what comes. Runs until it is dropped.
    pub(crate) async fn dispatch(self) {
        loop {
            self.shared.news.notified().await;
            self.serve();
        }
    }

    /// With a timeout: has workers replaced that are at a message for too long. Runs until it is
    /// dropped.
    pub(crate) async fn watch(self) {
        let Some(limit) = self.config().timeout else {
            return;
        };
        let pause = (limit / 20).clamp(MIN_LOOK, MAX_LOOK);
        loop {
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            for clerk in &mut self.lock().clerks {
                clerk.look(now, limit);
            }
        }
    }

    /// Adds a clerk.
    pub(crate) fn open(&self, link: ClerkLink, handler: usize, is_async: bool) -> ClerkId {
        let mut state = self.lock();
        state.serial += 1;
        state.alone = None;
        let id = ClerkId(state.serial);
        let now = Instant::now();
        state.clerks.push(Clerk {
            id,
            link: link.clone(),
            handler,
            places: is_async.then_some(self.config().concurrency),
            hands: BTreeMap::new(),
            bytes: 0,
            given: 0,
            returned: 0,
            begun: 0,
            since: now,
            outbox: Outbox::default(),
            retired: false,
            hung: false,
            last: None,
        });
        drop(state);
        self.shared.news.notify_one();
        tokio::spawn(channel::read_said(self.clone(), id, link));
        id
    }

    /// Gives a clerk no more messages.
    pub(crate) fn retire(&self, id: ClerkId) {
        if let Some(clerk) = self.lock().clerk(id) {
            clerk.retired = true;
        }
    }

    /// Whether a clerk has nothing in hand, or never will have.
    pub(crate) fn is_done(&self, id: ClerkId) -> bool {
        let mut state = self.lock();
        let clerk = state.clerk(id);
        clerk.is_none_or(|clerk| {
            clerk.running() == 0 && clerk.hands.is_empty() && clerk.outbox.is_empty()
        })
    }

    /// Whether a clerk is at a message for longer than it may.
    pub(crate) fn is_hung(&self, id: ClerkId) -> bool {
        self.lock().clerk(id).is_some_and(|clerk| clerk.hung)
    }

    /// Takes away a clerk whose channel has ended; `begun` is how many messages it has begun.
    pub(super) fn close(&self, id: ClerkId, begun: u32) {
        let mut state = self.lock();
        let Some(index) = state.clerks.iter().position(|clerk| clerk.id == id) else {
            return;
        };
        let clerk = state.clerks.remove(index);
        if state.clerks.is_empty() {
            state.alone = Some(Instant::now());
        }
        let mut ended = Vec::new();
        for hold in clerk.hands.into_values().rev() {
            // The numbers of both may have begun anew from 0.
            let was_begun = begun.wrapping_sub(hold.order).cast_signed() > 0;
            let Hold {
                parcel, outcome, ..
            } = hold;
            match outcome {
                // What it wanted only waited for what it has published, of which nobody knows now.
                Some(_) => ended.push((parcel, Outcome::Retry { after: None })),
                None if was_begun => ended.push((parcel, Outcome::Retry { after: None })),
                None if state.draining => ended.push((parcel, Outcome::Requeue)),
                None => state.queues[clerk.handler].push_front(parcel),
            }
        }
        drop(state);
        for (parcel, outcome) in ended {
            parcel.settle(outcome);
        }
        self.shared.news.notify_one();
    }

    /// Does what a clerk says, all that came at once.
    pub(super) fn hear(&self, id: ClerkId, items: impl IntoIterator<Item = Said>) {
        let mut state = self.lock();
        let State { clerks, paces, .. } = &mut *state;
        let Some(clerk) = clerks.iter_mut().find(|clerk| clerk.id == id) else {
            return;
        };
        let (mut count, mut spent) = (0, Duration::ZERO);
        for item in items {
            match item {
                Said::Done {
                    number,
                    time,
                    outcome,
                } => {
                    clerk.done(number, time, Outcome::Ack);
                    if let Some(outcome) = outcome {
                        clerk.settle(number, outcome);
                    }
                    count += 1;
                    spent += time;
                }
                Said::Failed { number, time } => {
                    let retry = Outcome::Retry { after: None };
                    clerk.done(number, time, retry);
                    clerk.settle(number, retry);
                    count += 1;
                    spent += time;
                }
                Said::Settle {
                    number,
                    outcome,
                    multiple: false,
                } => clerk.settle(number, outcome),
                Said::Settle {
                    number, outcome, ..
                } => {
                    let up_to: Vec<_> = clerk.hands.range(..=number).map(|(n, _)| *n).collect();
                    for number in up_to {
                        clerk.settle(number, outcome);
                    }
                }
                Said::Publish {
                    number,
                    publication,
                } => self.publish(clerk, number, *publication),
                Said::Invalid { number, error } => {
                    tracing::error!(%error, "what a handler wants to be done cannot be understood");
                    clerk.unpublished(number);
                }
            }
        }
        if clerk.places.is_none() {
            let computing = Duration::ZERO;
            let spent = Spent {
                time: spent,
                computing,
            };
            paces[clerk.handler].observe(spent, count, 1);
        }
        self.serve_in(&mut state);
    }

    /// Hands out what waits, and sends what there is.
    fn serve(&self) {
        self.serve_in(&mut self.lock());
    }

    fn serve_in(&self, state: &mut State) {
        state.assign();
        for clerk in &mut state.clerks {
            if let Some(rest) = clerk.outbox.send(&clerk.link) {
                let (desk, id) = (self.clone(), clerk.id);
                let events = Arc::clone(&clerk.link.events);
                tokio::spawn(async move {
                    if write_rest(events, rest).await {
                        desk.written(id);
                    }
                });
            }
        }
    }

    fn written(&self, id: ClerkId) {
        let mut state = self.lock();
        if let Some(clerk) = state.clerk(id) {
            clerk.outbox.written();
        }
        self.serve_in(&mut state);
    }

    fn publish(&self, clerk: &mut Clerk, number: i32, publication: Publication) {
        let hold = clerk.hands.get_mut(&number);
        let channel = match &hold {
            Some(hold) => hold.parcel.message.channel(),
            None => clerk.last.as_ref(),
        };
        let Some(channel) = channel.cloned() else {
            tracing::error!("a handler publishes before it has had a message");
            return;
        };
        if let Some(hold) = hold {
            hold.publishing += 1;
        }
        let (desk, id) = (self.clone(), clerk.id);
        tokio::spawn(async move {
            let (exchange, key) = (
                publication.exchange.clone(),
                publication.routing_key.clone(),
            );
            let published = channel.publish(publication).await;
            if let Err(error) = &published {
                tracing::error!(%error, exchange, key, "what a handler has published was not taken");
            }
            desk.published(id, number, &published);
        });
    }

    fn published(&self, id: ClerkId, number: i32, published: &Result<(), PublishError>) {
        let mut state = self.lock();
        let Some(clerk) = state.clerk(id) else { return };
        if let Some(hold) = clerk.hands.get_mut(&number) {
            hold.publishing -= 1;
            hold.unpublished |= published.is_err();
            clerk.finish(number);
        }
        self.serve_in(&mut state);
    }

    /// Since when there has been no worker; `None` when there is one.
    pub(super) fn alone(&self) -> Option<Duration> {
        self.lock().alone.map(|since| since.elapsed())
    }

    /// Whether a clerk is at a message for longer than it may.
    pub(super) fn any_hung(&self) -> bool {
        self.lock().clerks.iter().any(|clerk| clerk.hung)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn clerk(&mut self, id: ClerkId) -> Option<&mut Clerk> {
        self.clerks.iter_mut().find(|clerk| clerk.id == id)
    }

    /// Gives what waits to clerks that have room.
    fn assign(&mut self) {
        for (handler, queue) in self.queues.iter_mut().enumerate() {
            let ahead = self.paces[handler].limit();
            while !queue.is_empty() {
                // The one with the least in hand, so that idle ones come first.
                let free = self
                    .clerks
                    .iter_mut()
                    .filter(|clerk| clerk.handler == handler && clerk.room(ahead) > 0)
                    .min_by_key(|clerk| clerk.running());
                let Some(clerk) = free else { break };
                let room = match clerk.running() {
                    // An idle clerk begins at once; the others get a message each before it gets more.
                    0 => 1,
                    _ => clerk.room(ahead),
                };
                for _ in 0..room {
                    let Some(parcel) = queue.pop_front() else {
                        break;
                    };
                    // Its connection is gone, and the broker gives it to somebody else.
                    if parcel.is_stale() {
                        continue;
                    }
                    self.number = self.number.checked_add(1).unwrap_or(1);
                    clerk.give(self.number, parcel);
                    if clerk.bytes >= MOST_BYTES {
                        break;
                    }
                }
            }
        }
    }
}

// === impl Parcel ===

impl Parcel {
    fn is_stale(&self) -> bool {
        match &self.verdict {
            Some(verdict) => verdict.is_closed(),
            None => self.message.channel().is_some_and(|way| !way.is_open()),
        }
    }

    fn settle(self, outcome: Outcome) {
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
    /// How many messages its handler has not returned.
    fn running(&self) -> usize {
        self.given.wrapping_sub(self.returned) as usize
    }

    /// How many more it may have, where a thread may have `ahead`.
    fn room(&self, ahead: usize) -> usize {
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

    fn give(&mut self, number: i32, parcel: Parcel) {
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
    fn done(&mut self, number: i32, time: Duration, outcome: Outcome) {
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

    fn settle(&mut self, number: i32, outcome: Outcome) {
        if let Some(hold) = self.hands.get_mut(&number) {
            hold.outcome.get_or_insert(outcome);
            self.finish(number);
        }
    }

    /// Something that a handler wanted cannot be done.
    fn unpublished(&mut self, number: i32) {
        if let Some(hold) = self.hands.get_mut(&number) {
            hold.unpublished = true;
        }
    }

    /// Settles a message if that is wanted, and nothing is on its way any more that it waits for.
    fn finish(&mut self, number: i32) {
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
    fn look(&mut self, now: Instant, limit: Duration) {
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

#[cfg(test)]
mod tests;
