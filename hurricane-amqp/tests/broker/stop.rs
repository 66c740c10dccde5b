//! Ending in good order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hurricane_amqp::{
    ConsumerConfig, Finished, Handler, Link, Outcome, Queue, Topology, handler_fn,
};
use tokio::sync::Semaphore;

use crate::harness::{Admin, Running, connection, consumer, name, until};

/// Waits at a gate.
fn waiting(gate: &Arc<Semaphore>) -> impl Handler {
    let gate = Arc::clone(gate);
    handler_fn("waiting", move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Ack
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_messages_in_hand_are_finished() {
    let (admin, queue, gate) = (
        Admin::new().await,
        name("busy"),
        Arc::new(Semaphore::new(0)),
    );
    admin.fill(&queue, 700).await;
    let builder = consumer(&queue, waiting(&gate))
        .prefetch(600)
        .concurrency(500);
    let running = Running::start(builder).await;
    let status = running.status.clone();
    until("500 in hand", || async { status.in_hand() == 500 }).await;
    let ended = running.ask_to_stop();
    status.wait_for(|link| *link == Link::Draining).await;
    // Those that were not begun are for others at once.
    admin.until_depth(&queue, 200).await;
    gate.add_permits(500);
    assert_eq!(ended.await.unwrap(), Finished::Stopped);
    assert_eq!(status.link(), Link::Stopped);
    assert_eq!(admin.depth(&queue).await, 200);
    assert_eq!(
        status.delivered(),
        500,
        "nothing was begun after the signal"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_goes_back() {
    let (admin, queue, gate) = (
        Admin::new().await,
        name("late"),
        Arc::new(Semaphore::new(3)),
    );
    admin.fill(&queue, 20).await;
    let builder = consumer(&queue, waiting(&gate))
        .concurrency(10)
        .graceful_timeout(Duration::from_millis(200));
    let running = Running::start(builder).await;
    let status = running.status.clone();
    until("ten in hand", || async {
        status.in_hand() == 10 && status.delivered() == 13
    })
    .await;
    assert_eq!(running.stop().await, Finished::Stopped);
    assert_eq!(admin.depth(&queue).await, 17, "three were acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_nobody_gets_the_next_message_before_the_last_is_done() {
    let (admin, queue, gate) = (
        Admin::new().await,
        name("line"),
        Arc::new(Semaphore::new(0)),
    );
    admin.fill(&queue, 5).await;
    let running = Running::start(consumer(&queue, waiting(&gate)).ordered()).await;
    let status = running.status.clone();
    until("one in hand", || async { status.in_hand() == 1 }).await;
    let ended = running.ask_to_stop();
    status.wait_for(|link| *link == Link::Draining).await;
    assert_eq!(admin.depth(&queue).await, 0, "they are not given back yet");
    gate.add_permits(1);
    ended.await.unwrap();
    assert_eq!(admin.depth(&queue).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_end_after_a_number_of_messages() {
    let (admin, queue) = (Admin::new().await, name("lifetime"));
    admin.fill(&queue, 20).await;
    let count = Arc::new(AtomicUsize::new(0));
    let handler = handler_fn("counting", {
        let count = Arc::clone(&count);
        move |_| {
            count.fetch_add(1, SeqCst);
            async { Outcome::Ack }
        }
    });
    let config = ConsumerConfig {
        connection: connection(),
        topology: Topology::new(Queue::durable(&queue)),
        max_messages: Some(7),
        ..ConsumerConfig::default()
    };
    let running = Running::begin(hurricane_amqp::Consumer::builder(handler).config(config));
    assert_eq!(running.end().await.unwrap(), Finished::MaxMessages);
    assert_eq!(count.load(SeqCst), 7);
    assert_eq!(admin.depth(&queue).await, 13);
}
