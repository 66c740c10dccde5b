//! The queue before an event loop, and what becomes of loops that die, hang or end.

use rustix::process::Signal;

use super::*;
use crate::harness::metric;

#[test]
fn above_the_concurrency_requests_wait_in_the_queue() {
    let server = gallery()
        .arg("--concurrency", "2")
        .arg("--queue-size", "3")
        .arg("--req-queue-len", "3")
        .start();
    let waiting: Vec<_> = (0..5)
        .map(|number| {
            let request = Request::new("GET", &format!("/wait/{number}"));
            let connection = Connection::begin(server.port(), &request);
            until_true("it has come in", || {
                metric(&server, "http_server_active_requests")
                    .is_some_and(|count| count > f64::from(number))
            });
            connection
        })
        .collect();
    until_true("three of them wait", || {
        metric(&server, "request_queue_length") == Some(3.0)
    });
    until_true("two of them run", || server.notes().len() == 3);
    until_true("it is not ready while so many wait", || {
        get(server.probe_port(), "/ready").status == 400
    });
    let refused = get(server.port(), "/hello");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    server.touch("go");
    for (number, mut connection) in waiting.into_iter().enumerate() {
        assert_eq!(
            connection.response("GET").unwrap().text(),
            number.to_string()
        );
    }
    until_true("it is ready again", || {
        get(server.probe_port(), "/ready").status == 200
    });
    server.stop();
}

#[test]
fn a_client_that_leaves_the_queue_never_reaches_the_application() {
    let server = gallery().arg("--concurrency", "1").start();
    let mut first = Connection::begin(server.port(), &Request::new("GET", "/wait/first"));
    server.wait_for_note("waiting first");
    let second = Connection::begin(server.port(), &Request::new("GET", "/wait/second"));
    until_true("it waits", || {
        metric(&server, "request_queue_length") == Some(1.0)
    });
    drop(second);
    until_true("it is forgotten", || {
        metric(&server, "request_queue_length") == Some(0.0)
    });
    server.touch("go");
    assert_eq!(first.response("GET").unwrap().text(), "first");
    assert!(!server.notes().contains(&"waiting second".to_owned()));
    server.stop();
}

#[test]
fn a_worker_that_dies_costs_what_it_had_and_is_replaced() {
    let server = gallery().arg("--concurrency", "1").start();
    let mut lost = Connection::begin(server.port(), &Request::new("GET", "/wait/lost"));
    server.wait_for_note("waiting lost");
    let mut kept = Connection::begin(server.port(), &Request::new("GET", "/hello"));
    until_true("it waits", || {
        metric(&server, "request_queue_length") == Some(1.0)
    });
    kill(server.workers()[0], Signal::KILL);
    assert_eq!(lost.response("GET").unwrap().status, 502);
    assert_eq!(
        kept.response("GET").unwrap().text(),
        "hello",
        "by the next worker"
    );
    server.wait_for_workers(2);
    assert_eq!(get(server.port(), "/die").status, 502);
    server.wait_for_workers(3);
    assert_eq!(get(server.port(), "/hello").text(), "hello");
    server.stop();
}

#[test]
fn a_stream_breaks_off_when_its_worker_dies() {
    let server = gallery().start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/events/1"));
    connection.head().unwrap();
    connection.chunk().unwrap();
    kill(server.workers()[0], Signal::KILL);
    assert_eq!(connection.rest().unwrap(), b"", "without the last chunk");
    server.stop();
}

#[test]
fn a_request_that_takes_too_long_is_answered_and_its_task_ends() {
    let server = gallery()
        .arg("--request-timeout", "2s")
        .arg("--disconnect-grace", "0")
        .start();
    assert_eq!(get(server.port(), "/watch").status, 504);
    server.wait_for_note("cancelled");
    assert_eq!(get(server.port(), "/hello").text(), "hello");
    assert_eq!(
        server.workers().len(),
        1,
        "a loop that turns is not replaced"
    );
    server.stop();
}

#[test]
fn several_workers_share_the_requests() {
    let server = gallery()
        .arg("--workers", "2")
        .arg("--concurrency", "1")
        .start();
    let first = Connection::begin(server.port(), &Request::new("GET", "/wait/a"));
    server.wait_for_note("waiting a");
    let second = Connection::begin(server.port(), &Request::new("GET", "/wait/b"));
    server.wait_for_note("waiting b");
    server.touch("go");
    for mut connection in [first, second] {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    server.stop();
}

#[test]
fn requests_in_hand_are_finished_at_the_end() {
    let server = gallery().start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/wait/it"));
    server.wait_for_note("waiting it");
    server.signal(Signal::TERM);
    server.wait_for_line("Received signal SIGTERM");
    server.touch("go");
    assert_eq!(connection.response("GET").unwrap().text(), "it");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_loop_that_does_not_turn_shows_and_is_replaced() {
    let server = gallery().arg("--request-timeout", "2s").start();
    until_true("the loop turns", || {
        metric(&server, "hurricane_event_loop_lag_seconds").is_some_and(|lag| lag < 1.0)
    });
    let mut blocked = Connection::begin(server.port(), &Request::new("GET", "/block/600"));
    server.wait_for_note("blocking");
    assert_eq!(blocked.response("GET").unwrap().status, 504);
    server.wait_for_line("its event loop does not turn");
    server.wait_for_workers(2);
    assert_eq!(get(server.port(), "/hello").text(), "hello");
    server.stop();
}

#[test]
fn probes_fail_while_a_loop_does_not_turn_and_pass_again() {
    let server = gallery()
        .arg("--check-max-age", "1")
        .arg("--probe-timeout", "500ms")
        .start();
    let mut blocked = Connection::begin(server.port(), &Request::new("GET", "/block/600"));
    let verbose = || get(server.probe_port(), "/alive?verbose");
    until_true("liveness fails", || verbose().status >= 400);
    server.touch("go");
    assert_eq!(blocked.response("GET").unwrap().text(), "hello");
    until_true("liveness passes", || verbose().status == 200);
    assert!(
        verbose().text().contains("[+]event loop ok"),
        "{}",
        verbose().text()
    );
    server.stop();
}
