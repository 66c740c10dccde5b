//! Bodies of responses: when they leave, how they end.

use std::fs;

use super::gallery;
use crate::harness::{Connection, Launch, Request, get, until_true};

// === start_response ===

#[test]
fn the_head_can_be_replaced_until_it_is_sent() {
    let server = gallery();
    let response = get(server.port(), "/exc_info_before");
    assert_eq!(
        (response.status, response.head.reason.as_str()),
        (500, "Replaced")
    );
    assert_eq!(response.header("x-first"), None);
    assert_eq!(response.text(), "replaced");
    server.stop();
}

#[test]
fn a_failure_after_the_head_breaks_the_response_off() {
    let server = gallery();
    for path in ["/exc_info_after", "/close_fails_later"] {
        let mut connection = Connection::begin(server.port(), &Request::new("GET", path));
        assert_eq!(connection.head().unwrap().status, 200);
        assert_eq!(connection.chunk().unwrap(), Some(b"begun".to_vec()));
        connection
            .chunk()
            .expect_err("the end of the body must not look whole");
    }
    server.wait_for_note("closed exc_info_after");
    server.wait_for_note("closed close_fails_later");
    assert!(
        !server.notes().contains(&"went on".to_owned()),
        "the exception was raised again"
    );
    let log = server.stop().stderr;
    assert!(log.contains("ValueError: the head is out"));
    assert!(log.contains("RuntimeError: after the first piece"));
}

#[test]
fn start_response_is_called_once_and_in_time() {
    let server = gallery();
    for path in ["/twice", "/never"] {
        assert_eq!(get(server.port(), path).status, 500, "{path}");
    }
    let late = get(server.port(), "/late_head");
    assert_eq!((late.status, late.text()), (201, "late".to_owned()));
    let log = server.stop().stderr;
    assert!(log.contains("start_response was called a second time"));
}

#[test]
fn what_is_written_leaves_at_once() {
    let server = gallery();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/write"));
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.chunk().unwrap(), Some(b"one ".to_vec()));
    server.touch("go");
    let mut rest = Vec::new();
    while let Some(chunk) = connection.chunk().unwrap() {
        rest.extend(chunk);
    }
    assert_eq!(rest, b"two three");
    server.stop();
}

// === response bodies ===

#[test]
fn a_piece_leaves_before_the_next_is_made() {
    let server = gallery();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/steps"));
    assert_eq!(
        connection.head().unwrap().header("transfer-encoding"),
        Some("chunked")
    );
    assert_eq!(connection.chunk().unwrap(), Some(b"first".to_vec()));
    assert_eq!(server.notes().len(), 0);
    server.touch("go");
    assert_eq!(connection.chunk().unwrap(), Some(b"second".to_vec()));
    assert_eq!(connection.chunk().unwrap(), None);
    server.wait_for_note("closed steps");
    server.stop();
}

#[test]
fn http_1_0_clients_get_streams_that_end_with_the_connection() {
    let server = gallery();
    server.touch("go");
    let mut connection = Connection::open(server.port());
    connection.send("GET /steps HTTP/1.0\r\n\r\n");
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, None));
    assert_eq!(connection.rest().unwrap(), b"firstsecond");
    server.stop();
}

#[test]
fn a_slow_client_holds_back_the_application() {
    let server = gallery();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/endless"));
    assert_eq!(connection.head().unwrap().status, 200);
    let count = || -> u64 {
        let text = fs::read_to_string(server.dir().join("count")).unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    // It goes on until all buffers are full, and then it stands.
    let mut last = (0, 0);
    until_true("the application stands still", || {
        let now = count();
        last = if now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        now > 0 && last.1 == 60
    });
    let most = 16 << 20;
    assert!(
        last.0 * 65536 < most,
        "{} bytes were made for a client that reads none",
        last.0 * 65536
    );
    // And it goes on as the client does.
    connection.take(last.0 as usize * 65536).unwrap();
    until_true("the application goes on", || count() > last.0);
    drop(connection);
    server.wait_for_note("generator ended");
    server.stop();
}

#[test]
fn a_client_that_leaves_ends_the_stream() {
    let server = Launch::app("gallery").arg("--threads", 1).start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/endless"));
    connection.take(100_000).unwrap();
    drop(connection);
    server.wait_for_note("generator ended");
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/endless_class"));
    connection.take(100_000).unwrap();
    drop(connection);
    server.wait_for_note("closed endless");
    assert_eq!(
        get(server.port(), "/hello").text(),
        "hello",
        "the only thread is free"
    );
    let log = server.stop().stderr;
    assert!(
        !log.contains("Traceback"),
        "a client that leaves is no error"
    );
}

#[test]
fn big_bodies_are_exact() {
    let server = gallery();
    let body = get(server.port(), "/big").body;
    assert_eq!(body.len(), 251 * 41_833);
    assert!(
        body.iter()
            .enumerate()
            .all(|(index, byte)| index % 251 == usize::from(*byte))
    );
    server.stop();
}

#[test]
fn bodies_come_in_all_forms() {
    let server = gallery();
    let port = server.port();
    assert_eq!(get(port, "/parts").text(), "abc");
    let several = get(port, "/several");
    assert_eq!(
        (several.text(), several.header("content-length")),
        ("abc".to_owned(), Some("3"))
    );
    let empty = get(port, "/empty");
    assert_eq!(
        (empty.text(), empty.header("content-length")),
        (String::new(), Some("0"))
    );
    assert_eq!(get(port, "/bytearray").text(), "array");
    let response = get(port, "/subclasses");
    assert_eq!(
        (response.text(), response.header("x-sub")),
        ("subclass".to_owned(), Some("class"))
    );
    let response = get(port, "/subclass_stream");
    assert_eq!(
        (response.text(), response.header("x-sub")),
        ("subclass!".to_owned(), Some("class"))
    );
    server.stop();
}

#[test]
fn text_is_no_body() {
    let server = gallery();
    assert_eq!(get(server.port(), "/str_body").status, 500);
    assert!(
        Request::new("GET", "/str_stream")
            .try_send(server.port())
            .map_or(true, |response| response.status == 500)
    );
    server.wait_for_note("closed str_stream");
    assert_eq!(get(server.port(), "/hello").text(), "hello");
    server.stop();
}

#[test]
fn the_length_that_was_promised_is_kept_to() {
    let server = gallery();
    let port = server.port();
    Request::new("GET", "/short")
        .try_send(port)
        .expect_err("a short body must not look whole");
    for path in ["/long", "/long_list"] {
        let mut connection = Connection::begin(port, &Request::new("GET", path));
        // Either it is cut at the promised length or it is an error; never are the bytes
        // that are too many taken for the next response.
        match connection.response("GET") {
            Ok(response) if response.status == 200 => assert_eq!(response.text(), "long", "{path}"),
            Ok(response) => assert_eq!(response.status, 500, "{path}"),
            Err(_) => continue,
        }
        if let Ok(next) = Request::new("GET", "/hello").send_on(&mut connection) {
            assert_eq!(next.text(), "hello", "{path}");
        }
    }
    server.stop();
}

// === close() ===

#[test]
fn the_body_is_always_closed() {
    let server = gallery();
    let port = server.port();
    assert_eq!(get(port, "/close").text(), "ab");
    server.wait_for_note("closed close");
    assert_eq!(get(port, "/close_empty").status, 204);
    server.wait_for_note("closed close_empty");
    assert_eq!(get(port, "/close_fails_first").status, 500);
    server.wait_for_note("closed close_fails_first");
    assert_eq!(
        get(port, "/unclosable").text(),
        "ok",
        "the answer is whole before it is closed"
    );
    server.wait_for_note("closed unclosable");
    let head = Request::new("HEAD", "/close_head").send(port);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("1000"))
    );
    server.wait_for_note("closed close_head");
    let pieces = server
        .notes()
        .iter()
        .filter(|note| *note == "made a piece")
        .count();
    assert!(pieces <= 1, "{pieces} pieces were made for HEAD");
    assert_eq!(get(port, "/hello").text(), "hello");
    let log = server.stop().stderr;
    assert!(log.contains("RuntimeError: close itself fails"));
}
