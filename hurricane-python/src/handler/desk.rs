//! Hands messages to clerks, and carries what they say back.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hurricane_core::{Message, Outcome, Publication, PublishError};
use tokio::sync::{Notify, oneshot};

pub(crate) use self::clerk::ClerkId;
use self::clerk::{Clerk, Hold, MOST_BYTES, Parcel};
use super::{
    DeskConfig, PythonHandler,
    channel::{self, ClerkLink},
    said::Said,
};
use crate::{
    asgi::channel::write_rest,
    pace::{Pace, Spent},
};

mod clerk;

/// Hands the messages of consumers to Python handlers, each as a [`PythonHandler`]. Cloning shares
/// it.
///
/// The workers behind it are those of a [`Pool`](crate::Pool) that was made
/// [for it](crate::Pool::for_desk).
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
}

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
        let places = is_async.then_some(self.config().concurrency);
        let clerk = Clerk::new(id, link.clone(), handler, places);
        state.clerks.push(clerk);
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

#[cfg(test)]
mod tests;
