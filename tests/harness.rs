//! What the tests share: starting servers, talking to them, waiting for things to happen.
//!
//! Nothing here sleeps and hopes. What has to happen is waited for until [`PATIENCE`] is over,
//! and then the test fails with everything that the server said.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

pub(crate) use self::{
    client::{Connection, Head, Request, Response, get, post},
    masked::frame,
    ports::free_port,
    server::{Ended, Launch, Server, kill, python},
};

mod client;
mod masked;
mod output;
pub(crate) mod ports;
mod server;

/// How long anything may take that is sure to happen: long, as the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this machine lets the tests run something through `unshare`, which takes privileges.
pub(crate) fn is_allowed(unshare: &[&str]) -> bool {
    let tried = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    let allowed = tried.as_ref().is_ok_and(|output| output.status.success());
    if !allowed {
        println!(
            "skipped: this machine does not allow {}: {tried:?}",
            unshare.join(" ")
        );
    }
    allowed
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something holds.
pub(crate) fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// The value of a metric that has no labels.
pub(crate) fn metric(server: &Server, name: &str) -> Option<f64> {
    let metrics = get(server.probe_port(), "/metrics").text();
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The processes whose parent is `pid`, with the letter of their state (`Z` is a zombie).
pub(crate) fn children(pid: u32) -> Vec<(u32, char)> {
    processes()
        .filter(|process| process.parent == pid)
        .map(|process| (process.id, process.state))
        .collect()
}

/// Whether a process is there and is no zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    processes().any(|process| process.id == pid && process.state != 'Z')
}

struct Process {
    id: u32,
    state: char,
    parent: u32,
}

fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some(Process {
            id,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
        })
    })
}
