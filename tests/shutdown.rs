//! The end: in good order, within its time, and of everything that was started.
//!
//! What ends at once ends while the harness is patient; what would hold it up is given longer than that.

use std::{
    fs,
    io::{self, ErrorKind},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Connection, Launch, Request, Server, children, get, is_allowed, is_running, kill, until,
    until_true,
};

// === under load ===

/// One client: requests on one connection after the other, until no connection is to be had.
///
/// A request is lost, which fails the test, when its answer breaks off or is not 200. No request
/// is sent on a connection whose last answer said `Connection: close`.
///
/// A connection may be closed while the client has just sent its next request, without a byte of an answer: HTTP/1.1
/// cannot avoid that (RFC 9112 section 9.6), and a client may send such a request again.
fn client(port: u16, number: usize, ended: &AtomicBool, answered: &AtomicUsize) {
    let request = Request::new("GET", &format!("/sleep?{}", number % 7));
    while let Ok(mut connection) = Connection::try_open(port) {
        for sent in 0.. {
            match request.send_on(&mut connection) {
                Ok(response) => {
                    assert_eq!(response.status, 200, "{response:?}");
                    answered.fetch_add(1, Relaxed);
                    if response.header("connection") == Some("close") {
                        break;
                    }
                }
                Err(error) => {
                    let clean = is_closed(&error);
                    assert!(
                        clean && ended.load(Relaxed),
                        "request {sent} of its connection: {error}"
                    );
                    // The first one on a connection that was accepted is never turned away.
                    assert!(
                        sent > 0 || error.kind() != ErrorKind::UnexpectedEof,
                        "an accepted request got no answer"
                    );
                    break;
                }
            }
        }
    }
    assert!(ended.load(Relaxed), "the port was closed too early");
}

/// Closed without a byte of an answer.
fn is_closed(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::UnexpectedEof => error.to_string() == "closed",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => true,
        _ => false,
    }
}

fn ends_under_load(signal: Signal, launch: Launch) {
    let server = launch.arg("--workers", 2).flag("--no-access-log").start();
    let port = server.port();
    let (ended, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..8 {
            let (ended, answered) = (&ended, &answered);
            scope.spawn(move || client(port, number, ended, answered));
        }
        until_true("there is load", || answered.load(Relaxed) > 300);
        ended.store(true, Relaxed);
        server.signal(signal);
    });
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn sigterm_under_load_loses_no_request() {
    ends_under_load(Signal::TERM, Launch::app("faults"));
}

#[test]
fn sigint_under_load_loses_no_request() {
    ends_under_load(Signal::INT, Launch::app("faults"));
}

#[test]
fn a_delay_under_load_loses_no_request() {
    ends_under_load(
        Signal::TERM,
        Launch::app("faults").arg("--shutdown-delay", "300ms"),
    );
}

// === in hand ===

/// Signals the server and waits until it is draining.
fn end(server: &Server, signal: Signal) {
    server.signal(signal);
    server.wait_for_line("Received signal");
}

#[test]
fn requests_in_hand_and_in_the_queue_are_finished() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let port = server.port();
    let mut held = Connection::begin(port, &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let mut queued: Vec<_> = (1..=3)
        .map(|number| Connection::begin(port, &Request::new("GET", &format!("/quick?{number}"))))
        .collect();
    until_true("they are queued", || {
        crate::harness::metric(&server, "request_queue_length") == Some(3.0)
    });
    end(&server, Signal::TERM);
    until_true("the port is closed", || Connection::try_open(port).is_err());
    assert_eq!(get(server.probe_port(), "/ready").status, 400);
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    server.touch("go");
    let response = held.response("GET").unwrap();
    assert_eq!(
        (response.text(), response.header("connection")),
        ("0".to_owned(), Some("close"))
    );
    for (index, connection) in queued.iter_mut().enumerate() {
        assert_eq!(
            connection.response("GET").unwrap().text(),
            (index + 1).to_string()
        );
    }
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_stream_in_hand_is_finished() {
    let server = Launch::app("faults").start();
    server.touch("go0");
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/stream?3"));
    connection.head().unwrap();
    assert_eq!(connection.chunk().unwrap().unwrap(), b"piece 0\n");
    end(&server, Signal::TERM);
    until_true("the port is closed", || {
        Connection::try_open(server.port()).is_err()
    });
    for piece in 1..3 {
        server.touch(&format!("go{piece}"));
        assert_eq!(
            connection.chunk().unwrap().unwrap(),
            format!("piece {piece}\n").as_bytes()
        );
    }
    assert_eq!(connection.chunk().unwrap(), None);
    assert!(connection.rest().unwrap().is_empty());
    let notes = server.dir().join("notes");
    let noted = || fs::read_to_string(&notes).unwrap();
    until_true("the generator has ended", || {
        noted().contains("stream ended")
    });
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn an_upload_in_hand_is_finished() {
    let server = Launch::app("faults").start();
    let upload = Request::new("POST", "/length")
        .body("x".repeat(100_000))
        .bytes();
    let (first, second) = upload.split_at(50_000);
    let mut connection = Connection::open(server.port());
    connection.send(first);
    // Its head has been read when another request on a later connection is answered.
    assert_eq!(get(server.port(), "/quick").status, 200);
    end(&server, Signal::TERM);
    until_true("the port is closed", || {
        Connection::try_open(server.port()).is_err()
    });
    connection.send(second);
    assert_eq!(
        connection.response("POST").unwrap().text(),
        "100000 BytesIO"
    );
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let server = Launch::app("faults")
        .arg("--graceful-timeout", "10m")
        .start();
    let mut used = Connection::open(server.port());
    assert_eq!(
        Request::new("GET", "/quick")
            .send_on(&mut used)
            .unwrap()
            .status,
        200
    );
    let mut unused: Vec<_> = (0..20).map(|_| Connection::open(server.port())).collect();
    let mut probe = Connection::open(server.probe_port());
    assert_eq!(
        Request::new("GET", "/alive")
            .send_on(&mut probe)
            .unwrap()
            .status,
        200
    );
    server.stop();
    assert!(used.rest().unwrap().is_empty());
    for connection in &mut unused {
        assert!(connection.rest().unwrap().is_empty());
    }
}

#[test]
fn half_a_request_does_not_delay_the_end_for_ever() {
    let server = Launch::app("faults")
        .arg("--graceful-timeout", "1s")
        .arg("--header-timeout", "10m")
        .start();
    let mut half = Connection::open(server.port());
    half.send("GET /quick HTTP/1.1\r\nHost:");
    assert_eq!(get(server.port(), "/quick").status, 200);
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert!(matches!(ended.code, Some(0 | 7)));
}

// === times ===

#[test]
fn the_delay_serves_on_while_not_ready() {
    let server = Launch::app("faults").arg("--shutdown-delay", "10m").start();
    let mut kept = Connection::open(server.port());
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    end(&server, Signal::TERM);
    until_true("it is not ready", || {
        get(server.probe_port(), "/ready").status == 400
    });
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    assert_eq!(get(server.probe_port(), "/startup").status, 200);
    let response = Request::new("GET", "/quick?kept")
        .send_on(&mut kept)
        .unwrap();
    assert_eq!(
        (response.text(), response.header("connection")),
        ("kept".to_owned(), None)
    );
    assert_eq!(
        get(server.port(), "/quick?new").text(),
        "new",
        "new connections are taken"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(7), "the delay was cut short");
}

#[test]
fn the_graceful_timeout_cuts_what_is_left() {
    let server = Launch::app("faults")
        .arg("--graceful-timeout", "500ms")
        .start();
    let mut held = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    let worker = server.workers()[0];
    let start = Instant::now();
    server.signal(Signal::TERM);
    let ended = server.ended();
    let took = start.elapsed();
    assert_eq!(ended.code, Some(7));
    assert!(took >= Duration::from_millis(500), "{took:?}");
    held.response("GET").expect_err("the request was cut");
    assert!(
        !is_running(worker),
        "the worker has not outlived its server"
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::INT, Signal::INT),
        (Signal::TERM, Signal::INT),
    ] {
        let server = Launch::app("faults")
            .arg("--graceful-timeout", "10m")
            .start();
        let _held = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
        server.wait_for_note("ran hold 0");
        let worker = server.workers()[0];
        end(&server, first);
        server.signal(second);
        assert_eq!(server.ended().code, Some(7));
        until_true("the worker is gone", || !is_running(worker));
    }
}

#[test]
fn a_signal_while_a_worker_starts_again_is_heeded() {
    let server = Launch::app("faults")
        .arg("--graceful-timeout", "10m")
        .start();
    server.touch("broken");
    kill(server.workers()[0], Signal::KILL);
    server.wait_for_line("The next worker did not become ready");
    server.stop();
}

// === what is left behind ===

#[test]
fn a_worker_that_hangs_does_not_delay_the_end() {
    let server = Launch::app("faults")
        .arg("--request-timeout", "1s")
        .arg("--graceful-timeout", "10m")
        .start();
    let [hung] = server.workers()[..] else {
        panic!("it has one worker");
    };
    assert_eq!(get(server.port(), "/hold?0").status, 504);
    server.wait_for_workers(2);
    assert!(is_running(hung), "it is gone already");
    // The worker would have a minute; but nobody waits for its request any more.
    server.stop();
    assert!(!is_running(hung), "it is left behind");
}

#[test]
fn workers_end_as_python_does() {
    let server = Launch::app("faults").arg("--workers", 2).start();
    assert_eq!(get(server.port(), "/quick").status, 200);
    let workers = server.workers();
    let notes = server.dir().join("notes");
    let noted = fs::File::open(notes).unwrap();
    server.stop();
    let noted = io::read_to_string(noted).unwrap();
    assert_eq!(noted.matches("atexit ran").count(), 2, "{noted}");
    assert!(workers.iter().all(|worker| !is_running(*worker)));
}

#[test]
fn the_terminal_s_ctrl_c_is_for_the_server_alone() {
    let server = Launch::app("faults").start();
    let group = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(2)
            .unwrap()
            .to_owned()
    };
    let worker = server.workers()[0];
    assert_ne!(
        group(worker),
        group(server.pid()),
        "the worker has a process group of its own"
    );
    kill(worker, Signal::INT);
    assert_eq!(
        get(server.port(), "/quick?1").header("x-pid"),
        Some(worker.to_string().as_str())
    );
    server.stop();
}

#[test]
fn it_is_fit_to_be_pid_1() {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !is_allowed(&unshare) {
        return;
    }
    for orphan in [true, false] {
        let server = Launch::app("faults").through(&unshare).start();
        let pid = until("it runs", || {
            children(server.pid()).first().map(|child| child.0)
        });
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let inside = status
            .lines()
            .find(|line| line.starts_with("NSpid:"))
            .unwrap();
        assert!(inside.ends_with("\t1"), "{inside}");
        assert_eq!(get(server.port(), "/quick?1").text(), "1");
        if orphan {
            assert_eq!(get(server.port(), "/orphan").text(), "orphaned");
            until_true("the orphan has ended", || {
                server.dir().join("orphan-ended").exists()
            });
            until_true("the orphan is reaped and the worker is left", || {
                children(pid).len() == 1
            });
        }
        // As PID 1 a signal without a handler would be ignored.
        kill(pid, Signal::TERM);
        assert_eq!(server.ended().code, Some(0));
    }
}
