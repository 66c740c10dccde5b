//! The same requests to Hurricane and to [uvicorn](https://www.uvicorn.org/), with the same
//! application. Where they differ is listed in [`DIFFERENCES`], and in docs/asgi.md.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::*;

/// What is sent, and what Hurricane and uvicorn make of it, where that is not the same.
const DIFFERENCES: [(&str, &str, &str); 8] = [
    // A promise that is not kept is found before the head is sent, where all of the body is known.
    ("GET /length/5-7-whole", REFUSED, "broken off"),
    ("GET /length/7-5-whole", REFUSED, "broken off"),
    // The application returned without a body: nothing has been sent.
    ("GET /silent/head", REFUSED, "broken off"),
    // What HTTP or ASGI does not allow is not sent.
    ("GET /head/name", REFUSED, "broken off"),
    ("GET /head/value", REFUSED, "broken off"),
    ("GET /head/status", REFUSED, "broken off"),
    // Names and values are bytes.
    ("GET /head/text", REFUSED, "200 [(\"x\", \"y\")]"),
    // The connection is the server's business.
    ("GET /head/hop", "200 [(\"x\", \"kept\")]", ""),
];

const REFUSED: &str = "500 Internal Server Error";

/// A uvicorn that is ended with the test.
struct Uvicorn {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Uvicorn {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/apps");
        let mut child = Command::new(python())
            .args(["-m", "uvicorn", "asgi_gallery:application", "--port", "0"])
            .args(["--lifespan", "on", "--no-server-header"])
            .current_dir(apps)
            .env("TEST_DIR", dir.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "uvicorn did not start"
            );
            if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
        };
        // So that it never waits for somebody to read.
        std::thread::spawn(move || log.lines().map_while(Result::ok).count());
        Self {
            child,
            port,
            _dir: dir,
        }
    }
}

impl Drop for Uvicorn {
    fn drop(&mut self) {
        // It fails when the process has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn requests() -> Vec<(String, Request)> {
    let mut all = Vec::new();
    let mut add = |name: String, request: Request| all.push((name, request));
    for path in [
        "/hello",
        "/",
        "/show/a%20b/%C3%A4%2F?q=1&r=%20&q=2",
        "/show//double/./dots/..",
        "/show?",
        "/stream/20",
        "/silent",
        "/silent/head",
        "/silent/body",
        "/fail/error",
        "/fail/late",
        "/length/5-5-whole",
        "/length/5-7-whole",
        "/length/7-5-whole",
        "/length/5-5-parts",
        "/length/5-7-parts",
        "/length/7-5-parts",
        "/head/name",
        "/head/value",
        "/head/text",
        "/head/status",
        "/head/hop",
        "/head/close",
        "/head/twice",
        "/head/empty",
        "/head/same",
    ] {
        add(format!("GET {path}"), Request::new("GET", path));
    }
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        add(format!("{method} /hello"), Request::new(method, "/hello"));
        add(format!("{method} /show"), Request::new(method, "/show"));
    }
    for path in ["/echo", "/count", "/unread"] {
        for body in ["", "short"] {
            let request = Request::new("POST", path).body(body);
            add(format!("POST {path} {body:?}"), request);
        }
        let chunks = [&b"in "[..], b"chunks"];
        let request = Request::new("POST", path).chunked(chunks);
        add(format!("POST {path} in chunks"), request);
    }
    let twice = Request::new("GET", "/show")
        .header("X-Twice", "a")
        .header("x-twice", "b")
        .header("Cookie", "a=b; c=d")
        .header("X-Latin", b"\xe4");
    add("GET /show with headers".to_owned(), twice);
    for path in ["/ws_deny/answer", "/ws_deny/close", "/ws_deny/error"] {
        add(format!("WebSocket {path}"), websocket::handshake(path));
    }
    all
}

/// What came back, as far as it is the application's doing.
fn answer(port: u16, name: &str, request: &Request) -> String {
    let method = name.split(' ').next().unwrap();
    let mut connection = Connection::begin(port, request);
    let Ok(head) = connection.head() else {
        return "broken off".to_owned();
    };
    let mut headers = head.headers.clone();
    // Whoever sends a body whole knows its length.
    let left_out = [
        "date",
        "server",
        "transfer-encoding",
        "content-length",
        "content-type",
    ];
    headers.retain(|(name, _)| !left_out.contains(&name.as_str()));
    // When a server closes a connection is its own business.
    headers.retain(|(name, value)| name != "connection" || head.status == 200 && value == "close");
    headers.sort();
    let mut whole = connection.body(method, &head);
    if let Ok(body) = &mut whole
        && let Ok(mut scope) = serde_json::from_slice::<serde_json::Value>(body)
        && scope.is_object()
    {
        // What cannot be the same.
        for field in ["client", "server", "extensions", "asgi"] {
            scope.as_object_mut().unwrap().remove(field);
        }
        *body = scope.to_string().into_bytes();
    }
    let body = match whole {
        Ok(body) if head.status >= 500 => {
            let text = String::from_utf8_lossy(&body);
            return format!("{} {}", head.status, text.trim()).trim().to_owned();
        }
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        Err(_) => return "broken off".to_owned(),
    };
    let text = format!("{} {headers:?} {body}", head.status);
    text.trim().to_owned()
}

#[test]
fn it_answers_as_uvicorn_does_but_for_what_is_listed() {
    let server = gallery().start();
    let uvicorn = Uvicorn::start();
    let mut wrong = Vec::new();
    for (name, request) in requests() {
        let ours = answer(server.port(), &name, &request);
        let theirs = answer(uvicorn.port, &name, &request);
        let listed = DIFFERENCES.iter().find(|(listed, ..)| *listed == name);
        let fits = match listed {
            Some((_, ours_is, theirs_is)) => {
                ours.starts_with(ours_is) && theirs.starts_with(theirs_is) && ours != theirs
            }
            None => ours == theirs,
        };
        if !fits {
            wrong.push(format!(
                "{name}\n  hurricane: {ours}\n  uvicorn:   {theirs}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop();
}
