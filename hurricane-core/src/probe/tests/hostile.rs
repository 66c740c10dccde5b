//! Clients that want to keep Kubernetes out.

use std::io::{self, ErrorKind};

use socket2::{Domain, Socket, Type};

use super::*;

/// Longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(20);

const GET: &[u8] = b"GET /startup HTTP/1.1\r\nhost: probe\r\n\r\n";

fn connect(server: &ProbeServer) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Reads up to the end of a connection, however it is brought about.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer without a body of its own.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (server, _) = spawn(&ProbeConfig {
        header_timeout: Duration::from_secs(1),
        ..config()
    });
    let streams = ["", "G", "GET /alive HTTP/1.1\r\nhost: pro"].map(|sent| {
        let mut stream = connect(&server);
        stream.write_all(sent.as_bytes()).unwrap();
        stream
    });
    for stream in streams {
        let answer = rest(stream);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    // The next head on a connection has no more time than the first.
    let mut stream = connect(&server);
    stream.write_all(GET).unwrap();
    stream.write_all(b"GET /al").unwrap();
    assert_eq!(rest(stream).matches("HTTP/1.1 200 OK").count(), 1);
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn large_heads_are_refused() {
    let (server, _) = spawn(&config());
    let path = format!("/alive?{}", "x".repeat(9 * 1024));
    let answer = get(server.local_addr(), &path);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut stream = connect(&server);
    stream.write_all(b"GET /alive HTTP/1.1\r\n").unwrap();
    let header = format!("x: {}\r\n", "x".repeat(100));
    while stream.write_all(header.as_bytes()).is_ok() {}
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn those_who_hold_connections_keep_nobody_out() {
    let (server, _) = spawn(&ProbeConfig {
        max_connections: 3,
        header_timeout: LONG * 2,
        ..config()
    });
    let silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /startup HT").unwrap();
    let mut kept = connect(&server);
    kept.write_all(GET).unwrap();
    head(&mut kept).unwrap();

    for _ in 0..2 {
        let answer = get(server.local_addr(), "/ready");
        assert_answer(&answer, 200, "");
        // That one is closed by now, but perhaps not yet counted out.
    }
    let mut more = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(&server);
        stream.write_all(GET).unwrap();
        let answer = head(&mut stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        more.push(stream);
    }
    // The oldest had to go, the youngest are still there.
    for stream in [silent, half, kept] {
        assert!(!rest(stream).contains("HTTP/1.1 200"));
    }
    for stream in &mut more[2..] {
        stream.write_all(GET).unwrap();
        let mut answer = vec![0; 64];
        let count = stream.read(&mut answer).unwrap();
        assert_ne!(count, 0, "one of the youngest was closed");
    }
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_is_not_read() {
    let (server, _) = spawn(&config());
    for length in ["content-length: 1000000000", "transfer-encoding: chunked"] {
        let mut stream = connect(&server);
        write!(
            stream,
            "POST /ready HTTP/1.1\r\nhost: probe\r\n{length}\r\n\r\n"
        )
        .unwrap();
        let answer = head(&mut stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // However much comes, the connection ends.
        let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    }
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_may_come_all_at_once() {
    let (server, _) = spawn(&config());
    let mut stream = connect(&server);
    for probe in ["startup", "ready", "nothing"].repeat(100) {
        write!(stream, "GET /{probe} HTTP/1.1\r\nhost: probe\r\n\r\n").unwrap();
    }
    write!(
        stream,
        "GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let answers = rest(stream);
    let statuses: Vec<_> = answers
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answers[at + 9..at + 12])
        .collect();
    let (last, others) = statuses.split_last().unwrap();
    assert_eq!(others, ["200", "200", "404"].repeat(100));
    assert_eq!(*last, "404");
    server.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_does_not_read_is_given_up() {
    let config = ProbeConfig {
        write_timeout: Duration::from_millis(50),
        ..config()
    };
    let mut registry = Registry::new();
    let check = check_fn("long", || {
        future::ready(CheckResult::fail("x".repeat(4 * 1024)))
    });
    registry.add_check(check, [Probe::Readiness]).unwrap();
    let (server, _) = spawn_with(&config, &registry);

    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(&server.local_addr().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let started = Instant::now();
    stream.set_write_timeout(Some(LONG)).unwrap();
    let asking = tokio::task::spawn_blocking(move || {
        let requests = b"GET /ready HTTP/1.1\r\nhost: probe\r\n\r\n".repeat(100);
        loop {
            if let Err(error) = stream.write_all(&requests) {
                return error;
            }
        }
    });
    let error = asking.await.unwrap();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error} after {:?}",
        started.elapsed()
    );
    server.shutdown().unwrap();
}
