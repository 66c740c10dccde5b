//! Workers that are replaced although they work: no request is lost.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use rustix::process::Signal;

use crate::harness::{Connection, Launch, Request, get, is_running, until_true};

/// Clients that ask without a pause, on connections that they keep, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(port: u16, path: &'static str) -> Self {
        let (stop, answered) = (Arc::default(), Arc::default());
        let client = |stop: &Arc<AtomicBool>, answered: &Arc<AtomicUsize>| {
            let (stop, answered) = (Arc::clone(stop), Arc::clone(answered));
            std::thread::spawn(move || {
                let mut connection = Connection::open(port);
                while !stop.load(Relaxed) {
                    let response = Request::new("GET", path).send_on(&mut connection).unwrap();
                    assert_eq!(response.status, 200, "{response:?}");
                    answered.fetch_add(1, Relaxed);
                }
            })
        };
        let clients = (0..4).map(|_| client(&stop, &answered)).collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// How many requests were answered; fails if one was not answered as it should.
    fn end(self) -> usize {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().expect("every request is answered");
        }
        self.answered.load(Relaxed)
    }
}

fn wait_until_gone(workers: &[u32]) {
    until_true("the old workers are gone", || {
        workers.iter().all(|pid| !is_running(*pid))
    });
}

#[test]
fn workers_are_replaced_after_so_many_requests_and_none_is_lost() {
    let launch = || Launch::app("gallery").arg("--max-requests-jitter", 5);
    for launch in [
        launch().arg("--max-requests", 50).arg("--workers", 2),
        launch().variable("--max-requests", "50"),
        Launch::app("asgi_gallery").arg("--max-requests", 50),
    ] {
        let server = launch.start();
        let load = Load::on(server.port(), "/hello");
        let workers = server.wait_for_workers(8);
        wait_until_gone(&workers[..4]);
        assert!(load.end() > 200);
        server.wait_for_line("requests; replacing it");
        let ended = server.stop();
        assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
    }
}

#[test]
fn a_worker_that_is_replaced_finishes_what_it_has() {
    let server = Launch::app("faults").arg("--max-requests", 1).start();
    let first = server.workers()[0];
    let mut held = Connection::begin(server.port(), &Request::new("GET", "/hold"));
    server.wait_for_note("ran hold ");
    assert_eq!(get(server.port(), "/quick").status, 200);
    server.wait_for_workers(2);
    assert!(is_running(first), "it has a request to finish");
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().status, 200);
    wait_until_gone(&[first]);
    server.stop();
}

#[test]
fn a_worker_that_grows_is_replaced() {
    for launch in [
        Launch::manage("").arg("--max-memory", 90),
        Launch::manage("MAX_MEMORY = 90"),
        Launch::manage("").arg("--max-memory", "90M"),
    ] {
        let server = launch.start();
        server.wait_for_line("Starting memory allocation check with maximum memory set to 90 Mb");
        for _ in 0..12 {
            assert_eq!(get(server.port(), "/grow").status, 200);
        }
        let line = server.wait_for_line("(restart #1)");
        assert!(
            line.contains("Memory (rss) usage is too high. Restarting. Current memory usage is "),
            "{line}"
        );
        let first = server.workers()[0];
        wait_until_gone(&[first]);
        assert_eq!(get(server.port(), "/").status, 200);
        server.stop();
    }
}

#[test]
fn a_process_is_not_alive_after_so_many_requests() {
    for launch in [
        Launch::manage("").arg("--max-lifetime", 2),
        Launch::manage("MAX_LIFETIME = 2"),
    ] {
        let server = launch.start();
        for _ in 0..2 {
            assert_eq!(get(server.port(), "/").status, 200);
        }
        assert_eq!(get(server.probe_port(), "/alive").status, 200);
        assert_eq!(get(server.port(), "/").status, 200);
        assert_eq!(get(server.probe_port(), "/alive").status, 400);
        assert_eq!(get(server.probe_port(), "/ready").status, 200);
        assert_eq!(get(server.port(), "/").status, 200);
        server.stop();
    }
}

#[test]
fn sighup_replaces_all_workers() {
    let server = Launch::app("gallery").arg("--workers", 2).start();
    let old = server.workers();
    let load = Load::on(server.port(), "/hello");
    server.signal(Signal::HUP);
    wait_until_gone(&old);
    assert!(load.end() > 0);
    assert_eq!(server.workers().len(), 4);
    server.stop();
}

/// An application of one file, which answers a text.
fn code(text: &str) -> String {
    format!("def application(environ, start):\n    start('200 OK', [])\n    return [b'{text}']\n")
}

#[test]
fn new_code_that_does_not_load_leaves_the_old_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changing.py");
    fs::write(&file, code("old")).unwrap();
    let server = Launch::bare(folder.path()).arg("--app", "changing").start();
    fs::write(&file, "this is no Python").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_line("did not become ready, the old one goes on");
    server.wait_for_line("SyntaxError");
    assert_eq!(get(server.port(), "/").text(), "old");
    fs::write(&file, code("new code")).unwrap();
    server.signal(Signal::HUP);
    until_true("the new code serves", || {
        get(server.port(), "/").text() == "new code"
    });
    server.stop();
}

#[test]
fn new_code_that_does_not_load_is_tried_for_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changing.py");
    fs::write(&file, code("old")).unwrap();
    let server = Launch::bare(folder.path())
        .arg("--app", "changing")
        .arg("--workers", 3)
        .start();
    let old = server.workers();
    fs::write(&file, "this is no Python").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_line("did not become ready, the old one goes on");
    fs::write(&file, code("new code")).unwrap();
    server.signal(Signal::HUP);
    wait_until_gone(&old);
    assert_eq!(get(server.port(), "/").text(), "new code");
    let ended = server.stop();
    let shown = ended.stderr.matches("SyntaxError").count();
    assert_eq!(
        shown, 1,
        "one traceback for three workers: {}",
        ended.stderr
    );
}
