//! What goes wrong between consumer and broker, and what probes say of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use hurricane_amqp::{
    ConnectError, ConnectionConfig, ConsumeError, Consumer, ConsumerConfig, DeadLetters, Handler,
    Link, Message, Outcome, Publication, Queue, ReconnectPolicy, Topology, handler_fn,
};
use hurricane_core::{Check, Status as Health};
use lapin::options::QueueDeleteOptions;
use tokio::sync::Notify;

use crate::{
    harness::{Admin, Broker, Running, connection, consumer, name, number, quick, until},
    proxy::Proxy,
};

fn acking() -> impl Handler {
    handler_fn("acking", |_| async { Outcome::Ack })
}

async fn health(check: impl Check) -> Health {
    check.check().await.status
}

async fn fails(connection: ConnectionConfig) -> ConnectError {
    let builder = consumer(&name("never"), acking()).connection(connection);
    match Running::begin(builder.no_reconnect())
        .end()
        .await
        .unwrap_err()
    {
        ConsumeError::Connect(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_from_the_start_ends_it_with_one_sentence() {
    let mut wrong = connection();
    wrong.password = "wrong".into();
    let builder = consumer(&name("never"), acking()).connection(wrong.clone());
    let error = Running::begin(builder).end().await.unwrap_err();
    assert!(
        !error.is_transient(),
        "although it may reconnect, no waiting mends a password"
    );
    let address = wrong.address();
    assert_eq!(
        error.to_string(),
        format!(
            "the broker at {address} refused the login of user {:?}",
            wrong.user
        )
    );

    let mut wrong = connection();
    wrong.vhost = name("vhost");
    let error = fails(wrong).await;
    assert!(matches!(error, ConnectError::Vhost { .. }), "{error:?}");

    let mut wrong = connection();
    (wrong.host, wrong.port) = ("127.0.0.1".into(), 1);
    let error = fails(wrong).await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut wrong = connection();
    wrong.host = "127.0.0.1".into();
    wrong.port = silent.local_addr().unwrap().port();
    wrong.timeout = Duration::from_millis(100);
    let error = fails(wrong).await;
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_counted_and_end() {
    let mut nowhere = connection();
    (nowhere.host, nowhere.port) = ("127.0.0.1".into(), 1);
    let policy = ReconnectPolicy {
        max: Some(3),
        ..quick()
    };
    let builder = consumer(&name("never"), acking())
        .connection(nowhere)
        .reconnect(policy);
    let running = Running::begin(builder);
    let status = running.status.clone();
    let error = running.end().await.unwrap_err();
    assert!(
        matches!(error, ConsumeError::GaveUp { tries: 3, .. }),
        "{error:?}"
    );
    assert_eq!(status.reconnects(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reconnecting_a_loss_is_the_end() {
    let (admin, queue, proxy) = (Admin::new().await, name("end"), Proxy::start().await);
    admin.declare(&queue).await;
    let builder = consumer(&queue, acking())
        .connection(proxy.connection())
        .no_reconnect();
    let running = Running::start(builder).await;
    proxy.cut();
    let error = running.end().await.unwrap_err();
    assert!(matches!(error, ConsumeError::Lost(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_hand_at_a_loss_comes_again_and_once_at_a_time() {
    let (admin, queue, proxy) = (Admin::new().await, name("loss"), Proxy::start().await);
    admin.fill(&queue, 3).await;
    let gate = Arc::new(Notify::new());
    let (now, most, seen) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let handler = handler_fn("held", {
        let (gate, most, seen) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&seen));
        move |message: Message| {
            let (gate, now, most) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
            let first = seen.lock().unwrap().is_empty();
            seen.lock()
                .unwrap()
                .push((number(&message), message.redelivered));
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                if first {
                    gate.notified().await;
                }
                now.fetch_sub(1, SeqCst);
                Outcome::Ack
            }
        }
    });
    let running = Running::start(consumer(&queue, handler).connection(proxy.connection())).await;
    let status = running.status.clone();
    until("the first in hand", || async { status.in_hand() == 1 }).await;
    proxy.cut();
    until("the loss", || async { status.reconnects() > 0 }).await;
    status.wait_for(|link| *link == Link::Subscribed).await;
    gate.notify_one();
    until("all", || async {
        seen.lock().unwrap().len() == 4 && status.in_hand() == 0
    })
    .await;
    running.stop().await;
    assert_eq!(
        *seen.lock().unwrap(),
        [(0, false), (0, true), (1, true), (2, true)]
    );
    assert_eq!(most.load(SeqCst), 1, "the old one had to end before");
    assert_eq!(admin.depth(&queue).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_declared_anew() {
    let (admin, queue) = (Admin::new().await, name("deleted"));
    let running = Running::start(consumer(&queue, acking())).await;
    let status = running.status.clone();
    let deleted = admin
        .channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    until("the loss", || async { status.reconnects() == 1 }).await;
    status.wait_for(|link| *link == Link::Subscribed).await;
    admin.publish("", &queue, "x").await;
    until("a message", || async { status.delivered() == 1 }).await;
    running.stop().await;

    let builder = consumer(&queue, acking()).no_reconnect();
    let running = Running::start(builder).await;
    let deleted = admin
        .channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let error = running.end().await.unwrap_err();
    assert!(matches!(error, ConsumeError::Cancelled { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_exclusive_consumer_is_refused() {
    let queue = name("exclusive");
    let config = || ConsumerConfig {
        connection: connection(),
        topology: Topology::new(Queue::durable(&queue)),
        exclusive: true,
        ..ConsumerConfig::default()
    };
    let first = Running::start(Consumer::builder(acking()).config(config())).await;
    // The broker closes the channel for it.
    let second = Running::begin(Consumer::builder(acking()).config(config()));
    let error = second.end().await.unwrap_err();
    assert!(matches!(error, ConsumeError::Subscribe { .. }), "{error:?}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_its_consumer_again_and_again_becomes_a_dead_letter() {
    let (admin, queue, dead, proxy) = (
        Admin::new().await,
        name("poison"),
        name("dead"),
        Proxy::start().await,
    );
    let handler = handler_fn("held", |_| std::future::pending());
    let builder = consumer(&queue, handler)
        .concurrency(100)
        .connection(proxy.connection())
        .topology(Topology::new(Queue::quorum(&queue)))
        .dead_letters(DeadLetters::Queue(dead.clone()))
        .graceful_timeout(Duration::from_millis(50));
    let running = Running::start(builder).await;
    let status = running.status.clone();
    admin.declare(&dead).await;
    admin.publish("", &queue, "poison").await;
    // Five attempts, then it is not handled any more.
    for attempt in 1..=5 {
        until(&format!("attempt {attempt}"), || async {
            status.delivered() == attempt
        })
        .await;
        proxy.cut();
    }
    assert_eq!(admin.take(&dead).await.data, b"poison");
    running.stop().await;
    assert_eq!(status.delivered(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_stuck_fails_liveness_until_it_goes_on() {
    let (admin, queue, gate) = (Admin::new().await, name("stuck"), Arc::new(Notify::new()));
    admin.fill(&queue, 1).await;
    let handler = handler_fn("stuck", {
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Outcome::Ack
            }
        }
    });
    let timeout = Duration::from_millis(100);
    let running = Running::start(consumer(&queue, handler).handler_timeout(timeout)).await;
    let status = running.status.clone();
    until("liveness to fail", || async {
        health(status.liveness()).await == Health::Fail
    })
    .await;
    gate.notify_one();
    until("liveness to pass", || async {
        health(status.liveness()).await == Health::Pass
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_silent_is_renewed_and_then_fails_liveness() {
    let (admin, queue) = (Admin::new().await, name("silent"));
    let topology =
        || Topology::new(Queue::durable(&queue).with_argument("x-single-active-consumer", true));
    // The first one is active, and takes one message only: the second one is left without any.
    let held = handler_fn("held", |_| std::future::pending());
    let first = consumer(&queue, held)
        .prefetch(1)
        .graceful_timeout(Duration::ZERO);
    let first = Running::start(first.topology(topology())).await;
    let config = ConsumerConfig {
        connection: connection(),
        topology: topology(),
        reconnect: Some(quick()),
        watch_interval: Duration::from_millis(20),
        silence_timeout: Some(Duration::from_millis(100)),
        ..ConsumerConfig::default()
    };
    let second = Running::start(Consumer::builder(acking()).config(config)).await;
    let status = second.status.clone();
    assert_eq!(health(status.liveness()).await, Health::Pass);
    for _ in 0..3 {
        admin.publish("", &queue, "x").await;
    }
    until("a renewal", || async { status.reconnects() > 0 }).await;
    until("liveness to fail", || async {
        health(status.liveness()).await == Health::Fail
    })
    .await;
    assert_eq!(status.depth(), Some(2));
    first.stop().await;
    until("liveness to pass", || async {
        health(status.liveness()).await == Health::Pass
    })
    .await;
    assert!(status.delivered() >= 3);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_blocks_or_goes_away_costs_readiness_and_no_liveness() {
    // A broker of its own, for others would suffer.
    let broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
    let broker = Arc::new(broker);
    let (admin, queue) = (Admin::at(broker.uri()).await, "faults");
    admin.declare(queue).await;
    let config = ConsumerConfig {
        connection: broker.uri().parse().unwrap(),
        topology: Topology::new(Queue::durable(queue)),
        ..ConsumerConfig::default()
    };
    let (replies, last) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let handler = handler_fn("replying", {
        let (replies, last) = (Arc::clone(&replies), Arc::clone(&last));
        move |message: Message| {
            last.fetch_or(message.body == "after", SeqCst);
            let reply = replies.load(SeqCst);
            async move {
                let channel = message.channel().unwrap();
                if reply {
                    let _ = channel.publish(Publication::new("", "nowhere", "x")).await;
                }
                Outcome::Ack
            }
        }
    });
    let running = Running::start(Consumer::builder(handler).config(config)).await;
    let status = running.status.clone();

    // Blocked.
    for _ in 0..2 {
        admin.publish("", queue, "x").await;
    }
    until("two messages", || async {
        status.delivered() == 2 && status.in_hand() == 0
    })
    .await;
    replies.store(true, SeqCst);
    admin.publish("", queue, "x").await;
    until("a reply", || async {
        status.delivered() == 3 && status.in_hand() == 0
    })
    .await;
    assert_eq!(health(status.readiness()).await, Health::Pass);
    let control = |limit: &'static str| {
        let broker = Arc::clone(&broker);
        tokio::task::spawn_blocking(move || {
            broker.control(&["set_vm_memory_high_watermark", limit]);
        })
    };
    // What is in the queue is delivered all the same, but its reply does not get through.
    admin.publish("", queue, "x").await;
    until("one more", || async {
        status.delivered() == 4 && status.in_hand() == 0
    })
    .await;
    control("0.0000001").await.unwrap();
    let publisher = hurricane_amqp::Publisher::new(broker.uri().parse().unwrap());
    let stuck = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(Publication::new("", queue, "late")).await }
    });
    until("the publisher to be blocked", || async {
        publisher.blocked().is_some()
    })
    .await;
    control("0.6").await.unwrap();
    stuck.await.unwrap().unwrap();
    assert_eq!(publisher.blocked(), None);
    until("the late one", || async {
        status.delivered() == 5 && status.in_hand() == 0
    })
    .await;

    // Away.
    tokio::task::spawn_blocking({
        let broker = Arc::clone(&broker);
        move || broker.stop()
    })
    .await
    .unwrap();
    until("readiness to fail", || async {
        health(status.readiness()).await == Health::Fail
    })
    .await;
    assert_eq!(health(status.liveness()).await, Health::Pass);
    let up = {
        let broker = Arc::clone(&broker);
        tokio::task::spawn_blocking(move || {
            broker.start_again();
            Instant::now()
        })
    };
    let up = up.await.unwrap();
    assert_eq!(
        health(status.liveness()).await,
        Health::Pass,
        "after all that time"
    );
    status.wait_for(|link| *link == Link::Subscribed).await;
    println!("subscribed {:?} after the broker listened", up.elapsed());
    let admin = Admin::at(broker.uri()).await;
    admin.publish("", queue, "after").await;
    // Others may come again: the broker had no time to note that they were acknowledged.
    until("the last message", || async { last.load(SeqCst) }).await;
    assert_eq!(health(status.readiness()).await, Health::Pass);
    running.stop().await;
}
