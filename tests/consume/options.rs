//! The options of `hurricane consume`, where they come from, and how it ends.

use std::fs;

use super::{Admin, broker, consume, name};
use crate::harness::{Ended, Launch, get, until_true};

/// Checks the code, and that the last line is the one sentence for people.
pub(super) fn ends(ended: &Ended, code: i32, says: &str) {
    assert_eq!(ended.code, Some(code));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("hurricane: "), "{last:?}");
    assert!(last.contains(says), "{last:?} says {says:?}");
    assert!(!ended.stderr.contains("panicked"));
}

fn bare(handler: &str) -> Launch {
    Launch::consume(&format!("consumers.{handler}"))
}

#[test]
fn a_wrong_option_is_2() {
    let nowhere = || bare("Noting").arg("--amqp-host", "127.0.0.1");
    ends(&bare("Noting").run(), 2, "the broker is not named");
    ends(&Launch::consume("Noting").run(), 2, "package.module.Class");
    ends(
        &nowhere().arg("--amqp-port", "many").run(),
        2,
        "--amqp-port",
    );
    let variable = nowhere().env("AMQP_PORT", "many").run();
    ends(&variable, 2, "(from the variable AMQP_PORT)");
    ends(
        &nowhere().arg("--queue-argument", "x").run(),
        2,
        "NAME=VALUE",
    );
    let url = bare("Noting").arg("--amqp-url", "http://u:secret@h").run();
    ends(&url, 2, "--amqp-url: the AMQP address is not valid");
    assert!(!url.stderr.contains("secret"));
    let several = nowhere().word("consumers.Counting");
    ends(
        &several.arg("--queue", "a").run(),
        2,
        "--queue is given 1 times for 2 handlers",
    );
    let ordered = nowhere().flag("--ordered").arg("--concurrency", 2);
    ends(&ordered.run(), 2, "--ordered");
    ends(
        &nowhere().arg("--amqp-cert", "client.pem").run(),
        2,
        "not provided: --amqp-key",
    );
    ends(
        &nowhere().arg("--amqp-password-file", "/nowhere").run(),
        2,
        "--amqp-password-file",
    );
}

#[test]
fn a_handler_that_cannot_be_loaded_is_3() {
    let run = |handler: &str| bare(handler).arg("--amqp-host", "127.0.0.1").run();
    ends(
        &run("NoHandler"),
        3,
        "The type <class 'consumers.NoHandler'> is not subclass of _AMQPConsumer",
    );
    ends(&run("Missing"), 3, "has no attribute 'Missing'");
    let unmade = run("Unmade");
    ends(&unmade, 3, "consumers.Unmade cannot be made");
    assert!(unmade.stderr.contains("RuntimeError: made on purpose"));
    let broken = Launch::consume("broken.Handler").arg("--amqp-host", "127.0.0.1");
    ends(&broken.run(), 3, "broken");
}

#[test]
fn a_broker_that_refuses_is_10_in_one_sentence() {
    let address = broker::uri().trim_start_matches("amqp://");
    let wrong = |url: String| consume("Noting", "q").arg("--amqp-url", url).run();
    let login = wrong(format!("amqp://guest:wrong-password@{address}"));
    ends(&login, 10, "refused the login of user \"guest\"");
    assert!(!login.stderr.contains("wrong-password"));
    let vhost = wrong(format!("amqp://guest:guest@{address}/nowhere"));
    ends(&vhost, 10, "refused the virtual host \"nowhere\"");
    let (admin, queue) = (Admin::new(), name("other"));
    admin.declare(&queue);
    let other = consume("Noting", &queue).without("--durable").run();
    ends(&other, 10, "failed to declare the queue");
    let first = consume("Noting", &queue).flag("--exclusive-consumer");
    let first = first.start_consuming();
    // The broker closes the channel for it.
    let second = consume("Noting", &queue).run();
    ends(&second, 10, "failed to subscribe to the queue");
    first.stop();
}

#[test]
fn the_password_comes_from_a_variable_or_a_file() {
    let queue = name("password");
    let host = broker::uri().trim_start_matches("amqp://");
    let (host, port) = host.split_once(':').unwrap();
    let launch = || {
        consume("Noting", &queue)
            .without("--amqp-url")
            .env("AMQP_HOST", host)
            .env("AMQP_PORT", format!("tcp://{host}:{port}"))
            .env("AMQP_USER", "guest")
    };
    let server = launch().env("AMQP_PASSWORD", "guest").start_consuming();
    server.stop();
    let launch = launch().env("AMQP_PASSWORD", "wrong");
    let file = launch.dir().join("password");
    fs::write(&file, "guest\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    launch
        .arg("--amqp-password-file", file)
        .start_consuming()
        .stop();
}

#[test]
fn variables_set_what_the_command_line_does_not() {
    let (admin, queue) = (Admin::new(), name("variables"));
    let server = Launch::consume("consumers.Noting")
        .env("AMQP_URL", broker::uri())
        .variable("--queue", &queue)
        .variable("--prefetch", "3")
        .variable("--auto-delete", "yes")
        .variable("--req-queue-len", "1")
        .start_consuming();
    server.wait_for_line("QOS set to: 3");
    admin.publish("", &queue, b"keep");
    until_true("it is not ready", || {
        get(server.probe_port(), "/ready").status == 400
    });
    server.wait_for_line("Issuing consumer");
    server.signal(rustix::process::Signal::INT);
    server.wait_for_line("SIGINT");
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.ended().code, Some(7));
    until_true("the queue goes with its consumer", || {
        admin.depth(&queue).is_none()
    });
}

#[test]
fn no_probes_and_no_metrics() {
    let queue = name("no-probes");
    let server = consume("Noting", &queue).flag("--no-probe").spawn();
    server.wait_for_line("No probe application running");
    server.wait_for_line("Issuing consumer");
    server.stop();
    let server = consume("Noting", &queue)
        .flag("--no-metrics")
        .start_consuming();
    assert_eq!(get(server.probe_port(), "/metrics").status, 404);
    server.stop();
}

#[test]
fn what_is_passive_declares_nothing() {
    let (admin, queue) = (Admin::new(), name("passive"));
    let ended = consume("Noting", &queue).flag("--passive").run();
    ends(&ended, 10, "failed to declare the queue");
    admin.declare(&queue);
    let server = consume("Noting", &queue)
        .flag("--passive")
        .start_consuming();
    server.stop();
}

#[test]
fn a_quorum_queue_counts_what_it_delivers() {
    let (admin, queue) = (Admin::new(), name("quorum"));
    let server = consume("Noting", &queue)
        .flag("--quorum")
        .arg("--retry-via", "requeue")
        .arg("--retry-attempts", 2)
        .start_consuming();
    admin.publish("", &queue, b"fail");
    server.wait_for_line("(attempt 2)");
    admin.publish("", &queue, b"1");
    server.wait_for_note("1 done");
    let notes = server.notes();
    assert_eq!(notes.iter().filter(|note| *note == "fail").count(), 2);
    server.stop();
    admin.until_depth(&queue, 0);
}
