//! How long a probe takes over loopback, from the first byte of the request to the last of the answer.
//!
//! It shows the tail, which is what a kubelet's timeout is about, and so it counts round trips itself:
//! `cargo bench -p hurricane-core --bench probe`
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use hurricane_core::{
    CheckResult, Lifecycle, Probe, ProbeConfig, ProbeServer, Probes, Registry, Traffic, check_fn,
};
use tokio::runtime::{Builder, Handle};

/// Round trips that are counted, after some that are not.
const TRIPS: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    println!("{TRIPS} round trips each, of an idle server");
    for checks in [0, 1, 10, 10_000] {
        let server = start(checks, runtime.handle())?;
        let addr = server.local_addr();
        match checks {
            10_000 => kept(
                &format!("one by name of {checks}"),
                addr,
                "/ready/check%207",
            )?,
            0 => kept("no checks", addr, "/ready")?,
            _ => kept(&format!("checks: {checks}"), addr, "/ready")?,
        }
        if checks == 1 {
            anew("checks: 1, each on a connection of its own", addr, "/ready")?;
        }
        server.shutdown()?;
    }
    Ok(())
}

fn start(checks: usize, handle: &Handle) -> Result<ProbeServer, Box<dyn Error>> {
    let config = ProbeConfig {
        addr: (Ipv4Addr::LOCALHOST, 0).into(),
        ..ProbeConfig::default()
    };
    let lifecycle = Lifecycle::new();
    lifecycle.run();
    let traffic = Arc::new(Traffic::new());
    let registry = Registry::new();
    let probes = Probes::new(&config, &registry, lifecycle, traffic, handle.clone())?;
    for number in 0..checks {
        let check = check_fn(format!("check {number}"), || async { CheckResult::pass() });
        probes.checks().add(check, [Probe::Readiness])?;
    }
    Ok(config.bind()?.spawn(Arc::new(probes))?)
}

/// Round trips on one connection.
fn kept(what: &str, addr: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\n\r\n");
    measure(what, || ask(&mut stream, &request))
}

/// Round trips on a new connection each, as a kubelet makes them.
fn anew(what: &str, addr: SocketAddr, path: &str) -> io::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    measure(what, || ask(&mut TcpStream::connect(addr)?, &request))
}

/// Asks once; the answers are short enough to come in one piece.
fn ask(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer)?;
    if !answer[..count].starts_with(b"HTTP/1.1 200 ") {
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        return Err(io::Error::other(answer));
    }
    Ok(())
}

fn measure(what: &str, mut trip: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..TRIPS / 10 {
        trip()?;
    }
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let began = Instant::now();
        trip()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| -> Duration { times[TRIPS * share / 1_000 - 1] };
    println!(
        "{what:<45} p50 {:>8.1?}  p99 {:>8.1?}  p99.9 {:>8.1?}",
        at(500),
        at(990),
        at(999)
    );
    Ok(())
}
