//! What becomes of messages, by what their handler says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hurricane_amqp::{
    Consumer, ConsumerConfig, DeadLetters, Handler, Message, OnPanic, Outcome, Queue, RetryPolicy,
    RetryVia, Topology, handler_fn,
};
use lapin::types::AMQPValue;
use tokio::sync::Barrier;

use crate::harness::{Admin, RETRY, Running, connection, consumer, name, number, until};

type Seen<T> = Arc<Mutex<Vec<T>>>;

/// Notes what of each message `note` is interested in, and says what `outcome` says.
fn noting<T: Send + 'static>(
    seen: &Seen<T>,
    note: fn(&Message) -> T,
    outcome: impl Fn(&Message) -> Outcome + Send + Sync + 'static,
) -> impl Handler {
    let seen = Arc::clone(seen);
    handler_fn("noting", move |message: Message| {
        seen.lock().unwrap().push(note(&message));
        let outcome = outcome(&message);
        async move { outcome }
    })
}

fn policy(via: RetryVia) -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        first: Duration::from_millis(30),
        longest: Duration::from_millis(60),
        via,
    }
}

fn text(delivery: &lapin::message::Delivery, header: &str) -> String {
    match delivery
        .properties
        .headers()
        .as_ref()
        .unwrap()
        .inner()
        .get(header)
    {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{header} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_in_order_and_are_acknowledged() {
    let (admin, queue, seen) = (Admin::new().await, name("order"), Seen::default());
    admin.fill(&queue, 1000).await;
    let running = Running::start(consumer(&queue, noting(&seen, number, |_| Outcome::Ack))).await;
    until("all messages", || async {
        seen.lock().unwrap().len() == 1000
    })
    .await;
    running.stop().await;
    assert!(seen.lock().unwrap().iter().copied().eq(0..1000));
    assert_eq!(admin.depth(&queue).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_messages_as_allowed_are_handled_at_the_same_time() {
    let (admin, queue) = (Admin::new().await, name("concurrency"));
    admin.fill(&queue, 40).await;
    // Nobody passes before eight are there.
    let barrier = Arc::new(Barrier::new(8));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = handler_fn("meeting", {
        let most = Arc::clone(&most);
        move |_| {
            let (barrier, now, most) = (Arc::clone(&barrier), Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                barrier.wait().await;
                now.fetch_sub(1, SeqCst);
                Outcome::Ack
            }
        }
    });
    let running = Running::start(consumer(&queue, handler).concurrency(8).prefetch(20)).await;
    let status = running.status.clone();
    until("all messages", || async {
        status.delivered() == 40 && status.in_hand() == 0
    })
    .await;
    running.stop().await;
    assert_eq!(most.load(SeqCst), 8);
    assert_eq!(admin.depth(&queue).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_back_with_all_it_had_after_a_pause() {
    let (admin, queue, exchange, seen) = (
        Admin::new().await,
        name("retry"),
        name("shop"),
        Seen::default(),
    );
    let handler = noting(
        &seen,
        |message| {
            (
                message.attempt,
                message.exchange.clone(),
                message.routing_key.clone(),
            )
        },
        |message| {
            if message.attempt < 3 {
                RETRY
            } else {
                Outcome::Ack
            }
        },
    );
    let topology = Topology::topic(&queue, &exchange).with_binding_key("order.*");
    let builder = consumer(&queue, handler).topology(topology);
    let running = Running::start(builder.retry(policy(RetryVia::DelayQueue))).await;
    admin.publish(&exchange, "order.new", "x").await;
    until("three attempts", || async {
        seen.lock().unwrap().len() == 3
    })
    .await;
    running.stop().await;
    let expected = [1, 2, 3].map(|attempt| (attempt, exchange.clone(), "order.new".to_owned()));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(admin.depth(&queue).await, 0);
    assert_eq!(
        admin.depth(&format!("{queue}.retry.30")).await,
        0,
        "the delay queue is there, and empty"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_too_often_is_a_dead_letter_that_says_why() {
    let (admin, queue, dead, seen) = (
        Admin::new().await,
        name("exhausted"),
        name("dead"),
        Seen::default(),
    );
    admin.fill(&queue, 1).await;
    let builder = consumer(&queue, noting(&seen, |message| message.attempt, |_| RETRY))
        .retry(policy(RetryVia::DelayQueue))
        .dead_letters(DeadLetters::Queue(dead.clone()));
    let running = Running::start(builder).await;
    admin.declare(&dead).await;
    let letter = admin.take(&dead).await;
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    assert_eq!(letter.data, b"0");
    assert_eq!(text(&letter, "x-hurricane-reason"), "attempts");
    assert_eq!(text(&letter, "x-hurricane-queue"), queue);
    assert_eq!(text(&letter, "x-hurricane-routing-key"), queue);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_has_dead_letters_of_its_own() {
    let (admin, queue, dead, seen) = (
        Admin::new().await,
        name("rejected"),
        name("dead"),
        Seen::default(),
    );
    admin.declare(&dead).await;
    let topology = Topology::new(
        Queue::durable(&queue)
            .with_dead_letter_exchange("")
            .with_argument("x-dead-letter-routing-key", dead.as_str()),
    );
    let handler = noting(&seen, number, |_| Outcome::Reject);
    let running = Running::start(consumer(&queue, handler).topology(topology)).await;
    admin.publish("", &queue, "7").await;
    assert_eq!(admin.take(&dead).await.data, b"7");
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_queue_counts_what_comes_straight_back() {
    let (admin, queue, dead, seen) = (
        Admin::new().await,
        name("requeue"),
        name("dead"),
        Seen::default(),
    );
    let builder = consumer(&queue, noting(&seen, |message| message.attempt, |_| RETRY))
        .topology(Topology::new(Queue::quorum(&queue)))
        .retry(policy(RetryVia::Requeue))
        .dead_letters(DeadLetters::Queue(dead.clone()));
    let running = Running::start(builder).await;
    admin.declare(&dead).await;
    admin.publish("", &queue, "x").await;
    admin.take(&dead).await;
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_a_retry_keeps_its_place() {
    let (admin, queue, seen) = (Admin::new().await, name("ordered"), Seen::default());
    admin.fill(&queue, 3).await;
    let handler = noting(
        &seen,
        |message| (number(message), message.attempt),
        |message| {
            if number(message) == 1 {
                RETRY
            } else {
                Outcome::Ack
            }
        },
    );
    let builder = consumer(&queue, handler)
        .ordered()
        .retry(policy(RetryVia::DelayQueue));
    let running = Running::start(builder).await;
    until("five calls", || async { seen.lock().unwrap().len() == 5 }).await;
    running.stop().await;
    assert_eq!(
        *seen.lock().unwrap(),
        [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1)]
    );
    assert_eq!(
        admin.depth(&queue).await,
        0,
        "the hopeless one was rejected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeued_message_comes_again_at_once() {
    let (admin, queue, seen) = (Admin::new().await, name("again"), Seen::default());
    admin.fill(&queue, 1).await;
    let handler = noting(
        &seen,
        |message| message.redelivered,
        |message| {
            if message.redelivered {
                Outcome::Ack
            } else {
                Outcome::Requeue
            }
        },
    );
    let running = Running::start(consumer(&queue, handler)).await;
    until("two calls", || async { seen.lock().unwrap().len() == 2 }).await;
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [false, true]);
    assert_eq!(admin.depth(&queue).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_retry_or_a_rejection() {
    for (on_panic, calls) in [(OnPanic::Retry, 3), (OnPanic::Reject, 1)] {
        let (admin, queue, dead) = (Admin::new().await, name("panic"), name("dead"));
        let seen: Seen<u32> = Seen::default();
        admin.fill(&queue, 1).await;
        let handler = noting(&seen, |message| message.attempt, |_| panic!("on purpose"));
        let config = ConsumerConfig {
            connection: connection(),
            topology: Topology::new(Queue::durable(&queue)),
            retry: policy(RetryVia::DelayQueue),
            on_panic,
            dead_letters: DeadLetters::Queue(dead.clone()),
            ..ConsumerConfig::default()
        };
        let running = Running::start(Consumer::builder(handler).config(config)).await;
        admin.declare(&dead).await;
        admin.take(&dead).await;
        running.stop().await;
        assert_eq!(seen.lock().unwrap().len(), calls, "{on_panic:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_settle_later_and_many_at_once() {
    let (admin, queue) = (Admin::new().await, name("deferred"));
    admin.fill(&queue, 10).await;
    let held: Seen<Message> = Seen::default();
    let handler = noting(&held, Message::clone, |message| {
        // The third is settled before its handler returns, the tenth settles all but two.
        let channel = message.channel().unwrap();
        match number(message) {
            2 => channel
                .settle(message.delivery_tag, false, Outcome::Requeue)
                .unwrap(),
            9 => {
                channel
                    .settle(message.delivery_tag - 1, false, Outcome::Reject)
                    .unwrap();
                channel
                    .settle(message.delivery_tag, true, Outcome::Ack)
                    .unwrap();
            }
            _ => {}
        }
        if message.redelivered {
            Outcome::Ack
        } else {
            Outcome::Deferred
        }
    });
    let running = Running::start(consumer(&queue, handler)).await;
    let status = running.status.clone();
    until("the end", || async {
        status.delivered() == 11 && status.in_hand() == 0
    })
    .await;
    let last = held.lock().unwrap().pop().unwrap();
    assert_eq!(number(&last), 2, "it was requeued");
    let channel = Arc::clone(last.channel().unwrap());
    // It is only logged, and the channel survives.
    channel
        .settle(last.delivery_tag, false, Outcome::Ack)
        .unwrap();
    admin.publish("", &queue, "3").await;
    until("one more", || async { status.delivered() == 12 }).await;
    running.stop().await;
    assert!(
        channel.settle(1, false, Outcome::Ack).is_err(),
        "the channel is gone"
    );
    assert_eq!(
        admin.depth(&queue).await,
        1,
        "the last one was deferred for ever, and went back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_reply() {
    let (admin, queue, replies) = (Admin::new().await, name("calls"), name("replies"));
    admin.declare(&replies).await;
    let handler = handler_fn("reply", |message: Message| async move {
        let to = message.properties.reply_to.clone().unwrap();
        let mut reply = hurricane_amqp::Publication::new("", to, message.body.clone());
        reply.properties.correlation_id = message.properties.correlation_id.clone();
        reply.mandatory = true;
        match message.channel().unwrap().publish(reply).await {
            Ok(()) => Outcome::Ack,
            Err(_) => Outcome::Reject,
        }
    });
    let running = Running::start(consumer(&queue, handler)).await;
    let mut call = hurricane_amqp::Publication::new("", &queue, "ping");
    call.properties.reply_to = Some(replies.clone());
    call.properties.correlation_id = Some("7".into());
    admin.publisher.publish(call).await.unwrap();
    let reply = admin.take(&replies).await;
    assert_eq!(
        reply.properties.correlation_id().as_ref().unwrap().as_str(),
        "7"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_many_hands_are_all_told() {
    let (admin, queue) = (Admin::new().await, name("many"));
    admin.fill(&queue, 2000).await;
    let seen: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let handler = handler_fn("many", {
        let seen = Arc::clone(&seen);
        move |message: Message| {
            *seen.lock().unwrap().entry(number(&message)).or_default() += 1;
            async move {
                // Every seventh is slow, so that those behind it are done first.
                if number(&message).is_multiple_of(7) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Outcome::Ack
            }
        }
    });
    let running = Running::start(consumer(&queue, handler).concurrency(16).prefetch(64)).await;
    let status = running.status.clone();
    until("all messages", || async {
        status.delivered() == 2000 && status.in_hand() == 0
    })
    .await;
    running.stop().await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2000);
    assert!(seen.values().all(|times| *times == 1), "each once");
    assert_eq!(admin.depth(&queue).await, 0);
    assert_eq!(
        status.reconnects(),
        0,
        "no acknowledgement offended the broker"
    );
}
