//! A Python process that logs for the server, as a Django project's `LOGGING` says; see `logs.py`.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    frame::{self, Kind, marshal::Writer},
    sources,
    worker::{pair, process},
};

/// How long to wait between two looks at whether the process has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A line of the server, for one of the project's loggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The logger's name.
    pub logger: String,
    /// Its level, in the numbers of Python.
    pub level: u32,
    /// When it was logged.
    pub time: SystemTime,
    /// The line.
    pub message: String,
}

/// Logs records in a Python process that has set the project up.
///
/// Needs no runtime: it is for a thread of its own, as writing blocks while the process is behind. The process ends
/// with that thread.
///
/// # Examples
///
/// ```no_run
/// use std::time::{Duration, SystemTime};
///
/// use hurricane_python::{LogProcess, LogRecord};
///
/// # fn main() -> std::io::Result<()> {
/// let mut log = LogProcess::start(".venv/bin/python".as_ref())?;
/// log.write([LogRecord {
///     logger: "hurricane.server.general".to_owned(),
///     level: 20,
///     time: SystemTime::now(),
///     message: "all is well".to_owned(),
/// }])?;
/// log.close(Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LogProcess {
    child: Child,
    channel: UnixStream,
    out: Vec<u8>,
}

// === impl LogRecord ===

impl LogRecord {
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        writer.tuple(4);
        writer.text(&self.logger);
        writer.int(i32::try_from(self.level).unwrap_or(i32::MAX));
        writer.text(&format!("{:.6}", since.as_secs_f64()));
        writer.text(&self.message);
    }
}

// === impl LogProcess ===

impl LogProcess {
    /// Starts it; what is written before the project has been loaded waits for that.
    ///
    /// # Errors
    ///
    /// The interpreter could not be started.
    pub fn start(python: &Path) -> io::Result<Self> {
        let (channel, theirs) = pair()?;
        channel.set_nonblocking(false)?;
        let child = process(python, "hurricane.worker.logs", &theirs, Vec::new())
            .into_std()
            .spawn()?;
        drop(theirs);
        let mut log = Self {
            child,
            channel,
            out: Vec::new(),
        };
        log.channel.write_all(&sources::frame())?;
        Ok(log)
    }

    /// Has it log records. Blocks while it is behind.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn write(&mut self, records: impl IntoIterator<Item = LogRecord>) -> io::Result<()> {
        self.out.clear();
        for record in records {
            frame::encode(&mut self.out, Kind::Record, |writer| record.write(writer));
        }
        self.channel.write_all(&self.out)
    }

    /// Lets it log what it was given, and end: for so long, then it is killed.
    pub fn close(mut self, patience: Duration) {
        // Upon which it ends by itself. An error means that it has.
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        let began = Instant::now();
        // An error means that somebody else has waited for it, as process 1 does for orphans.
        while let Ok(None) = self.child.try_wait() {
            if began.elapsed() > patience {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(LOOK);
        }
    }
}
