//! A hundred times new workers while wrk asks as fast as it can: nothing is lost, and memory stays.
//!
//! Takes some minutes and needs wrk: `cargo test -p hurricane-cli --test e2e rolling -- --ignored --nocapture`.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Launch, Server, get, kill};

const TIMES: usize = 100;

/// How long one round may take on a machine that is busy with the load.
const ROUND: Duration = Duration::from_secs(60);

/// wrk on connections that it keeps, and beside it a client that opens a new one for each request.
struct Storm {
    wrk: Child,
    stop: Arc<AtomicBool>,
    fresh: JoinHandle<usize>,
}

impl Storm {
    fn on(port: u16) -> Self {
        let wrk = Command::new("wrk")
            .args(["--threads", "1", "--connections", "16", "--timeout", "30s"])
            .args([
                "--duration",
                "1h",
                &format!("http://127.0.0.1:{port}/hello"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("wrk has to be installed (Debian, Ubuntu: apt install wrk)");
        let stop = Arc::new(AtomicBool::new(false));
        let fresh = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut count = 0;
                while !stop.load(Relaxed) {
                    let answer = get(port, "/hello");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    count += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                count
            }
        });
        Self { wrk, stop, fresh }
    }

    /// What wrk has to say; fails if anything was not answered as it should.
    fn end(self) -> String {
        self.stop.store(true, Relaxed);
        let fresh = self.fresh.join().expect("every new connection is served");
        kill(self.wrk.id(), Signal::INT);
        let said = self.wrk.wait_with_output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("requests in"), "{said}");
        for trouble in ["Socket errors", "Non-2xx"] {
            assert!(!said.contains(trouble), "{said}");
        }
        format!("{fresh} requests on connections of their own;{said}")
    }
}

/// The resident memory of the server itself, in KiB.
fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

fn wait_until(server: &Server, what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + ROUND;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "waited in vain until {what}: {}",
            server.stderr()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Has new workers made `TIMES` times by `next`, each time waiting for `count` of them.
fn roll(name: &str, launch: Launch, count: usize, next: impl Fn(&Server)) {
    let server = launch.flag("--no-access-log").start();
    let storm = Storm::on(server.port());
    let mut memories = Vec::new();
    for round in 1..=TIMES {
        let before = server.workers().len();
        next(&server);
        wait_until(&server, "there are new workers", || {
            server.workers().len() >= before + count
        });
        if round % 10 == 0 {
            memories.push(memory(&server));
        }
    }
    let said = storm.end();
    let workers = server.workers().len();
    println!("{name}: {workers} workers in all; memory in KiB: {memories:?}\n{said}");
    let (early, last) = (memories[1], *memories.last().unwrap());
    assert!(last < early + early / 4, "memory grows: {memories:?} KiB");
    let ended = server.stop();
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
}

#[test]
#[ignore = "takes minutes, and wrk"]
fn a_hundred_reloads_lose_nothing() {
    for app in ["gallery", "asgi_gallery"] {
        let launch = Launch::app(app).arg("--workers", 2);
        let name = format!("{app}, SIGHUP");
        roll(&name, launch, 2, |server| server.signal(Signal::HUP));
    }
}

#[test]
#[ignore = "takes minutes, and wrk"]
fn a_hundred_recycled_workers_lose_nothing() {
    for app in ["gallery", "asgi_gallery"] {
        let launch = Launch::app(app)
            .arg("--workers", 2)
            .arg("--max-requests", 1000);
        let name = format!("{app}, --max-requests 1000");
        roll(&name, launch, 1, |_| {});
    }
}

#[test]
#[ignore = "takes minutes, and wrk"]
fn a_hundred_changes_of_code_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |number: usize| {
        let code = format!(
            "def application(environ, start):\n    start('200 OK', [])\n    return [b'{number}']\n"
        );
        fs::write(folder.path().join("app.py"), code).unwrap();
    };
    write(0);
    let launch = Launch::bare(folder.path())
        .arg("--app", "app")
        .flag("--autoreload");
    roll("--autoreload", launch, 1, |server| {
        write(server.workers().len());
    });
}
