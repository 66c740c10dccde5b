//! What comes to a handler, and what becomes of it.

use std::collections::BTreeSet;

use hurricane_amqp::{FieldTable as Fields, FieldValue, Properties};
use lapin::types::AMQPValue;
use rustix::process::Signal;

use super::{Admin, consume, name};
use crate::harness::{Launch, get, until_true};

fn header(message: &lapin::message::BasicGetMessage, name: &str) -> Option<AMQPValue> {
    let headers = message.delivery.properties.headers().as_ref()?;
    headers.inner().get(name).cloned()
}

#[test]
fn messages_come_in_order_and_are_acknowledged() {
    let (admin, queue) = (Admin::new(), name("order"));
    let texts: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    admin.fill(&queue, texts.clone());
    let server = consume("Counting", &queue).start_consuming();
    until_true("all have come", || server.notes().len() == 500);
    let consumed = format!(
        "messaging_client_consumed_messages_total{{messaging_system=\"rabbitmq\",messaging_destination_name=\"{queue}\"}} 500"
    );
    let handled = format!("messaging_destination_name=\"{queue}\"}} 500");
    // The handler has the last ones earlier than the server knows how long they took.
    until_true("every message is counted and in the histogram", || {
        let metrics = get(server.probe_port(), "/metrics").text();
        let is_handled = |line: &str| {
            line.starts_with("messaging_process_duration_seconds_count") && line.ends_with(&handled)
        };
        metrics.contains(&consumed) && metrics.lines().any(is_handled)
    });
    assert_eq!(server.notes(), texts);
    for probe in ["/startup", "/ready", "/alive"] {
        assert_eq!(get(server.probe_port(), probe).status, 200, "{probe}");
    }
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn the_start_is_told_line_by_line() {
    let (exchange, queue) = (name("shop"), name("lines"));
    let server = consume("Keyed", &queue)
        .arg("--exchange", &exchange)
        .start_consuming();
    let log = server.stop().stderr;
    let mut rest = log.as_str();
    for line in [
        "Probe application running on port ".to_owned(),
        "AMQP consumer running in auto-reconnect mode".to_owned(),
        "consumers.Keyed overrides setup_exchange, which is not called".to_owned(),
        "Connecting to 127.0.0.1:".to_owned(),
        "Connection opened".to_owned(),
        "Creating a new channel".to_owned(),
        "Channel opened".to_owned(),
        format!("Declaring exchange: {exchange}"),
        format!("Declaring queue {queue}"),
        format!("Binding to {queue}"),
        format!("Queue bound: {queue} with routing key {queue}.#"),
        "QOS set to: 7".to_owned(),
        "Issuing consumer".to_owned(),
        "Received signal SIGTERM".to_owned(),
        "Stopped consuming".to_owned(),
        "Terminating Hurricane AMQP client".to_owned(),
    ] {
        let at = rest.find(&line);
        let at = at.unwrap_or_else(|| panic!("{line:?} is missing, or in the wrong place: {log}"));
        rest = &rest[at..];
    }
}

#[test]
fn the_class_says_how_its_queue_is_bound() {
    for (handler, key) in [("Keyed", "KEY.a.b"), ("Direct", "KEY"), ("Fanout", "any")] {
        let (admin, exchange, queue) = (Admin::new(), name("x"), name("bound"));
        let server = consume(handler, &queue)
            .arg("--exchange", &exchange)
            .start_consuming();
        admin.publish(&exchange, &key.replace("KEY", &queue), b"hello");
        server.wait_for_note("hello done");
        server.stop();
    }
    let (admin, exchange, queue) = (Admin::new(), name("x"), name("bound"));
    let server = consume("Headers", &queue)
        .arg("--exchange", &exchange)
        .arg("--binding-argument", "x-match=any")
        .more("--binding-argument", "kind=mail")
        .start_consuming();
    let properties = Properties {
        headers: Fields::from([("kind".to_owned(), "mail".into())]),
        ..Properties::default()
    };
    admin.publish_with(&exchange, "", b"hello", properties);
    server.wait_for_note("hello done");
    server.stop();
}

#[test]
fn an_async_handler_handles_many_at_the_same_time() {
    let (admin, queue) = (Admin::new(), name("async"));
    admin.fill(&queue, (0..40).map(|number| number.to_string()));
    let server = consume("Concurrent", &queue)
        .arg("--concurrency", 8)
        .start_consuming();
    until_true("all have come", || server.notes().len() == 40);
    let expected: BTreeSet<_> = (0..40).map(|n| format!("{n} of True")).collect();
    assert_eq!(BTreeSet::from_iter(server.notes()), expected);
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn threads_handle_messages_at_the_same_time() {
    let (admin, queue) = (Admin::new(), name("threads"));
    admin.fill(&queue, (0..3).map(|number| format!("wait {number}")));
    let server = consume("Noting", &queue)
        .arg("--concurrency", 3)
        .start_consuming();
    until_true("all have begun", || server.notes().len() == 3);
    server.touch("go");
    until_true("all are done", || server.notes().len() == 6);
    server.stop();
}

#[test]
fn a_handler_that_raises_is_shown_whole_and_its_message_becomes_a_dead_letter() {
    let (admin, queue, dead) = (Admin::new(), name("raises"), name("dead"));
    admin.fill(
        &queue,
        ["fail 1".to_owned(), "exit 2".to_owned(), "3".to_owned()],
    );
    let server = consume("Noting", &queue)
        .arg("--retry-attempts", 3)
        .arg("--dead-letter-queue", &dead)
        .start_consuming();
    let reasons = [admin.take(&dead), admin.take(&dead)].map(|letter| {
        let attempts = header(&letter, "x-hurricane-attempts");
        assert_eq!(attempts, Some(AMQPValue::LongLongInt(3)), "{letter:?}");
        header(&letter, "x-hurricane-reason")
    });
    let attempts = AMQPValue::LongString("attempts".into());
    assert_eq!(reasons, [Some(attempts.clone()), Some(attempts)]);
    let notes = server.notes();
    let count = |note: &str| notes.iter().filter(|noted| *noted == note).count();
    assert_eq!(
        (count("fail 1"), count("exit 2"), count("3 done")),
        (3, 3, 1)
    );
    let log = server.stop().stderr;
    for line in [
        "consumers.Noting failed at message 1 (attempt 1); it is tried again",
        "Traceback (most recent call last):",
        "consumers.py\", line",
        "RuntimeError: fail 1 on purpose",
    ] {
        assert!(log.contains(line), "{line:?} is missing: {log}");
    }
    assert!(!log.contains("<hurricane>"), "lines of no use: {log}");
}

#[test]
fn an_async_handler_that_raises_or_hangs_is_tried_again() {
    let (admin, queue) = (Admin::new(), name("async-raises"));
    admin.fill(&queue, ["fail".to_owned(), "hang".to_owned()]);
    let server = consume("AsyncFails", &queue)
        .arg("--handler-timeout", "2s")
        .arg("--concurrency", 2)
        .start_consuming();
    server.wait_for_note("fail done");
    server.wait_for_note("hang done");
    assert_eq!(
        server.workers().len(),
        1,
        "the task is ended, not the worker"
    );
    let log = server.stop().stderr;
    assert!(log.contains("RuntimeError: on purpose"), "{log}");
    assert!(log.contains("TimeoutError"), "{log}");
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn what_is_rejected_is_not_tried_again() {
    let (admin, queue, dead) = (Admin::new(), name("reject"), name("dead"));
    admin.fill(&queue, ["reject".to_owned()]);
    let server = consume("Noting", &queue)
        .arg("--dead-letter-queue", &dead)
        .start_consuming();
    let letter = admin.take(&dead);
    let rejected = Some(AMQPValue::LongString("rejected".into()));
    assert_eq!(header(&letter, "x-hurricane-reason"), rejected);
    assert_eq!(server.notes(), ["reject"]);
    server.stop();
}

#[test]
fn what_is_not_acknowledged_stays_in_hand_and_goes_back_at_the_end() {
    let (admin, queue) = (Admin::new(), name("keep"));
    admin.fill(&queue, (0..5).map(|number| format!("keep {number}")));
    let server = consume("Noting", &queue)
        .arg("--prefetch", 3)
        .arg("--req-queue-len", 3)
        .arg("--graceful-timeout", "200ms")
        .start_consuming();
    until_true("it has all it may have", || server.notes().len() == 3);
    until_true("it is not ready", || {
        get(server.probe_port(), "/ready").status == 400
    });
    assert_eq!(admin.depth(&queue), Some(2));
    server.stop();
    admin.until_depth(&queue, 5);
}

#[test]
fn a_handler_publishes_in_order_and_before_its_message_is_acknowledged() {
    let (admin, queue, replies) = (Admin::new(), name("publish"), name("replies"));
    admin.declare(&queue);
    admin.declare(&replies);
    let properties = Properties {
        reply_to: Some(replies.clone()),
        ..Properties::default()
    };
    admin.publish_with("", &queue, b"50", properties);
    let server = consume("Replying", &queue).start_consuming();
    for number in 0..50 {
        let reply = admin.take(&replies);
        assert_eq!(reply.delivery.data, number.to_string().into_bytes());
    }
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn a_message_is_tried_again_when_what_it_published_was_not_taken() {
    let (admin, queue, dead) = (Admin::new(), name("nowhere"), name("dead"));
    admin.fill(&queue, ["nowhere".to_owned()]);
    let server = consume("Replying", &queue)
        .arg("--retry-attempts", 2)
        .arg("--dead-letter-queue", &dead)
        .start_consuming();
    admin.take(&dead);
    assert_eq!(server.notes(), ["attempt 1", "attempt 2"]);
    let log = server.stop().stderr;
    assert!(log.contains("was not taken"), "{log}");
}

/// What the handler got, it has published as it was.
#[test]
fn properties_of_every_kind_and_large_bodies_pass() {
    let (admin, queue, replies) = (Admin::new(), name("kinds"), name("replies"));
    admin.declare(&queue);
    admin.declare(&replies);
    let headers = Fields::from([
        ("void".to_owned(), FieldValue::Void),
        ("bool".to_owned(), true.into()),
        ("i8".to_owned(), FieldValue::I8(-8)),
        ("u8".to_owned(), FieldValue::U8(8)),
        ("i16".to_owned(), FieldValue::I16(-16)),
        ("u16".to_owned(), FieldValue::U16(16)),
        ("i32".to_owned(), (-32).into()),
        ("u32".to_owned(), FieldValue::U32(u32::MAX)),
        ("i64".to_owned(), FieldValue::I64(i64::MIN + 1)),
        ("f32".to_owned(), FieldValue::F32(0.5)),
        ("f64".to_owned(), FieldValue::F64(-0.1)),
        (
            "decimal".to_owned(),
            FieldValue::Decimal {
                scale: 2,
                value: 314,
            },
        ),
        ("text".to_owned(), "t\u{e4}xt".into()),
        ("bytes".to_owned(), FieldValue::Bytes(vec![0xff, 0].into())),
        ("timestamp".to_owned(), FieldValue::Timestamp(1_700_000_000)),
        (
            "array".to_owned(),
            FieldValue::Array(vec![1.into(), "a".into(), FieldValue::Timestamp(2)]),
        ),
        (
            "table".to_owned(),
            FieldValue::Table(Fields::from([(
                "deep".to_owned(),
                FieldValue::Timestamp(3),
            )])),
        ),
    ]);
    let properties = Properties {
        content_type: Some("text/plain".into()),
        content_encoding: Some("identity".into()),
        headers,
        priority: Some(3),
        correlation_id: Some("7".into()),
        reply_to: Some(replies.clone()),
        message_id: Some("m".into()),
        timestamp: Some(1_700_000_000),
        kind: Some("kind".into()),
        user_id: Some("guest".into()),
        app_id: Some("app".into()),
        ..Properties::default()
    };
    let body = vec![0xe5; 1 << 20];
    admin.publish_with("", &queue, &body, properties);
    let server = consume("Replying", &queue).start_consuming();
    let reply = admin.take(&replies);
    assert!(reply.delivery.data == body, "the body is another one");
    let properties = &reply.delivery.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.clone().unwrap().to_string();
    assert_eq!(text(properties.kind()), "kind");
    assert_eq!(text(properties.correlation_id()), "7");
    assert_eq!(*properties.timestamp(), Some(1_700_000_000));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let int = |name: &str| match header(&reply, name) {
        Some(AMQPValue::LongInt(value)) => i64::from(value),
        Some(AMQPValue::LongLongInt(value)) => value,
        other => panic!("{name} is {other:?}"),
    };
    for (name, value) in [
        ("i8", -8),
        ("u8", 8),
        ("i16", -16),
        ("u16", 16),
        ("i32", -32),
        ("u32", i64::from(u32::MAX)),
        ("i64", i64::MIN + 1),
    ] {
        assert_eq!(int(name), value, "{name}");
    }
    assert_eq!(header(&reply, "void"), Some(AMQPValue::Void));
    assert_eq!(header(&reply, "bool"), Some(AMQPValue::Boolean(true)));
    assert_eq!(header(&reply, "f32"), Some(AMQPValue::Double(0.5)));
    assert_eq!(header(&reply, "f64"), Some(AMQPValue::Double(-0.1)));
    assert_eq!(
        header(&reply, "decimal"),
        Some(AMQPValue::DecimalValue(lapin::types::DecimalValue {
            scale: 2,
            value: 314
        }))
    );
    assert_eq!(
        header(&reply, "text"),
        Some(AMQPValue::LongString("t\u{e4}xt".into()))
    );
    assert_eq!(
        header(&reply, "timestamp"),
        Some(AMQPValue::Timestamp(1_700_000_000))
    );
    let told = format!("{:?}", (header(&reply, "array"), header(&reply, "table")));
    assert!(
        told.contains("Timestamp(2)") && told.contains("Timestamp(3)"),
        "{told}"
    );
    server.stop();
}

#[test]
fn a_body_of_100_mib_passes() {
    let (admin, queue) = (Admin::new(), name("large"));
    admin.declare(&queue);
    admin.publish("", &queue, &vec![b'x'; 100 << 20]);
    admin.publish("", &queue, b"small");
    let server = Launch::consume("consumers_large.Measuring")
        .arg("--amqp-url", super::broker::uri())
        .arg("--queue", &queue)
        .flag("--durable")
        .start_consuming();
    server.wait_for_note("5");
    assert_eq!(server.notes(), [(100 << 20).to_string().as_str(), "5"]);
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn several_handlers_share_a_process() {
    let admin = Admin::new();
    let queues = [name("first"), name("second")];
    for queue in &queues {
        admin.declare(queue);
        admin.publish("", queue, format!("to {queue}").as_bytes());
    }
    let server = consume("Counting", &queues[0])
        .more("--queue", &queues[1])
        .word("consumers.Noting")
        .start_consuming();
    server.wait_for_note(&format!("to {}", queues[0]));
    server.wait_for_note(&format!("to {} done", queues[1]));
    let ready = get(server.probe_port(), "/ready?verbose").text();
    assert!(ready.contains("amqp consumers.Counting"), "{ready}");
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn it_ends_in_good_order_after_as_many_messages_as_it_may_have() {
    let (admin, queue) = (Admin::new(), name("lifetime"));
    admin.fill(&queue, (0..20).map(|number| number.to_string()));
    let server = consume("Counting", &queue).arg("--max-lifetime", 5).spawn();
    server.wait_for_line("Stopped consuming");
    assert_eq!(server.notes().len(), 5);
    assert_eq!(server.ended().code, Some(0));
    admin.until_depth(&queue, 15);
}

#[test]
fn ordered_means_retried_in_place() {
    let (admin, queue) = (Admin::new(), name("ordered"));
    admin.fill(&queue, ["1", "fail 2", "3"].map(str::to_owned));
    let server = consume("Noting", &queue)
        .flag("--ordered")
        .arg("--retry-attempts", 3)
        .start_consuming();
    server.wait_for_note("3 done");
    assert_eq!(
        server.notes(),
        ["1", "1 done", "fail 2", "fail 2", "fail 2", "3", "3 done"]
    );
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn a_stop_finishes_what_is_in_hand_and_gives_back_the_rest() {
    let (admin, queue) = (Admin::new(), name("stop"));
    let texts: Vec<_> = (0..100).map(|number| format!("slow {number}")).collect();
    admin.fill(&queue, texts);
    let server = consume("Noting", &queue).start_consuming();
    until_true("some are done", || server.notes().len() > 5);
    server.signal(Signal::TERM);
    server.wait_for_line("Terminating");
    let notes = server.notes();
    assert_eq!(server.ended().code, Some(0));
    let begun = notes.iter().filter(|note| !note.ends_with("done")).count();
    let done = notes.iter().filter(|note| note.ends_with("done")).count();
    assert_eq!(begun, done, "what was begun is finished: {notes:?}");
    assert!(done < 100, "it did not wait for all of them");
    admin.until_depth(&queue, u32::try_from(100 - done).unwrap());
}
