//! ASGI: applications on an event loop, one loop in each worker process.
//!
//! # Theory of operation
//!
//! All requests of a worker share one channel, each under its stream id. Toward the worker go
//! [events](event): a request, a part of its body, room for more of its response, the news that
//! its client has gone. Back come [outcomes](outcome): heads, parts of bodies, room for more of a
//! request's body. Whatever comes up within one turn of either side's loop shares one frame and
//! one write.
//!
//! A worker's loop is a *lane* to the gateway. A request waits in the same bounded queue as those
//! for threads would, until a lane has room: `concurrency` requests at a time. So a queue's length
//! means the same for both interfaces.
//!
//! Bodies are streamed with credit in both directions: a side sends only what the other has
//! made room for, so that a slow client, or a slow application, holds a bounded amount of memory.
//! A request's body is given credit when the application's loop has taken the request, so one
//! that was never taken can go to another worker when its own dies. How many a loop has taken it
//! notes in the page that it shares.

pub(crate) mod body;
pub(crate) mod channel;
pub(crate) mod event;
pub(crate) mod lane;
pub(crate) mod outcome;
pub(crate) mod service;
pub(crate) mod upload;

use std::time::Duration;

/// How an application is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interface {
    /// As WSGI (PEP 3333): on threads, one request each.
    #[default]
    Wsgi,
    /// As ASGI 3: on an event loop.
    Asgi,
}

/// Whether the application is told when its process starts and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifespan {
    /// If it wants to be: one that raises an exception at the question does not.
    #[default]
    Auto,
    /// Yes; an application that raises an exception has failed to start.
    On,
    /// No.
    Off,
}

/// Which event loop runs an ASGI application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventLoop {
    /// uvloop where it is installed, else asyncio's.
    #[default]
    Auto,
    /// asyncio's own.
    Asyncio,
    /// uvloop, which has to be installed.
    Uvloop,
}

/// How ASGI applications are run.
#[derive(Clone, Debug)]
pub struct AsgiConfig {
    /// How many requests a worker's loop has in hand at most; further ones wait in the queue.
    pub concurrency: usize,
    /// Whether the application is told of the start and the end.
    pub lifespan: Lifespan,
    /// The event loop.
    pub event_loop: EventLoop,
    /// How long a request may go on after its client has gone; then its task is cancelled.
    pub disconnect_grace: Duration,
}

// === impl Interface ===

impl Interface {
    /// Its name in frames.
    pub(crate) fn name(interface: Option<Self>) -> &'static str {
        match interface {
            None => "auto",
            Some(Self::Wsgi) => "wsgi",
            Some(Self::Asgi) => "asgi",
        }
    }

    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"wsgi" => Some(Self::Wsgi),
            b"asgi" => Some(Self::Asgi),
            _ => None,
        }
    }
}

// === impl Lifespan ===

impl Lifespan {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

// === impl EventLoop ===

impl EventLoop {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Asyncio => "asyncio",
            Self::Uvloop => "uvloop",
        }
    }
}

// === impl AsgiConfig ===

impl Default for AsgiConfig {
    fn default() -> Self {
        Self {
            concurrency: 256,
            lifespan: Lifespan::default(),
            event_loop: EventLoop::default(),
            disconnect_grace: Duration::from_secs(10),
        }
    }
}
