//! What a Django project has done before it is served: management commands and migrations, in a
//! Python process of their own.

use std::{
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::OwnedReadHalf},
    process::Child,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    frame::{
        self, Kind,
        marshal::{DecodeError, Writer},
    },
    sources,
    worker::{LoadFailure, StartError, log, pair, process, read_frame},
};

/// What is to be done before the workers start, in this order.
#[derive(Clone, Debug, Default)]
pub struct StartupConfig {
    /// The Python interpreter.
    pub python: PathBuf,
    /// How long to wait for the databases to answer; none: they are not asked.
    pub wait_for_database: Option<Duration>,
    /// Management commands, each with its arguments.
    pub commands: Vec<Vec<String>>,
    /// Whether to wait until no migrations are pending.
    pub check_migrations: bool,
    /// Whether to apply those that are pending.
    pub apply_migrations: bool,
    /// How long what is running may take to end when it is told to.
    pub graceful_timeout: Duration,
}

/// Runs what is to be done before the workers start. Cloning shares it.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use hurricane_python::{Startup, StartupConfig};
///
/// # async fn run() -> Result<(), hurricane_python::TaskFailure> {
/// let startup = Startup::new(StartupConfig {
///     python: ".venv/bin/python".into(),
///     commands: vec![vec!["collectstatic".to_owned(), "--noinput".to_owned()]],
///     check_migrations: true,
///     graceful_timeout: Duration::from_secs(25),
///     ..StartupConfig::default()
/// });
/// startup.run(|| println!("the project is loaded")).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Startup {
    config: StartupConfig,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Whom to tell that it begins. That is not left out, whatever comes.
struct Begun<F: FnOnce()>(Option<F>);

/// Why not all could be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskFailure {
    /// A management command failed.
    #[error("{message}")]
    Command {
        /// A sentence for the person who starts the server.
        message: String,
        /// Where in Python it failed.
        traceback: Option<String>,
    },
    /// A database does not answer, or its migrations cannot be counted or applied.
    #[error("{message}")]
    Database {
        /// A sentence for the person who starts the server.
        message: String,
        /// Where in Python it failed.
        traceback: Option<String>,
    },
    /// The project could not be loaded, or Python not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was told to stop.
    #[error("stopped before all commands had been executed")]
    Stopped,
}

// === impl StartupConfig ===

impl StartupConfig {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.wait_for_database.is_none()
            && !self.check_migrations
            && !self.apply_migrations
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.dict();
        writer.text("wait");
        match self.wait_for_database {
            Some(time) => writer.int(i32::try_from(time.as_secs().max(1)).unwrap_or(i32::MAX)),
            None => writer.none(),
        }
        writer.text("commands");
        writer.list(self.commands.len());
        for words in &self.commands {
            writer.list(words.len());
            for word in words {
                writer.text(word);
            }
        }
        writer.text("check_migrations");
        writer.bool(self.check_migrations || self.apply_migrations);
        writer.text("apply_migrations");
        writer.bool(self.apply_migrations);
        writer.end_dict();
    }
}

// === impl Startup ===

impl Startup {
    /// Does nothing yet.
    #[must_use]
    pub fn new(config: StartupConfig) -> Self {
        Self {
            config,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.config.is_empty()
    }

    /// Does everything, one after the other; what fails ends it.
    ///
    /// `begun` is called once, when the project has been loaded: before anything is logged of what is done, or at the
    /// end if nothing is.
    ///
    /// Dropping the future ends nothing: [`stop`](Self::stop) does.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn run(&self, begun: impl FnOnce() + Send + 'static) -> Result<(), TaskFailure> {
        if self.config.is_empty() {
            begun();
            return Ok(());
        }
        let (config, stop) = (self.config.clone(), self.stop.clone());
        let begun = Begun(Some(begun));
        let task = self
            .tasks
            .spawn(async move { perform(&config, stop, begun).await });
        task.await.unwrap_or(Err(TaskFailure::Stopped))
    }

    /// Ends what is running, by SIGTERM to it and to what it has started, and waits until it has
    /// ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

// === impl Begun ===

impl<F: FnOnce()> Begun<F> {
    fn tell(&mut self) {
        if let Some(tell) = self.0.take() {
            tell();
        }
    }
}

impl<F: FnOnce()> Drop for Begun<F> {
    fn drop(&mut self) {
        self.tell();
    }
}

async fn perform(
    config: &StartupConfig,
    stop: CancellationToken,
    mut begun: Begun<impl FnOnce() + Send>,
) -> Result<(), TaskFailure> {
    let spawn = |source| StartError::Spawn {
        python: config.python.clone(),
        source,
    };
    let (control, their_control) = pair().map_err(spawn)?;
    let control = UnixStream::from_std(control).map_err(spawn)?;
    let module = "hurricane.worker.startup";
    let mut child = process(&config.python, module, &their_control, Vec::new())
        .spawn()
        .map_err(spawn)?;
    drop(their_control);
    let (mut reader, mut writer) = control.into_split();
    let mut tasks = sources::frame();
    frame::encode(&mut tasks, Kind::Tasks, |writer| config.write(writer));

    let followed = async {
        // An error means that the process has ended, of which reading tells too.
        let _ = writer.write_all(&tasks).await;
        follow(&mut reader, &mut begun).await
    };
    let followed = tokio::select! {
        biased;
        () = stop.cancelled() => {
            end(&mut child, config.graceful_timeout).await;
            return Err(TaskFailure::Stopped);
        }
        followed = followed => followed,
    };
    let Some(result) = followed else {
        let status = child.wait().await.map_err(spawn)?;
        return Err(died(status));
    };
    // It has said its last word. What of it is left is killed when the child is dropped.
    let _ = timeout(Duration::from_secs(2), child.wait()).await;
    result
}

/// Repeats what the process says, until it has done everything; none if it ends before.
async fn follow(
    reader: &mut OwnedReadHalf,
    begun: &mut Begun<impl FnOnce()>,
) -> Option<Result<(), TaskFailure>> {
    loop {
        let data = read_frame(reader).await.ok()?;
        begun.tell();
        match heed(&data) {
            Ok(None) => {}
            Ok(Some(result)) => return Some(result),
            Err(error) => return Some(Err(StartError::Protocol(error.to_string()).into())),
        }
    }
}

/// Logs a line; returns the result of the whole once it is told.
fn heed(data: &[u8]) -> Result<Option<Result<(), TaskFailure>>, DecodeError> {
    let (kind, mut reader, _) = frame::decode(data)?.ok_or(DecodeError::Truncated)?;
    match kind {
        Kind::Log => {
            log(&mut reader)?;
            Ok(None)
        }
        Kind::Done if reader.none() => Ok(Some(Ok(()))),
        Kind::Done => {
            let reason = reader.fields(3)?.text()?;
            let message = reader.string()?;
            let traceback = if reader.none() {
                None
            } else {
                Some(reader.string()?)
            };
            Ok(Some(Err(match reason {
                b"command" => TaskFailure::Command { message, traceback },
                b"database" => TaskFailure::Database { message, traceback },
                reason => {
                    let reason = LoadFailure::of(reason);
                    StartError::Load { reason, message }.into()
                }
            })))
        }
        kind => Err(DecodeError::Kind(kind as u8)),
    }
}

/// What happened to a process that ended without a word: most often a command has ended it.
fn died(status: ExitStatus) -> TaskFailure {
    TaskFailure::Command {
        message: format!("the process that runs the commands ended ({status})"),
        traceback: None,
    }
}

/// Ends the process and all that it has started.
async fn end(child: &mut Child, grace: Duration) {
    let began = Instant::now();
    let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let Some(group) = group else { return };
    // The process has not been waited for, so the id is still its own.
    let _ = kill_process_group(group, Signal::TERM);
    if timeout(grace, child.wait()).await.is_err() {
        tracing::warn!("A command did not end within {:?}", began.elapsed());
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}
