//! `--debugger` and `--pycharm-host`, with the real debugpy and a client that speaks its protocol.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Launch, PATIENCE, Response, Server, free_port, get, is_running, kill, until, until_true,
};

/// A client of debugpy, as an editor is.
struct Client {
    reader: BufReader<TcpStream>,
    sent: u64,
    /// What came while something else was waited for.
    events: VecDeque<Value>,
}

impl Client {
    fn connect(port: u16) -> Self {
        let stream = until("the debugger takes a client", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
            sent: 0,
            events: VecDeque::new(),
        }
    }

    /// Has the application stop at a line.
    fn attach(port: u16, file: &Path, line: usize) -> Self {
        let mut client = Self::connect(port);
        client.ask(
            "initialize",
            &json!({"adapterID": "test", "pathFormat": "path"}),
        );
        // Answered at the end only.
        client.send("attach", &json!({"justMyCode": false}));
        client.event("initialized");
        let breakpoints = json!({"source": {"path": file}, "breakpoints": [{"line": line}]});
        let set = client.ask("setBreakpoints", &breakpoints);
        assert_eq!(set["body"]["breakpoints"][0]["verified"], true, "{set}");
        client.ask("configurationDone", &json!({}));
        client
    }

    fn send(&mut self, command: &str, arguments: &Value) {
        self.sent += 1;
        let message = json!({"seq": self.sent, "type": "request", "command": command, "arguments": arguments});
        let message = message.to_string();
        let stream = self.reader.get_mut();
        write!(stream, "Content-Length: {}\r\n\r\n{message}", message.len()).unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                _ if line == "\r\n" => break,
                _ => assert!(!line.is_empty(), "the debugger has gone"),
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        self.send(command, arguments);
        let number = self.sent;
        loop {
            let message = self.receive();
            if message["type"] == "response" && message["request_seq"] == number {
                assert_eq!(message["success"], true, "{message}");
                return message;
            }
            self.events.push_back(message);
        }
    }

    fn event(&mut self, name: &str) -> Value {
        let is = |message: &Value| message["type"] == "event" && message["event"] == name;
        if let Some(found) = self.events.iter().position(is) {
            return self.events.remove(found).unwrap();
        }
        loop {
            let message = self.receive();
            if is(&message) {
                return message;
            }
        }
    }
}

/// A view of a Django project, and the line in it to stop at.
fn view() -> (std::path::PathBuf, usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root
        .join("tests/dropin/dropin/urls.py")
        .canonicalize()
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line.contains("It works."));
    (file, line.unwrap() + 1)
}

fn ask_in_the_background(server: &Server) -> JoinHandle<Response> {
    let port = server.port();
    std::thread::spawn(move || get(port, "/"))
}

/// Neither the probes nor a timeout minds that somebody looks at a request.
fn stops_and_goes_on(launch: Launch) {
    let port = free_port();
    let server = launch
        .flag("--debugger")
        .arg("--debugger-port", port)
        .arg("--request-timeout", "500ms")
        .arg("--check-max-age", "2s")
        .arg("--probe-timeout", "400ms")
        .start();
    server.wait_for_line(&format!("Listening for debug clients at port {port}"));
    let worker = server.workers()[0];
    let (file, line) = view();
    let mut client = Client::attach(port, &file, line);
    let asking = ask_in_the_background(&server);
    let stopped = client.event("stopped");
    assert_eq!(stopped["body"]["reason"], "breakpoint", "{stopped}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3500) {
        for probe in ["/alive", "/ready"] {
            let answer = get(server.probe_port(), probe);
            assert_eq!(answer.status, 200, "{probe}: {}", answer.text());
        }
    }
    assert!(!asking.is_finished(), "the request waits at the breakpoint");
    client.ask(
        "continue",
        &json!({"threadId": stopped["body"]["threadId"]}),
    );
    let answer = asking.join().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "It works."));
    client.ask("disconnect", &json!({}));
    assert!(is_running(worker));
    assert_eq!(server.workers(), [worker]);
    let ended = server.stop();
    assert!(!ended.stderr.contains("frozen modules"), "{}", ended.stderr);
}

#[test]
fn a_breakpoint_of_a_thread_disturbs_nobody() {
    stops_and_goes_on(Launch::manage(""));
}

#[test]
fn a_breakpoint_of_an_event_loop_disturbs_nobody() {
    stops_and_goes_on(Launch::manage("").arg("--interface", "asgi"));
}

#[test]
fn the_first_of_several_workers_listens_and_so_does_the_next_one_in_its_place() {
    let port = free_port();
    let server = Launch::app("gallery")
        .flag("--debugger")
        .arg("--debugger-port", port)
        .arg("--workers", 2)
        .start();
    server.wait_for_line("Only the first of 2 workers has the debugger");
    let listening = format!("Listening for debug clients at port {port}");
    let count = |server: &Server| server.stderr().matches(&listening).count();
    assert_eq!(count(&server), 1);
    for worker in server.workers() {
        kill(worker, Signal::KILL);
    }
    until_true("the next worker listens", || count(&server) == 2);
    // A new worker is started while the old one has the port.
    server.signal(Signal::HUP);
    until_true("the next worker listens", || count(&server) == 3);
    Client::connect(port);
    server.stop();
}

#[test]
fn a_debugger_that_is_not_installed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for module in ["debugpy.py", "pydevd_pycharm.py"] {
        fs::write(folder.path().join(module), "raise ImportError('none')").unwrap();
    }
    let server = Launch::app("gallery")
        .env("PYTHONPATH", folder.path())
        .flag("--debugger")
        .arg("--pycharm-host", "localhost")
        .start();
    server.wait_for_line("WARN Ignoring '--debugger' because there is no module 'debugpy'");
    server.wait_for_line("WARN Ignoring '--pycharm-host' because there is no module");
    assert_eq!(get(server.port(), "/hello").status, 200);
    server.stop();
}

/// What stands for the module of `PyCharm`.
const PYCHARM: &str = "
import socket

def settrace(host, port, stdoutToServer, stderrToServer, suspend):
    assert stdoutToServer and stderrToServer and not suspend
    socket.create_connection((host, port)).close()
";

#[test]
fn pycharm_is_connected_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pydevd_pycharm.py"), PYCHARM).unwrap();
    let launch = || {
        let launch = Launch::manage("").env("PYTHONPATH", {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
            let paths = [folder.path().to_owned(), root.join("python")];
            std::env::join_paths(paths).unwrap()
        });
        launch.arg("--pycharm-host", "127.0.0.1")
    };
    let ide = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = ide.local_addr().unwrap().port();
    let server = launch().arg("--pycharm-port", port).start();
    server.wait_for_line(&format!("Connected to debug server at 127.0.0.1:{port}"));
    server.stop();
    let nobody = free_port();
    let server = launch().arg("--pycharm-port", nobody).start();
    server.wait_for_line(&format!(
        "Could not connect to debug server at 127.0.0.1:{nobody}"
    ));
    server.stop();
    let server = launch().start();
    server.wait_for_line("No '--pycharm-port' was specified.");
    server.stop();
}

#[test]
fn a_debugger_and_autoreload_are_not_compatible() {
    for option in ["--debugger", "--pycharm-host=ide"] {
        let ended = Launch::app("gallery")
            .flag("--autoreload")
            .flag(option)
            .run();
        assert_eq!(ended.code, Some(2));
        let sentence = "hurricane: Autoreload and debugger are not compatible: ";
        assert!(ended.stderr.starts_with(sentence), "{}", ended.stderr);
    }
}
