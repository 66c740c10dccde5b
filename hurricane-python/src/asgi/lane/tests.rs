//! The gateway with event loops that are played by the tests, which hold the other ends of their
//! channels.

use std::{os::unix::net::UnixStream as StdUnixStream, sync::Arc};

use hurricane_core::Traffic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::*;
use crate::{
    asgi::{AsgiConfig, Interface, channel::read_sent},
    frame::{self, Kind},
    gateway::GatewayConfig,
    worker::Begun,
};

/// An event loop, seen from its worker.
struct Loop {
    events: UnixStream,
    sent: UnixStream,
    begun: Arc<Begun>,
    id: LaneId,
}

fn gateway(concurrency: usize, config: GatewayConfig) -> (Gateway, Arc<Traffic>) {
    let traffic = Arc::new(Traffic::new());
    let gateway = Gateway::new(config, Arc::clone(&traffic));
    let asgi = AsgiConfig {
        concurrency,
        ..AsgiConfig::default()
    };
    gateway.serves(Interface::Asgi, &asgi);
    tokio::spawn(gateway.clone().dispatch());
    (gateway, traffic)
}

impl Loop {
    fn start(gateway: &Gateway) -> Self {
        let (events, their_events) = StdUnixStream::pair().unwrap();
        let (sent, their_sent) = UnixStream::pair().unwrap();
        for end in [&events, &their_events] {
            end.set_nonblocking(true).unwrap();
        }
        let begun = Arc::new(Begun::new(1).unwrap());
        let (control, _) = mpsc::unbounded_channel();
        let link = LaneLink {
            events: Arc::new(events),
            sent: Arc::new(sent),
            control,
            begun: Arc::clone(&begun),
            index: 0,
        };
        let id = gateway.open_lane(link.clone());
        tokio::spawn(read_sent(gateway.clone(), id, link));
        Self {
            events: UnixStream::from_std(their_events).unwrap(),
            sent: their_sent,
            begun,
            id,
        }
    }

    /// Waits for a frame: the stream and the number of fields of each event in it.
    async fn receive(&mut self) -> Vec<(i32, u8)> {
        let mut data = vec![0; frame::HEAD];
        self.events.read_exact(&mut data).await.unwrap();
        data.resize(frame::needed(&data), 0);
        let rest = &mut data[frame::HEAD..];
        self.events.read_exact(rest).await.unwrap();
        assert_eq!(data[4], Kind::Events as u8);
        // The tests' requests have nothing behind their stream ids.
        data[frame::HEAD + 5..]
            .chunks(7)
            .map(|event| {
                assert_eq!((event[0], event[2]), (b')', b'i'));
                let stream = event[3..7].try_into().unwrap();
                (i32::from_le_bytes(stream), event[1])
            })
            .collect()
    }

    async fn streams(&mut self) -> Vec<i32> {
        let events = self.receive().await;
        events.into_iter().map(|(stream, _)| stream).collect()
    }

    fn take(&self, count: u32) {
        use std::os::unix::fs::FileExt;
        self.begun.0.write_all_at(&count.to_ne_bytes(), 0).unwrap();
    }

    /// Says that the application has returned, in marshal's words.
    async fn done(&mut self, stream: i32) {
        let mut out = Vec::new();
        frame::encode(&mut out, Kind::Sent, |writer| {
            writer.raw(b"[\x01\0\0\0(\x01\0\0\0");
            writer.int(stream);
        });
        assert!(frame::decode(&out).unwrap().is_some());
        self.sent.write_all(&out).await.unwrap();
    }
}

fn ask(gateway: &Gateway) -> Ticket {
    gateway
        .enqueue_call(Call::new(Prepared::default()))
        .unwrap()
}

#[tokio::test]
async fn a_loop_is_given_no_more_than_it_may_have() {
    let (gateway, traffic) = gateway(2, GatewayConfig::default());
    let mut one = Loop::start(&gateway);
    let tickets: Vec<_> = (0..4).map(|_| ask(&gateway)).collect();
    assert_eq!(one.streams().await, [1, 2], "in one frame");
    assert_eq!((traffic.queued(), traffic.executing()), (2, 2));
    one.done(2).await;
    assert_eq!(one.streams().await, [3]);
    assert_eq!((traffic.queued(), gateway.queued()), (1, 1));
    drop(tickets);
}

#[tokio::test]
async fn loops_share_what_there_is_evenly() {
    let (gateway, _) = gateway(100, GatewayConfig::default());
    let (mut one, mut other) = (Loop::start(&gateway), Loop::start(&gateway));
    let tickets: Vec<_> = (0..6).map(|_| ask(&gateway)).collect();
    assert_eq!(one.streams().await.len(), 3);
    assert_eq!(other.streams().await.len(), 3);
    drop(tickets);
}

#[tokio::test]
async fn what_was_not_taken_goes_to_another_loop_in_its_order() {
    let (gateway, _) = gateway(100, GatewayConfig::default());
    let mut one = Loop::start(&gateway);
    let mut tickets: Vec<_> = (0..5).map(|_| ask(&gateway)).collect();
    assert_eq!(one.streams().await, [1, 2, 3, 4, 5]);
    drop(tickets.remove(3));
    assert_eq!(one.receive().await, [(4, 1)], "its client has gone");
    one.take(2);
    drop(one);
    let lost = [tickets.remove(0), tickets.remove(0)];
    for ticket in lost {
        assert!(matches!(ticket.answer().await, Err(Failure::WorkerDied)));
    }
    let mut next = Loop::start(&gateway);
    assert_eq!(next.streams().await, [3, 5]);
    drop(tickets);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_forgotten() {
    let (gateway, traffic) = gateway(1, GatewayConfig::default());
    let mut one = Loop::start(&gateway);
    let (first, second, third) = (ask(&gateway), ask(&gateway), ask(&gateway));
    assert_eq!(one.streams().await, [1]);
    drop(second);
    assert_eq!(traffic.queued(), 1);
    one.done(1).await;
    assert_eq!(one.streams().await, [3]);
    drop((first, third));
}

#[tokio::test]
async fn a_loop_that_is_retired_gets_nothing_more() {
    let (gateway, _) = gateway(100, GatewayConfig::default());
    let mut old = Loop::start(&gateway);
    let first = ask(&gateway);
    assert_eq!(old.streams().await, [1]);
    gateway.retire_lane(old.id);
    let second = ask(&gateway);
    let mut new = Loop::start(&gateway);
    assert_eq!(new.streams().await, [2]);
    assert!(!gateway.is_lane_done(old.id));
    old.done(1).await;
    while !gateway.is_lane_done(old.id) {
        tokio::task::yield_now().await;
    }
    drop((first, second));
}

#[tokio::test]
async fn a_full_queue_takes_no_more() {
    let config = GatewayConfig {
        queue_size: 2,
        ..GatewayConfig::default()
    };
    let (gateway, _) = gateway(1, config);
    let tickets = [ask(&gateway), ask(&gateway)];
    let third = gateway.enqueue_call(Call::new(Prepared::default()));
    assert!(matches!(third, Err(Failure::QueueFull)));
    assert!(gateway.is_full());
    drop(tickets);
}

#[tokio::test]
async fn a_loop_that_says_nothing_is_late() {
    let (gateway, _) = gateway(1, GatewayConfig::default());
    assert_eq!(gateway.loop_lag(), None);
    let one = Loop::start(&gateway);
    gateway.beat_lane(one.id, Duration::from_millis(1500));
    assert!(gateway.loop_lag() >= Some(Duration::from_millis(1500)));
    gateway.beat_lane(one.id, Duration::ZERO);
    assert!(gateway.loop_lag() < Some(Duration::from_millis(1500)));
    gateway.retire_lane(one.id);
    assert_eq!(
        gateway.loop_lag(),
        None,
        "what is replaced is nobody's worry"
    );
}
