//! Brokers that go, take nothing, or deliver nothing: what the probes say meanwhile.

use std::{thread, time::Instant};

use hurricane_amqp::Properties;
use lapin::{
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::{Admin, broker::Broker, consume, name};
use crate::harness::{Server, free_port, get, until_true};

/// What the probes say.
fn probe(server: &Server, path: &str) -> u16 {
    get(server.probe_port(), path).status
}

/// A metric of the consumer of a queue.
fn metric(server: &Server, name: &str, queue: &str) -> f64 {
    let metrics = get(server.probe_port(), "/metrics").text();
    let start = format!("{name}{{queue=\"{queue}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    let value = value.unwrap_or_else(|| panic!("{name} is missing: {metrics}"));
    value.parse().unwrap()
}

#[test]
fn a_broker_that_goes_and_comes_is_waited_for() {
    let (broker, queue) = (Broker::start(), name("broker"));
    let admin = Admin::at(broker.uri());
    admin.fill(&queue, ["before".to_owned()]);
    let server = consume("Noting", &queue)
        .arg("--amqp-url", broker.uri())
        .start_consuming();
    server.wait_for_note("before done");
    broker.control(&["close_all_connections", "maintenance"]);
    server.wait_for_line("Channel 1 was closed: ");
    let status = |path: &str| get(server.probe_port(), path).status;
    until_true("it has subscribed again", || {
        server.stderr().matches("Issuing consumer").count() == 2 && status("/ready") == 200
    });
    broker.stop();
    until_true("readiness fails", || status("/ready") == 500);
    server.wait_for_line("Channel 1 was closed: Transport indicated EOF");
    server.wait_for_line("Reconnecting after 1 ");
    thread::scope(|scope| {
        let starting = scope.spawn(|| broker.start_again());
        while !starting.is_finished() {
            assert_eq!(status("/alive"), 200, "no restart brings a broker back");
            assert_eq!(status("/startup"), 200);
        }
    });
    let up = Instant::now();
    until_true("readiness is back", || {
        assert_eq!(status("/alive"), 200, "nor when it is almost there");
        status("/ready") == 200
    });
    println!("subscribed {:?} after the broker listened", up.elapsed());
    Admin::at(broker.uri()).publish("", &queue, b"after");
    server.wait_for_note("after done");
    server.stop();
}

#[test]
fn a_broker_that_takes_nothing_costs_readiness_and_no_liveness() {
    let (broker, queue) = (Broker::start(), name("blocked"));
    let (admin, replies) = (Admin::at(broker.uri()), name("replies"));
    let properties = || Properties {
        reply_to: Some(replies.clone()),
        ..Properties::default()
    };
    admin.declare(&queue);
    admin.declare(&replies);
    let server = consume("Replying", &queue)
        .arg("--amqp-url", broker.uri())
        .start_consuming();
    // It publishes on a connection of its own, from the first reply on.
    admin.publish_with("", &queue, b"first", properties());
    admin.until_depth(&replies, 1);
    admin.publish_with("", &queue, b"wait", properties());
    until_true("it is at work", || server.notes().len() == 2);
    assert_eq!(probe(&server, "/ready"), 200);
    assert_eq!(metric(&server, "hurricane_consumer_blocked", &queue), 0.0);

    broker.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    server.touch("go");
    server.wait_for_line("The broker takes no messages at the moment: ");
    let ready = get(server.probe_port(), "/ready");
    assert_eq!(ready.status, 400);
    let reason = ready.text();
    assert!(
        reason.contains("the broker takes no messages: "),
        "{reason}"
    );
    assert_eq!(probe(&server, "/alive"), 200);
    assert_eq!(metric(&server, "hurricane_consumer_blocked", &queue), 1.0);
    assert_eq!(admin.depth(&replies), Some(1));

    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    server.wait_for_line("The broker takes messages again");
    admin.until_depth(&replies, 2);
    until_true("readiness is back", || probe(&server, "/ready") == 200);
    assert_eq!(metric(&server, "hurricane_consumer_blocked", &queue), 0.0);
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn a_subscription_that_stays_silent_fails_liveness() {
    let (admin, queue) = (Admin::new(), name("silent"));
    // Of a queue with a single active consumer the others get nothing, although they are subscribed.
    let active = Admin::new();
    let mut single = FieldTable::default();
    single.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    let held = active.runtime.block_on(async {
        let channel = &active.channel;
        let qos = BasicQosOptions::default();
        channel.basic_qos(1, qos).await.unwrap();
        let durable = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(queue.as_str().into(), durable, single);
        declared.await.unwrap();
        let options = BasicConsumeOptions::default();
        let consumed = channel.basic_consume(
            queue.as_str().into(),
            "active".into(),
            options,
            FieldTable::default(),
        );
        consumed.await.unwrap()
    });
    let server = consume("Noting", &queue)
        .arg("--queue-argument", "x-single-active-consumer=true")
        .arg("--silence-timeout", "200ms")
        .start_consuming();
    assert_eq!(probe(&server, "/alive"), 200);
    for number in 0..3 {
        admin.publish("", &queue, format!("{number}").as_bytes());
    }
    server.wait_for_line("grew, and nothing was delivered");
    until_true("liveness fails", || probe(&server, "/alive") == 500);
    let reason = get(server.probe_port(), "/alive").text();
    assert!(
        reason.contains("2 messages wait, and none is delivered"),
        "{reason}"
    );
    drop(held);
    drop(active);
    until_true("what waited is delivered", || server.notes().len() == 6);
    until_true("liveness is back", || probe(&server, "/alive") == 200);
    server.stop();
}

#[test]
fn without_reconnecting_the_end_of_the_connection_is_the_end() {
    let (broker, queue) = (Broker::start(), name("end"));
    let server = consume("Noting", &queue)
        .arg("--amqp-url", broker.uri())
        .arg("--max-reconnects", 0)
        .start_consuming();
    broker.stop();
    let ended = server.ended();
    assert_eq!(ended.code, Some(11));
    assert!(!ended.stderr.contains("auto-reconnect"));
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("hurricane: the connection to the broker was lost"),
        "{last}"
    );
}

#[test]
fn a_queue_that_is_deleted_is_declared_anew() {
    let (admin, queue) = (Admin::new(), name("deleted"));
    let server = consume("Noting", &queue).start_consuming();
    admin.delete(&queue);
    server.wait_for_line("Reconnecting after ");
    until_true("the queue is back", || admin.depth(&queue) == Some(0));
    admin.publish("", &queue, b"hello");
    server.wait_for_note("hello done");
    server.stop();
}

#[test]
fn it_starts_without_a_broker_and_is_alive() {
    let port = free_port();
    let server = consume("Noting", "q")
        .arg("--amqp-url", format!("amqp://127.0.0.1:{port}"))
        .spawn();
    let line = server.wait_for_line("Probe application running on port ");
    let probes: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    server.wait_for_line("Reconnecting after ");
    assert_eq!(get(probes, "/alive").status, 200);
    assert_eq!(get(probes, "/startup").status, 400);
    assert_eq!(get(probes, "/ready").status, 500);
    server.stop();
}
