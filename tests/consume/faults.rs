//! Workers that die or hang, brokers that go: no message is lost.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::{Admin, broker::Broker, consume, name};
use crate::harness::{Server, get, kill, until_true};

/// The texts that have come, once each.
fn seen(server: &Server) -> BTreeSet<String> {
    let notes = server.notes().into_iter();
    notes.filter(|note| !note.ends_with(" done")).collect()
}

/// Those of them that were done.
fn done(server: &Server) -> BTreeSet<String> {
    let notes = server.notes().into_iter();
    notes.filter(|note| note.ends_with(" done")).collect()
}

#[test]
fn what_a_worker_had_in_hand_when_it_was_killed_comes_again() {
    let (admin, queue) = (Admin::new(), name("kill-worker"));
    let texts: Vec<_> = (0..200).map(|number| format!("slow {number}")).collect();
    admin.fill(&queue, texts);
    let server = consume("Noting", &queue).start_consuming();
    for round in 1..4 {
        until_true("it is at work", || server.notes().len() > round * 20);
        let workers = server.wait_for_workers(round);
        kill(workers[round - 1], Signal::KILL);
    }
    until_true("all are done", || done(&server).len() == 200);
    server.wait_for_workers(4);
    let log = server.stop().stderr;
    assert!(log.contains("Worker ended unexpectedly"), "{log}");
}

/// Workers and the consumer itself are killed in the middle of their work, again and again.
#[test]
fn no_message_is_lost_whoever_is_killed() {
    const COUNT: usize = 6_000;
    let (admin, queue) = (Admin::new(), name("chaos"));
    admin.fill_with_numbers(&queue, COUNT);
    let mut seen = BTreeSet::new();
    for round in 1..=4 {
        let server = consume("Counting", &queue)
            .arg("--workers", 2)
            .arg("--concurrency", 2)
            .start_consuming();
        for killed in 0..2 {
            let goal = seen.len() + (killed + 1) * 400;
            until_true("it is at work", || {
                let new = server
                    .notes()
                    .into_iter()
                    .filter(|note| !seen.contains(note));
                seen.len() + new.count() >= goal || admin.depth(&queue) == Some(0)
            });
            kill(server.wait_for_workers(2 + killed)[killed], Signal::KILL);
        }
        if round == 4 {
            until_true("all have come", || {
                let notes = server.notes().into_iter();
                BTreeSet::from_iter(notes).union(&seen).count() == COUNT
            });
            server.stop();
            break;
        }
        server.signal(Signal::KILL);
        seen.extend(server.notes());
        assert_eq!(server.ended().code, Some(128 + 9));
    }
    assert_eq!(
        admin.depth(&queue),
        Some(0),
        "what was done is acknowledged"
    );
}

#[test]
fn a_stop_with_500_messages_in_hand_gives_back_all_that_was_not_begun() {
    let (admin, queue) = (Admin::new(), name("stop-500"));
    admin.fill_with_numbers(&queue, 500);
    let server = consume("Sleepy", &queue)
        .arg("--prefetch", 0)
        .start_consuming();
    until_true("it has all of them", || {
        !server.notes().is_empty() && admin.depth(&queue) == Some(0)
    });
    server.signal(Signal::TERM);
    server.wait_for_line("Terminating");
    let notes = server.notes();
    assert_eq!(server.ended().code, Some(0));
    assert!(notes.len() < 500, "it did not wait for all of them");
    admin.until_depth(&queue, u32::try_from(500 - notes.len()).unwrap());
}

#[test]
fn a_message_that_kills_its_worker_does_so_a_bounded_number_of_times() {
    let (admin, queue, dead) = (Admin::new(), name("die"), name("dead"));
    admin.fill(&queue, ["1", "die", "2"].map(str::to_owned));
    let server = consume("Noting", &queue)
        .arg("--retry-attempts", 2)
        .arg("--dead-letter-queue", &dead)
        .start_consuming();
    assert_eq!(admin.take(&dead).delivery.data, b"die");
    server.wait_for_note("2 done");
    let notes = server.notes();
    assert_eq!(notes.iter().filter(|note| *note == "die").count(), 2);
    assert_eq!(server.wait_for_workers(3).len(), 3);
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn what_it_had_in_hand_when_it_was_killed_itself_goes_to_the_next() {
    let (admin, queue) = (Admin::new(), name("kill"));
    admin.fill(&queue, (0..20).map(|number| format!("slow {number}")));
    let server = consume("Noting", &queue).start_consuming();
    until_true("it is at work", || server.notes().len() > 10);
    server.signal(Signal::KILL);
    let mut all = seen(&server);
    assert_eq!(server.ended().code, Some(128 + 9));
    let next = consume("Noting", &queue).start_consuming();
    until_true("the rest is done", || {
        all.extend(seen(&next));
        all.len() == 20 && admin.depth(&queue) == Some(0)
    });
    next.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn a_handler_that_hangs_is_ended_and_its_message_tried_again() {
    let (admin, queue) = (Admin::new(), name("hang"));
    admin.fill(&queue, ["1", "hang", "2"].map(str::to_owned));
    let server = consume("Careful", &queue)
        .arg("--handler-timeout", "300ms")
        .start_consuming();
    server.wait_for_note("again done");
    server.wait_for_note("2 done");
    assert_eq!(server.wait_for_workers(2).len(), 2);
    until_true("it is alive", || {
        get(server.probe_port(), "/alive").status == 200
    });
    let log = server.stop().stderr;
    assert!(log.contains("Worker hangs"), "{log}");
    assert!(
        log.contains("consumers.py"),
        "it shows where it hangs: {log}"
    );
}

#[test]
fn new_workers_on_sighup_lose_nothing() {
    let (admin, queue) = (Admin::new(), name("reload"));
    admin.fill(&queue, (0..60).map(|number| format!("slow {number}")));
    let server = consume("Noting", &queue).start_consuming();
    until_true("it is at work", || server.notes().len() > 10);
    server.signal(Signal::HUP);
    server.wait_for_workers(2);
    until_true("all are done", || server.notes().len() == 120);
    assert_eq!(seen(&server).len(), 60);
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
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
    assert_eq!(status("/alive"), 200, "no restart brings a broker back");
    assert_eq!(status("/startup"), 200);
    server.wait_for_line("Channel 1 was closed: Transport indicated EOF");
    server.wait_for_line("Reconnecting after 1 ");
    broker.start_again();
    Admin::at(broker.uri()).publish("", &queue, b"after");
    server.wait_for_note("after done");
    until_true("readiness is back", || status("/ready") == 200);
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
fn messages_wait_while_there_is_no_worker() {
    let (admin, queue) = (Admin::new(), name("none"));
    admin.declare(&queue);
    let server = consume("Careful", &queue).start_consuming();
    admin.publish("", &queue, b"die");
    admin.publish("", &queue, b"1");
    server.wait_for_note("1 done");
    server.wait_for_note("alive done");
    server.stop();
    assert_eq!(admin.depth(&queue), Some(0));
}

#[test]
fn a_second_signal_ends_it_now() {
    let (admin, queue) = (Admin::new(), name("second"));
    admin.fill(&queue, ["wait".to_owned()]);
    let server = consume("Noting", &queue).start_consuming();
    server.wait_for_note("wait");
    server.signal(Signal::TERM);
    server.wait_for_line("Received signal SIGTERM");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(7));
    admin.until_depth(&queue, 1);
}

#[test]
fn it_starts_without_a_broker_and_is_alive() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
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
