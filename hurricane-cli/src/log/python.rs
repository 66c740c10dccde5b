//! Lines for a Python process, which is started for them: nobody waits for it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use hurricane_python::{LogProcess, LogRecord};

/// Lines that may wait for the process.
const CAPACITY: usize = 4096;

/// How many go in one write, at most.
const BATCH: usize = 256;

/// A process that ends again and again is started this often.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the last lines may take at the end, while others wait for that.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way to the process.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// None: the end.
    queue: SyncSender<Option<LogRecord>>,
    dropped: Arc<AtomicU64>,
}

/// Waits for the last lines when it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    lines: Lines,
    /// Says that its other end is gone when the thread has ended.
    ended: Receiver<()>,
}

/// The thread that writes to the process.
struct Writer {
    python: PathBuf,
    queue: Receiver<Option<LogRecord>>,
    dropped: Arc<AtomicU64>,
    process: Option<LogProcess>,
    started: Option<Instant>,
}

// === impl Lines ===

impl Lines {
    /// Starts the thread, and with it the process.
    pub(super) fn start(python: PathBuf) -> std::io::Result<(Self, Guard)> {
        let (queue, receiver) = sync_channel(CAPACITY);
        let lines = Self {
            queue,
            dropped: Arc::default(),
        };
        let writer = Writer {
            python,
            queue: receiver,
            dropped: Arc::clone(&lines.dropped),
            process: None,
            started: None,
        };
        let (running, ended) = sync_channel(0);
        thread::Builder::new()
            .name("hurricane-log".to_owned())
            .spawn(move || {
                writer.run();
                drop(running);
            })?;
        let guard = Guard {
            lines: lines.clone(),
            ended,
        };
        Ok((lines, guard))
    }

    /// Takes a line, or counts it as dropped when too many wait.
    pub(super) fn send(&self, record: LogRecord) {
        if self.queue.try_send(Some(record)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// How many lines were dropped.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        // Where the queue is full the process hangs, or is too slow to wait for. It ends with this one.
        if self.lines.queue.try_send(None).is_ok() {
            let _ = self.ended.recv_timeout(PATIENCE);
        }
    }
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        self.start();
        // One who waits for more lines than there are would wait for the end.
        while let Ok(Some(first)) = self.queue.recv() {
            let mut batch = vec![first];
            let mut is_end = false;
            while batch.len() < BATCH {
                match self.queue.try_recv() {
                    Ok(Some(record)) => batch.push(record),
                    Ok(None) => {
                        is_end = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.write(&batch);
            if is_end {
                break;
            }
        }
        if let Some(process) = self.process.take() {
            process.close(PATIENCE);
        }
    }

    /// Writes the lines; to a process that has ended they are written again once it has been started again.
    fn write(&mut self, batch: &[LogRecord]) {
        for _ in 0..2 {
            if let Some(process) = &mut self.process
                && process.write(batch.iter().cloned()).is_ok()
            {
                return;
            }
            self.process = None;
            self.start();
        }
        self.dropped.fetch_add(batch.len() as u64, Relaxed);
    }

    fn start(&mut self) {
        if let Some(started) = self.started {
            // Lines wait meanwhile, and are dropped when they are too many.
            thread::sleep(PAUSE.saturating_sub(started.elapsed()));
        }
        self.started = Some(Instant::now());
        self.process = LogProcess::start(&self.python).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn lines_that_are_too_many_are_counted_and_not_waited_for() {
        let (queue, receiver) = sync_channel(2);
        let lines = Lines {
            queue,
            dropped: Arc::default(),
        };
        let record = LogRecord {
            logger: "hurricane.server.access".to_owned(),
            level: 20,
            time: SystemTime::now(),
            message: "200 GET /".to_owned(),
        };
        for _ in 0..5 {
            lines.send(record.clone());
        }
        assert_eq!(lines.dropped().load(Relaxed), 3);
        assert_eq!(receiver.try_iter().count(), 2);
    }
}
