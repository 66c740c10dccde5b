//! A WebSocket that the application has accepted: the protocol with its client, messages with
//! the event loop.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::mpsc,
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    asgi::{WebSocketConfig, event, lane::LaneId, upload::Grant},
    gateway::Gateway,
    websocket::{Incoming, Protocol, Violation, code, handshake::Handshake},
};

/// So much may be on its way to the application (bytes, messages) before the client has to wait.
const WINDOW: usize = 256 * 1024;
const MESSAGES: usize = 512;

/// The application is told that so much has left (messages, bytes), and not each message by itself.
const STEP: i32 = 16;
const STEP_BYTES: usize = 64 * 1024;

/// More than this is not put together for one write (bytes).
const HIGH: usize = 64 * 1024;

/// How much is read at a time: at first, of a client that sends more, and of a long message (bytes).
const READ_LITTLE: usize = 512;
const READ: usize = 4 * 1024;
const READ_MORE: usize = 64 * 1024;

/// How long a client may take to answer that the WebSocket is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the application, or the server in its place, has for the client.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message { text: bool, data: Bytes },
    Close { code: u16, reason: String },
}

/// What it takes to open a WebSocket.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) handshake: Handshake,
    pub(crate) connection: OnUpgrade,
    pub(crate) grants: mpsc::UnboundedReceiver<Grant>,
}

/// A WebSocket at work.
struct Socket {
    gateway: Gateway,
    lane: LaneId,
    stream: i32,
    config: WebSocketConfig,
    protocol: Protocol,
    input: BytesMut,
    /// How much is read at a time.
    step: usize,
    /// What is to be written, and how much of it has been.
    output: Vec<u8>,
    written: usize,
    /// How many messages are in the output, and their lengths before they were compressed; and
    /// of those that have left what was not told.
    messages: i32,
    messages_bytes: usize,
    left: i32,
    left_bytes: usize,
    /// The lengths of messages that the application has not taken.
    untaken: VecDeque<usize>,
    untaken_bytes: usize,
    state: State,
    /// The client has said that it is closed, so nothing more comes of it.
    heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// We have sent that it is closed.
    Closing,
    /// Both sides have, or one has nothing more to say to the other.
    Closed,
}

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Ping,
    Pong,
    End,
}

/// Opens a WebSocket when its connection is there, and serves it to its end.
pub(crate) async fn run(
    upgrade: Upgrade,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    gateway: Gateway,
    lane: LaneId,
    stream: i32,
) {
    let config = gateway.websocket();
    let _open = gateway.open_mark();
    let mut socket = Socket {
        protocol: Protocol::new(config.max_size, upgrade.handshake.deflate),
        gateway,
        lane,
        stream,
        config,
        input: BytesMut::new(),
        step: READ_LITTLE,
        output: Vec::new(),
        written: 0,
        messages: 0,
        messages_bytes: 0,
        left: 0,
        left_bytes: 0,
        untaken: VecDeque::new(),
        untaken_bytes: 0,
        state: State::Open,
        heard: false,
    };
    let Ok(connection) = upgrade.connection.await else {
        return socket.tell_closed(code::ABNORMAL, "");
    };
    let (reader, mut writer) = split(TokioIo::new(connection));
    let mut reader = socket
        .serve(reader, &mut writer, upgrade.grants, outgoing)
        .await;
    let end = async {
        writer.write_all(&socket.output[socket.written..]).await?;
        writer.shutdown().await?;
        // Whoever closes a connection while something is unread takes back what it sent last.
        let mut rest = [0; 512];
        while !socket.heard && reader.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // An error means that the client is gone, which is as good.
    let _ = timeout(FAREWELL, end).await;
}

// === impl Socket ===

impl Socket {
    /// Serves until the WebSocket is closed, but for what is left of the output.
    async fn serve(
        &mut self,
        mut reader: ReadHalf<TokioIo<Upgraded>>,
        writer: &mut WriteHalf<TokioIo<Upgraded>>,
        mut grants: mpsc::UnboundedReceiver<Grant>,
        mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    ) -> ReadHalf<TokioIo<Upgraded>> {
        let mut due = Due::Ping;
        let mut timer = std::pin::pin!(sleep_until(self.next_ping()));
        // The application is done with it; its closing goes on.
        let mut forgotten = false;
        while self.state != State::Closed {
            let was = self.state;
            let sends = was == State::Open && self.output.len() < HIGH;
            let reads = was == State::Closing || self.may_read();
            self.make_room();
            let (output, input) = (&self.output[self.written..], &mut self.input);
            tokio::select! {
                biased;
                message = outgoing.recv(), if sends => {
                    match message {
                        Some(message) => self.send(message),
                        None => self.close(code::FAILED, "the application's process has ended"),
                    }
                }
                sent = writer.write(output), if !output.is_empty() => {
                    match sent {
                        Ok(1..) => self.wrote(sent.unwrap_or_default()),
                        _ => self.lost(),
                    }
                }
                grant = grants.recv(), if !forgotten => match grant {
                    Some(grant) => self.taken(grant.count),
                    None => forgotten = true,
                },
                read = reader.read_buf(input), if reads => {
                    match read {
                        Ok(1..) => {
                            let waited_for = due == Due::Pong;
                            if self.receive() && waited_for {
                                due = Due::Ping;
                                timer.as_mut().reset(self.next_ping());
                            }
                        }
                        _ => self.lost(),
                    }
                }
                () = timer.as_mut() => self.due(&mut due, timer.as_mut()),
            }
            if was == State::Open && self.state == State::Closing {
                due = Due::End;
                timer.as_mut().reset(Instant::now() + FAREWELL);
            }
        }
        reader
    }

    fn due(&mut self, due: &mut Due, timer: std::pin::Pin<&mut Sleep>) {
        match due {
            Due::Ping => {
                self.protocol.write_ping(&mut self.output);
                *due = Due::Pong;
                timer.reset(Instant::now() + self.config.ping_timeout);
            }
            Due::Pong => {
                let reason = "the client did not answer a ping";
                self.protocol
                    .write_close(&mut self.output, code::FAILED, reason);
                self.finish(code::FAILED, reason);
            }
            Due::End => self.finish(code::ABNORMAL, ""),
        }
    }

    fn next_ping(&self) -> Instant {
        let pause = self.config.ping_interval.unwrap_or(NEVER);
        Instant::now() + pause
    }

    // --- from the application

    fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Message { text, data } => {
                self.protocol.write_message(&mut self.output, text, &data);
                self.messages += 1;
                self.messages_bytes += data.len();
            }
            Outgoing::Close { code, reason } => self.close(code, &reason),
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if self.state == State::Open {
            self.protocol.write_close(&mut self.output, code, reason);
            self.state = State::Closing;
        }
    }

    /// The connection has taken some of the output.
    fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written < self.output.len() {
            return;
        }
        self.left += std::mem::take(&mut self.messages);
        self.left_bytes += std::mem::take(&mut self.messages_bytes);
        self.written = 0;
        self.output.clear();
        // An idle WebSocket is to hold little.
        self.output.shrink_to(READ);
        if self.left >= STEP || self.left_bytes >= STEP_BYTES {
            let (stream, left) = (self.stream, std::mem::take(&mut self.left));
            self.left_bytes = 0;
            self.gateway
                .tell_lane(self.lane, |writer| event::credit(writer, stream, left));
        }
    }

    // --- from the client

    fn may_read(&self) -> bool {
        self.untaken_bytes < WINDOW && self.untaken.len() < MESSAGES
    }

    fn make_room(&mut self) {
        // Gives back what a long message took.
        if self.input.is_empty() && self.input.capacity() > READ_MORE {
            self.input = BytesMut::new();
        }
        let missing = self.protocol.missing();
        self.input.reserve(missing.clamp(self.step, READ_MORE));
    }

    /// Handles what has been read; whether there was a pong.
    fn receive(&mut self) -> bool {
        if self.input.len() == self.input.capacity() {
            self.step = (2 * self.step).min(READ);
        }
        let mut pong = false;
        while self.state != State::Closed {
            match self.protocol.read(&mut self.input) {
                Ok(None) => break,
                Ok(Some(Incoming::Message { text, data })) => self.message(text, &data),
                Ok(Some(Incoming::Ping(data))) => {
                    if self.state == State::Open {
                        self.protocol.write_pong(&mut self.output, &data);
                    }
                }
                Ok(Some(Incoming::Pong)) => pong = true,
                Ok(Some(Incoming::Close(code, reason))) => {
                    self.heard = true;
                    let answer = if code == code::NONE {
                        code::NORMAL
                    } else {
                        code
                    };
                    self.close(answer, "");
                    self.finish(code, &reason);
                }
                Err(Violation { code, reason }) => {
                    self.close(code, reason);
                    self.finish(code, reason);
                }
            }
        }
        pong
    }

    fn message(&mut self, text: bool, data: &[u8]) {
        // What comes after we have closed is for nobody.
        if self.state != State::Open {
            return;
        }
        self.untaken.push_back(data.len());
        self.untaken_bytes += data.len();
        let stream = self.stream;
        self.gateway.tell_lane(self.lane, |writer| {
            event::message(writer, stream, text, data);
        });
    }

    /// The application has taken messages.
    fn taken(&mut self, count: i32) {
        for _ in 0..count {
            self.untaken_bytes -= self.untaken.pop_front().unwrap_or_default();
        }
    }

    /// The connection has broken off.
    fn lost(&mut self) {
        self.output.clear();
        self.written = 0;
        self.finish(code::ABNORMAL, "");
    }

    fn finish(&mut self, code: u16, reason: &str) {
        self.state = State::Closed;
        self.tell_closed(code, reason);
    }

    fn tell_closed(&self, code: u16, reason: &str) {
        let stream = self.stream;
        self.gateway.close_socket(self.lane, stream, |writer| {
            event::closed(writer, stream, code, reason);
        });
    }
}

/// Longer than anything waits.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
