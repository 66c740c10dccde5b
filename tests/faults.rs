//! Workers that die, hang and block; clients that leave, dawdle and lie.

use std::{
    collections::HashMap,
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::harness::{
    Connection, Launch, Request, Server, children, get, is_running, kill, metric, until, until_true,
};

/// Asks liveness without a pause while `work` is done; every answer has to be 200.
fn while_alive<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asker = scope.spawn(|| {
            while !done.load(Relaxed) {
                let answer = get(server.probe_port(), "/alive");
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Relaxed);
        asker.join().expect("liveness is always answered");
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How often the application ran what was asked for under each number.
fn runs(server: &Server) -> HashMap<String, usize> {
    let mut runs = HashMap::new();
    for note in server.notes() {
        if let Some(ran) = note.strip_prefix("ran ") {
            *runs.entry(ran.to_owned()).or_default() += 1;
        }
    }
    runs
}

fn wait_until_queued(server: &Server, count: usize) {
    until_true("the requests are queued", || {
        metric(server, "request_queue_length") == Some(count as f64)
    });
}

// === workers that end ===

#[test]
fn a_worker_that_is_killed_costs_the_request_that_it_had() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let port = server.port();
    let mut held = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let mut queued: Vec<_> = (1..=5)
        .map(|number| Connection::begin(port, &Request::new("GET", &format!("/quick?{number}"))))
        .collect();
    wait_until_queued(&server, 5);
    let worker = server.workers()[0];
    while_alive(&server, || {
        kill(worker, Signal::KILL);
        assert_eq!(held.response("GET").unwrap().status, 502);
        for (index, connection) in queued.iter_mut().enumerate() {
            let response = connection.response("GET").unwrap();
            assert_eq!(
                (response.status, response.text()),
                (200, (index + 1).to_string())
            );
            assert_ne!(response.header("x-pid"), Some(worker.to_string().as_str()));
        }
    });
    let runs = runs(&server);
    assert_eq!(runs.len(), 6);
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    // The connection of the one that failed is as good as before.
    let again = Request::new("GET", "/quick?again")
        .send_on(&mut held)
        .unwrap();
    assert_eq!(again.text(), "again");
    let states = children(server.pid());
    assert!(
        states.iter().all(|(_, state)| *state != 'Z'),
        "no zombies: {states:?}"
    );
    server.stop();
}

#[test]
fn a_request_that_ends_its_process_hurts_no_other() {
    for fatal in ["exit", "kill"] {
        let server = Launch::app("faults").arg("--threads", 1).start();
        let port = server.port();
        // So quick that requests are given to the worker ahead, several at once.
        let mut warm = Connection::open(port);
        for _ in 0..200 {
            Request::new("GET", "/quick?warm")
                .send_on(&mut warm)
                .unwrap();
        }
        let mut connections: Vec<_> = (0..40).map(|_| Connection::open(port)).collect();
        for (number, connection) in connections.iter_mut().enumerate() {
            let name = if number == 20 { fatal } else { "quick" };
            connection.send(Request::new("GET", &format!("/{name}?{number}")).bytes());
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            let response = connection.response("GET").unwrap();
            // What had run before it in the same batch may have lost its answer with the process.
            if number == 20 {
                assert_eq!(response.status, 502, "{fatal}");
            } else if response.status != 502 {
                assert_eq!(
                    (response.status, response.text()),
                    (200, number.to_string())
                );
            }
        }
        let runs = runs(&server);
        for number in 0..40 {
            let name = if number == 20 { fatal } else { "quick" };
            assert_eq!(
                runs.get(&format!("{name} {number}")),
                Some(&1),
                "{name} {number}"
            );
        }
        let log = server.stop().stderr;
        assert!(log.contains("Worker ended unexpectedly"));
    }
}

#[test]
fn a_worker_that_dies_amid_a_stream_breaks_it_off() {
    let server = Launch::app("faults").start();
    server.touch("go0");
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/stream?2"));
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.chunk().unwrap().unwrap(), b"piece 0\n");
    kill(server.workers()[0], Signal::KILL);
    connection
        .chunk()
        .expect_err("the stream must not look whole");
    assert_eq!(get(server.port(), "/quick?1").text(), "1");
    server.stop();
}

#[test]
fn the_other_workers_go_on() {
    let server = Launch::app("faults")
        .arg("--workers", 2)
        .arg("--threads", 1)
        .start();
    let port = server.port();
    let mut held = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    assert_eq!(get(port, "/exit?1").status, 502);
    server.wait_for_workers(3);
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().text(), "0");
    server.stop();
}

#[test]
fn a_worker_that_does_not_import_any_more_is_tried_again() {
    let server = Launch::app("faults").start();
    server.touch("broken");
    assert_eq!(get(server.port(), "/exit?1").status, 502);
    let mut waiting = Connection::begin(server.port(), &Request::new("GET", "/quick?2"));
    until_true("it was tried several times", || {
        server
            .stderr()
            .matches("The next worker did not become ready")
            .count()
            >= 2
    });
    assert!(
        server.stderr().contains("RuntimeError: broken for now"),
        "the traceback is shown"
    );
    assert_eq!(get(server.probe_port(), "/startup").status, 200);
    std::fs::remove_file(server.dir().join("broken")).unwrap();
    assert_eq!(waiting.response("GET").unwrap().text(), "2");
    server.stop();
}

#[test]
fn workers_die_with_their_server() {
    let server = Launch::app("faults").arg("--workers", 2).start();
    let workers = server.workers();
    assert_eq!(workers.len(), 2);
    let _held = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    server.signal(Signal::KILL);
    assert_eq!(server.ended().code, Some(128 + 9));
    for worker in workers {
        until_true("the worker is gone", || !is_running(worker));
    }
}

// === workers that hang ===

#[test]
fn a_request_that_takes_too_long_is_504_and_its_worker_is_replaced() {
    let server = Launch::app("faults")
        .arg("--request-timeout", "2s")
        .arg("--graceful-timeout", "1s")
        .arg("--threads", 2)
        .start();
    let port = server.port();
    let mut hanging = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let before = get(port, "/quick?1");
    assert_eq!(before.status, 200, "the other thread goes on");
    while_alive(&server, || {
        assert_eq!(hanging.response("GET").unwrap().status, 504);
        let workers = server.wait_for_workers(2);
        let new = until("the new worker serves", || {
            let response = get(port, "/quick?2");
            assert_eq!(response.status, 200);
            Some(response).filter(|response| response.header("x-pid") != before.header("x-pid"))
        });
        assert_eq!(new.header("x-pid"), Some(workers[1].to_string().as_str()));
        until_true("the old worker is gone", || !is_running(workers[0]));
    });
    let log = server.stop().stderr;
    assert!(log.contains("Worker hangs"));
    assert!(log.contains("do_hold"), "it shows where it hangs");
}

#[test]
fn a_request_that_waits_too_long_for_a_thread_is_504_and_never_runs() {
    let server = Launch::app("faults")
        .arg("--request-timeout", "1s")
        .arg("--graceful-timeout", "1s")
        .arg("--threads", 1)
        .start();
    let port = server.port();
    let mut hanging = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    // So that there is no new worker in its time.
    server.touch("broken");
    let mut waiting = Connection::begin(port, &Request::new("GET", "/quick?1"));
    assert_eq!(hanging.response("GET").unwrap().status, 504);
    assert_eq!(waiting.response("GET").unwrap().status, 504);
    assert!(!runs(&server).contains_key("quick 1"));
    server.stop();
}

#[test]
fn a_stream_that_has_begun_may_take_as_long_as_it_likes() {
    let timeout = Duration::from_secs(2);
    let server = Launch::app("faults").arg("--request-timeout", "2s").start();
    server.touch("go0");
    let mut stream = Connection::begin(server.port(), &Request::new("GET", "/stream?2"));
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().unwrap(), b"piece 0\n");
    thread::sleep(timeout + Duration::from_millis(500));
    server.touch("go1");
    assert_eq!(stream.chunk().unwrap().unwrap(), b"piece 1\n");
    assert_eq!(stream.chunk().unwrap(), None);
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn a_held_gil_does_not_fail_the_probes() {
    let server = Launch::app("faults").arg("--threads", 2).start();
    let port = server.port();
    let mut blocking = Connection::begin(port, &Request::new("GET", "/gil?1"));
    server.wait_for_note("ran gil 1");
    let mut blocked = Connection::begin(port, &Request::new("GET", "/quick?1"));
    while_alive(&server, || {
        assert_eq!(get(server.probe_port(), "/ready").status, 200);
        assert_eq!(get(server.probe_port(), "/metrics").status, 200);
        server.free_the_gil();
        assert_eq!(blocking.response("GET").unwrap().text(), "1");
        assert_eq!(blocked.response("GET").unwrap().text(), "1");
    });
    server.stop();
}

#[test]
fn a_slow_request_does_not_hold_up_quick_ones() {
    let server = Launch::app("faults").arg("--threads", 2).start();
    let port = server.port();
    let mut warm: Vec<_> = (0..8).map(|_| Connection::open(port)).collect();
    for _ in 0..50 {
        for connection in &mut warm {
            connection.send(Request::new("GET", "/quick?warm").bytes());
        }
        for connection in &mut warm {
            connection.response("GET").unwrap();
        }
    }
    let mut quick: Vec<_> = (0..50).map(|_| Connection::open(port)).collect();
    let mut slow = Connection::open(port);
    for (number, connection) in quick.iter_mut().enumerate() {
        if number == 5 {
            slow.send(Request::new("GET", "/hold?0").bytes());
        }
        connection.send(Request::new("GET", &format!("/quick?{number}")).bytes());
    }
    for (number, connection) in quick.iter_mut().enumerate() {
        assert_eq!(
            connection.response("GET").unwrap().text(),
            number.to_string()
        );
    }
    server.touch("go");
    assert_eq!(slow.response("GET").unwrap().text(), "0");
    let runs = runs(&server);
    for number in 0..50 {
        assert_eq!(runs.get(&format!("quick {number}")), Some(&1));
    }
    server.stop();
}

// === the queue ===

#[test]
fn a_full_queue_is_503_with_a_time_to_come_back() {
    let server = Launch::app("faults")
        .arg("--threads", 1)
        .arg("--queue-size", 2)
        .start();
    let port = server.port();
    let mut held = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let mut queued: Vec<_> = (1..=2)
        .map(|number| Connection::begin(port, &Request::new("GET", &format!("/quick?{number}"))))
        .collect();
    wait_until_queued(&server, 2);
    let refused = get(port, "/quick?3");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().status, 200);
    for connection in &mut queued {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    assert_eq!(get(port, "/quick?4").status, 200);
    assert!(!runs(&server).contains_key("quick 3"));
    server.stop();
}

#[test]
fn a_client_that_leaves_the_queue_never_reaches_python() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let port = server.port();
    let mut held = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let leaving = Connection::begin(port, &Request::new("GET", "/quick?gone"));
    let mut staying = Connection::begin(port, &Request::new("GET", "/quick?here"));
    wait_until_queued(&server, 2);
    drop(leaving);
    wait_until_queued(&server, 1);
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().status, 200);
    assert_eq!(staying.response("GET").unwrap().text(), "here");
    assert!(!runs(&server).contains_key("quick gone"));
    server.stop();
}

#[test]
fn a_client_that_leaves_a_running_request_costs_nothing_more() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let leaving = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    drop(leaving);
    until_true("the server has noticed", || server.open_connections() == 0);
    server.touch("go");
    assert_eq!(get(server.port(), "/quick?1").text(), "1");
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

// === clients that lie ===

#[test]
fn malformed_requests_never_reach_python() {
    let server = Launch::app("faults").start();
    let long = "x".repeat(100_000);
    for (what, request) in [
        ("no request line", "\0\0\0\0\r\n\r\n".to_owned()),
        ("a word", "HELLO\r\n\r\n".to_owned()),
        ("no version", "GET /quick\r\nHost: a\r\n\r\n".to_owned()),
        ("two blanks", "GET  /quick HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("blank in the path", "GET /quick quick HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("another protocol", "GET /quick HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03\r\n\r\n".to_owned()),
        ("a bad method", "G(T /quick HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a NUL in the path", "GET /quick\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("no colon", "GET /quick HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n".to_owned()),
        ("a blank before the colon", "GET /quick HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n".to_owned()),
        ("a NUL in a value", "GET /quick HTTP/1.1\r\nHost: a\r\nX-A: \0\r\n\r\n".to_owned()),
        ("a bare CR", "GET /quick HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n".to_owned()),
        ("a folded line", "GET /quick HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n".to_owned()),
        ("no host", "GET /quick HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET /quick HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned()),
        ("a bad host", "GET /quick HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        ("no host in HTTP/1.1 but in the target", "GET http://a/quick HTTP/1.1\r\n\r\n".to_owned()),
        ("no name", "GET /quick HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n".to_owned()),
        ("two lengths", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbodyb".to_owned()),
        ("two lengths in one", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbodyb".to_owned()),
        ("a signed length", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody".to_owned()),
        ("a negative length", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\nbody".to_owned()),
        ("a hexadecimal length", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody".to_owned()),
        ("a huge length", "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nbody".to_owned()),
        ("an unknown coding", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nbody".to_owned()),
        ("chunked not last", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_owned()),
        ("chunked in HTTP/1.0", "POST /quick HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a bad chunk size", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n".to_owned()),
        ("a negative chunk size", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nbody\r\n0\r\n\r\n".to_owned()),
        ("a huge chunk size", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody\r\n0\r\n\r\n".to_owned()),
        ("a chunk without end", "POST /quick HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodybody\r\n0\r\n\r\n".to_owned()),
        ("a huge header", format!("GET /quick HTTP/1.1\r\nHost: a\r\nX-A: {long}\r\n\r\n")),
        ("a huge path", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("many headers", format!("GET /quick HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(5000))),
    ] {
        let mut connection = Connection::open(server.port());
        // It may be closed before all is sent.
        let _ = connection.try_send(&request);
        match connection.head() {
            Ok(head) => assert!((400..500).contains(&head.status), "{what}: {head:?}"),
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "{what}: neither an answer nor the end"),
        }
        assert_eq!(server.notes(), [""; 0], "{what}");
        if what.starts_with("a huge header") {
            let mut connection = Connection::open(server.port());
            let _ = connection.try_send(&request);
            // The answer may be lost when the client is still sending.
            if let Ok(head) = connection.head() {
                assert_eq!(head.status, 431);
            }
        }
    }
    assert_eq!(get(server.port(), "/quick?after").text(), "after");
    let log = server.stop().stderr;
    assert!(!log.contains("panicked"));
}

#[test]
fn two_ways_to_say_the_length_do_not_smuggle_a_request() {
    let server = Launch::app("faults").start();
    let mut connection = Connection::open(server.port());
    let inner = "GET /quick?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send(format!(
        "POST /length?outer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        inner.len() + 5
    ));
    // Chunked wins and the connection is closed, or it is refused (RFC 9112 section 6.1).
    let response = connection.response("POST").unwrap();
    if response.status == 200 {
        assert_eq!(response.text(), "0 BytesIO");
    } else {
        assert_eq!(response.status, 400);
    }
    let _ = connection.rest();
    assert!(
        !runs(&server).contains_key("quick smuggled"),
        "{:?}",
        server.notes()
    );
    server.stop();
}

#[test]
fn unusual_requests_are_served() {
    let server = Launch::app("faults").start();
    for (what, request) in [
        ("HTTP/1.0", "GET /quick?1 HTTP/1.0\r\n\r\n"),
        ("bare LF", "GET /quick?1 HTTP/1.1\nHost: a\n\n"),
        (
            "empty lines before",
            "\r\n\r\nGET /quick?1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "an unknown method",
            "BREW /quick?1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "equal lengths",
            "POST /quick?1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        ),
        (
            "an absolute address",
            "GET http://b/quick?1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "an empty value",
            "GET /quick?1 HTTP/1.1\r\nHost: a\r\nX-A:\r\n\r\n",
        ),
    ] {
        let mut connection = Connection::open(server.port());
        connection.send(request);
        let response = connection.response("GET").unwrap();
        assert_eq!(
            (response.status, response.text()),
            (200, "1".to_owned()),
            "{what}"
        );
    }
    server.stop();
}

#[test]
fn heads_may_come_byte_by_byte() {
    let server = Launch::app("faults").start();
    let mut connection = Connection::open(server.port());
    for byte in Request::new("POST", "/length?1")
        .chunked([&b"four"[..]])
        .bytes()
    {
        connection.send([byte]);
    }
    assert_eq!(connection.response("POST").unwrap().text(), "4 BytesIO");
    server.stop();
}
