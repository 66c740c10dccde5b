//! Webhooks: what is posted when, to whom, and what becomes of it when nobody takes it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Launch, PATIENCE, get, kill, python, until_true};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Takes webhooks, and gives them all the same answer.
pub(crate) struct Receiver {
    port: u16,
    posts: mpsc::Receiver<Post>,
}

#[derive(Debug)]
struct Post {
    head: String,
    body: String,
}

// === impl Receiver ===

impl Receiver {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, posts) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let post = Post::read(&stream);
                // An error means that the other side did not wait.
                let _ = stream.write_all(answer.as_bytes());
                if sender.send(post).is_err() {
                    return;
                }
            }
        });
        Self { port, posts }
    }

    pub(crate) fn takes() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn next(&self) -> Post {
        self.posts
            .recv_timeout(PATIENCE)
            .expect("a webhook is posted")
    }

    pub(crate) fn next_body(&self) -> String {
        self.next().body
    }

    pub(crate) fn next_summary(&self) -> String {
        self.next().summary()
    }

    /// Type and status of what is posted until the end of the process.
    pub(crate) fn until_shutdown(&self) -> Vec<String> {
        let mut told = Vec::new();
        while !told
            .last()
            .is_some_and(|last: &String| last.starts_with("shutdown"))
        {
            told.push(self.next().summary());
        }
        told
    }
}

// === impl Post ===

impl Post {
    fn read(stream: &TcpStream) -> Self {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head:?}");
        }
        let mut post = Self {
            head,
            body: String::new(),
        };
        let length = post.header("content-length").parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        post.body = String::from_utf8(body).unwrap();
        post
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn summary(&self) -> String {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        format!("{} {}", text("type"), text("status"))
    }
}

fn launch(app: &str) -> Launch {
    Launch::app(app).env("NO_PROXY", "127.0.0.1")
}

#[test]
fn webhook_url_is_told_the_life_of_the_process() {
    let (first, second) = (Receiver::takes(), Receiver::takes());
    let urls = format!("{} {}", first.url(), second.url());
    for launch in [
        launch("gallery")
            .flag(&format!("--webhook-url={}", first.url()))
            .flag(&format!("--webhook-url={}", second.url())),
        launch("gallery").variable("--webhook-url", &urls),
    ] {
        let server = launch.env("HURRICANE_VERSION", "1.4.2").start();
        let post = first.next();
        assert!(post.head.starts_with("POST /hook HTTP/1.1\r\n"), "{post:?}");
        assert_eq!(post.header("content-type"), "application/json");
        let json = post.json();
        assert_eq!(json["info"], "Startup webhook");
        assert_eq!(json["status"], "succeeded");
        assert_eq!(json["version"], "1.4.2");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(json["podname"], host.trim());
        assert!(json["timestamp"].as_u64().unwrap() > 1_600_000_000);

        assert_eq!(get(server.probe_port(), "/alive").status, 200);
        assert_eq!(first.next().summary(), "liveness succeeded");
        assert_eq!(get(server.probe_port(), "/ready").status, 200);
        assert_eq!(first.next().summary(), "readiness succeeded");
        let count = format!(
            "hurricane_webhooks_delivered_total{{webhook=\"{}\"}} 3",
            first.url()
        );
        until_true("what was delivered is counted", || {
            get(server.probe_port(), "/metrics").text().contains(&count)
        });
        server.stop();
        assert_eq!(
            first.until_shutdown(),
            ["drain succeeded", "shutdown succeeded"]
        );
        let second = second.until_shutdown();
        assert_eq!(second[0], "startup succeeded");
        assert_eq!(second.len(), 5);
    }
}

#[test]
fn a_start_that_fails_is_told_before_the_end() {
    let receiver = Receiver::takes();
    let ended = launch("broken").arg("--webhook-url", receiver.url()).run();
    assert_eq!(ended.code, Some(3));
    let post = receiver.next();
    assert_eq!(post.summary(), "startup failed");
    assert!(!post.json()["traceback"].as_str().unwrap().is_empty());
}

#[test]
fn a_worker_that_crashes_is_told() {
    let receiver = Receiver::takes();
    let server = launch("faults")
        .arg("--webhook-url", receiver.url())
        .arg("--webhook-events", "worker_crashed")
        .start();
    let worker = server.workers()[0];
    kill(worker, Signal::KILL);
    let json = receiver.next().json();
    assert_eq!(json["type"], "worker_crashed");
    assert_eq!(json["worker"], format!("worker 1 (pid {worker})"));
    assert_eq!(json["traceback"], "signal: 9 (SIGKILL)");
    server.wait_for_workers(2);
    server.stop();
}

#[test]
fn webhook_events_and_webhook_template_are_what_is_posted() {
    for by_variable in [false, true] {
        let receiver = Receiver::takes();
        let launch = launch("gallery").arg("--webhook-url", receiver.url());
        let path = launch.dir().join("template.json");
        fs::write(
            &path,
            r#"{"text": "{type} {status}", "when": "{timestamp}"}"#,
        )
        .unwrap();
        let path = path.to_str().unwrap();
        let launch = if by_variable {
            launch
                .variable("--webhook-events", "startup,shutdown")
                .variable("--webhook-template", path)
        } else {
            launch
                .arg("--webhook-events", "startup, shutdown")
                .arg("--webhook-template", path)
        };
        launch.start().stop();
        let json = receiver.next().json();
        assert_eq!(json["text"], "startup succeeded");
        assert!(json["when"].is_u64(), "{json}");
        assert_eq!(json.as_object().unwrap().len(), 2);
        let next = receiver.next().json();
        assert_eq!(next["text"], "shutdown succeeded", "the drain is left out");
    }
}

#[test]
fn webhook_secrets_sign() {
    // As the specification says it, in another language.
    const VERIFY: &str = "
import base64, hashlib, hmac, sys
secret, id, timestamp, body = sys.argv[1:]
key = base64.b64decode(secret[len('whsec_'):])
signed = f'{id}.{timestamp}.{body}'.encode()
print('v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())
";
    for in_file in [false, true] {
        let receiver = Receiver::takes();
        let launch = launch("gallery")
            .arg("--webhook-url", receiver.url())
            .arg("--log-level", "trace");
        let secrets = format!("{NEXT_SECRET}\n{SECRET}\n");
        let launch = if in_file {
            let path = launch.dir().join("secrets");
            fs::write(&path, secrets).unwrap();
            launch.arg("--webhook-secret-file", path.display())
        } else {
            launch.env("HURRICANE_WEBHOOK_SECRET", secrets)
        };
        let ended = launch.start().stop();
        let post = receiver.next();
        let expected: Vec<_> = [NEXT_SECRET, SECRET]
            .iter()
            .map(|secret| {
                let signed = Command::new(python())
                    .args(["-c", VERIFY, secret])
                    .args([post.header("webhook-id"), post.header("webhook-timestamp")])
                    .arg(&post.body)
                    .output()
                    .unwrap();
                String::from_utf8(signed.stdout).unwrap().trim().to_owned()
            })
            .collect();
        assert_eq!(post.header("webhook-signature"), expected.join(" "));
        for secret in [SECRET, NEXT_SECRET] {
            let secret = secret.strip_prefix("whsec_").unwrap();
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        }
    }
}

#[test]
fn what_nobody_takes_is_counted_and_logged() {
    let receiver = Receiver::start("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    let server = launch("gallery")
        .arg("--webhook-url", receiver.url())
        .start();
    let url = receiver.url();
    server.wait_for_line(&format!(
        "Sending webhook to {url} has failed due to the receiver answered 403 Forbidden"
    ));
    let metrics = get(server.probe_port(), "/metrics").text();
    let count = format!("hurricane_webhooks_undelivered_total{{webhook=\"{url}\"}} 1");
    assert!(metrics.contains(&count), "{metrics}");
    server.stop();
}

#[test]
fn a_receiver_that_hangs_holds_up_nothing_but_the_end_for_a_while() {
    let hangs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/hook", hangs.local_addr().unwrap());
    let server = launch("gallery").arg("--webhook-url", url).start();
    for path in ["/alive", "/ready"] {
        assert_eq!(get(server.probe_port(), path).status, 200);
    }
    server.signal(Signal::TERM);
    server.wait_for_line("Received signal SIGTERM");
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.code, Some(7));
}

#[test]
fn wrong_settings_are_one_line_that_tells_no_secret() {
    let hook = || launch("gallery").arg("--webhook-url", "http://127.0.0.1:9/hook");
    let folder = launch("gallery");
    let template = folder.dir().join("template.json");
    fs::write(&template, r#"{"text": "{pod}"}"#).unwrap();
    let template = template.to_str().unwrap();
    for (launch, right) in [
        (
            launch("gallery").arg("--webhook-url", "ftp://user:hunter2@ops.example/hunter2"),
            "--webhook-url: the webhook to an invalid URL cannot be used: the URL is not valid: ftp is neither http nor https",
        ),
        (
            launch("gallery").variable("--webhook-url", "ops.example/hunter2"),
            "the URL is not valid: it does not begin with http:// or https://",
        ),
        (
            hook().env("HURRICANE_WEBHOOK_SECRET", "hunter2"),
            "a webhook secret begins with whsec_",
        ),
        (
            hook().arg("--webhook-template", template),
            "unknown placeholder {pod}; there are {id}",
        ),
        (
            hook().arg("--webhook-template", "/nowhere/template.json"),
            "--webhook-template: /nowhere/template.json cannot be read: No such file",
        ),
        (
            hook().arg("--webhook-secret-file", "/nowhere/secret"),
            "--webhook-secret-file: /nowhere/secret cannot be read: No such file",
        ),
        (
            hook().arg("--webhook-events", "crash"),
            "the events are startup, liveness, readiness, worker_crashed, drain, shutdown",
        ),
        (
            launch("gallery").arg("--webhook-events", "drain"),
            "--webhook-events is of no use without --webhook-url",
        ),
        (
            launch("gallery").arg("--webhook-template", template),
            "--webhook-template is of no use without --webhook-url",
        ),
        (
            launch("gallery").arg("--webhook-secret-file", template),
            "--webhook-secret-file is of no use without --webhook-url",
        ),
    ] {
        let ended = launch.run();
        assert_eq!(ended.code, Some(2), "{right}");
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(right), "{:?} has {right:?}", lines[0]);
        assert!(!lines[0].contains("hunter2"), "{:?}", lines[0]);
    }
}

#[test]
fn the_ports_are_free_while_the_last_events_are_on_their_way() {
    // It takes connections and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/hook", silent.local_addr().unwrap());
    let server = Launch::app("gallery").arg("--webhook-url", url).start();
    server.signal(Signal::TERM);
    for port in [server.port(), server.probe_port()] {
        until_true("the port is free", || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
    }
    assert!(
        crate::harness::is_running(server.pid()),
        "it waits for the webhook"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(7));
}

#[test]
fn a_webhook_that_the_project_registers_is_run_in_python() {
    let receiver = Receiver::takes();
    let server = Launch::manage("from dropin import hooks")
        .arg("--webhook-url", receiver.url())
        .start();
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    server.wait_for_note(&format!("liveness succeeded {}", receiver.url()));
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    server.stop();
    let told = receiver.until_shutdown();
    // The others are the server's, and it has not posted that one as well.
    assert_eq!(
        told,
        [
            "startup succeeded",
            "readiness succeeded",
            "drain succeeded",
            "shutdown succeeded"
        ]
    );
}

#[test]
fn version_and_secret_may_be_settings() {
    let receiver = Receiver::takes();
    let settings = format!(
        "HURRICANE_VERSION = '7.1'; HURRICANE_WEBHOOK_SECRET = ['{SECRET}', '{NEXT_SECRET}']"
    );
    let server = Launch::manage(&settings)
        .arg("--webhook-url", receiver.url())
        .start();
    let post = receiver.next();
    let payload: Value = serde_json::from_str(&post.body).unwrap();
    assert_eq!(payload["version"], "7.1");
    let head = post.head.to_lowercase();
    let signature = head
        .lines()
        .find(|line| line.starts_with("webhook-signature:"));
    assert_eq!(signature.unwrap_or_default().matches("v1,").count(), 2);
    let ended = server.stop();
    assert!(!ended.stderr.contains("whsec_"), "{}", ended.stderr);
}
