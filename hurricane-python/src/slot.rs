//! One Python thread as the gateway sees it: its data channels and the requests it has.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::Interest,
    net::UnixStream,
    sync::{mpsc, oneshot},
};

use crate::{
    frame::{
        self, Answer, Kind,
        marshal::{DecodeError, Reader},
        prepared::Repeats,
    },
    gateway::{Control, Failure, Gateway, Reply},
    job::Job,
    pace::Spent,
    response::{self, Body, Piece},
    worker::{Begun, Command},
};

/// Enough for a piece of a body, as the worker cuts them, and its frame.
const BUFFER: usize = 288 * 1024;

/// How many descriptors one read may bring: each comes in a frame of its own.
const DESCRIPTORS: usize = 8;

/// A slot's place at the gateway. A place is used again; the serial number tells a slot from
/// those that had its place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId {
    pub(crate) place: usize,
    pub(crate) serial: u64,
}

/// One Python thread.
#[derive(Debug)]
pub(crate) struct Slot {
    serial: u64,
    link: Link,
    /// What it has, in the order in which it answers.
    jobs: VecDeque<Job>,
    /// When it was given something while it was free, or when it last answered.
    since: Instant,
    /// The body of a response is on its way.
    streaming: bool,
    /// A write is being finished by [`finish_writing`].
    writing: bool,
    /// Counted among the slots that are executing.
    executing: bool,
    /// Nothing has come from it for some time.
    quiet: bool,
    /// Was asked to give back what it has not begun.
    recalling: bool,
    /// Gets no more requests.
    retired: bool,
}

/// The gateway's end of a slot's channel, for the one who reads it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Where requests are written. The runtime does not watch it: it would wake up whenever the
    /// worker reads.
    pub(crate) requests: Arc<StdUnixStream>,
    /// Where answers are read. Apart from the requests, since a thread that waits on a socket is
    /// woken in vain when what it sent there before is read.
    pub(crate) answers: Arc<UnixStream>,
    pub(crate) control: Control,
    /// Which of its worker's slots it is.
    pub(crate) index: usize,
    /// Where the worker notes what it begins.
    pub(crate) begun: Arc<Begun>,
    /// How many slots of the worker have something in hand.
    pub(crate) load: Arc<AtomicUsize>,
}

/// What of a frame the socket had no room for.
#[derive(Debug)]
pub(crate) struct Unsent {
    data: Vec<u8>,
    file: Option<Arc<File>>,
}

// === impl Slot ===

impl Slot {
    pub(crate) fn new(link: Link, serial: u64) -> Self {
        Self {
            serial,
            link,
            jobs: VecDeque::new(),
            since: Instant::now(),
            streaming: false,
            writing: false,
            executing: false,
            quiet: false,
            recalling: false,
            retired: false,
        }
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether it has anything in hand.
    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || self.streaming || self.writing
    }

    /// Whether it waits for requests.
    pub(crate) fn is_idle(&self) -> bool {
        !self.executing && !self.retired
    }

    /// How many slots of its worker have something in hand.
    pub(crate) fn worker_load(&self) -> usize {
        self.link.load.load(Relaxed)
    }

    /// Whether it is of the same worker as the other.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link.load, &other.link.load)
    }

    /// Whether it is executing and nothing has come from it for some time.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether it is the first slot of its worker.
    pub(crate) fn is_first(&self) -> bool {
        self.link.index == 0
    }

    /// Whether it has been given something since it was last found [free](Self::progressed).
    pub(crate) fn is_executing(&self) -> bool {
        self.executing
    }

    /// Whether requests that it was given ahead wait behind another.
    pub(crate) fn keeps_waiting(&self) -> bool {
        self.jobs.len() > usize::from(!self.streaming)
    }

    pub(crate) fn set_streaming(&mut self, streaming: bool) {
        self.streaming = streaming;
    }

    pub(crate) fn written(&mut self) {
        self.writing = false;
    }

    pub(crate) fn retire(&mut self) {
        self.retired = true;
        self.recall();
    }

    /// How many requests it may be given though it is busy.
    pub(crate) fn room_ahead(&self, limit: usize) -> Option<usize> {
        let blocked =
            !self.executing || self.retired || self.writing || self.streaming || self.recalling;
        // Half empty: topping up by one at a time would cost a write for each.
        (!blocked && self.jobs.len() * 2 <= limit).then(|| limit - self.jobs.len())
    }

    /// Takes up to `room` requests off the queue and sends them. What could not be sent at once
    /// is returned, and no more is given until that is [`written`](Self::written).
    pub(crate) fn give(
        &mut self,
        queue: &mut VecDeque<Job>,
        room: usize,
        buffer: &mut Vec<u8>,
        repeats: &mut Repeats,
    ) -> Option<(Arc<StdUnixStream>, Unsent)> {
        if !self.executing {
            self.executing = true;
            self.link.load.fetch_add(1, Relaxed);
            self.since = Instant::now();
        }
        let first = self.jobs.len();
        let mut file = None;
        while self.jobs.len() - first < room
            && let Some(job) = queue.front()
        {
            // A descriptor goes with a frame of its own.
            if job.file().is_some() && self.jobs.len() > first {
                break;
            }
            file = job.file().cloned();
            self.jobs.extend(queue.pop_front());
            if file.is_some() {
                break;
            }
        }
        buffer.clear();
        repeats.clear();
        frame::encode(buffer, Kind::Requests, |writer| {
            writer.list(self.jobs.len() - first);
            for job in self.jobs.range(first..) {
                job.write(writer, repeats);
            }
        });
        // An error means that the worker is gone, which the reader of the channel will see.
        let sent = send(&self.link.requests, buffer, file.as_deref()).unwrap_or_default();
        if sent == buffer.len() {
            return None;
        }
        self.writing = true;
        let unsent = Unsent {
            data: buffer[sent..].to_vec(),
            file: file.filter(|_| sent == 0),
        };
        Some((Arc::clone(&self.link.requests), unsent))
    }

    /// Removes a request that is being answered.
    pub(crate) fn finish(&mut self, stream: i32) -> Option<Job> {
        let index = self.jobs.iter().position(|job| job.stream == stream)?;
        self.jobs.remove(index)
    }

    /// Removes requests that were given back.
    pub(crate) fn take_back(&mut self, streams: &[i32]) -> Vec<Job> {
        self.recalling = false;
        streams
            .iter()
            .filter_map(|stream| self.finish(*stream))
            .collect()
    }

    /// Notes that something came from the worker; whether the slot has become free by it.
    pub(crate) fn progressed(&mut self) -> bool {
        self.since = Instant::now();
        self.quiet = false;
        let free = self.executing && !self.is_busy();
        if free {
            self.executing = false;
            self.link.load.fetch_sub(1, Relaxed);
        }
        free
    }

    /// Asks for what it has not begun when the request that it is at takes longer than `limit`.
    /// Returns for how long that has been going on.
    pub(crate) fn recall_after(&mut self, limit: Duration, now: Instant) -> Option<Duration> {
        let busy = now.saturating_duration_since(self.since);
        self.quiet = self.executing && busy >= limit;
        if !self.keeps_waiting() || self.recalling || busy < limit {
            return None;
        }
        self.recall();
        Some(busy)
    }

    fn recall(&mut self) {
        // An error means that the worker is gone, which the reader of the channel will see.
        self.recalling = self
            .link
            .control
            .send(Command::Recall(self.link.index))
            .is_ok();
    }

    /// Ends the requests whose deadline has passed toward their clients. They stay here until
    /// the worker is done with them.
    pub(crate) fn end_late(&mut self, now: Instant, late: &mut Vec<oneshot::Sender<Reply>>) {
        for job in &mut self.jobs {
            if job.is_late(now) {
                late.extend(job.answer.take());
                // An error means that the worker is gone already.
                let _ = self.link.control.send(Command::Hung);
            }
        }
    }

    /// What is left when the channel has ended: jobs that had begun, and jobs that had not.
    pub(crate) fn into_jobs(self, begun: Option<i32>) -> (Vec<Job>, Vec<Job>) {
        let mut jobs: Vec<Job> = self.jobs.into();
        let count = jobs
            .iter()
            .position(|job| Some(job.stream) == begun)
            .map_or(0, |index| index + 1);
        let kept = jobs.split_off(count);
        (jobs, kept)
    }
}

// === the channel ===

/// Writes what can be written now; how many bytes that was.
fn send(socket: &StdUnixStream, data: &[u8], file: Option<&File>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = file.map(|file| [file.as_fd()]);
    if let Some(descriptors) = &descriptors {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let slices = [IoSlice::new(data)];
    Ok(sendmsg(
        socket,
        &slices,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

/// Writes the rest of a frame for which the socket had no room.
pub(crate) async fn finish_writing(
    gateway: Gateway,
    id: SlotId,
    socket: Arc<StdUnixStream>,
    mut unsent: Unsent,
) {
    // An error, here and below, means that the worker is gone, which the reader of its answers
    // sees too.
    let Ok(room) = socket.try_clone().and_then(UnixStream::from_std) else {
        return;
    };
    let mut data = unsent.data.as_slice();
    while !data.is_empty() {
        if room.writable().await.is_err() {
            return;
        }
        match room.try_io(Interest::WRITABLE, || {
            send(&socket, data, unsent.file.as_deref())
        }) {
            Ok(sent) => {
                unsent.file = None;
                data = &data[sent..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    gateway.written(id);
}

/// Reads a slot's answers until its worker is gone.
///
/// While the client of a streamed response is slow this waits for it, so that the application
/// does too: that is the backpressure.
pub(crate) async fn read_answers(gateway: Gateway, id: SlotId, slot: Link) {
    let mut answers = Answers {
        gateway: &gateway,
        id,
        slot: &slot,
        replies: Vec::new(),
        files: VecDeque::new(),
        stream: None,
    };
    let mut buffer = Buffer::new();
    loop {
        let read = buffer.fill(&slot.answers, &mut answers.files).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        if let Err(error) = answers.take(&mut buffer).await {
            tracing::error!(%error, "a worker's answer could not be read; the worker is ended");
            // An error means that the worker is gone already.
            let _ = slot.control.send(Command::Broken);
            break;
        }
    }
    drop(answers);
    gateway.close(id, slot.begun.read(slot.index));
}

/// Handles what comes from one slot.
struct Answers<'a> {
    gateway: &'a Gateway,
    id: SlotId,
    slot: &'a Link,
    /// Whole answers, to be delivered together.
    replies: Vec<(i32, Reply)>,
    /// Descriptors whose frames are still to come.
    files: VecDeque<OwnedFd>,
    /// The response whose body is on its way; no sender once its client has gone.
    stream: Option<(i32, Option<mpsc::Sender<Piece>>)>,
}

impl Answers<'_> {
    /// Handles all whole frames in the buffer.
    async fn take(&mut self, buffer: &mut Buffer) -> Result<(), DecodeError> {
        let mut used = 0;
        while let Some((kind, _, length)) = frame::decode(&buffer.filled()[used..])? {
            if kind != Kind::Answers {
                return Err(DecodeError::Kind(kind as u8));
            }
            // One copy, which the bodies and header values of the frame's answers are parts of.
            let payload =
                Bytes::copy_from_slice(&buffer.filled()[used + frame::HEAD..used + length]);
            let mut reader = Reader::new(&payload);
            reader.fields(3)?;
            let spent = Spent {
                time: Duration::from_micros(reader.unsigned()?),
                computing: Duration::from_micros(reader.unsigned()?),
            };
            for _ in 0..reader.sequence()? {
                self.answer(Answer::read(&mut reader)?, spent, &payload)
                    .await?;
            }
            self.deliver(spent);
            used += length;
        }
        buffer.consume(used);
        Ok(())
    }

    async fn answer(
        &mut self,
        answer: Answer<'_>,
        spent: Spent,
        payload: &Bytes,
    ) -> Result<(), DecodeError> {
        match answer {
            Answer::Head {
                stream,
                status,
                headers,
                body: Some(body),
            } => {
                let body = Body::whole(payload.slice_ref(body));
                let reply = Self::head(status, &headers, body, payload);
                self.replies.push((stream, reply));
            }
            Answer::Head {
                stream,
                status,
                headers,
                body: None,
            } => {
                let (sender, body) = Body::stream();
                let reply = Self::head(status, &headers, body, payload);
                self.replies.push((stream, reply));
                self.stream = Some((stream, Some(sender)));
                // Before the answer is delivered, lest the slot be taken for free in between.
                self.gateway.streaming(self.id, true);
                self.deliver(spent);
            }
            Answer::Piece { stream, data } => {
                self.piece(stream, Piece::Data(payload.slice_ref(data)))
                    .await;
            }
            Answer::File {
                stream,
                offset,
                length,
            } => {
                let file = self.files.pop_front().ok_or(DecodeError::Truncated)?;
                let file = Piece::File {
                    file: file.into(),
                    offset,
                    length,
                };
                self.piece(stream, file).await;
                self.end();
            }
            Answer::End { stream } => {
                self.piece(stream, Piece::End).await;
                self.end();
            }
            Answer::Failed { stream } => self.failed(stream),
            Answer::Invalid { stream, error } => {
                tracing::error!(%error, "the application's response is not as PEP 3333 asks for");
                self.failed(stream);
            }
        }
        Ok(())
    }

    fn head(status: &[u8], headers: &[(&[u8], &[u8])], body: Body, payload: &Bytes) -> Reply {
        response::response(status, headers, body, payload).map_err(|error| {
            tracing::error!(%error, "the application's response cannot be sent");
            Failure::Application
        })
    }

    async fn piece(&mut self, stream: i32, piece: Piece) {
        let Some((current, sender)) = &mut self.stream else {
            return;
        };
        if *current != stream {
            return;
        }
        if let Some(to) = sender
            && to.send(piece).await.is_err()
        {
            *sender = None;
            // An error means that the worker is gone already.
            let _ = self
                .slot
                .control
                .send(Command::Cancel(self.slot.index, stream));
        }
    }

    fn end(&mut self) {
        self.stream = None;
        self.gateway.streaming(self.id, false);
    }

    fn failed(&mut self, stream: i32) {
        match &self.stream {
            // Dropping the sender ends the body early.
            Some((current, _)) if *current == stream => self.end(),
            _ => self.replies.push((stream, Err(Failure::Application))),
        }
    }

    fn deliver(&mut self, spent: Spent) {
        if !self.replies.is_empty() {
            self.gateway.deliver(self.id, &mut self.replies, spent);
        }
    }
}

/// What was read from a channel and is not yet handled.
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            data: vec![0; BUFFER],
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Waits for more; how many bytes came, 0 at the end.
    pub(crate) async fn fill(
        &mut self,
        socket: &UnixStream,
        files: &mut VecDeque<OwnedFd>,
    ) -> io::Result<usize> {
        let needed = frame::needed(self.filled());
        if self.start + needed > self.data.len() {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if needed > self.data.len() {
                self.data.resize(needed, 0);
            }
        }
        let (space, before) = (&mut self.data[self.end..], files.len());
        let got = loop {
            socket.readable().await?;
            let mut last = None;
            let read = socket.try_io(Interest::READABLE, || {
                let got = receive(socket, space, files)?;
                // A short read took all there was, but where it stopped behind a descriptor. Told
                // so, the runtime waits for news at once, which spares a read that finds nothing.
                if got > 0 && got < space.len() && files.len() == before {
                    last = Some(got);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(got)
            });
            match (read, last) {
                (_, Some(got)) | (Ok(got), None) => break got,
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (Err(error), None) => return Err(error),
            }
        };
        self.end += got;
        Ok(got)
    }
}

fn receive(
    socket: &UnixStream,
    space: &mut [u8],
    files: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let slices = &mut [IoSliceMut::new(space)];
    let received = recvmsg(socket, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            files.extend(descriptors);
        }
    }
    Ok(received.bytes)
}
