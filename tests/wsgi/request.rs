//! What the application learns of a request.

use super::gallery;
use crate::harness::{Connection, Launch, Request, get, post};

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
