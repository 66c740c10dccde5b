//! The channel of an event loop: batches out, batches in.

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use rustix::net::{SendFlags, send};
use tokio::{io::Interest, net::UnixStream, sync::mpsc};

use crate::{
    asgi::{
        body::{self, Download, InvalidResponse, Piece},
        event,
        lane::{Lane, LaneId, Line},
        outcome::{Body as Start, Headers, Outcome},
        socket::{self, Outgoing},
        upload::Grant,
    },
    frame::{
        self, Kind,
        marshal::{DecodeError, Reader, Writer},
        prepared::{Prepared, Repeats},
    },
    gateway::{Control, Failure, Gateway, Reply},
    response::Body,
    slot::Buffer,
    websocket::code,
    worker::{Begun, Command},
};

/// The gateway's end of a loop's channel.
#[derive(Clone, Debug)]
pub(crate) struct LaneLink {
    /// Where events are written. The runtime does not watch it: it would wake up whenever the
    /// worker reads.
    pub(crate) events: Arc<StdUnixStream>,
    /// Where outcomes are read.
    pub(crate) sent: Arc<UnixStream>,
    pub(crate) control: Control,
    /// Where the worker notes how many requests it has taken, and at which place.
    pub(crate) begun: Arc<Begun>,
    pub(crate) index: usize,
}

/// Events that are still to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// A frame, whose head is filled in when it is sent.
    data: Vec<u8>,
    repeats: Repeats,
    count: u32,
    /// A write is being finished by [`write_rest`].
    writing: bool,
}

/// The head of a frame, and that of the list in it.
const PREFIX: usize = frame::HEAD + 5;

/// More than this is not kept as a buffer for the next frames (bytes).
const KEEP: usize = 1 << 20;

// === impl Outbox ===

impl Default for Outbox {
    fn default() -> Self {
        Self {
            data: vec![0; PREFIX],
            repeats: Repeats::default(),
            count: 0,
            writing: false,
        }
    }
}

impl Outbox {
    /// Adds an event.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        write(&mut Writer::new(&mut self.data));
        self.count += 1;
    }

    /// Adds a request.
    pub(crate) fn push_request(&mut self, stream: i32, websocket: bool, event: &Prepared) {
        let mut writer = Writer::new(&mut self.data);
        event::head(&mut writer, stream, websocket);
        writer.prepared(event, &mut self.repeats);
        self.count += 1;
    }

    /// Whether everything has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && !self.writing
    }

    /// Whether the loop does not take what it is sent.
    pub(crate) fn is_stuck(&self) -> bool {
        self.writing
    }

    pub(crate) fn written(&mut self) {
        self.writing = false;
    }

    /// Sends what there is, as far as the socket has room; a task sends the rest.
    pub(crate) fn flush(&mut self, gateway: &Gateway, id: LaneId, link: &LaneLink) {
        if let Some(rest) = self.send(link) {
            let (gateway, socket) = (gateway.clone(), Arc::clone(&link.events));
            tokio::spawn(async move {
                if write_rest(socket, rest).await {
                    gateway.lane_written(id);
                }
            });
        }
    }

    /// Sends what there is. What the socket had no room for is returned; no more is sent until
    /// that has been [`written`](Self::written).
    pub(crate) fn send(&mut self, link: &LaneLink) -> Option<Vec<u8>> {
        if self.count == 0 || self.writing {
            return None;
        }
        let length = u32::try_from(self.data.len() - frame::HEAD).expect("credit bounds a frame");
        self.data[..4].copy_from_slice(&length.to_le_bytes());
        self.data[4] = Kind::Events as u8;
        self.data[5] = b'[';
        self.data[6..PREFIX].copy_from_slice(&self.count.to_le_bytes());
        // An error means that the worker is gone, which the reader of the channel will see.
        let sent = send(&link.events, &self.data, SendFlags::NOSIGNAL).unwrap_or_default();
        self.count = 0;
        let rest = (sent < self.data.len()).then(|| self.data[sent..].to_vec());
        self.writing = rest.is_some();
        self.data.truncate(PREFIX);
        self.repeats.clear();
        self.data.shrink_to(KEEP);
        rest
    }
}

/// Writes the rest of a frame for which the socket had no room; whether it could be written.
pub(crate) async fn write_rest(socket: Arc<StdUnixStream>, rest: Vec<u8>) -> bool {
    // An error, here and below, means that the worker is gone, which the reader of its outcomes
    // sees too.
    let Ok(room) = socket.try_clone().and_then(UnixStream::from_std) else {
        return false;
    };
    let mut data = rest.as_slice();
    while !data.is_empty() {
        if room.writable().await.is_err() {
            return false;
        }
        let sent = room.try_io(Interest::WRITABLE, || {
            Ok(send(&socket, data, SendFlags::NOSIGNAL)?)
        });
        match sent {
            Ok(sent) => data = &data[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// Reads what a loop says until its worker is gone. It never waits for anything else: bodies are
/// bounded by the credit that the loop was given.
pub(crate) async fn read_sent(gateway: Gateway, id: LaneId, link: LaneLink) {
    let mut outcomes = Outcomes {
        gateway: &gateway,
        id,
        bodies: HashMap::new(),
        replies: Vec::new(),
    };
    let mut buffer = Buffer::new();
    // The loop sends no descriptors.
    let mut files = VecDeque::new();
    while matches!(buffer.fill(&link.sent, &mut files).await, Ok(1..)) {
        files.clear();
        if let Err(error) = outcomes.take(&mut buffer) {
            tracing::error!(%error, "a worker's message could not be read; the worker is ended");
            // An error means that the worker is gone already.
            let _ = link.control.send(Command::Broken);
            break;
        }
    }
    drop(outcomes);
    gateway.close_lane(id, link.begun.count(link.index));
}

/// Handles what comes from one loop.
struct Outcomes<'a> {
    gateway: &'a Gateway,
    id: LaneId,
    /// The responses whose bodies are on their way.
    bodies: HashMap<i32, Sending>,
    /// Answers to be delivered once the gateway is free again.
    replies: Vec<(tokio::sync::oneshot::Sender<Reply>, Reply)>,
}

/// A response whose body is on its way.
struct Sending {
    pieces: mpsc::UnboundedSender<Piece>,
    /// How much of the length is still to come that its head promised.
    left: Option<u64>,
}

impl Outcomes<'_> {
    /// Handles all whole frames in the buffer.
    fn take(&mut self, buffer: &mut Buffer) -> Result<(), DecodeError> {
        let mut used = 0;
        let mut state = self.gateway.lock();
        while let Some((kind, _, length)) = frame::decode(&buffer.filled()[used..])? {
            if kind != Kind::Sent {
                return Err(DecodeError::Kind(kind as u8));
            }
            // One copy, which the bodies and header values of all responses in it are parts of.
            let payload =
                Bytes::copy_from_slice(&buffer.filled()[used + frame::HEAD..used + length]);
            used += length;
            let mut reader = Reader::new(&payload);
            let count = reader.sequence()?;
            let Some(lane) = state.lanes.get(self.id) else {
                break;
            };
            for _ in 0..count {
                self.outcome(lane, Outcome::read(&mut reader)?, &payload);
            }
        }
        self.gateway.serve_lanes(&mut state);
        drop(state);
        buffer.consume(used);
        for (answer, reply) in self.replies.drain(..) {
            // A client that has gone has dropped the other end.
            let _ = answer.send(reply);
        }
        Ok(())
    }

    fn outcome(&mut self, lane: &mut Lane, outcome: Outcome<'_>, payload: &Bytes) {
        match outcome {
            Outcome::Head {
                stream,
                status,
                headers,
                body,
                done,
            } => {
                self.head(lane, stream, status, &headers, body, payload);
                if done {
                    lane.finish(stream);
                }
            }
            Outcome::Accept {
                stream,
                subprotocol,
                headers,
            } => self.accept(lane, stream, subprotocol, &headers, payload),
            Outcome::Hint { stream, links } => self.hint(lane, stream, &links),
            Outcome::Text { stream, data } => Self::message(lane, stream, true, data, payload),
            Outcome::Close {
                stream,
                code,
                reason,
            } => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                let code = u16::try_from(code).unwrap_or(code::NONE);
                Self::close(lane, stream, code, reason);
            }
            Outcome::Piece { stream, data } => {
                if self.bodies.contains_key(&stream) {
                    self.piece(lane, stream, data, payload);
                } else {
                    Self::message(lane, stream, false, data, payload);
                }
            }
            Outcome::Last { stream, data } => {
                self.piece(lane, stream, data, payload);
                self.end(stream, Piece::End);
            }
            Outcome::Trailers { stream, headers } => match trailers(&headers) {
                Some(trailers) => self.end(stream, Piece::Trailers(trailers)),
                None => {
                    tracing::error!("the application's trailers are not as HTTP has them");
                    self.end(stream, Piece::End);
                }
            },
            Outcome::Credit { stream, count } => {
                let grant = Grant {
                    lane: self.id,
                    count,
                };
                // Here and below, an error means that nobody is there to hear it any more.
                if let Some(line) = lane.socket(stream) {
                    let _ = line.grants.send(grant);
                } else if let Some(upload) = lane.call(stream).and_then(|call| call.upload.as_ref())
                {
                    let _ = upload.send(grant);
                }
            }
            Outcome::Failed { stream } => {
                self.bodies.remove(&stream);
                Self::end_socket(lane, stream, code::FAILED, "the application failed");
                if let Some(answer) = lane.finish(stream).and_then(|call| call.answer) {
                    self.replies.push((answer, Err(Failure::Application)));
                }
            }
            Outcome::Done { stream } => {
                self.bodies.remove(&stream);
                Self::end_socket(lane, stream, code::NORMAL, "");
                lane.finish(stream);
            }
            Outcome::Invalid { stream, error } => {
                tracing::error!(%error, "the application's response is not as ASGI asks for");
                self.give_up(lane, stream);
            }
        }
    }

    fn head(
        &mut self,
        lane: &mut Lane,
        stream: i32,
        status: i32,
        headers: &Headers<'_>,
        start: Start<'_>,
        payload: &Bytes,
    ) {
        let Some(call) = lane.call(stream) else {
            return;
        };
        let bodiless = call.bodiless || matches!(status, 204 | 304);
        let head = body::response(status, headers, payload).and_then(|response| {
            let length = body::content_length(response.headers());
            match &start {
                Start::Whole(data) if !bodiless => body::is_promised(length, data.len())?,
                _ => {}
            }
            Ok((response, length))
        });
        let (response, length) = match head {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(%error, "the application's response cannot be sent");
                return self.give_up(lane, stream);
            }
        };
        let Some(answer) = call.answer.take() else {
            return;
        };
        let body = match start {
            Start::Whole(_) if bodiless => Body::whole(Bytes::new()),
            Start::Whole(data) => Body::whole(payload.slice_ref(data)),
            Start::Later => {
                let (pieces, receiver) = mpsc::unbounded_channel();
                let left = length.filter(|_| !bodiless);
                self.bodies.insert(stream, Sending { pieces, left });
                Download::new(receiver, self.gateway.clone(), self.id, stream).into()
            }
            Start::File(path) => {
                let path = String::from_utf8_lossy(path).into_owned();
                tokio::spawn(body::send_file(path, response, answer));
                return;
            }
        };
        self.replies.push((answer, Ok(response.map(|()| body))));
    }

    fn hint(&mut self, lane: &mut Lane, stream: i32, links: &[&[u8]]) {
        let Some(call) = lane.call(stream) else {
            return;
        };
        let values = links.iter().map(|link| {
            let value = HeaderValue::from_bytes(link.trim_ascii());
            value.map_err(|_| InvalidResponse::value(&header::LINK, link))
        });
        match (values.collect::<Result<Vec<_>, _>>(), &call.hints) {
            (Ok(links), Some(hints)) => hints.send(links),
            // One that does not take them; the application has not looked, or does not mind.
            (Ok(_), None) => {}
            (Err(error), _) => {
                tracing::error!(%error, "the application's early hint cannot be sent");
                self.give_up(lane, stream);
            }
        }
    }

    /// Opens a WebSocket.
    fn accept(
        &mut self,
        lane: &mut Lane,
        stream: i32,
        subprotocol: Option<&[u8]>,
        headers: &Headers<'_>,
        payload: &Bytes,
    ) {
        let Some(call) = lane.call(stream) else {
            return;
        };
        let response = body::response(200, headers, payload).and_then(|mut response| {
            if let Some(subprotocol) = subprotocol {
                let name = header::SEC_WEBSOCKET_PROTOCOL;
                let value = HeaderValue::from_bytes(subprotocol)
                    .map_err(|_| InvalidResponse::value(&name, subprotocol))?;
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        });
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(%error, "the application's WebSocket cannot be accepted");
                return self.give_up(lane, stream);
            }
        };
        let (Some(upgrade), Some(answer), Some(grants)) =
            (call.upgrade.take(), call.answer.take(), call.upload.take())
        else {
            // The client has gone, or has been answered otherwise.
            return lane.push_gone(stream);
        };
        let response = upgrade.handshake.accept(response);
        let (outgoing, receiver) = mpsc::unbounded_channel();
        lane.open_socket(stream, Line { outgoing, grants });
        let gateway = self.gateway.clone();
        tokio::spawn(socket::run(*upgrade, receiver, gateway, self.id, stream));
        let response = response.map(|()| Body::whole(Bytes::new()));
        self.replies.push((answer, Ok(response)));
    }

    fn message(lane: &mut Lane, stream: i32, text: bool, data: &[u8], payload: &Bytes) {
        if let Some(line) = lane.socket(stream) {
            let data = payload.slice_ref(data);
            // An error means that it has been closed, of which the application is told.
            let _ = line.outgoing.send(Outgoing::Message { text, data });
        }
    }

    fn close(lane: &mut Lane, stream: i32, code: u16, reason: String) {
        if let Some(line) = lane.socket(stream) {
            let _ = line.outgoing.send(Outgoing::Close { code, reason });
        }
    }

    /// The application is done with a WebSocket, which is closed if it is not yet.
    fn end_socket(lane: &mut Lane, stream: i32, code: u16, reason: &str) {
        if let Some(line) = lane.finish_socket(stream) {
            let reason = reason.to_owned();
            let _ = line.outgoing.send(Outgoing::Close { code, reason });
        }
    }

    fn piece(&mut self, lane: &mut Lane, stream: i32, data: &[u8], payload: &Bytes) {
        let Some(sending) = self.bodies.get_mut(&stream) else {
            return;
        };
        let length = data.len() as u64;
        match sending.left.as_mut().map(|left| left.checked_sub(length)) {
            None => {}
            Some(Some(rest)) => sending.left = Some(rest),
            Some(None) => {
                tracing::error!("the application's response is longer than its Content-Length");
                return self.give_up(lane, stream);
            }
        }
        if length > 0 {
            // A client that has gone has dropped the other end, and the application is told.
            let _ = sending.pieces.send(Piece::Data(payload.slice_ref(data)));
        }
    }

    fn end(&mut self, stream: i32, end: Piece) {
        if let Some(sending) = self.bodies.remove(&stream) {
            if sending.left.is_some_and(|left| left > 0) {
                tracing::error!("the application's response is shorter than its Content-Length");
                // Without its end the body breaks off, so that the client can tell.
                return;
            }
            let _ = sending.pieces.send(end);
        }
    }

    /// Ends a response that cannot be sent, and tells the application that nobody listens.
    fn give_up(&mut self, lane: &mut Lane, stream: i32) {
        self.bodies.remove(&stream);
        if let Some(call) = lane.call(stream) {
            let answer = call.answer.take();
            lane.push_gone(stream);
            self.replies
                .extend(answer.map(|answer| (answer, Err(Failure::Application))));
        }
    }
}

fn trailers(headers: &Headers<'_>) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = header::HeaderName::from_bytes(name).ok()?;
        trailers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(trailers)
}
