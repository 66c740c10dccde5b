//! Workers that die or hang, brokers that go: no message is lost.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::{Admin, consume, name};
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
        .arg("--handler-timeout", "2s")
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
