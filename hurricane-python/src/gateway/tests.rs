//! The gateway with a worker that is played by the tests: they hold the other end of each slot's
//! channel, and no Python runs.

mod answers;
mod assignment;
mod loss;

use std::{
    io::IoSlice,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::atomic::AtomicUsize,
};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::yield_now,
};

use super::*;
use crate::{
    frame::{self, Kind, marshal::Writer},
    worker::Begun,
};

/// The worker process of a test.
struct Process {
    gateway: Gateway,
    slots: Vec<Thread>,
    begun: Arc<Begun>,
    commands: mpsc::UnboundedReceiver<Command>,
}

/// A slot, seen from its worker.
struct Thread {
    id: SlotId,
    requests: UnixStream,
    answers: UnixStream,
}

/// What a worker finds of a request: its stream and its body, `None` for one in a file.
type Given = (i32, Option<Vec<u8>>);

// === impl Process ===

impl Process {
    fn start(gateway: &Gateway, slots: usize) -> Self {
        let page = tempfile::tempfile().unwrap();
        page.set_len(slots as u64 * 4).unwrap();
        let begun = Arc::new(Begun(page));
        let load: Arc<AtomicUsize> = Arc::default();
        let (control, commands) = mpsc::unbounded_channel();
        let slots = (0..slots)
            .map(|index| {
                let (requests, theirs) = StdUnixStream::pair().unwrap();
                let (answers, answering) = UnixStream::pair().unwrap();
                for end in [&requests, &theirs] {
                    end.set_nonblocking(true).unwrap();
                }
                let id = gateway.open(Link {
                    requests: Arc::new(requests),
                    answers: Arc::new(answers),
                    control: control.clone(),
                    index,
                    begun: Arc::clone(&begun),
                    load: Arc::clone(&load),
                });
                Thread {
                    id,
                    requests: UnixStream::from_std(theirs).unwrap(),
                    answers: answering,
                }
            })
            .collect();
        Self {
            gateway: gateway.clone(),
            slots,
            begun,
            commands,
        }
    }

    /// Its only slot.
    fn slot(&mut self) -> &mut Thread {
        let [slot] = &mut self.slots[..] else {
            panic!("it has several slots");
        };
        slot
    }

    /// Notes that the slot begins a request.
    fn begin(&self, slot: usize, stream: i32) {
        let stream = stream.to_ne_bytes();
        self.begun.0.write_all_at(&stream, slot as u64 * 4).unwrap();
    }

    /// The process ends, and the gateway has seen it.
    async fn crash(self) {
        let ids: Vec<_> = self.slots.iter().map(|slot| slot.id).collect();
        drop(self.slots);
        while ids.iter().any(|id| self.gateway.lock().slot(*id).is_some()) {
            yield_now().await;
        }
    }
}

// === impl Thread ===

impl Thread {
    /// Waits for a frame; the requests in it.
    async fn receive(&mut self) -> Vec<Given> {
        let mut data = vec![0; frame::HEAD];
        self.requests.read_exact(&mut data).await.unwrap();
        data.resize(frame::needed(&data), 0);
        let rest = &mut data[frame::HEAD..];
        self.requests.read_exact(rest).await.unwrap();
        assert_eq!(data[4], Kind::Requests as u8);
        requests(&data[frame::HEAD..])
    }

    /// Waits for a frame; the streams of the requests in it.
    async fn streams(&mut self) -> Vec<i32> {
        let requests = self.receive().await;
        requests.into_iter().map(|(stream, _)| stream).collect()
    }

    /// Nothing has come, nor is about to.
    async fn is_left_alone(&self) -> bool {
        settle().await;
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&self.requests, &mut byte[..], flags).is_err()
    }

    async fn send(&mut self, frame: &[u8]) {
        self.answers.write_all(frame).await.unwrap();
    }

    /// Sends a frame together with a descriptor.
    fn send_file(&self, frame: &[u8], file: &std::fs::File) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let slices = [IoSlice::new(frame)];
        let sent = sendmsg(&self.answers, &slices, &mut ancillary, SendFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }

    /// Answers requests with `ok`, at the pace of [`QUICK`].
    async fn finish(&mut self, streams: &[i32]) {
        let answers: Vec<_> = streams.iter().map(|stream| ok(*stream)).collect();
        let micros = QUICK * u32::try_from(answers.len()).unwrap();
        let micros = i32::try_from(micros.as_micros()).unwrap();
        self.send(&frame_of(micros, &answers)).await;
    }
}

// === frames ===

/// The requests of a frame's payload, whose environment the tests leave empty.
fn requests(mut rest: &[u8]) -> Vec<Given> {
    let mut take = |count: usize| {
        let (taken, others) = rest.split_at(count);
        rest = others;
        taken
    };
    let number = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap());
    assert_eq!(take(1), b"[");
    let count = number(take(4));
    let mut requests = Vec::new();
    for _ in 0..count {
        assert_eq!(take(3), [b')', 9, b'i']);
        let stream = number(take(4));
        let body = match take(1) {
            b"s" => {
                let length = number(take(4));
                Some(take(usize::try_from(length).unwrap()).to_vec())
            }
            b"i" => {
                take(4);
                None
            }
            code => panic!("{code:?} is no body"),
        };
        requests.push((stream, body));
    }
    assert!(rest.is_empty());
    requests
}

/// A frame of answers that took so many microseconds, as Python writes it.
fn frame_of(micros: i32, answers: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, Kind::Answers, |writer| {
        writer.raw(b"(\x03\0\0\0");
        writer.int(micros);
        writer.int(0);
        writer.list(answers.len());
        answers.iter().for_each(|answer| writer.raw(answer));
    });
    out
}

/// One answer: its stream and `fields` more fields, which `write` writes.
fn answer(stream: i32, fields: u8, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = vec![b'(', fields + 1, 0, 0, 0];
    let mut writer = Writer::new(&mut out);
    writer.int(stream);
    write(&mut writer);
    out
}

/// A whole answer, or the head of one that is streamed.
fn head(stream: i32, status: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    answer(stream, 3, |writer| {
        let length = u32::try_from(status.len()).unwrap();
        writer.raw(b"u");
        writer.raw(&length.to_le_bytes());
        writer.raw(status);
        writer.list(0);
        match body {
            Some(body) => writer.bytes(body),
            None => writer.none(),
        }
    })
}

fn ok(stream: i32) -> Vec<u8> {
    head(stream, b"200 OK", Some(b"ok"))
}

fn piece(stream: i32, data: &[u8]) -> Vec<u8> {
    answer(stream, 1, |writer| writer.bytes(data))
}

fn end(stream: i32) -> Vec<u8> {
    answer(stream, 0, |_| {})
}

fn failed(stream: i32) -> Vec<u8> {
    answer(stream, 1, |writer| writer.none())
}

// === the gateway ===

/// A gateway that gives out requests, for an application of which nothing is known yet.
fn gateway(config: GatewayConfig) -> Gateway {
    let gateway = Gateway::new(config, Arc::new(Traffic::new()));
    tokio::spawn(gateway.clone().dispatch());
    gateway
}

/// A gateway for an application that takes so long for a request.
fn gateway_at_pace(time: Duration) -> Gateway {
    let gateway = gateway(GatewayConfig::default());
    gateway.run_at_pace(time);
    gateway
}

/// An application that computes for less than what is worth a second thread.
const BRIEF: Duration = Duration::from_micros(5);

/// An application that is given a few at once: its pace allows for ten.
const QUICK: Duration = Duration::from_micros(95);

impl Gateway {
    fn run_at_pace(&self, time: Duration) {
        for _ in 0..200 {
            let spent = Spent {
                time,
                computing: Duration::ZERO,
            };
            self.lock().pace.observe(spent, 1, 1);
        }
    }

    fn ask(&self) -> Ticket {
        self.enqueue(Prepared::default(), JobBody::Inline(Vec::new()))
            .unwrap()
    }

    fn ask_all<const N: usize>(&self) -> [Ticket; N] {
        std::array::from_fn(|_| self.ask())
    }
}

/// Lets all tasks that can do something do it.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn status(reply: &Reply) -> u16 {
    reply.as_ref().unwrap().status().as_u16()
}

fn failure(reply: Reply) -> Failure {
    reply.unwrap_err()
}

// === the queue ===

#[tokio::test]
async fn requests_wait_until_there_is_a_worker() {
    let gateway = gateway(GatewayConfig::default());
    let ticket = gateway.ask();
    settle().await;
    assert_eq!(gateway.queued(), 1);
    let mut worker = Process::start(&gateway, 1);
    assert_eq!(worker.slot().streams().await, [1]);
    assert_eq!(gateway.queued(), 0);
    worker.slot().finish(&[1]).await;
    assert_eq!(status(&ticket.answer().await), 200);
}

#[tokio::test]
async fn a_full_queue_takes_no_more() {
    let gateway = gateway(GatewayConfig {
        queue_size: 2,
        ..GatewayConfig::default()
    });
    let one = gateway.ask();
    assert!(!gateway.is_full());
    let _two = gateway.ask();
    assert!(gateway.is_full());
    let three = gateway.enqueue(Prepared::default(), JobBody::Inline(Vec::new()));
    assert_eq!(three.map(|_| ()).unwrap_err(), Failure::QueueFull);
    drop(one);
    assert!(!gateway.is_full());
    gateway.ask();
}

#[tokio::test]
async fn a_queue_of_no_length_takes_nothing() {
    let gateway = gateway(GatewayConfig {
        queue_size: 0,
        ..GatewayConfig::default()
    });
    let ticket = gateway.enqueue(Prepared::default(), JobBody::Inline(Vec::new()));
    assert_eq!(ticket.map(|_| ()).unwrap_err(), Failure::QueueFull);
}

#[tokio::test]
async fn the_traffic_tells_what_waits_and_what_is_executed() {
    let gateway = gateway(GatewayConfig::default());
    let traffic = Arc::clone(&gateway.shared.traffic);
    let mut worker = Process::start(&gateway, 2);
    let tickets: [_; 5] = gateway.ask_all();
    settle().await;
    assert_eq!((traffic.queued(), traffic.executing()), (3, 2));
    let first = worker.slots[0].streams().await;
    worker.slots[0].finish(&first).await;
    worker.slots[0].streams().await;
    assert_eq!((traffic.queued(), traffic.executing()), (2, 2));
    worker.crash().await;
    assert_eq!((traffic.queued(), traffic.executing()), (4, 0));
    drop(tickets);
    assert_eq!(traffic.queued(), 0);
}

#[tokio::test]
async fn a_withdrawn_request_reaches_no_worker() {
    let gateway = gateway(GatewayConfig::default());
    let [one, two, three] = gateway.ask_all();
    drop(two);
    assert_eq!(gateway.queued(), 2);
    let mut worker = Process::start(&gateway, 1);
    for (stream, ticket) in [(1, one), (3, three)] {
        assert_eq!(worker.slot().streams().await, [stream]);
        worker.slot().finish(&[stream]).await;
        ticket.answer().await.unwrap();
    }
    assert!(worker.slot().is_left_alone().await);
}

#[tokio::test]
async fn the_answer_to_a_client_that_has_gone_is_dropped() {
    let gateway = gateway(GatewayConfig::default());
    let mut worker = Process::start(&gateway, 1);
    let gone = gateway.ask();
    worker.slot().streams().await;
    drop(gone);
    let next = gateway.ask();
    assert!(worker.slot().is_left_alone().await, "it is still at it");
    worker.slot().finish(&[1]).await;
    assert_eq!(worker.slot().streams().await, [2]);
    worker.slot().finish(&[2]).await;
    assert_eq!(status(&next.answer().await), 200);
}

#[tokio::test]
async fn stream_ids_come_round_and_stay_positive() {
    let gateway = gateway(GatewayConfig::default());
    gateway.lock().next_stream = i32::MAX;
    let mut worker = Process::start(&gateway, 2);
    let _tickets: [_; 2] = gateway.ask_all();
    assert_eq!(worker.slots[0].streams().await, [i32::MAX]);
    assert_eq!(worker.slots[1].streams().await, [1]);
}
