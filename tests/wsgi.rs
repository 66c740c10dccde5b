//! WSGI as PEP 3333 has it, on the wire.

use crate::harness::{Connection, Launch, Request, Server, get, post, until};

mod head;
mod request;
mod response;

fn gallery() -> Server {
    Launch::app("gallery").start()
}

// === the validator ===

#[test]
fn the_validator_of_the_standard_library_finds_nothing() {
    let server = Launch::app("gallery:validated").start();
    let port = server.port();
    assert_eq!(get(port, "/").text(), "<>");
    assert_eq!(get(port, "/a%20path/with?a=query&b=%20").text(), "<>");
    assert_eq!(post(port, "/", "a body").text(), "<a body>");
    assert_eq!(post(port, "/", "").text(), "<>");
    let head = Request::new("HEAD", "/").send(port);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("2"))
    );
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS"] {
        let response = Request::new(method, "/").body("x").send(port);
        assert_eq!(
            (response.status, response.text()),
            (200, "<x>".to_owned()),
            "{method}"
        );
    }
    let chunked = Request::new("POST", "/")
        .chunked([&b"in "[..], b"chunks"])
        .send(port);
    assert_eq!(chunked.text(), "<in chunks>");
    server.stop();
}

// === failures and output ===

#[test]
fn nothing_that_is_raised_ends_the_worker() {
    let server = gallery();
    let port = server.port();
    let worker = get(port, "/pid").text();
    for kind in ["exit", "interrupt", "error", "base", "stop"] {
        let response = get(port, &format!("/raise/{kind}"));
        assert_eq!(response.status, 500, "{kind}");
        assert!(
            !response.text().contains("Traceback"),
            "clients need not know"
        );
    }
    assert_eq!(get(port, "/pid").text(), worker);
    let log = server.stop().stderr;
    for text in [
        "SystemExit: 3",
        "KeyboardInterrupt",
        "RuntimeError: on purpose",
    ] {
        assert!(log.contains(text), "the log tells of {text}");
    }
}

#[test]
fn what_is_printed_is_seen_at_once() {
    let server = gallery();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/print"));
    for line in [
        "printed to stdout",
        "printed to stderr",
        "written to wsgi.errors",
    ] {
        server.wait_for_line(line);
    }
    assert!(
        server.stdout().contains("printed to stdout"),
        "stdout stays stdout"
    );
    server.touch("go");
    assert_eq!(connection.response("GET").unwrap().text(), "printed");
    server.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = gallery();
    let mut connection = Connection::open(server.port());
    let paths = [
        "/status/201_a",
        "/hello",
        "/status/202_b",
        "/big",
        "/status/203_c",
    ];
    let requests: Vec<u8> = paths
        .iter()
        .flat_map(|path| Request::new("GET", path).bytes())
        .collect();
    connection.send(requests);
    let statuses = paths.map(|_| connection.response("GET").unwrap().status);
    assert_eq!(statuses, [201, 200, 202, 200, 203]);
    let pid = until("the worker is known", || server.workers().first().copied());
    assert_eq!(get(server.port(), "/pid").text(), pid.to_string());
    server.stop();
}
