//! ASGI applications, on the wire.

use crate::harness::{Connection, Launch, Request, get, kill, post, until, until_true};

mod frameworks;
mod http;
mod lifespan;
mod supervision;

fn gallery() -> Launch {
    Launch::app("asgi_gallery").arg("--interface", "asgi")
}
