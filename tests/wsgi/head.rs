//! Heads of responses, and responses that are files.

use std::fs;

use super::gallery;
use crate::harness::{Connection, Launch, Request, get, until_true};

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
