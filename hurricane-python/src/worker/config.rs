//! What a worker is told before anything else.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use super::Begun;
use crate::{
    asgi::{AsgiConfig, Interface},
    develop::DevelopConfig,
    frame::marshal::Writer,
    handler::Desk,
};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The Python interpreter.
    pub python: PathBuf,
    /// `module:attribute`; `None`: the Django project of the working directory or environment.
    pub app: Option<String>,
    /// The same for the event loop, where the application is called [as both](Interface::Hybrid).
    pub asgi_app: Option<String>,
    /// How it is called; `None`: as what it looks like.
    pub interface: Option<Interface>,
    /// How many threads run the requests, where they do not run on an event loop.
    pub threads: usize,
    /// How an ASGI application is run.
    pub asgi: AsgiConfig,
    /// Whether there are other workers beside it (`wsgi.multiprocess`).
    pub multiprocess: bool,
    /// Whether the static files of a Django project are to be served: it tells where they are
    /// ([`About::files`](crate::About::files)), and under `DEBUG` its finders serve them.
    pub static_files: bool,
    /// Whether its media files are to be served: it tells where they are.
    pub media_files: bool,
    /// How long it may take until it is ready.
    pub start_timeout: Duration,
    /// What helps those who work on the application.
    pub develop: DevelopConfig,
}

/// Which data channels a worker gets: one for each thread, and then that of an event loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels<'a> {
    pub(super) threads: usize,
    pub(super) lane: bool,
    /// Whether the threads handle messages, and which.
    pub(super) desk: Option<&'a Desk>,
}

// === impl Channels ===

impl<'a> Channels<'a> {
    /// What the application is shows when it has been loaded: until then there are both.
    pub(super) fn of(config: &WorkerConfig, desk: Option<&'a Desk>) -> Self {
        if let Some(desk) = desk {
            return Self {
                threads: desk.config().channels(),
                lane: false,
                desk: Some(desk),
            };
        }
        Self {
            threads: match config.interface {
                Some(interface) if !interface.has_threads() => 0,
                _ => config.threads,
            },
            lane: config.interface.is_none_or(Interface::has_loop),
            desk: None,
        }
    }

    pub(super) fn count(self) -> usize {
        self.threads + usize::from(self.lane)
    }
}

/// Writes the configuration, but for its last items.
pub(super) fn write_config(
    writer: &mut Writer<'_>,
    config: &WorkerConfig,
    plan: Channels<'_>,
    root_path: &str,
    server: SocketAddr,
    data: &[[OwnedFd; 2]],
    begun: &Begun,
) {
    writer.dict();
    for (name, app) in [("app", &config.app), ("asgi_app", &config.asgi_app)] {
        writer.text(name);
        match app {
            Some(app) => writer.text(app),
            None => writer.none(),
        }
    }
    writer.text("root_path");
    writer.text(root_path);
    writer.text("server_name");
    writer.text(&server.ip().to_string());
    writer.text("server_port");
    writer.text(&server.port().to_string());
    writer.text("server_software");
    writer.text(concat!("hurricane/", env!("CARGO_PKG_VERSION")));
    writer.text("multiprocess");
    writer.bool(config.multiprocess);
    writer.text("static_files");
    writer.bool(config.static_files);
    writer.text("media_files");
    writer.bool(config.media_files);
    let ends = |writer: &mut Writer<'_>, [requests, answers]: &[OwnedFd; 2]| {
        writer.tuple(2);
        writer.int(requests.as_raw_fd());
        writer.int(answers.as_raw_fd());
    };
    let (threads, lane) = data.split_at(plan.threads);
    writer.text("data");
    writer.list(threads.len());
    for thread in threads {
        ends(writer, thread);
    }
    writer.text("lane");
    match lane.first() {
        Some(lane) => ends(writer, lane),
        None => writer.none(),
    }
    writer.text("interface");
    writer.text(Interface::name(config.interface));
    writer.text("lifespan");
    writer.text(config.asgi.lifespan.name());
    writer.text("event_loop");
    writer.text(config.asgi.event_loop.name());
    writer.text("disconnect_grace");
    let grace = config.asgi.disconnect_grace.as_millis();
    writer.int(i32::try_from(grace).unwrap_or(i32::MAX));
    writer.text("handlers");
    match plan.desk.map(Desk::config) {
        Some(config) => config.write(writer),
        None => writer.none(),
    }
    writer.text("begun");
    writer.int(begun.0.as_raw_fd());
}
