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
//!
//! A WebSocket begins as a request, for which the queue and the concurrency hold like for others.
//! When the application has accepted it, a [task of its own](socket) speaks the protocol with the
//! client and messages with the loop, and it counts as a request no more.

pub(crate) mod body;
pub(crate) mod channel;
pub(crate) mod event;
pub(crate) mod lane;
pub(crate) mod outcome;
pub(crate) mod service;
pub(crate) mod socket;
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
    /// As both, in the same processes: WebSockets and [some paths](crate::GatewayConfig::async_paths)
    /// on an event loop, all else on threads.
    Hybrid,
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
    /// What holds for WebSockets.
    pub websocket: WebSocketConfig,
}

/// What holds for WebSockets.
#[derive(Clone, Debug)]
pub struct WebSocketConfig {
    /// How often a client is asked whether it is still there; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long it may take to say so; then the WebSocket is closed.
    pub ping_timeout: Duration,
    /// The longest message (bytes); a longer one closes the WebSocket.
    pub max_size: usize,
}

// === impl Interface ===

impl Interface {
    /// Whether some of its requests run on threads.
    pub(crate) fn has_threads(self) -> bool {
        self != Self::Asgi
    }

    /// Whether some of them run on an event loop.
    pub(crate) fn has_loop(self) -> bool {
        self != Self::Wsgi
    }

    /// Its name in frames.
    pub(crate) fn name(interface: Option<Self>) -> &'static str {
        match interface {
            None => "auto",
            Some(Self::Wsgi) => "wsgi",
            Some(Self::Asgi) => "asgi",
            Some(Self::Hybrid) => "hybrid",
        }
    }

    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"wsgi" => Some(Self::Wsgi),
            b"asgi" => Some(Self::Asgi),
            b"hybrid" => Some(Self::Hybrid),
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
            websocket: WebSocketConfig::default(),
        }
    }
}

// === impl WebSocketConfig ===

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(20),
            max_size: 16 << 20,
        }
    }
}
