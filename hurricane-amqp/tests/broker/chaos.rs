//! At least once, whatever is killed.

use std::{
    collections::HashSet,
    env,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use hurricane_amqp::{Message, Outcome, handler_fn};
use tokio::time;

use crate::{
    harness::{Admin, Running, consumer, name, number, until},
    proxy::Proxy,
};

/// The name of the queue, for the process that is killed.
const QUEUE: &str = "HURRICANE_TEST_QUEUE";

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_missing_after_many_losses() {
    let count: usize = match env::var("HURRICANE_TEST_MESSAGES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 4_000,
    };
    let (admin, queue, proxy) = (Admin::new().await, name("chaos"), Proxy::start().await);
    let seen: Arc<Mutex<HashSet<usize>>> = Arc::default();
    let handler = handler_fn("chaos", {
        let seen = Arc::clone(&seen);
        move |message: Message| {
            let number = number(&message);
            seen.lock().unwrap().insert(number);
            async move {
                match number % 50 {
                    0 => time::sleep(Duration::from_millis(2)).await,
                    1 if !message.redelivered => return Outcome::Requeue,
                    _ => {}
                }
                Outcome::Ack
            }
        }
    });
    let builder = consumer(&queue, handler)
        .connection(proxy.connection())
        .concurrency(8)
        .prefetch(200);
    let running = Running::start(builder).await;
    let status = running.status.clone();
    // From 5 to 50 ms after each subscription, by a rule that looks like chance.
    let cutting = async {
        let mut losses = 0_u64;
        while seen.lock().unwrap().len() < count {
            status
                .wait_for(|link| *link == hurricane_amqp::Link::Subscribed)
                .await;
            time::sleep(Duration::from_millis(5 + losses * 7919 % 46)).await;
            proxy.cut();
            losses += 1;
        }
        losses
    };
    let filling = async {
        for start in (0..count).step_by(500) {
            let publish = |number: usize| admin.publish("", &queue, number.to_string());
            let numbers = start..(start + 500).min(count);
            futures_util::future::join_all(numbers.map(publish)).await;
        }
    };
    let deadline = Duration::from_secs(120 + count as u64 / 100);
    let (losses, ()) = time::timeout(deadline, async { tokio::join!(cutting, filling) })
        .await
        .unwrap_or_else(|_| panic!("only {} of {count} came", seen.lock().unwrap().len()));
    until("the rest", || admin.is_drained(&queue, 1)).await;
    // The last one to be delivered: what was on the way has come when it is seen.
    let last = count * 50;
    admin.publish("", &queue, last.to_string()).await;
    until("the last", || async {
        seen.lock().unwrap().contains(&last) && status.in_hand() == 0
    })
    .await;
    running.stop().await;
    assert_eq!(admin.depth(&queue).await, 0, "all were acknowledged");
    assert_eq!(seen.lock().unwrap().len(), count + 1);
    println!(
        "{count} messages, {losses} losses, {} deliveries",
        status.delivered()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_in_hand_comes_again() {
    let (admin, queue) = (Admin::new().await, name("killed"));
    admin.fill(&queue, 100).await;
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "chaos::the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(QUEUE, &queue)
        .env("AMQP_URL", crate::harness::uri())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It acknowledges the first ten, and holds the next ones.
    admin.until_depth(&queue, 40).await;
    child.kill().unwrap();
    child.wait().unwrap();
    admin.until_depth(&queue, 90).await;
    let seen: Arc<Mutex<Vec<(usize, bool)>>> = Arc::default();
    let handler = handler_fn("seen", {
        let seen = Arc::clone(&seen);
        move |message: Message| {
            seen.lock()
                .unwrap()
                .push((number(&message), message.redelivered));
            async { Outcome::Ack }
        }
    });
    let running = Running::start(consumer(&queue, handler)).await;
    until("the rest", || async { seen.lock().unwrap().len() == 90 }).await;
    running.stop().await;
    let expected = (10..100).map(|number| (number, number < 60));
    assert!(
        expected.eq(seen.lock().unwrap().iter().copied()),
        "{seen:?}"
    );
}

#[tokio::test]
#[ignore = "started by another test"]
async fn the_process_that_is_killed() {
    let Ok(queue) = env::var(QUEUE) else {
        return;
    };
    let handler = handler_fn("holding", |message: Message| async move {
        if number(&message) >= 10 {
            std::future::pending::<()>().await;
        }
        Outcome::Ack
    });
    let running = Running::start(consumer(&queue, handler).prefetch(50)).await;
    running.end().await.unwrap();
}
