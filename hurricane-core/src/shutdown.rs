//! The end of the process: signals, and a drain that has a deadline.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Waits for the signals that ask the process to end, SIGTERM and SIGINT.
///
/// The first one asks for a graceful end, the second one for an end now. From the moment of installation the signals
/// no longer end the process by themselves, which matters most for PID 1.
///
/// # Examples
///
/// Serving on the lower pieces alone:
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use hurricane_core::{BACKLOG, Listener, ServeConfig, Signals, serve};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(([0, 0, 0, 0], 8000), BACKLOG)?;
/// let mut signals = Signals::install()?;
/// // The port is taken; clients are refused until it listens.
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let drain = async {
///     signals.recv().await;
/// };
/// serve(listener.listen()?, app, ServeConfig::default(), drain).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    received: usize,
}

/// Connections were still busy when the time for a graceful end was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} connections did not finish within {grace:?}")]
pub struct DrainTimedOut {
    /// Connections that were cut.
    pub count: usize,
    /// The time they had.
    pub grace: Duration,
}

// === impl Signals ===

impl Signals {
    /// Begins to listen for the signals; must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle them.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            received: 0,
        })
    }

    /// Waits for the next signal and returns its name.
    pub async fn recv(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.received += 1;
        if self.received == 1 {
            info!("Received signal {name}. Shutting down now.");
        } else {
            warn!("Received signal {name} again. Not waiting any longer.");
        }
        name
    }
}
