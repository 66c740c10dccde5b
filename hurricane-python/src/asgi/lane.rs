//! Event loops as the gateway sees them, and the requests for them that wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use hurricane_core::server::EarlyHints;
use tokio::sync::{mpsc, oneshot};

use crate::{
    asgi::{
        channel::{LaneLink, Outbox},
        event,
        socket::{Outgoing, Upgrade},
        upload::Grant,
    },
    frame::{marshal::Writer, prepared::Prepared},
    gateway::{Failure, Gateway, Reply, State, Ticket},
    websocket::code,
    worker::Command,
};

/// A lane among all that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(u64);

/// A request for an event loop. Kept until its answer has come, so that another worker can be
/// given it when the one that had it has not taken it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) stream: i32,
    /// What [`event::request`] wrote.
    pub(crate) event: Prepared,
    /// Its answer has no body (`HEAD`).
    pub(crate) bodiless: bool,
    /// When the client is told that it takes too long.
    pub(crate) deadline: Option<Instant>,
    /// `None` once the client has been answered.
    pub(crate) answer: Option<oneshot::Sender<Reply>>,
    /// Whoever sends the rest of the body, or messages.
    pub(crate) upload: Option<mpsc::UnboundedSender<Grant>>,
    /// What it takes to open a WebSocket, if that is what it asks for.
    pub(crate) upgrade: Option<Box<Upgrade>>,
    /// What tells the client hints, if it takes any.
    pub(crate) hints: Option<EarlyHints>,
}

/// One event loop.
#[derive(Debug)]
pub(crate) struct Lane {
    id: LaneId,
    link: LaneLink,
    calls: HashMap<i32, Given>,
    /// WebSockets whose tasks have not ended.
    sockets: HashMap<i32, Line>,
    /// How many requests it has been given.
    given: u32,
    outbox: Outbox,
    /// When its loop told that it turns, and how late it was.
    beat: Instant,
    lag: Duration,
    /// Gets no more requests.
    retired: bool,
}

/// A request that a lane has.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) call: Call,
    /// Which of those that the lane was given.
    order: u32,
}

/// Where a WebSocket hears of what the application says.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) outgoing: mpsc::UnboundedSender<Outgoing>,
    pub(crate) grants: mpsc::UnboundedSender<Grant>,
}

/// All event loops, and what waits for them.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// In the order of arrival.
    queue: VecDeque<Call>,
    lanes: Vec<Lane>,
    serial: u64,
    /// Held by each WebSocket that is open.
    open: Arc<()>,
}

// === impl Gateway ===

impl Gateway {
    /// Puts a request at the end of the queue.
    pub(crate) fn enqueue_call(&self, mut call: Call) -> Result<Ticket, Failure> {
        let config = self.config();
        call.deadline = config.request_timeout.map(|limit| Instant::now() + limit);
        let (sender, answer) = oneshot::channel();
        call.answer = Some(sender);
        let mut state = self.lock();
        if state.queued() >= config.queue_size {
            return Err(Failure::QueueFull);
        }
        let stream = state.next_stream();
        call.stream = stream;
        state.lanes.queue.push_back(call);
        self.publish(&mut state);
        drop(state);
        self.wake();
        Ok(self.ticket(stream, answer))
    }

    /// Adds a lane.
    pub(crate) fn open_lane(&self, link: LaneLink) -> LaneId {
        let mut state = self.lock();
        let lanes = &mut state.lanes;
        lanes.serial += 1;
        let id = LaneId(lanes.serial);
        lanes.lanes.push(Lane {
            id,
            link,
            calls: HashMap::new(),
            sockets: HashMap::new(),
            given: 0,
            outbox: Outbox::default(),
            beat: Instant::now(),
            lag: Duration::ZERO,
            retired: false,
        });
        drop(state);
        self.wake();
        id
    }

    /// Gives a lane no more requests, and closes its WebSockets.
    pub(crate) fn retire_lane(&self, id: LaneId) {
        if let Some(lane) = self.lock().lanes.get(id) {
            lane.retired = true;
            lane.close_sockets();
        }
    }

    /// Tells the clients of all WebSockets that the server goes away.
    pub fn close_sockets(&self) {
        for lane in &mut self.lock().lanes.lanes {
            lane.close_sockets();
        }
    }

    /// How many WebSockets are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        Arc::strong_count(&self.lock().lanes.open) - 1
    }

    /// Waits until all WebSockets have been closed and the application is done with them.
    pub(crate) async fn sockets_closed(&self) {
        let busy = |state: &State| {
            let lanes = &state.lanes.lanes;
            Arc::strong_count(&state.lanes.open) > 1
                || lanes.iter().any(|lane| !lane.sockets.is_empty())
        };
        while busy(&self.lock()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a WebSocket holds while it is open.
    pub(crate) fn open_mark(&self) -> Arc<()> {
        Arc::clone(&self.lock().lanes.open)
    }

    /// Tells a lane that a WebSocket has been closed, unless the application is done with it.
    pub(crate) fn close_socket(
        &self,
        id: LaneId,
        stream: i32,
        write: impl FnOnce(&mut Writer<'_>),
    ) {
        if let Some(lane) = self.lock().lanes.get(id)
            && lane.sockets.contains_key(&stream)
        {
            lane.outbox.push(write);
            self.wake();
        }
    }

    /// Whether a lane has nothing in hand, or is gone.
    pub(crate) fn is_lane_done(&self, id: LaneId) -> bool {
        let mut state = self.lock();
        state.lanes.get(id).is_none_or(|lane| {
            lane.calls.is_empty() && lane.sockets.is_empty() && lane.outbox.is_empty()
        })
    }

    /// Takes away a lane whose channel has ended; `taken` is how many requests it has taken.
    pub(crate) fn close_lane(&self, id: LaneId, taken: u32) {
        let mut state = self.lock();
        let lost = state.lanes.close(id, taken);
        self.serve_lanes(&mut state);
        drop(state);
        for answer in lost {
            // A client that has gone has dropped the other end.
            let _ = answer.send(Err(Failure::WorkerDied));
        }
    }

    /// Tells a lane something about a stream.
    pub(crate) fn tell_lane(&self, id: LaneId, write: impl FnOnce(&mut Writer<'_>)) {
        if let Some(lane) = self.lock().lanes.get(id) {
            lane.outbox.push(write);
            self.wake();
        }
    }

    /// Tells a lane that the client of a stream has gone.
    pub(crate) fn tell_gone(&self, id: LaneId, stream: i32) {
        if let Some(lane) = self.lock().lanes.get(id)
            && lane.calls.contains_key(&stream)
        {
            lane.outbox.push(|writer| event::gone(writer, stream));
            self.wake();
        }
    }

    /// Answers a request in place of the application, which is told that the client has gone.
    pub(crate) fn refuse(&self, id: LaneId, stream: i32, failure: Failure) {
        let mut state = self.lock();
        let Some(lane) = state.lanes.get(id) else {
            return;
        };
        let Some(given) = lane.calls.get_mut(&stream) else {
            return;
        };
        let answer = given.call.answer.take();
        lane.outbox.push(|writer| event::gone(writer, stream));
        drop(state);
        self.wake();
        if let Some(answer) = answer {
            // A client that has gone has dropped the other end.
            let _ = answer.send(Err(failure));
        }
    }

    /// Gives waiting requests to lanes, and sends all lanes what there is for them.
    pub(crate) fn serve_lanes(&self, state: &mut State) {
        state.lanes.assign(self.concurrency());
        for lane in &mut state.lanes.lanes {
            lane.outbox.flush(self, lane.id, &lane.link);
        }
        self.publish(state);
    }

    /// A write that had to wait has been finished.
    pub(crate) fn lane_written(&self, id: LaneId) {
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get(id) {
            lane.outbox.written();
        }
        self.serve_lanes(&mut state);
    }

    /// Notes that a loop turns, and how late it was.
    pub(crate) fn beat_lane(&self, id: LaneId, lag: Duration) {
        if let Some(lane) = self.lock().lanes.get(id) {
            lane.beat = Instant::now();
            lane.lag = lag;
        }
    }

    /// How late the event loops turn, of which the slowest counts; `None` where there is none.
    #[must_use]
    pub fn loop_lag(&self) -> Option<Duration> {
        let now = Instant::now();
        let state = self.lock();
        let lanes = state.lanes.lanes.iter().filter(|lane| !lane.retired);
        lanes.map(|lane| lane.lag(now)).max()
    }

    /// With a request timeout: ends requests whose deadline has passed toward their clients, and
    /// has workers replaced whose loop does not turn. Runs until it is dropped.
    pub(crate) async fn watch_lanes(self) {
        let Some(limit) = self.config().request_timeout else {
            return;
        };
        let stuck = limit.max(MIN_STUCK);
        let pause = (limit / 20).clamp(MIN_LOOK, MAX_LOOK);
        loop {
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            let mut state = self.lock();
            let late = state.lanes.late(now);
            for lane in &state.lanes.lanes {
                if lane.lag(now) > stuck && !lane.retired {
                    // An error means that the worker is gone already.
                    let _ = lane.link.control.send(Command::Stuck);
                }
            }
            drop(state);
            if !late.is_empty() {
                self.wake();
            }
            for answer in late {
                // A client that has gone has dropped the other end.
                let _ = answer.send(Err(Failure::TimedOut));
            }
        }
    }
}

/// How often deadlines are looked at, at most and at least.
const MIN_LOOK: Duration = Duration::from_millis(5);
const MAX_LOOK: Duration = Duration::from_millis(100);

/// How often a loop tells that it turns, as `asgi.py` has it.
const BEAT: Duration = Duration::from_secs(1);

/// However short the request timeout is, a loop may not turn for so long.
const MIN_STUCK: Duration = Duration::from_secs(1);

// === impl Lanes ===

impl Lanes {
    /// How many requests wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many requests the lanes have in hand.
    pub(crate) fn executing(&self) -> usize {
        self.lanes.iter().map(|lane| lane.calls.len()).sum()
    }

    /// Whether there is nothing to hand out or to send.
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.lanes.iter().all(|lane| lane.outbox.is_empty())
    }

    pub(crate) fn get(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    /// Takes a request whose client has gone out of the queue, or tells its lane.
    pub(crate) fn withdraw(&mut self, stream: i32) {
        if let Some(index) = self.queue.iter().position(|call| call.stream == stream) {
            self.queue.remove(index);
            return;
        }
        let lane = self
            .lanes
            .iter_mut()
            .find(|lane| lane.calls.contains_key(&stream));
        if let Some(lane) = lane {
            lane.outbox.push(|writer| event::gone(writer, stream));
        }
    }

    /// Each request goes to the lane that has the least to do.
    fn assign(&mut self, concurrency: usize) {
        while !self.queue.is_empty() {
            let free = self.lanes.iter_mut().filter(|lane| {
                !lane.retired && lane.calls.len() < concurrency && !lane.outbox.is_stuck()
            });
            let Some(lane) = free.min_by_key(|lane| lane.calls.len()) else {
                return;
            };
            let call = self.queue.pop_front().expect("the queue is not empty");
            lane.give(call);
        }
    }

    /// Takes a lane away. Requests that it has not taken go back to the front of the queue; of
    /// the others those that wait for an answer are returned.
    fn close(&mut self, id: LaneId, taken: u32) -> Vec<oneshot::Sender<Reply>> {
        let Some(place) = self.lanes.iter().position(|lane| lane.id == id) else {
            return Vec::new();
        };
        let lane = self.lanes.swap_remove(place);
        let mut calls: Vec<Given> = lane.calls.into_values().collect();
        // The last one first, as each is put before the others.
        calls.sort_unstable_by_key(|given| std::cmp::Reverse(given.order));
        let mut lost = Vec::new();
        for Given { mut call, order } in calls {
            if taken.wrapping_sub(order).cast_signed() >= 0 {
                lost.extend(call.answer.take());
            } else if call
                .answer
                .as_ref()
                .is_some_and(|answer| !answer.is_closed())
            {
                self.queue.push_front(call);
            }
        }
        lost
    }

    /// Those whose clients have waited for long enough.
    fn late(&mut self, now: Instant) -> Vec<oneshot::Sender<Reply>> {
        let is_late = |call: &Call| call.deadline.is_some_and(|deadline| deadline <= now);
        let mut late = Vec::new();
        while self.queue.front().is_some_and(is_late) {
            late.extend(self.queue.pop_front().and_then(|call| call.answer));
        }
        for lane in &mut self.lanes {
            for (stream, given) in &mut lane.calls {
                if given.call.answer.is_some() && is_late(&given.call) {
                    late.extend(given.call.answer.take());
                    lane.outbox.push(|writer| event::gone(writer, *stream));
                }
            }
        }
        late
    }
}

// === impl Call ===

impl Call {
    /// A request that is not in the queue yet.
    pub(crate) fn new(event: Prepared) -> Self {
        Self {
            stream: 0,
            event,
            bodiless: false,
            deadline: None,
            answer: None,
            upload: None,
            upgrade: None,
            hints: None,
        }
    }
}

// === impl Lane ===

impl Lane {
    /// How late its loop is, by what it told last and by what it should have told since.
    fn lag(&self, now: Instant) -> Duration {
        let silent = now.saturating_duration_since(self.beat);
        self.lag.max(silent.saturating_sub(BEAT))
    }

    fn give(&mut self, call: Call) {
        self.given = self.given.wrapping_add(1);
        self.outbox
            .push_request(call.stream, call.upgrade.is_some(), &call.event);
        let given = Given {
            order: self.given,
            call,
        };
        self.calls.insert(given.call.stream, given);
    }

    /// A request that it has.
    pub(crate) fn call(&mut self, stream: i32) -> Option<&mut Call> {
        self.calls.get_mut(&stream).map(|given| &mut given.call)
    }

    /// A WebSocket that the application has accepted counts as a request no more.
    pub(crate) fn open_socket(&mut self, stream: i32, line: Line) {
        self.calls.remove(&stream);
        self.sockets.insert(stream, line);
    }

    /// A WebSocket that the application has accepted.
    pub(crate) fn socket(&mut self, stream: i32) -> Option<&Line> {
        self.sockets.get(&stream)
    }

    /// The application is done with a WebSocket.
    pub(crate) fn finish_socket(&mut self, stream: i32) -> Option<Line> {
        self.sockets.remove(&stream)
    }

    fn close_sockets(&self) {
        for line in self.sockets.values() {
            // An error means that it has ended.
            let _ = line.outgoing.send(Outgoing::Close {
                code: code::GOING_AWAY,
                reason: String::new(),
            });
        }
    }

    /// The application is done with a request.
    pub(crate) fn finish(&mut self, stream: i32) -> Option<Call> {
        self.calls.remove(&stream).map(|given| given.call)
    }

    /// Tells the application that the client of a stream has gone.
    pub(crate) fn push_gone(&mut self, stream: i32) {
        self.outbox.push(|writer| event::gone(writer, stream));
    }
}

#[cfg(test)]
mod tests;
