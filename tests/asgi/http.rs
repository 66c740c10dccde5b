//! Requests and responses.

use serde_json::json;

use super::*;

// === the scope ===

#[test]
fn the_scope_is_that_of_the_specification() {
    let server = gallery().start();
    let request = Request::new("GET", "/show/a%20b/%C3%A4?q=1&r=%20")
        .header("X-Twice", "a")
        .header("X-Twice", "b")
        .header("X_Under", "score");
    let response = request.send(server.port());
    assert_eq!(response.status, 200);
    let scope = response.json();
    for (field, value) in [
        ("type", json!("http")),
        ("asgi", json!({"version": "3.0", "spec_version": "2.5"})),
        ("http_version", json!("1.1")),
        ("method", json!("GET")),
        ("scheme", json!("http")),
        ("path", json!("/show/a b/ä")),
        ("raw_path", json!("/show/a%20b/%C3%A4")),
        ("query_string", json!("q=1&r=%20")),
        ("root_path", json!("")),
        ("server", json!(["127.0.0.1", server.port()])),
        ("state", json!({"begun": "at the start"})),
        ("extensions", json!({"http.response.pathsend": {}})),
        (
            "headers",
            json!([["host", "test.example"], ["x-twice", "a"], ["x-twice", "b"]]),
        ),
    ] {
        assert_eq!(scope[field], value, "{field} in {scope}");
    }
    assert_eq!(scope["client"][0], "127.0.0.1");
    assert!(scope["client"][1].is_u64());
    let trailers = Request::new("GET", "/show").header("TE", "gzip, trailers");
    let scope = trailers.send(server.port()).json();
    assert!(scope["extensions"]["http.response.trailers"].is_object());
    server.stop();
}

#[test]
fn the_path_begins_with_the_root_path_whatever_a_proxy_does() {
    let server = gallery().arg("--root-path", "/show").start();
    for (sent, path) in [
        ("/show/a%20b", "/show/a b"),
        ("/a", "/show/a"),
        ("/showing", "/show/showing"),
    ] {
        let scope = get(server.port(), sent).json();
        assert_eq!(
            (&scope["path"], &scope["root_path"]),
            (&json!(path), &json!("/show")),
            "{sent}"
        );
    }
    server.stop();
}

// === bodies of requests ===

#[test]
fn a_body_is_whole_or_comes_in_parts() {
    let server = gallery().start();
    let port = server.port();
    assert_eq!(post(port, "/echo", "").text(), "");
    assert_eq!(post(port, "/echo", "whole").text(), "whole");
    let long = vec![b'x'; 3_000_000];
    assert_eq!(post(port, "/echo", &long).body, long);
    assert_eq!(post(port, "/count", &long).text(), "3000000");
    let chunked = Request::new("POST", "/echo").chunked([&b"in "[..], b"chunks"]);
    assert_eq!(chunked.send(port).text(), "in chunks");
    server.stop();
}

#[test]
fn a_body_that_comes_slowly_is_seen_as_it_comes() {
    let server = gallery().start();
    let mut connection = Connection::open(server.port());
    connection.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    connection.send("abc");
    server.wait_for_note("part 3");
    connection.send("de");
    server.wait_for_note("part 2");
    connection.send("f");
    assert_eq!(connection.response("POST").unwrap().text(), "6");
    server.stop();
}

#[test]
fn what_is_expected_is_asked_for_when_it_is_wanted() {
    let server = gallery().start();
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut connection = Connection::open(server.port());
    connection.send(head("/count"));
    assert_eq!(connection.head().unwrap().status, 100);
    connection.send("body");
    assert_eq!(connection.response("POST").unwrap().text(), "4");
    connection = Connection::open(server.port());
    connection.send(head("/unread"));
    assert_eq!(
        connection.response("POST").unwrap().status,
        417,
        "and it was not asked for"
    );
    server.stop();
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let server = gallery().arg("--max-body-size", "1000").start();
    assert_eq!(post(server.port(), "/count", [0; 1000]).text(), "1000");
    assert_eq!(post(server.port(), "/count", [0; 1001]).status, 413);
    let chunked = Request::new("POST", "/count").chunked([&[0; 600][..], &[0; 600]]);
    assert_eq!(chunked.send(server.port()).status, 413);
    server.stop();
}

// === responses ===

#[test]
fn events_come_one_by_one() {
    let server = gallery().start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/events/3"));
    let head = connection.head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for number in 0..3 {
        let event = connection.chunk().unwrap().unwrap();
        assert_eq!(event, format!("data: {number}\n\n").into_bytes());
        server.touch(&format!("go-{number}"));
    }
    assert_eq!(connection.chunk().unwrap(), None);
    server.stop();
}

#[test]
fn trailers_come_to_those_who_take_them() {
    let server = gallery().start();
    let request = Request::new("POST", "/echo")
        .header("TE", "trailers")
        .body("abc");
    let mut connection = Connection::begin(server.port(), &request);
    assert_eq!(
        connection.head().unwrap().header("trailer"),
        Some("x-parts")
    );
    assert_eq!(connection.chunk().unwrap().unwrap(), b"abc");
    assert_eq!(connection.line().unwrap(), "0");
    assert_eq!(connection.line().unwrap(), "x-parts: 1");
    server.stop();
}

#[test]
fn early_hints_come_before_the_answer() {
    let server = gallery().flag("--early-hints").start();
    let scope = get(server.port(), "/show").json();
    assert!(scope["extensions"]["http.response.early_hint"].is_object());
    let mut connection = Connection::open(server.port());
    for _ in 0..2 {
        connection.send(Request::new("GET", "/hint").bytes());
        let hint = connection.head().unwrap();
        assert_eq!((hint.status, hint.reason.as_str()), (103, "Early Hints"));
        assert_eq!(hint.all("link"), ["</a.css>; rel=preload", "</b.js>"]);
        server.touch("go");
        assert_eq!(connection.head().unwrap().all("link"), ["</last>"]);
        assert_eq!(connection.response("GET").unwrap().text(), "hello");
    }
    connection.send(Request::new("GET", "/hint/none").bytes());
    assert_eq!(connection.response("GET").unwrap().status, 200);
    server.stop();
}

#[test]
fn an_early_hint_that_cannot_be_sent_is_a_failure() {
    let server = gallery().flag("--early-hints").start();
    assert_eq!(get(server.port(), "/hint/wrong").status, 500);
    server.wait_for_line(r#"value "</a>\r\nx: y" of header "link""#);
    server.stop();
}

/// One of HTTP/1.0 would not understand them, and what is before the server might not.
#[test]
fn a_client_that_takes_no_early_hints_gets_none() {
    for (launch, version) in [(gallery().flag("--early-hints"), "1.0"), (gallery(), "1.1")] {
        let server = launch.start();
        server.touch("go");
        let mut connection = Connection::open(server.port());
        for path in ["/hint", "/show"] {
            connection.send(format!(
                "GET {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
            ));
            let answer = connection.response("GET").unwrap();
            assert_eq!(answer.status, 200, "{path}");
            assert!(!answer.text().contains("early_hint"), "{}", answer.text());
        }
        server.stop();
    }
}

#[test]
fn a_file_is_sent_by_its_path() {
    let server = gallery().start();
    let port = server.port();
    assert_eq!(get(port, "/file").text(), "from a file");
    assert_eq!(get(port, "/file/relative").status, 500);
    std::fs::remove_file(server.dir().join("file")).unwrap();
    assert_eq!(get(port, "/file/missing").status, 500);
    server.wait_for_line("the path is not absolute");
    server.stop();
}

#[test]
fn a_head_is_checked() {
    let server = gallery().start();
    let port = server.port();
    for wrong in ["name", "value", "text", "status"] {
        assert_eq!(get(port, &format!("/head/{wrong}")).status, 500, "{wrong}");
    }
    server.wait_for_line(r#"value "a\r\nb: c" of header "x""#);
    let hop = get(port, "/head/hop");
    assert_eq!((hop.status, hop.header("x")), (200, Some("kept")));
    assert_eq!(
        (hop.header("transfer-encoding"), hop.header("keep-alive")),
        (None, None)
    );
    assert_eq!(get(port, "/head/close").header("connection"), Some("close"));
    assert_eq!(get(port, "/head/twice").head.all("set-cookie"), ["a", "b"]);
    let mut connection = Connection::open(port);
    for (path, status) in [("/head/empty", 204), ("/head/same", 304), ("/hello", 200)] {
        let response = Request::new("GET", path).send_on(&mut connection).unwrap();
        assert_eq!(response.status, status, "one connection serves all of them");
    }
    let head = Request::new("HEAD", "/hello")
        .send_on(&mut connection)
        .unwrap();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("5"))
    );
    assert_eq!(
        Request::new("GET", "/hello")
            .send_on(&mut connection)
            .unwrap()
            .text(),
        "hello"
    );
    server.stop();
}

#[test]
fn a_body_of_another_length_than_was_promised_is_no_answer() {
    let server = gallery().start();
    let port = server.port();
    assert_eq!(get(port, "/length/5-7-whole").status, 500);
    assert_eq!(get(port, "/length/7-5-whole").status, 500);
    assert_eq!(get(port, "/length/5-5-parts").text(), "xxxxx");
    for wrong in ["/length/5-7-parts", "/length/7-5-parts"] {
        let mut connection = Connection::begin(port, &Request::new("GET", wrong));
        assert_eq!(connection.head().unwrap().status, 200);
        assert!(
            connection.rest().unwrap().len() < 7,
            "{wrong} is broken off"
        );
    }
    let log = server.stop().stderr;
    assert!(
        log.contains("Content-Length is 5 and the body has 7 bytes"),
        "{log}"
    );
    assert!(log.contains("longer than its Content-Length"), "{log}");
    assert!(log.contains("shorter than its Content-Length"), "{log}");
}

// === failures ===

#[test]
fn nothing_that_is_raised_ends_the_worker() {
    let server = gallery().start();
    let port = server.port();
    let worker = get(port, "/pid").text();
    for kind in ["error", "exit", "other"] {
        let response = get(port, &format!("/fail/{kind}"));
        assert_eq!(response.status, 500, "{kind}");
        assert!(
            !response.text().contains("Traceback"),
            "clients need not know"
        );
    }
    let mut connection = Connection::begin(port, &Request::new("GET", "/fail/late"));
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.rest().unwrap(), b"5\r\nfirst\r\n", "broken off");
    assert_eq!(get(port, "/pid").text(), worker);
    let log = server.stop().stderr;
    for text in [
        "SystemExit: 3",
        "ValueError: on purpose",
        "failed on GET /fail/late",
    ] {
        assert!(log.contains(text), "the log tells of {text}: {log}");
    }
}

#[test]
fn an_application_that_returns_too_early_has_failed() {
    let server = gallery().start();
    let port = server.port();
    assert_eq!(get(port, "/silent").status, 500);
    assert_eq!(get(port, "/silent/head").status, 500);
    let mut connection = Connection::begin(port, &Request::new("GET", "/silent/body"));
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.rest().unwrap(), b"5\r\nfirst\r\n", "broken off");
    let log = server.stop().stderr;
    assert!(
        log.contains("returned without a response to GET /silent"),
        "{log}"
    );
    assert!(
        log.contains("returned before the response was complete to GET /silent/body"),
        "{log}"
    );
}

// === clients that leave ===

#[test]
fn a_client_that_leaves_is_noticed_and_its_task_ends() {
    let server = gallery().arg("--disconnect-grace", "50ms").start();
    let connection = Connection::begin(server.port(), &Request::new("GET", "/watch"));
    server.wait_for_note("watching");
    drop(connection);
    for note in ["http.disconnect", "cancelled"] {
        server.wait_for_note(note);
    }
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}

#[test]
fn a_client_that_leaves_a_stream_ends_it_with_one_line() {
    let server = gallery().start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/endless"));
    connection.head().unwrap();
    connection.take(100_000).unwrap();
    drop(connection);
    server.wait_for_note("ClientDisconnected");
    server.wait_for_line("the client left before the response to GET /endless was complete");
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}

#[test]
fn a_client_that_does_not_read_holds_the_application_up() {
    let server = gallery().start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/endless"));
    connection.head().unwrap();
    let sent = || {
        std::fs::read_to_string(server.dir().join("sent"))
            .ok()?
            .parse::<u64>()
            .ok()
    };
    // It comes to a halt: as much as sockets, server and worker hold, and no more.
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
    server.stop();
}

#[test]
fn what_goes_on_after_the_response_is_left_alone() {
    let server = gallery().arg("--disconnect-grace", "0").start();
    assert_eq!(get(server.port(), "/after").text(), "done");
    server.wait_for_note("http.disconnect");
    server.touch("go");
    server.wait_for_note("after");
    server.stop();
}
