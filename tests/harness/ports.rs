//! Ports for programs that are to be told theirs.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// Below those that the system gives to whoever asks for any: nobody is given one of these in the meantime.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// A port that nobody has, and the next one is free too.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin far from each other.
    let begin = std::process::id().wrapping_mul(7_919);
    for _ in 0..COUNT / 2 {
        let offset = begin.wrapping_add(NEXT.fetch_add(2, Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).unwrap();
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
    panic!("no port is free");
}
