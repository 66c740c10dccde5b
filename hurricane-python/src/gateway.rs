//! The one queue: requests wait here, and go to the first free Python slot.
//!
//! # Theory of operation
//!
//! A *slot* is a Python thread with data channels of its own. A request that came in whole is a
//! [`Job`]; it waits in one bounded first-in-first-out queue until a slot takes it. Idle slots
//! come first, those of the process that has the least to do before others. Only when there is
//! none, and the application has been quick of late (see [`Pace`]), a slot that is busy is given
//! requests ahead, several in one write.
//!
//! Only one thread of a process runs Python at a time. While those that have something to do
//! keep the interpreter busy, a further one would only contend with them for its lock: it is
//! started when they wait for something, or when nothing has come from them for some time.
//!
//! A request that was given ahead is not stuck with its slot. When the request before it takes
//! long, it is *recalled*: the worker's control thread gives back what is not begun, and it goes
//! to the front of the queue. When a worker dies, a memory page that it shared tells what had
//! begun; the rest goes back to the front of the queue too. So a job is kept until its answer
//! has come, and no request is run twice.
//!
//! Everything here happens under one lock that is held for moments and never across an await.

use std::{
    collections::VecDeque,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use http::Response;
use hurricane_core::Traffic;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    asgi::{AsgiConfig, Interface, WebSocketConfig, lane::Lanes},
    frame::prepared::{Prepared, Repeats},
    job::{Job, JobBody},
    pace::{Pace, Spent},
    response::Body,
    slot::{self, Link, Slot, SlotId, Unsent},
    worker::Command,
};

/// How often slots are looked at while requests wait, and how long a request may keep those that
/// were given to its slot ahead waiting before they are recalled.
const WATCH: Duration = Duration::from_millis(5);

/// How often they are looked at while none waits, so that those that take too long are found. A
/// near timer is not for nothing: it is set whenever the thread goes to sleep, and a virtual
/// machine pays for that with an exit.
const PATROL: Duration = Duration::from_millis(100);

/// What the gateway is told once.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// How many requests may wait for a slot; further ones are answered 503.
    pub queue_size: usize,
    /// The longest request body (bytes); longer ones are answered 413.
    pub max_body_size: u64,
    /// How long after its arrival a request may wait for the head of its response; then it is
    /// answered 504, and the worker that has it is replaced. `None`: as long as it takes.
    pub request_timeout: Option<Duration>,
    /// The path under which the application is mounted, `SCRIPT_NAME`: empty, or with a leading
    /// and without a trailing slash.
    pub root_path: String,
    /// Of an application that is called [as both](Interface::Hybrid): how the paths begin, below
    /// the root path, whose requests go to the event loop as WebSockets do.
    pub async_paths: Vec<String>,
}

/// Takes requests and brings the answers of the Python workers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// Why a request got no answer of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    QueueFull,
    WorkerDied,
    Application,
    TimedOut,
    /// The request's body turned out to be too long.
    TooLong,
}

pub(crate) type Reply = Result<Response<Body>, Failure>;

/// A request that waits for its answer; dropping it withdraws the request.
#[derive(Debug)]
pub(crate) struct Ticket {
    gateway: Gateway,
    stream: i32,
    answer: oneshot::Receiver<Reply>,
    answered: bool,
}

#[derive(Debug)]
struct Shared {
    config: GatewayConfig,
    traffic: Arc<Traffic>,
    /// What the workers found the application to be, and how it is run.
    application: OnceLock<(Interface, AsgiConfig)>,
    state: Mutex<State>,
    /// A request has come in.
    work: Notify,
    /// The slots need closer watching than they get.
    attention: Notify,
}

/// How closely [`Gateway::watch`] looks after the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    /// Nothing is in hand.
    Off,
    /// What is in hand may take too long.
    Patrol,
    /// Requests wait, some perhaps behind a slow one.
    Close,
}

#[derive(Debug)]
pub(crate) struct State {
    /// In the order of arrival, which is that of their stream ids.
    queue: VecDeque<Job>,
    slots: Vec<Option<Slot>>,
    /// How many requests the slot at each place has answered.
    served: Vec<u64>,
    /// The event loops, and what waits for them.
    pub(crate) lanes: Lanes,
    /// Of the slot that was added last.
    serial: u64,
    /// How many slots are busy.
    executing: usize,
    watch: Watch,
    next_stream: i32,
    pace: Pace,
    /// Where frames are put together.
    frame: Vec<u8>,
    repeats: Repeats,
}

// === impl GatewayConfig ===

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            queue_size: 2048,
            max_body_size: 100 << 20,
            request_timeout: None,
            root_path: String::new(),
            async_paths: Vec::new(),
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// A gateway without workers: until a [`Pool`](crate::Pool) brings some, requests wait.
    #[must_use]
    pub fn new(config: GatewayConfig, traffic: Arc<Traffic>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            slots: Vec::new(),
            served: Vec::new(),
            lanes: Lanes::default(),
            serial: 0,
            executing: 0,
            watch: Watch::Off,
            next_stream: 1,
            pace: Pace::new(),
            frame: Vec::new(),
            repeats: Repeats::default(),
        };
        Self {
            shared: Arc::new(Shared {
                config,
                traffic,
                application: OnceLock::new(),
                state: Mutex::new(state),
                work: Notify::new(),
                attention: Notify::new(),
            }),
        }
    }

    /// What the gateway was told.
    #[must_use]
    pub fn config(&self) -> &GatewayConfig {
        &self.shared.config
    }

    /// How many requests wait for a slot.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.lock().queued()
    }

    /// Whether there is no room for another request.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queued() >= self.shared.config.queue_size
    }

    /// Puts a request at the end of the queue.
    pub(crate) fn enqueue(&self, environ: Prepared, body: JobBody) -> Result<Ticket, Failure> {
        let config = &self.shared.config;
        let deadline = config.request_timeout.map(|limit| Instant::now() + limit);
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.queued() >= config.queue_size {
            return Err(Failure::QueueFull);
        }
        let stream = state.next_stream();
        state.queue.push_back(Job {
            stream,
            environ,
            body,
            deadline,
            answer: Some(sender),
        });
        self.publish(&mut state);
        drop(state);
        self.wake();
        Ok(self.ticket(stream, answer))
    }

    pub(crate) fn ticket(&self, stream: i32, answer: oneshot::Receiver<Reply>) -> Ticket {
        Ticket {
            gateway: self.clone(),
            stream,
            answer,
            answered: false,
        }
    }

    /// What the application is, once a worker has told: WSGI until then.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.shared
            .application
            .get()
            .map_or(Interface::default(), |(interface, _)| *interface)
    }

    /// How many requests an event loop may have in hand.
    pub(crate) fn concurrency(&self) -> usize {
        self.shared
            .application
            .get()
            .map_or(1, |(_, asgi)| asgi.concurrency)
    }

    /// What holds for WebSockets.
    pub(crate) fn websocket(&self) -> WebSocketConfig {
        let application = self.shared.application.get();
        application.map_or_else(Default::default, |(_, asgi)| asgi.websocket.clone())
    }

    /// Notes what the application is. It is the same for all workers.
    pub(crate) fn serves(&self, interface: Interface, asgi: &AsgiConfig) {
        // An error means that a worker has told before.
        let _ = self.shared.application.set((interface, asgi.clone()));
    }

    /// Has what is new handed out, at the end of this turn of the runtime.
    pub(crate) fn wake(&self) {
        self.shared.work.notify_one();
    }

    /// Takes a request whose client has gone out of the queue. One that is with a worker already
    /// is finished there, and its answer is dropped.
    fn withdraw(&self, stream: i32) {
        let mut state = self.lock();
        if let Some(index) = state.queue.iter().position(|job| job.stream == stream) {
            state.queue.remove(index);
            self.publish(&mut state);
        } else {
            state.lanes.withdraw(stream);
            self.publish(&mut state);
            self.wake();
        }
    }

    /// Hands out requests as they come in; runs until it is dropped.
    ///
    /// A task of its own, so that all requests that came in one turn of the runtime are there
    /// when it comes to its turn, and share writes.
    pub(crate) async fn dispatch(self) {
        loop {
            self.shared.work.notified().await;
            let mut state = self.lock();
            if !state.lanes.is_quiet() {
                self.serve_lanes(&mut state);
            }
            self.assign(&mut state);
        }
    }

    /// Looks after requests that take long; runs until it is dropped.
    pub(crate) async fn watch(self) {
        loop {
            let attention = self.shared.attention.notified();
            match self.look(Instant::now()) {
                Watch::Off => attention.await,
                Watch::Patrol => {
                    // An error means that it is time for the next look.
                    let _ = timeout(PATROL, attention).await;
                }
                Watch::Close => sleep(WATCH).await,
            }
        }
    }

    /// Adds a slot, and reads its answers until its worker is gone.
    pub(crate) fn open(&self, link: Link) -> SlotId {
        let mut state = self.lock();
        let id = state.add(link.clone());
        self.assign(&mut state);
        drop(state);
        tokio::spawn(slot::read_answers(self.clone(), id, link));
        id
    }

    /// Gives a slot no more requests; what it has, but has not begun, comes back by a recall.
    pub(crate) fn retire(&self, id: SlotId) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(id) {
            slot.retire();
        }
    }

    /// Whether a slot has nothing in hand, or is gone.
    pub(crate) fn is_done(&self, id: SlotId) -> bool {
        self.lock().slot(id).is_none_or(|slot| !slot.is_busy())
    }

    /// How many requests these slots have answered.
    pub(crate) fn served(&self, slots: &[SlotId]) -> u64 {
        let mut state = self.lock();
        let served = slots.iter().map(|id| match state.slot(*id) {
            Some(_) => state.served[id.place],
            None => 0,
        });
        served.sum()
    }

    /// Takes away a slot whose channel has ended. `begun` is the last request that it began.
    pub(crate) fn close(&self, id: SlotId, begun: Option<i32>) {
        let mut state = self.lock();
        let Some(slot) = state.remove(id) else {
            return;
        };
        if slot.is_executing() {
            state.executing -= 1;
        }
        let (lost, kept) = slot.into_jobs(begun);
        state.requeue(kept);
        self.assign(&mut state);
        drop(state);
        for mut job in lost {
            job.answer(Err(Failure::WorkerDied));
        }
    }

    /// Answers requests that a slot has finished, and what they took it.
    pub(crate) fn deliver(&self, id: SlotId, replies: &mut Vec<(i32, Reply)>, spent: Spent) {
        let mut state = self.lock();
        let Some(load) = state.slot(id).map(|slot| slot.worker_load()) else {
            return replies.clear();
        };
        state.pace.observe(spent, replies.len(), load);
        let Some(slot) = state.slot(id) else { return };
        let mut answers = Vec::with_capacity(replies.len());
        for (stream, reply) in replies.drain(..) {
            if let Some(job) = slot.finish(stream) {
                answers.push((job, reply));
            }
        }
        state.served[id.place] += answers.len() as u64;
        self.settle(&mut state, id);
        drop(state);
        // Outside the lock: each of these wakes a connection.
        for (mut job, reply) in answers {
            job.answer(reply);
        }
    }

    /// Marks that the slot's answer goes on as a stream, or that the stream has ended.
    pub(crate) fn streaming(&self, id: SlotId, streaming: bool) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(id) {
            slot.set_streaming(streaming);
            if streaming {
                // What the slot was given ahead waits from now on.
                self.publish(&mut state);
            } else {
                self.settle(&mut state, id);
            }
        }
    }

    /// Puts requests that a slot gave back in front of the queue.
    pub(crate) fn recalled(&self, id: SlotId, streams: &[i32]) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(id) {
            let jobs = slot.take_back(streams);
            state.requeue(jobs);
            self.settle(&mut state, id);
        }
    }

    /// A write that had to wait has been finished.
    pub(crate) fn written(&self, id: SlotId) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(id) {
            slot.written();
            self.settle(&mut state, id);
        }
    }

    /// Notes that a slot may have become free, and gives it more.
    fn settle(&self, state: &mut State, id: SlotId) {
        if let Some(slot) = state.slot(id)
            && slot.progressed()
        {
            state.executing -= 1;
        }
        self.assign(state);
    }

    /// Gives queued requests to slots, as far as there are any.
    fn assign(&self, state: &mut State) {
        while !state.queue.is_empty()
            && let Some((id, room)) = state.choose()
        {
            if let Some((socket, rest)) = state.give(id, room) {
                tokio::spawn(slot::finish_writing(self.clone(), id, socket, rest));
            }
        }
        self.publish(state);
    }

    pub(crate) fn publish(&self, state: &mut State) {
        let traffic = &self.shared.traffic;
        traffic.set_queued(state.queued());
        if state.watch < Watch::Close {
            let needed = state.watch_needed();
            if state.watch < needed {
                state.watch = needed;
                self.shared.attention.notify_one();
            }
        }
        traffic.set_executing(state.executing + state.lanes.executing());
    }

    /// Recalls requests that wait behind a slow one, and ends those that are too late. Returns how
    /// closely to look on.
    fn look(&self, now: Instant) -> Watch {
        let mut late = Vec::new();
        let mut state = self.lock();
        let State {
            queue, slots, pace, ..
        } = &mut *state;
        for slot in slots.iter_mut().flatten() {
            if let Some(busy) = slot.recall_after(WATCH, now) {
                pace.slow(busy);
            }
            slot.end_late(now, &mut late);
        }
        while queue.front().is_some_and(|job| job.is_late(now)) {
            late.extend(queue.pop_front().and_then(|job| job.answer));
        }
        // A process may have been held up for long enough by now to start another thread.
        self.assign(&mut state);
        let watch = state.watch_needed();
        state.watch = watch;
        drop(state);
        for answer in late {
            // A client that has gone has dropped the other end.
            let _ = answer.send(Err(Failure::TimedOut));
        }
        watch
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No step under the lock is worth more than going on to serve after a panic in it.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// How many requests wait, for whatever they wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.lanes.queued()
    }

    fn watch_needed(&self) -> Watch {
        if !self.queue.is_empty() || self.slots.iter().flatten().any(Slot::keeps_waiting) {
            Watch::Close
        } else if self.executing > 0 {
            Watch::Patrol
        } else {
            Watch::Off
        }
    }

    /// The next stream id. Ids are positive, and come round again long after those of the same
    /// number are done.
    pub(crate) fn next_stream(&mut self) -> i32 {
        let stream = self.next_stream;
        self.next_stream = stream.checked_add(1).unwrap_or(1);
        stream
    }

    fn slot(&mut self, id: SlotId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.place)?.as_mut();
        slot.filter(|slot| slot.serial() == id.serial)
    }

    fn add(&mut self, link: Link) -> SlotId {
        let free = self.slots.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.served.push(0);
            self.slots.len() - 1
        });
        self.served[place] = 0;
        self.serial += 1;
        self.slots[place] = Some(Slot::new(link, self.serial));
        SlotId {
            place,
            serial: self.serial,
        }
    }

    fn remove(&mut self, id: SlotId) -> Option<Slot> {
        self.slot(id)?;
        self.slots[id.place].take()
    }

    /// The slot that is to have the next requests, and how many of them.
    fn choose(&self) -> Option<(SlotId, usize)> {
        let limit = self.pace.limit();
        let waiting = self.queue.len();
        let may_start = |slot: &Slot| {
            slot.is_idle()
                && (slot.worker_load() == 0 || !self.pace.is_computing() || self.is_held_up(slot))
        };
        // Of the process that has the least to do.
        let idle = self.ids().filter(|(_, slot)| may_start(slot));
        if let Some((id, slot)) = idle.min_by_key(|(_, slot)| slot.worker_load()) {
            // The others get their share. Of a process that computes only one starts.
            let shares =
                |other: &Slot| may_start(other) && (!self.pace.is_computing() || other.is_first());
            let sharers = self.ids().filter(|(_, other)| shares(other)).count();
            let alone = slot.worker_load() > 0 && self.pace.is_computing();
            let share = if alone {
                1
            } else {
                waiting.div_ceil(sharers.max(1))
            };
            return Some((id, share.min(limit)));
        }
        let ahead = self
            .ids()
            .filter_map(|(id, slot)| Some((id, slot.room_ahead(limit)?)));
        let ahead = ahead.filter(|(_, room)| *room > 0 && limit > 1);
        ahead.max_by_key(|(_, room)| *room)
    }

    /// Whether nothing has come from the slot's process for some time.
    fn is_held_up(&self, slot: &Slot) -> bool {
        let mut beside = self.ids().filter(|(_, other)| other.is_beside(slot));
        beside.all(|(_, other)| !other.is_executing() || other.is_quiet())
    }

    fn ids(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, slot)| {
            let slot = slot.as_ref()?;
            Some((
                SlotId {
                    place,
                    serial: slot.serial(),
                },
                slot,
            ))
        })
    }

    /// Gives up to `room` requests to a slot. What could not be written at once is returned.
    fn give(&mut self, id: SlotId, room: usize) -> Option<(Arc<StdUnixStream>, Unsent)> {
        let Self {
            queue,
            slots,
            frame,
            repeats,
            executing,
            ..
        } = self;
        let slot = slots[id.place].as_mut()?;
        if !slot.is_executing() {
            *executing += 1;
        }
        slot.give(queue, room, frame, repeats)
    }

    /// Puts jobs back where they were in the queue, but those whose clients wait no more.
    fn requeue(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().filter(Job::is_awaited) {
            let place = self.queue.partition_point(|queued| queued.is_before(&job));
            self.queue.insert(place, job);
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// The id of its request.
    pub(crate) fn stream(&self) -> i32 {
        self.stream
    }

    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Reply {
        let reply = (&mut self.answer).await;
        self.answered = true;
        // The sender is dropped without an answer only where its slot's worker is gone.
        reply.unwrap_or(Err(Failure::WorkerDied))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.gateway.withdraw(self.stream);
        }
    }
}

/// What a slot needs to tell its worker's control thread.
pub(crate) type Control = mpsc::UnboundedSender<Command>;

#[cfg(test)]
mod tests;
