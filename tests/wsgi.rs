//! WSGI as PEP 3333 has it, on the wire.

use std::fs;

use crate::harness::{Connection, Launch, Request, Server, get, post, until, until_true};

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

// === the environ ===

#[test]
fn the_environ_is_complete() {
    let server = Launch::app("gallery:environ").arg("--threads", 2).start();
    let request = Request::new("GET", "/some/path?a=1&b=%C3%A9")
        .header("X-Custom", "value")
        .header("Accept", "text/plain");
    let environ = request.send(server.port()).json();
    let port = server.port().to_string();
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/some/path"),
        ("QUERY_STRING", "a=1&b=%C3%A9"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", port.as_str()),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "test.example"),
        ("HTTP_X_CUSTOM", "value"),
        ("HTTP_ACCEPT", "text/plain"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(environ[name], value, "{name}");
    }
    assert!(
        environ["REMOTE_PORT"]
            .as_str()
            .unwrap()
            .parse::<u16>()
            .is_ok()
    );
    assert!(
        environ["SERVER_SOFTWARE"]
            .as_str()
            .unwrap()
            .starts_with("hurricane/")
    );
    for name in ["CONTENT_LENGTH", "HTTP_CONTENT_LENGTH", "CONTENT_TYPE"] {
        assert!(
            environ.get(name).is_none(),
            "{name} of a request without body"
        );
    }
    server.stop();
}

#[test]
fn the_environ_tells_of_threads_and_processes() {
    for (threads, workers) in [(1, 1), (2, 1), (1, 2)] {
        let server = Launch::app("gallery")
            .arg("--threads", threads)
            .arg("--workers", workers)
            .start();
        let types = get(server.port(), "/types").json();
        assert_eq!(types["version"], serde_json::json!([1, 0]));
        assert_eq!(types["multithread"], threads > 1);
        assert_eq!(types["multiprocess"], workers > 1);
        assert_eq!(types["run_once"], false);
        assert_eq!(types["is_dict"], true);
        server.stop();
    }
}

#[test]
fn a_body_has_its_own_variables() {
    let server = Launch::app("gallery:environ").start();
    let request = Request::new("POST", "/")
        .header("Content-Type", "text/x")
        .body("12345");
    let environ = request.send(server.port()).json();
    assert_eq!(environ["CONTENT_LENGTH"], "5");
    assert_eq!(environ["CONTENT_TYPE"], "text/x");
    for name in ["HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"] {
        assert!(environ.get(name).is_none(), "{name}");
    }
    let chunked = Request::new("POST", "/").chunked([&b"1234567"[..]]);
    let environ = chunked.send(server.port()).json();
    assert_eq!(
        environ["CONTENT_LENGTH"], "7",
        "the length is known by then"
    );
    assert!(environ.get("HTTP_TRANSFER_ENCODING").is_none());
    server.stop();
}

#[test]
fn paths_are_decoded_and_their_bytes_are_latin_1_characters() {
    let server = Launch::app("gallery:environ").start();
    for (sent, path) in [
        ("/a%20b", "/a b"),
        ("/%C3%A9", "/\u{c3}\u{a9}"),
        ("/%E2%82%AC", "/\u{e2}\u{82}\u{ac}"),
        ("/%FF", "/\u{ff}"),
        ("/a%2Fb", "/a/b"),
        ("/100%25", "/100%"),
        ("/%zz", "/%zz"),
        ("//double//slash", "//double//slash"),
        ("/dots/../up", "/dots/../up"),
        ("/plus+plus", "/plus+plus"),
        ("http://other.example/absolute?q", "/absolute"),
    ] {
        let environ = get(server.port(), sent).json();
        assert_eq!(environ["PATH_INFO"], path, "{sent}");
    }
    server.stop();
}

#[test]
fn the_root_path_is_the_script_name() {
    let server = Launch::app("gallery:environ")
        .arg("--root-path", "/shop")
        .start();
    for (sent, path) in [
        ("/shop/cart", "/cart"),
        ("/shop", ""),
        ("/shop/", "/"),
        ("/shopping", "/shopping"),
        ("/cart", "/cart"),
    ] {
        let environ = get(server.port(), sent).json();
        assert_eq!(environ["SCRIPT_NAME"], "/shop", "{sent}");
        assert_eq!(environ["PATH_INFO"], path, "{sent}");
    }
    server.stop();
}

#[test]
fn headers_that_could_be_forged_are_dropped() {
    let server = Launch::app("gallery:environ").start();
    let request = Request::new("GET", "/")
        .header("X_Under", "forged")
        .header("X-Real_IP", "forged")
        .header("Proxy", "http://evil.example")
        .header("X-Real-IP", "true");
    let environ = request.send(server.port()).json();
    assert_eq!(environ["HTTP_X_REAL_IP"], "true");
    assert!(environ.get("HTTP_X_UNDER").is_none());
    assert!(environ.get("HTTP_PROXY").is_none());
    server.stop();
}

#[test]
fn repeated_headers_are_joined() {
    let server = Launch::app("gallery:environ").start();
    let request = Request::new("GET", "/")
        .header("X-List", "one")
        .header("Cookie", "a=1")
        .header("x-list", "two")
        .header("Cookie", "b=2");
    let environ = request.send(server.port()).json();
    let list = environ["HTTP_X_LIST"].as_str().unwrap().replace(", ", ",");
    assert_eq!(list, "one,two");
    assert_eq!(environ["HTTP_COOKIE"], "a=1; b=2");
    server.stop();
}

#[test]
fn header_values_are_latin_1_in_both_directions() {
    let server = gallery();
    let request = Request::new("GET", "/environ").header("X-Latin", b"caf\xe9");
    assert_eq!(
        request.send(server.port()).json()["HTTP_X_LATIN"],
        "caf\u{e9}"
    );
    let utf8 = Request::new("GET", "/environ").header("X-Latin", "é");
    assert_eq!(
        utf8.send(server.port()).json()["HTTP_X_LATIN"],
        "\u{c3}\u{a9}"
    );
    let response = get(server.port(), "/set_headers");
    assert_eq!(response.header("x-latin"), Some("caf\u{e9} \u{ff}"));
    server.stop();
}

// === request bodies ===

#[test]
fn bodies_arrive_with_a_length_or_in_chunks() {
    let server = gallery();
    let port = server.port();
    let response = post(port, "/echo", "with a length");
    assert_eq!(
        (response.text(), response.header("x-length")),
        ("with a length".to_owned(), Some("13"))
    );
    let chunks = [&b"a"[..], b" body", b" in chunks"];
    let response = Request::new("POST", "/echo").chunked(chunks).send(port);
    assert_eq!(response.text(), "a body in chunks");
    let response = Request::new("POST", "/echo").chunked([]).send(port);
    assert_eq!(response.text(), "");
    // Extensions and trailers are allowed, and nobody's business.
    let mut connection = Connection::open(port);
    connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=1\r\nbody\r\n0\r\nX-Trailer: 1\r\n\r\n");
    assert_eq!(connection.response("POST").unwrap().text(), "body");
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
fn the_input_is_a_file_that_ends_with_the_body() {
    let server = gallery();
    let found = post(server.port(), "/input", "line 1\nabcdefg\nx\ny\nz\n").json();
    let expected =
        serde_json::json!(["line 1\n", "abc", "de", ["fg\n", "x\n"], ["y\n", "z\n"], ""]);
    assert_eq!(found, expected);
    server.stop();
}

#[test]
fn a_body_that_is_not_read_does_not_spoil_the_connection() {
    let server = gallery();
    let mut connection = Connection::open(server.port());
    for _ in 0..3 {
        let request = Request::new("POST", "/unread").body("z".repeat(200_000));
        assert_eq!(request.send_on(&mut connection).unwrap().text(), "not read");
    }
    server.stop();
}

#[test]
fn expectations_are_met_before_the_body_comes() {
    let server = gallery();
    let mut connection = Connection::open(server.port());
    connection.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.reason.as_str()), (100, "Continue"));
    connection.send("body");
    assert_eq!(connection.response("POST").unwrap().text(), "body");
    server.stop();
}

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

// === files ===

#[test]
fn files_are_sent_as_they_are() {
    let server = gallery();
    let port = server.port();
    let content: Vec<u8> = (0..700_000_u32).map(|n| (n % 253) as u8).collect();
    fs::write(server.dir().join("file"), &content).unwrap();
    assert_eq!(get(port, "/file").body, content);
    assert_eq!(get(port, "/file?offset=123456").body, content[123_456..]);
    let part = get(port, "/file?offset=10&length=1000");
    assert_eq!(part.header("content-length"), Some("1000"));
    assert_eq!(part.body, content[10..1010]);
    assert_eq!(get(port, "/file?offset=700000").body, b"");
    let head = Request::new("HEAD", "/file?length=700000").send(port);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("700000"))
    );
    until_true("every file is closed", || {
        server
            .notes()
            .iter()
            .filter(|note| *note == "file closed: True")
            .count()
            == 5
    });
    Request::new("GET", "/file?length=700001")
        .try_send(port)
        .expect_err("the file is too short");
    assert_eq!(get(port, "/file_object").body, b"y".repeat(5000));
    assert_eq!(get(port, "/pipe").text(), "through a pipe");
    server.stop();
}

#[test]
fn django_sends_files() {
    let server = Launch::django().start();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/django-polls/lab/files/beaufort.csv"
    );
    let file = fs::read(path).unwrap();
    let response = get(server.port(), "/download");
    assert_eq!(response.body, file);
    assert_eq!(
        response.header("content-length"),
        Some(file.len().to_string().as_str())
    );
    assert!(
        response
            .header("content-disposition")
            .unwrap()
            .contains("beaufort.csv")
    );
    let head = Request::new("HEAD", "/download").send(server.port());
    assert_eq!(
        head.header("content-length"),
        Some(file.len().to_string().as_str())
    );
    server.stop();
}

// === heads ===

#[test]
fn some_responses_have_no_body() {
    let server = gallery();
    let mut connection = Connection::open(server.port());
    let head = Request::new("HEAD", "/length")
        .send_on(&mut connection)
        .unwrap();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("5"))
    );
    let head = Request::new("HEAD", "/hello")
        .send_on(&mut connection)
        .unwrap();
    assert_eq!(head.status, 200);
    let none = Request::new("GET", "/no_content")
        .send_on(&mut connection)
        .unwrap();
    assert_eq!((none.status, none.header("content-length")), (204, None));
    let same = Request::new("GET", "/not_modified")
        .send_on(&mut connection)
        .unwrap();
    assert_eq!((same.status, same.header("etag")), (304, Some("\"abc\"")));
    // Even where the application gives them one.
    for status in ["/status/204_No_Content", "/status/304_Not_Modified"] {
        let response = Request::new("GET", status)
            .send_on(&mut connection)
            .unwrap();
        assert!(matches!(response.status, 204 | 304), "{status}");
    }
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
fn every_final_status_goes_out_with_its_reason() {
    let server = gallery();
    for (sent, status, reason) in [
        ("/status/200_Very_well", 200, "Very well"),
        ("/status/299_Custom", 299, "Custom"),
        ("/status/404_Nobody_home", 404, "Nobody home"),
        ("/status/418_I'm_a_teapot", 418, "I'm a teapot"),
        ("/status/599_Odd", 599, "Odd"),
        (
            "/status/503_Service_Unavailable",
            503,
            "Service Unavailable",
        ),
    ] {
        let response = get(server.port(), sent);
        assert_eq!(
            (response.status, response.head.reason.as_str()),
            (status, reason)
        );
    }
    assert_eq!(get(server.port(), "/status/200_").status, 200);
    assert_eq!(get(server.port(), "/status/200").status, 200);
    server.stop();
}

#[test]
fn headers_go_out_as_they_were_given() {
    let server = gallery();
    let response = get(server.port(), "/set_headers");
    assert_eq!(
        response.head.all("set-cookie"),
        ["a=1; Path=/", "b=2; Path=/"]
    );
    assert_eq!(response.head.all("x-twice"), ["one", "two"]);
    assert_eq!(response.head.all("x_under"), ["kept"]);
    assert_eq!(response.head.all("server"), ["the application"]);
    assert_eq!(response.head.all("date").len(), 1);
    // The connection is the server's business.
    assert!(response.head.all("keep-alive").is_empty());
    assert_ne!(response.header("connection"), Some("close"));
    assert_ne!(response.header("transfer-encoding"), Some("gzip"));
    server.stop();
}

#[test]
fn django_sets_several_cookies() {
    let server = Launch::django().start();
    let request = Request::new("GET", "/cookies").header("Cookie", "a=1; b=2");
    let response = request.send(server.port());
    assert_eq!(response.head.all("set-cookie").len(), 2);
    assert_eq!(response.json(), serde_json::json!({"a": "1", "b": "2"}));
    server.stop();
}

#[test]
fn heads_that_cannot_be_sent_are_500() {
    let server = gallery();
    let port = server.port();
    for kind in [
        "name_newline",
        "value_newline",
        "value_lf",
        "value_nul",
        "name_blank",
        "name_empty",
        "name_colon",
        "value_not_latin",
        "value_bytes",
        "value_number",
        "name_none",
        "no_pair",
        "length_nonsense",
    ] {
        for view in ["bad_header", "bad_header_stream"] {
            let path = format!("/{view}/{kind}");
            let response = get(port, &path);
            assert_eq!(response.status, 500, "{path}: {response:?}");
            assert_eq!(response.header("x-evil"), None, "{path}");
        }
    }
    for kind in [
        "number",
        "bytes",
        "none",
        "words",
        "short",
        "glued",
        "long",
        "newline",
        "empty",
        "informational",
        "switching",
        "hints",
    ] {
        let path = format!("/bad_status/{kind}");
        let response = get(port, &path);
        assert_eq!(response.status, 500, "{path}: {response:?}");
        assert_eq!(response.header("x-evil"), None, "{path}");
    }
    assert_eq!(get(port, "/hello").text(), "hello");
    assert_eq!(server.workers().len(), 1, "no worker has died of it");
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
