//! An example as a process, and a client of one request.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that is sure to happen: long, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Example {
    child: Child,
    output: Arc<Mutex<String>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

// === impl Example ===

impl Example {
    /// Starts it on ports that the system chooses.
    pub(crate) fn start(path: &str, settings: &[(&str, &str)]) -> Self {
        let ports = [("APP_ADDR", "127.0.0.1:0"), ("PROBE_ADDR", "127.0.0.1:0")];
        Self::spawn(path, &[&ports, settings].concat())
    }

    pub(crate) fn spawn(path: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(path)
            .envs(settings.iter().copied())
            .env("NO_COLOR", "1")
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        follow(child.stdout.take().unwrap(), &output);
        follow(child.stderr.take().unwrap(), &output);
        Self { child, output }
    }

    fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it says so.
    pub(crate) fn wait_for(&self, text: &str) {
        until(text, || self.output().contains(text));
    }

    /// The address that it has told.
    pub(crate) fn addr(&self, before: &str) -> String {
        let before = format!("{before} http://");
        let addr = || {
            let output = self.output();
            let (_, rest) = output.split_once(&before)?;
            let (addr, _) = rest.split_once('\n')?;
            Some(addr.trim().to_owned())
        };
        until(&before, || addr().is_some());
        addr().unwrap()
    }

    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for an end in good order, and returns all that it has said.
    pub(crate) fn ended(self) -> String {
        self.with_code(0)
    }

    /// Waits for an end by an error.
    pub(crate) fn failed(self) -> String {
        self.with_code(1)
    }

    fn with_code(mut self, code: i32) -> String {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        // The threads that follow its output have the other two.
        until("its output ends", || Arc::strong_count(&self.output) == 1);
        let output = self.output();
        assert_eq!(status.code(), Some(code), "{output}");
        output
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It fails when the process has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the example said:\n{}", self.output());
        }
    }
}

fn follow(source: impl Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            let line = line.unwrap();
            output.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn get(addr: &str, path: &str) -> Answer {
    finish(begin(addr, path))
}

pub(crate) fn post(addr: &str, path: &str) -> Answer {
    finish(send(addr, "POST", path))
}

/// Sends a request.
pub(crate) fn begin(addr: &str, path: &str) -> TcpStream {
    send(addr, "GET", path)
}

fn send(addr: &str, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Reads the answer.
pub(crate) fn finish(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer of HTTP");
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: body.to_owned(),
    }
}
