//! WebSockets, with the client of [websockets](https://websockets.readthedocs.io/) and frame by
//! frame.

use rustix::process::Signal;

use super::*;
use crate::harness::{Head, frame, metric};

/// What each script begins with.
const CLIENT: &str = r#"
import json, os
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

def open(path, **options):
    return connect(f"ws://127.0.0.1:{os.environ['PORT']}{path}", open_timeout=60, **options)
"#;

fn client(port: u16, text: &str) -> String {
    script(port, &format!("{CLIENT}\n{text}"))
}

pub(super) fn handshake(path: &str) -> Request {
    Request::new("GET", path)
        .header("Upgrade", "websocket")
        .header("Connection", "keep-alive, Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// An open WebSocket, frame by frame.
pub(super) fn open(port: u16, path: &str) -> Connection {
    let mut connection = Connection::begin(port, &handshake(path));
    assert_eq!(connection.head().unwrap().status, 101);
    connection
}

/// The next frame of the server.
pub(super) fn next(connection: &mut Connection) -> (u8, Vec<u8>) {
    let head = connection.take(2).unwrap();
    let length = match head[1] {
        126 => u16::from_be_bytes(connection.take(2).unwrap().try_into().unwrap()).into(),
        127 => u64::from_be_bytes(connection.take(8).unwrap().try_into().unwrap()),
        length => u64::from(length),
    };
    let length = usize::try_from(length).unwrap();
    (head[0], connection.take(length).unwrap())
}

pub(super) const TEXT: u8 = 0x81;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;

// === the handshake ===

#[test]
fn a_handshake_is_answered_as_the_rfc_has_it() {
    let server = gallery().start();
    let port = server.port();
    let mut connection = Connection::begin(port, &handshake("/ws_show"));
    let head: Head = connection.head().unwrap();
    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("websocket"))
    );
    let accept = head.header("sec-websocket-accept");
    assert_eq!(
        accept,
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "the sample of RFC 6455"
    );
    assert_eq!(head.header("x-greeting"), Some("hello"));
    assert_eq!(
        head.header("sec-websocket-extensions"),
        None,
        "it was not offered"
    );
    drop(connection);
    let without = |version: &str, key: &str| {
        Request::new("GET", "/ws_show")
            .header("Upgrade", "websocket")
            .header("Connection", "upgrade")
            .header("Sec-WebSocket-Version", version)
            .header("Sec-WebSocket-Key", key)
            .send(port)
    };
    let old = without("8", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(
        (old.status, old.header("sec-websocket-version")),
        (426, Some("13"))
    );
    assert_eq!(without("13", "short").status, 400);
    let plain = Request::new("POST", "/hello")
        .header("Upgrade", "websocket")
        .header("Connection", "upgrade");
    assert_eq!(
        plain.send(port).text(),
        "hello",
        "only a GET asks for a WebSocket"
    );
    server.stop();
}

#[test]
fn the_application_knows_who_asks_and_says_how_it_ends() {
    let server = gallery().arg("--root-path", "/ws_show").start();
    let said = client(
        server.port(),
        r#"
with open("/ws_show/a%20b?q=1", subprotocols=["first", "second"], additional_headers={"X-A": "b"}) as ws:
    assert ws.subprotocol == "second", ws.subprotocol
    assert ws.response.headers["X-Greeting"] == "hello"
    scope = json.loads(ws.recv())
    try:
        ws.recv()
    except ConnectionClosed as error:
        closed = error.rcvd
assert ["x-a", "b"] in scope["headers"], scope
assert scope["client"][0] == "127.0.0.1" and scope["server"][1] == int(os.environ["PORT"])
del scope["headers"], scope["client"], scope["server"]
print(json.dumps(scope, sort_keys=True))
print(closed.code, closed.reason)
"#,
    );
    let (scope, closed) = said.split_once('\n').unwrap();
    let scope: serde_json::Value = serde_json::from_str(scope).unwrap();
    let wanted = serde_json::json!({
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1", "scheme": "ws",
        "path": "/ws_show/a b", "raw_path": "/ws_show/a%20b", "query_string": "q=1", "root_path": "/ws_show",
        "subprotocols": ["first", "second"], "state": {"begun": "at the start"},
        "extensions": {"websocket.http.response": {}},
    });
    assert_eq!(scope, wanted);
    assert_eq!(closed, "4001 that was all\n");
    server.wait_for_note(
        "after closing: {'type': 'websocket.disconnect', 'code': 4001, 'reason': 'that was all'}",
    );
    server.stop();
}

#[test]
fn an_application_that_denies_answers_over_http() {
    let server = gallery().start();
    let port = server.port();
    let denied = handshake("/ws_deny/answer").send(port);
    assert_eq!((denied.status, denied.text()), (401, "not you".to_owned()));
    assert_eq!(denied.header("www-authenticate"), Some("Basic"));
    for (path, status) in [("close", 403), ("error", 500), ("nothing", 500)] {
        assert_eq!(
            handshake(&format!("/ws_deny/{path}")).send(port).status,
            status,
            "{path}"
        );
    }
    server.wait_for_line("without an answer to the WebSocket /ws_deny/nothing");
    server.stop();
}

// === messages ===

#[test]
fn messages_go_both_ways_compressed_and_not() {
    let server = gallery().start();
    client(
        server.port(),
        r#"
for compression in (None, "deflate"):
    with open("/ws_echo", compression=compression, max_size=None) as ws:
        assert bool(ws.protocol.extensions) == bool(compression)
        for message in ("", "text \u00e4 \U0001f300", b"", bytes(range(256)), "long" * 300_000, os.urandom(2_000_000)):
            ws.send(message)
            assert ws.recv() == message, message[:10]
        ws.send(["in ", "parts"])
        assert ws.recv() == "in parts"
        for number in range(2000):
            ws.send(str(number))
        assert [ws.recv() for _ in range(2000)] == [str(number) for number in range(2000)]
        assert ws.ping().wait(60)
"#,
    );
    server.wait_for_note("disconnect 1000 ");
    server.wait_for_note("end of ws_echo");
    server.stop();
}

#[test]
fn pings_are_answered_and_sent() {
    let server = gallery()
        .arg("--ws-ping-interval", "50ms")
        .arg("--ws-ping-timeout", "2s")
        .start();
    let mut connection = open(server.port(), "/ws_echo");
    connection.send(frame(PING, b"are you there"));
    let mut pings = 0;
    let mut answered = false;
    while pings < 3 || !answered {
        match next(&mut connection) {
            (PING, data) => {
                assert_eq!(data, b"");
                connection.send(frame(PONG, b""));
                pings += 1;
            }
            (PONG, data) => {
                assert_eq!(data, b"are you there");
                answered = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(next(&mut connection), (PING, Vec::new()));
    let (first, data) = next(&mut connection);
    assert_eq!(
        (first, &data[..2]),
        (CLOSE, &1011_u16.to_be_bytes()[..]),
        "it was not answered"
    );
    server.wait_for_note("disconnect 1011 the client did not answer a ping");
    server.stop();
}

#[test]
fn what_the_rfc_forbids_closes_the_websocket() {
    let server = gallery().arg("--ws-max-size", "100").start();
    for (data, code) in [
        (frame(0x83, b"a reserved kind"), 1002_u16),
        (frame(0xc1, b"a reserved bit"), 1002),
        (frame(TEXT, b"\xff no text"), 1007),
        (frame(TEXT, [b'x'; 101]), 1009),
        (
            [frame(0x01, [b'x'; 60]), frame(0x80, [b'x'; 60])].concat(),
            1009,
        ),
        (vec![TEXT, 1, b'x'], 1002),
        (frame(CLOSE, 999_u16.to_be_bytes()), 1002),
    ] {
        let mut connection = open(server.port(), "/ws_echo");
        connection.send(data);
        let (first, data) = next(&mut connection);
        assert_eq!((first, &data[..2]), (CLOSE, &code.to_be_bytes()[..]));
        assert_eq!(connection.rest().unwrap(), b"", "and the connection");
        let note = format!("disconnect {code} ");
        until_true("the application is told", || {
            server.notes().iter().any(|noted| noted.starts_with(&note))
        });
    }
    server.stop();
}

#[test]
fn a_client_that_closes_is_answered_and_one_that_breaks_off_is_told_of() {
    let server = gallery().start();
    let mut connection = open(server.port(), "/ws_echo");
    let close = frame(CLOSE, [&4002_u16.to_be_bytes()[..], b"bye"].concat());
    connection.send([close, frame(TEXT, b"too late")].concat());
    assert_eq!(
        next(&mut connection),
        (CLOSE, 4002_u16.to_be_bytes().to_vec()),
        "what comes later is for nobody"
    );
    assert_eq!(connection.rest().unwrap(), b"");
    server.wait_for_note("disconnect 4002 bye");
    drop(open(server.port(), "/ws_push"));
    server.wait_for_note("disconnect 1006");
    server.stop();
}

#[test]
fn an_application_that_returns_or_fails_closes_the_websocket() {
    let server = gallery().start();
    for (path, code) in [("/ws_fail/return", 1000_u16), ("/ws_fail/error", 1011)] {
        let mut connection = open(server.port(), path);
        connection.send(frame(TEXT, b"go"));
        let (first, data) = next(&mut connection);
        assert_eq!(
            (first, &data[..2]),
            (CLOSE, &code.to_be_bytes()[..]),
            "{path}"
        );
    }
    server.wait_for_line("the application failed on WEBSOCKET /ws_fail/error");
    server.stop();
}

// === backpressure ===

#[test]
fn a_client_that_does_not_read_holds_the_application_up() {
    let server = gallery().start();
    let mut connection = open(server.port(), "/ws_flood");
    let sent = || {
        std::fs::read_to_string(server.dir().join("sent"))
            .ok()?
            .parse::<u64>()
            .ok()
    };
    let mut last = 0;
    let held = until("the application is held up", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = sent()?;
        let halted = now == last;
        last = now;
        halted.then_some(now)
    });
    assert!(held < 20_000_000, "{held} bytes were taken from it");
    connection.take(usize::try_from(held).unwrap()).unwrap();
    until_true("it goes on", || sent().is_some_and(|now| now > held));
    drop(connection);
    server.wait_for_note("ClientDisconnected");
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}

#[test]
fn an_application_that_does_not_listen_holds_the_client_up() {
    let server = gallery().start();
    let said = client(
        server.port(),
        r#"
import pathlib, socket
count = 0
try:
    with open("/ws_deaf", compression=None, close_timeout=0) as ws:
        ws.socket.settimeout(0.5)
        while count < 10_000:
            ws.send(b"x" * 10_000)
            count += 1
except (TimeoutError, ConnectionClosed):
    pass
print(count)
"#,
    );
    let count: u64 = said.trim().parse().unwrap();
    assert!(
        (10..5000).contains(&count),
        "{count} messages were taken from the client"
    );
    server.touch("go");
    server.wait_for_note("end of ws_deaf");
    server.stop();
}

// === many, and the end ===

#[test]
fn open_websockets_do_not_count_as_requests() {
    let server = gallery().arg("--concurrency", "2").start();
    let open: Vec<_> = (0..20).map(|_| open(server.port(), "/ws_push")).collect();
    assert_eq!(get(server.port(), "/hello").text(), "hello");
    until_true("all are open", || {
        metric(&server, "hurricane_websockets") == Some(20.0)
    });
    drop(open);
    until_true("none is", || {
        metric(&server, "hurricane_websockets") == Some(0.0)
    });
    server.stop();
}

#[test]
fn at_the_end_clients_are_told_that_the_server_goes_away() {
    let server = gallery().start();
    let mut connection = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    server.signal(Signal::TERM);
    assert_eq!(
        next(&mut connection),
        (CLOSE, 1001_u16.to_be_bytes().to_vec())
    );
    connection.send(frame(CLOSE, 1001_u16.to_be_bytes()));
    assert_eq!(connection.rest().unwrap(), b"");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("Traceback"), "{}", ended.stderr);
}

#[test]
fn a_worker_that_dies_closes_its_websockets() {
    let server = gallery().start();
    let mut connection = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    kill(server.workers()[0], Signal::KILL);
    let (first, data) = next(&mut connection);
    assert_eq!((first, &data[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
    server.wait_for_workers(2);
    drop(open(server.port(), "/ws_push"));
    server.stop();
}

#[test]
fn on_a_reload_clients_are_told_to_come_again_and_streams_are_finished() {
    let server = gallery().start();
    let mut socket = open(server.port(), "/ws_push");
    server.wait_for_note("open");
    let mut stream = Connection::begin(server.port(), &Request::new("GET", "/events/1"));
    stream.head().unwrap();
    stream.chunk().unwrap();
    server.signal(Signal::HUP);
    let going_away = 1001_u16.to_be_bytes().to_vec();
    assert_eq!(next(&mut socket), (CLOSE, going_away));
    socket.send(frame(CLOSE, 1001_u16.to_be_bytes()));
    let workers = server.wait_for_workers(2);
    let answering = get(server.port(), "/pid").text();
    assert_eq!(answering, workers[1].to_string());
    server.touch("go-0");
    assert_eq!(
        stream.chunk().unwrap(),
        None,
        "the old worker finishes what it has"
    );
    server.wait_for_note("lifespan.shutdown");
    server.stop();
}
