use std::{
    io::{Read, Write},
    os::unix::{fs::FileExt, net::UnixStream as StdUnixStream},
};

use async_trait::async_trait;
use hurricane_core::{MessageChannel, Publication, SettleError};
use tokio::{
    net::UnixStream,
    sync::{Semaphore, mpsc},
};

use super::*;
use crate::{
    frame::{self, Kind},
    handler::HandlerConfig,
    worker::Begun,
};

const RETRY: Outcome = Outcome::Retry { after: None };

/// Notes how messages are settled; publishes when it is let.
struct Broker {
    settled: mpsc::UnboundedSender<(u64, Outcome)>,
    takes: Result<(), PublishError>,
    gate: Semaphore,
}

#[async_trait]
impl MessageChannel for Broker {
    fn settle(&self, tag: u64, _: bool, outcome: Outcome) -> Result<(), SettleError> {
        self.settled.send((tag, outcome)).map_err(|_| SettleError)
    }

    fn is_open(&self) -> bool {
        !self.settled.is_closed()
    }

    async fn publish(&self, _: Publication) -> Result<(), PublishError> {
        self.gate.acquire().await.unwrap().forget();
        self.takes.clone()
    }
}

/// A worker's end of a clerk's channel.
struct Worker {
    events: StdUnixStream,
    sent: StdUnixStream,
    begun: Arc<Begun>,
    id: ClerkId,
}

impl Worker {
    fn open(desk: &Desk) -> Self {
        let (events, their_events) = StdUnixStream::pair().unwrap();
        let (sent, their_sent) = StdUnixStream::pair().unwrap();
        events.set_nonblocking(true).unwrap();
        sent.set_nonblocking(true).unwrap();
        their_events.set_nonblocking(true).unwrap();
        let begun = Arc::new(Begun::new(1).unwrap());
        let link = ClerkLink {
            events: Arc::new(events),
            sent: Arc::new(UnixStream::from_std(sent).unwrap()),
            control: mpsc::unbounded_channel().0,
            begun: Arc::clone(&begun),
            index: 0,
        };
        Self {
            id: desk.open(link, 0, false),
            events: their_events,
            sent: their_sent,
            begun,
        }
    }

    /// Waits until it has been given something.
    async fn take(&mut self) {
        let mut frame = [0; 4096];
        while self.events.read(&mut frame).is_err() {
            tokio::task::yield_now().await;
        }
    }

    fn begin(&self, count: u32) {
        self.begun.0.write_all_at(&count.to_ne_bytes(), 0).unwrap();
    }

    /// Says items, in the form in which Python writes them.
    fn say(&mut self, items: &[&[u8]]) {
        let mut out = Vec::new();
        frame::encode(&mut out, Kind::Sent, |writer| {
            writer.list(items.len());
            for item in items {
                writer.raw(item);
            }
        });
        self.sent.write_all(&out).unwrap();
    }
}

/// `(number, 0, 0)`: done, and acknowledged.
fn done(number: u8) -> Vec<u8> {
    let mut item = b"(\x03\0\0\0i\0\0\0\0i\0\0\0\0i\0\0\0\0".to_vec();
    item[6] = number;
    item
}

/// `(number, '', '', [], b'', False)`: something is published.
fn publish(number: u8) -> Vec<u8> {
    let mut item = b"(\x06\0\0\0i\0\0\0\0u\0\0\0\0u\0\0\0\0[\0\0\0\0s\0\0\0\0F".to_vec();
    item[6] = number;
    item
}

type Settled = mpsc::UnboundedReceiver<(u64, Outcome)>;

fn desk(takes: Result<(), PublishError>) -> (Desk, Arc<Broker>, Settled) {
    let desk = Desk::new(DeskConfig {
        handlers: vec![HandlerConfig::default()],
        concurrency: 1,
        ..DeskConfig::default()
    });
    tokio::spawn(desk.clone().dispatch());
    let (settled, receiver) = mpsc::unbounded_channel();
    let gate = Semaphore::new(0);
    let broker = Broker {
        settled,
        takes,
        gate,
    };
    (desk, Arc::new(broker), receiver)
}

fn put(desk: &Desk, broker: &Arc<Broker>, tag: u64) -> Outcome {
    let mut message = Message::new("body");
    message.delivery_tag = tag;
    let broker: Arc<dyn MessageChannel> = Arc::clone(broker) as _;
    desk.put(0, message.with_channel(broker), None)
}

#[tokio::test]
async fn what_was_begun_is_tried_again_and_the_rest_goes_to_the_next() {
    let (desk, broker, mut settled) = desk(Ok(()));
    let mut first = Worker::open(&desk);
    assert_eq!(put(&desk, &broker, 7), Outcome::Deferred);
    first.take().await;
    first.begin(1);
    put(&desk, &broker, 8);
    drop(first);
    assert_eq!(settled.recv().await, Some((7, RETRY)));
    let mut next = Worker::open(&desk);
    next.take().await;
    next.say(&[&done(2)]);
    assert_eq!(settled.recv().await, Some((8, Outcome::Ack)));
    assert!(desk.is_done(next.id));
}

#[tokio::test]
async fn what_was_given_and_not_begun_goes_to_the_next() {
    let (desk, broker, mut settled) = desk(Ok(()));
    let mut first = Worker::open(&desk);
    put(&desk, &broker, 7);
    first.take().await;
    drop(first);
    let mut next = Worker::open(&desk);
    next.take().await;
    next.say(&[&done(2)]);
    assert_eq!(settled.recv().await, Some((7, Outcome::Ack)));
}

#[tokio::test]
async fn a_message_is_acknowledged_when_what_it_published_was_taken() {
    for (takes, outcome) in [(Ok(()), Outcome::Ack), (Err(PublishError::Refused), RETRY)] {
        let (desk, broker, mut settled) = desk(takes);
        let mut worker = Worker::open(&desk);
        put(&desk, &broker, 7);
        worker.take().await;
        worker.say(&[&publish(1), &done(1)]);
        tokio::task::yield_now().await;
        assert!(settled.try_recv().is_err(), "the broker has said nothing");
        broker.gate.add_permits(1);
        assert_eq!(settled.recv().await, Some((7, outcome)));
    }
}

#[tokio::test]
async fn what_waits_goes_back_at_the_end() {
    let (desk, broker, mut settled) = desk(Ok(()));
    put(&desk, &broker, 7);
    desk.drain();
    assert_eq!(settled.recv().await, Some((7, Outcome::Requeue)));
    assert_eq!(put(&desk, &broker, 8), Outcome::Requeue);
}

#[tokio::test]
async fn what_the_broker_gives_to_others_is_not_begun() {
    let (_, other, mut other_settled) = desk(Ok(()));
    let (desk, broker, settled) = desk(Ok(()));
    put(&desk, &broker, 7);
    drop(settled);
    put(&desk, &other, 9);
    let mut worker = Worker::open(&desk);
    worker.take().await;
    // The first number is of the message that is begun: the stale one has got none.
    worker.say(&[&done(1)]);
    assert_eq!(other_settled.recv().await, Some((9, Outcome::Ack)));
}
