//! Request bodies: of all sizes, slow, too long, broken off.

use crate::harness::{Connection, Launch, Request, get, post, until_true};

/// A body of which each byte can be told from its neighbours.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn bodies_of_all_sizes_arrive_whole() {
    let server = Launch::app("gallery").start();
    let port = server.port();
    for length in [
        0,
        1,
        1 << 10,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        5 << 20,
    ] {
        let body = body(length);
        let response = post(port, "/echo", &body);
        assert_eq!(
            response.header("x-length"),
            Some(length.to_string().as_str())
        );
        assert!(response.body == body, "{length} bytes came back changed");
        let chunked = Request::new("POST", "/echo").chunked(body.chunks(100_000));
        let response = chunked.send(port);
        assert_eq!(
            response.header("x-length"),
            Some(length.to_string().as_str())
        );
        assert!(
            response.body == body,
            "{length} bytes in chunks came back changed"
        );
    }
    server.stop();
}

#[test]
fn long_bodies_are_kept_in_files() {
    let server = Launch::app("faults").start();
    assert_eq!(
        post(server.port(), "/length", body(1 << 10)).text(),
        "1024 BytesIO"
    );
    assert_eq!(
        post(server.port(), "/length", body(5 << 20)).text(),
        "5242880 BufferedReader"
    );
    server.stop();
}

#[test]
fn many_long_bodies_do_not_mix() {
    let server = Launch::app("gallery")
        .arg("--threads", 2)
        .arg("--workers", 2)
        .start();
    let port = server.port();
    std::thread::scope(|scope| {
        for client in 0..6_u8 {
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                for round in 0..3_u8 {
                    let body = vec![client * 10 + round; (1 << 20) + 1000 * usize::from(client)];
                    let response = Request::new("POST", "/echo")
                        .body(&body)
                        .send_on(&mut connection)
                        .unwrap();
                    assert!(response.body == body, "client {client}, round {round}");
                }
            });
        }
    });
    server.stop();
}

#[test]
fn django_takes_uploads() {
    let server = Launch::django().start();
    let response = post(server.port(), "/upload", body(5 << 20)).json();
    assert_eq!(response["size"], 5 << 20);
    let form = [
        b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
        &body(3 << 20)[..],
        b"\r\n--b--\r\n",
    ]
    .concat();
    let request = Request::new("POST", "/upload")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(form);
    assert_eq!(request.send(server.port()).json()["size"], 3 << 20);
    server.stop();
}

#[test]
fn a_body_that_is_too_long_is_refused_before_python_sees_it() {
    let server = Launch::app("faults").arg("--max-body-size", "10K").start();
    let port = server.port();
    assert_eq!(
        post(port, "/length?fits", body(10 << 10)).text(),
        "10240 BytesIO"
    );
    let fits = body(10 << 10);
    let fits = Request::new("POST", "/length?chunks")
        .chunked(fits.chunks(1000))
        .send(port);
    assert_eq!(fits.text(), "10240 BytesIO");

    let long = post(port, "/length?long", body((10 << 10) + 1));
    assert_eq!(long.status, 413);
    let long = body((10 << 10) + 1);
    let long = Request::new("POST", "/length?longchunks")
        .chunked(long.chunks(1000))
        .send(port);
    assert_eq!(long.status, 413);
    // Nothing needs to be sent to learn it.
    let mut connection = Connection::open(port);
    connection.send("POST /length?asked HTTP/1.1\r\nHost: a\r\nContent-Length: 10241\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.head().unwrap().status, 413);

    assert_eq!(get(port, "/quick?after").text(), "after");
    let ran = server.notes();
    assert_eq!(
        ran,
        ["ran length fits", "ran length chunks", "ran quick after"]
    );
    server.stop();
}

#[test]
fn a_client_that_ignores_413_does_not_confuse_the_server() {
    let server = Launch::app("faults").arg("--max-body-size", "1K").start();
    let mut connection = Connection::open(server.port());
    // The body holds a request: were the connection kept, it would be taken for one.
    let smuggled = "GET /quick?smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let request = Request::new("POST", "/length").body(smuggled);
    let response = request.send_on(&mut connection).unwrap();
    assert_eq!(
        (response.status, response.header("connection")),
        (413, Some("close"))
    );
    let _ = connection.rest();
    assert_eq!(get(server.port(), "/quick?after").text(), "after");
    assert_eq!(server.notes(), ["ran quick after"]);
    server.stop();
}

#[test]
fn a_slow_upload_takes_no_thread() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let port = server.port();
    let slow = Request::new("POST", "/length?slow")
        .body(body(100_000))
        .bytes();
    let (first, second) = slow.split_at(slow.len() / 2);
    let mut connection = Connection::open(port);
    connection.send(first);
    for number in 0..10 {
        assert_eq!(
            get(port, &format!("/quick?{number}")).text(),
            number.to_string()
        );
    }
    connection.send(second);
    assert_eq!(
        connection.response("POST").unwrap().text(),
        "100000 BytesIO"
    );
    assert_eq!(server.notes().last().unwrap(), "ran length slow");
    server.stop();
}

#[test]
fn an_upload_that_breaks_off_never_reaches_python() {
    let server = Launch::app("faults").start();
    let port = server.port();
    for length in [1000, 3 << 20] {
        let whole = Request::new("POST", "/length?half")
            .body(body(length))
            .bytes();
        let mut connection = Connection::open(port);
        connection.send(&whole[..whole.len() - 100]);
        drop(connection);
    }
    // And one that breaks off within a chunk, politely.
    let mut connection = Connection::open(port);
    connection.send(
        "POST /length?half HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
    );
    connection.half_close();
    let _ = connection.rest();
    until_true("all of them are over", || server.open_connections() == 0);
    assert_eq!(get(port, "/quick?after").text(), "after");
    assert_eq!(server.notes(), ["ran quick after"]);
    server.stop();
}
