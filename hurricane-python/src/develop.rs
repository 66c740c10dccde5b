//! What helps those who work on the application.

use std::net::SocketAddr;

use crate::frame::marshal::Writer;

/// What helps those who work on the application; by default nothing of it.
///
/// Not for production: tracebacks tell clients of the code, and a debugger runs what it is told to.
#[derive(Clone, Debug, Default)]
pub struct DevelopConfig {
    /// Whether workers tell which files the application was loaded from, see
    /// [`Pool::loaded`](crate::Pool::loaded).
    pub tell_files: bool,
    /// Whether a client sees the traceback of an application that failed without an answer.
    pub show_tracebacks: bool,
    /// Where the first worker listens for clients of debugpy.
    pub debugpy: Option<SocketAddr>,
    /// The debug server of `PyCharm` that the first worker connects to.
    pub pycharm: Option<Pycharm>,
}

/// Where a debug server of `PyCharm` listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pycharm {
    /// Its host.
    pub host: String,
    /// Its port; without one there is a warning in place of the connection.
    pub port: Option<u16>,
}

// === impl DevelopConfig ===

impl DevelopConfig {
    /// Whether there is a debugger, in which the application may stop for as long as somebody looks
    /// at it.
    #[must_use]
    pub fn has_debugger(&self) -> bool {
        self.debugpy.is_some() || self.pycharm.is_some()
    }

    /// Writes it as items of the configuration of a worker.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, is_first: bool) {
        writer.text("tell_files");
        writer.bool(self.tell_files);
        writer.text("debug");
        writer.bool(self.show_tracebacks);
        writer.text("debuggers");
        if !(is_first && self.has_debugger()) {
            writer.none();
            return;
        }
        writer.dict();
        writer.text("debugger");
        writer.bool(self.debugpy.is_some());
        if let Some(address) = self.debugpy {
            writer.text("debugger_host");
            writer.text(&address.ip().to_string());
            writer.text("debugger_port");
            writer.int(address.port().into());
        }
        if let Some(Pycharm { host, port }) = &self.pycharm {
            writer.text("pycharm_host");
            writer.text(host);
            writer.text("pycharm_port");
            writer.int(port.unwrap_or_default().into());
        }
        writer.end_dict();
    }
}
