//! Both interfaces in one worker process: `--interface hybrid`.

use rustix::process::Signal;

use super::{
    frameworks::LIVE,
    websocket::{CLOSE, TEXT, handshake, next, open},
    *,
};
use crate::harness::{Server, frame, metric};

/// WSGI for all but WebSockets and what is below these paths.
fn hybrid() -> Launch {
    Launch::app("faults")
        .arg("--interface", "hybrid")
        .arg("--asgi-app", "asgi_gallery")
        .arg("--async-path", "/events/")
        .more("--async-path", "/wait/")
        .more("--async-path", "/block/")
}

fn begin(server: &Server, path: &str) -> Connection {
    Connection::begin(server.port(), &Request::new("GET", path))
}

fn going_away() -> Vec<u8> {
    1001_u16.to_be_bytes().to_vec()
}

#[test]
fn plain_requests_run_on_threads_while_streams_and_websockets_stay_open_on_the_loop() {
    let server = hybrid().start();
    let port = server.port();
    server.wait_for_line("interface=\"hybrid\"");
    server.wait_for_note("lifespan.startup");
    let mut stream = begin(&server, "/events/2");
    stream.head().unwrap();
    assert_eq!(stream.chunk().unwrap(), Some(b"data: 0\n\n".to_vec()));
    let mut socket = open(port, "/ws_echo");
    for number in ["1", "2"] {
        assert_eq!(get(port, &format!("/quick?{number}")).text(), number);
        socket.send(frame(TEXT, number.as_bytes()));
        assert_eq!(next(&mut socket), (TEXT, number.into()));
    }
    assert_eq!(
        get(port, "/threads").text(),
        "4",
        "of WSGI, beside the loop"
    );
    let answer = get(port, "/quick?3");
    let pid = server.workers()[0].to_string();
    assert_eq!(answer.header("x-pid"), Some(pid.as_str()));
    let long = post(port, "/length", vec![b'x'; 2_000_000]);
    assert_eq!(long.text(), "2000000 BufferedReader", "from a file");
    server.touch("go-0");
    assert_eq!(stream.chunk().unwrap(), Some(b"data: 1\n\n".to_vec()));
    server.touch("go-1");
    assert_eq!(stream.chunk().unwrap(), None);
    assert_eq!(metric(&server, "hurricane_websockets"), Some(1.0));
    drop(socket);
    server.stop();
}

#[test]
fn an_async_path_is_how_a_path_begins_below_the_root_path() {
    let server = Launch::app("gallery:environ")
        .arg("--interface", "hybrid")
        .arg("--root-path", "/shop")
        .arg("--asgi-app", "asgi_gallery:without_lifespan")
        .variable("--async-path", "/live/ /caf\u{e9}")
        .start();
    let on_the_loop = |path: &str| get(server.port(), path).text() == "hello";
    for path in [
        "/live/",
        "/live/x?y",
        "/shop/live/x",
        "/l%69ve/x",
        "/caf%C3%A9",
        "/caf%C3%A9s",
    ] {
        assert!(on_the_loop(path), "{path}");
    }
    for path in [
        "/",
        "/live",
        "/x/live/",
        "/shop",
        "/shop/?/live/",
        "/shopping/live/",
    ] {
        assert!(!on_the_loop(path), "{path}");
    }
    server.stop();
}

#[test]
fn both_doors_share_one_queue() {
    let server = hybrid()
        .arg("--threads", "1")
        .arg("--concurrency", "1")
        .arg("--queue-size", "2")
        .arg("--req-queue-len", "2")
        .start();
    let mut running = [begin(&server, "/hold?0"), begin(&server, "/wait/a")];
    server.wait_for_note("ran hold 0");
    server.wait_for_note("waiting a");
    let mut waiting = [begin(&server, "/hold?1"), begin(&server, "/wait/b")];
    until_true("one waits at each door", || {
        metric(&server, "request_queue_length") == Some(2.0)
    });
    assert_eq!(get(server.probe_port(), "/ready").status, 400);
    for path in ["/quick?2", "/wait/c"] {
        assert_eq!(get(server.port(), path).status, 503, "{path}");
    }
    server.touch("go");
    let texts = running
        .iter_mut()
        .chain(&mut waiting)
        .map(|connection| connection.response("GET").unwrap().text());
    assert_eq!(texts.collect::<Vec<_>>(), ["0", "a", "1", "b"]);
    until_true("it is ready again", || {
        get(server.probe_port(), "/ready").status == 200
    });
    server.stop();
}

#[test]
fn at_the_end_requests_are_finished_and_websockets_are_told() {
    let server = hybrid().start();
    let mut socket = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    let mut thread = begin(&server, "/hold?1");
    let mut task = begin(&server, "/wait/2");
    server.wait_for_note("ran hold 1");
    server.wait_for_note("waiting 2");
    server.signal(Signal::TERM);
    assert_eq!(next(&mut socket), (CLOSE, going_away()));
    socket.send(frame(CLOSE, going_away()));
    server.touch("go");
    assert_eq!(thread.response("GET").unwrap().text(), "1");
    assert_eq!(task.response("GET").unwrap().text(), "2");
    server.wait_for_note("lifespan.shutdown");
    server.wait_for_note("atexit ran");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("Traceback"), "{}", ended.stderr);
}

#[test]
fn a_worker_that_dies_costs_what_it_had_at_either_door() {
    let server = hybrid().arg("--threads", "1").start();
    let mut socket = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    let mut task = begin(&server, "/wait/1");
    server.wait_for_note("waiting 1");
    let mut thread = begin(&server, "/hold?1");
    server.wait_for_note("ran hold 1");
    let mut kept = begin(&server, "/quick?kept");
    until_true("it waits", || {
        metric(&server, "request_queue_length") == Some(1.0)
    });
    kill(server.workers()[0], Signal::KILL);
    assert_eq!(task.response("GET").unwrap().status, 502);
    assert_eq!(thread.response("GET").unwrap().status, 502);
    let (first, data) = next(&mut socket);
    assert_eq!((first, &data[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    assert_eq!(kept.response("GET").unwrap().text(), "kept");
    server.wait_for_workers(2);
    drop(open(server.port(), "/ws_echo"));
    server.stop();
}

#[test]
fn a_reload_finishes_what_either_door_has() {
    let server = hybrid().start();
    let mut socket = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    let mut stream = begin(&server, "/events/1");
    stream.head().unwrap();
    stream.chunk().unwrap();
    let mut held = begin(&server, "/hold?1");
    server.wait_for_note("ran hold 1");
    server.signal(Signal::HUP);
    assert_eq!(next(&mut socket), (CLOSE, going_away()));
    socket.send(frame(CLOSE, going_away()));
    let workers = server.wait_for_workers(2);
    let new = workers[1].to_string();
    let answer = get(server.port(), "/quick?2");
    assert_eq!(answer.header("x-pid"), Some(new.as_str()));
    server.touch("go-0");
    assert_eq!(stream.chunk().unwrap(), None);
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().text(), "1");
    server.wait_for_note("lifespan.shutdown");
    server.stop();
}

#[test]
fn a_worker_is_replaced_when_either_door_hangs() {
    let server = hybrid().arg("--request-timeout", "2s").start();
    assert_eq!(get(server.port(), "/hold?1").status, 504);
    server.wait_for_line("a request has passed its timeout; replacing it");
    server.wait_for_workers(2);
    let mut blocked = begin(&server, "/block/600");
    server.wait_for_note("blocking");
    assert_eq!(blocked.response("GET").unwrap().status, 504);
    server.wait_for_line("its event loop does not turn");
    server.wait_for_workers(3);
    assert_eq!(get(server.port(), "/quick?1").text(), "1");
    server.touch("go");
    server.stop();
}

#[test]
fn requests_of_both_doors_count_for_recycling() {
    let server = hybrid()
        .more("--async-path", "/hello")
        .arg("--max-requests", "4")
        .arg("--max-requests-jitter", "0")
        .start();
    for number in 0..2 {
        assert_eq!(get(server.port(), &format!("/quick?{number}")).status, 200);
        assert_eq!(get(server.port(), "/hello").text(), "hello");
    }
    server.wait_for_line("It has answered 4 requests");
    server.wait_for_workers(2);
    server.stop();
}

#[test]
fn a_django_project_has_both_applications() {
    let server = Launch::django()
        .arg("--interface", "hybrid")
        .arg("--async-path", "/live/events")
        .start();
    script(server.port(), LIVE);
    assert!(get(server.port(), "/").text().contains("<html"));
    for probe in ["/alive", "/ready"] {
        assert_eq!(get(server.probe_port(), probe).status, 200, "{probe}");
    }
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}

/// A chat of the example (Channels), in which something is said.
fn chat(server: &Server) -> Connection {
    let origin = format!("http://127.0.0.1:{}", server.port());
    let request = handshake("/ws/chat").header("Origin", origin);
    let mut connection = Connection::begin(server.port(), &request);
    assert_eq!(connection.head().unwrap().status, 101);
    connection.send(frame(TEXT, br#"{"name": "Ada", "text": "hello"}"#));
    let (kind, said) = next(&mut connection);
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((kind, &said["text"]), (TEXT, &"hello".into()));
    connection
}

#[test]
fn a_channels_project_is_reloaded_dies_and_ends_in_good_order() {
    let server = Launch::django()
        .arg("--interface", "hybrid")
        .arg("--async-path", "/live/events")
        .start();
    let mut socket = chat(&server);
    let mut events = begin(&server, "/live/events");
    assert_eq!(events.head().unwrap().status, 200);
    assert!(events.chunk().unwrap().unwrap().starts_with(b"data: "));
    kill(server.workers()[0], Signal::KILL);
    let (first, data) = next(&mut socket);
    assert_eq!((first, &data[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    assert_eq!(events.rest().unwrap(), b"", "without the last chunk");
    server.wait_for_workers(2);

    let mut socket = chat(&server);
    let mut slow = begin(&server, "/slow?seconds=1");
    until_true("it runs", || {
        metric(&server, "http_server_active_requests") == Some(1.0)
    });
    server.signal(Signal::HUP);
    assert_eq!(next(&mut socket), (CLOSE, going_away()));
    socket.send(frame(CLOSE, going_away()));
    server.wait_for_workers(3);
    assert_eq!(slow.response("GET").unwrap().text(), "slept 1 s\n");

    let mut socket = chat(&server);
    let mut slow = begin(&server, "/slow?seconds=1");
    until_true("it runs", || {
        metric(&server, "http_server_active_requests") == Some(1.0)
    });
    server.signal(Signal::TERM);
    assert_eq!(next(&mut socket), (CLOSE, going_away()));
    socket.send(frame(CLOSE, going_away()));
    assert_eq!(slow.response("GET").unwrap().text(), "slept 1 s\n");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("Traceback"), "{}", ended.stderr);
}

#[test]
fn under_manage_py_interface_may_be_hybrid_too() {
    let settings =
        "HURRICANE_ASGI_APP = 'asgi_gallery'\nHURRICANE_ASYNC_PATH = ['/events/', '/hello']\n";
    let apps = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/apps");
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../python");
    let server = Launch::manage(settings)
        .env("PYTHONPATH", format!("{python}:{apps}"))
        .arg("--interface", "hybrid")
        .arg("--probe-host", "127.0.0.1")
        .start();
    server.wait_for_line("hybrid");
    assert_eq!(get(server.port(), "/hello").text(), "hello", "of ASGI");
    assert_eq!(get(server.port(), "/nowhere").status, 404, "of Django");
    server.stop();
}

#[test]
fn what_does_not_go_together_is_said() {
    let ends = |launch: Launch, code: i32, says: &str| {
        let ended = launch.run();
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert_eq!(ended.code, Some(code), "{last}");
        assert!(last.contains(says), "{last:?} says {says:?}");
    };
    for interface in ["auto", "wsgi", "asgi"] {
        let launch = || Launch::app("gallery").arg("--interface", interface);
        let only = "is for --interface hybrid only";
        ends(launch().arg("--async-path", "/x/"), 2, only);
        ends(launch().arg("--asgi-app", "asgi_gallery"), 2, only);
    }
    ends(
        hybrid().arg("--async-path", "events/"),
        2,
        "a path begins with a slash",
    );
    ends(
        hybrid().arg("--app", "asgi_gallery"),
        3,
        "'asgi_gallery' is called as ASGI",
    );
    ends(
        hybrid().without("--asgi-app"),
        3,
        "no application was named for ASGI",
    );
    ends(
        hybrid().without("--app"),
        3,
        "no application was named for WSGI",
    );
}
