//! ASGI applications, on the wire.

use std::process::Command;

use crate::harness::{Connection, Launch, Request, get, kill, post, python, until, until_true};

mod autobahn;
mod browser;
mod conformance;
mod frameworks;
mod http;
mod hybrid;
mod lifespan;
mod supervision;
mod websocket;

/// Runs a Python script that knows the application's port as `PORT`.
fn script(port: u16, text: &str) -> String {
    let script = Command::new(python())
        .args(["-c", text])
        .env("PORT", port.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&script.stderr);
    assert!(script.status.success(), "{said}");
    String::from_utf8(script.stdout).unwrap()
}

fn gallery() -> Launch {
    Launch::app("asgi_gallery").arg("--interface", "asgi")
}
