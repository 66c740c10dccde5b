//! One Python process: how it is started, told what to load, asked and ended.

mod begun;
mod config;
mod control;
mod failure;

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::Shutdown,
    process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal},
};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    process::{Child, Command as Process},
    sync::{mpsc, watch},
    time::timeout,
};

pub(crate) use self::{
    begun::Begun,
    control::{CheckAnswer, Command, log, read_frame},
    failure::Unfit,
};
pub use self::{
    config::WorkerConfig,
    failure::{LoadFailure, StartError},
};
use self::{
    config::{Channels, write_config},
    control::{Checks, Seated, Trouble, read_control, read_hello, write_control},
};
use crate::{
    asgi::{
        Interface,
        channel::{LaneLink, read_sent},
        lane::LaneId,
    },
    files::ProjectFiles,
    frame::{self, Kind},
    gateway::{Control, Gateway},
    handler::{ClerkId, Desk, HandlerFacts},
    loaded::Loaded,
    reaper::{Claim, Own},
    slot::{Link, SlotId},
    sources,
};

/// How long a worker that was told to end may take between one signal and the next.
const INSIST: Duration = Duration::from_secs(2);

/// What a worker said of itself when it was ready.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct About {
    /// The version of Python.
    pub python: String,
    /// The version of Django, when the application is a Django project.
    pub django: Option<String>,
    /// How the application is called.
    pub interface: Interface,
    /// Where the files are that it was asked for, when the application is a Django project.
    pub files: Option<ProjectFiles>,
    /// What the handlers of messages say of themselves, in the order in which they were named.
    pub handlers: Vec<HandlerFacts>,
}

/// A worker that is ready.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) about: About,
    pub(crate) control: Control,
    trouble: watch::Receiver<Trouble>,
    child: Child,
    links: Vec<Link>,
    /// How many times new workers had been asked for when it was started; for its pool.
    pub(crate) asked: u64,
    pub(crate) slots: Vec<SlotId>,
    /// Its event loop, where it has one.
    pub(crate) lane: Option<(LaneLink, LaneId)>,
    /// Its handlers of messages, where it has any.
    clerks: Option<(Desk, Vec<(LaneLink, ClerkId)>)>,
    _claim: Option<Claim>,
}

// === impl Worker ===

impl Worker {
    /// Starts a process and waits until it has loaded the application.
    ///
    /// `server` is the address that the application is served on, of which it is told; it tells
    /// what it was `loaded` from. Its `number` counts from 0.
    pub(crate) async fn start(
        config: &WorkerConfig,
        gateway: &Gateway,
        desk: Option<&Desk>,
        server: SocketAddr,
        own: &Own,
        loaded: &Arc<watch::Sender<Loaded>>,
        number: usize,
    ) -> Result<Self, StartError> {
        let spawn = |source| StartError::Spawn {
            python: config.python.clone(),
            source,
        };
        let plan = Channels::of(config, desk);
        let begun = Begun::new(plan.count()).map_err(spawn)?;
        let (control, their_control) = pair().map_err(spawn)?;
        let control = UnixStream::from_std(control).map_err(spawn)?;
        let (mut data, their_data) = data_channels(plan.count()).map_err(spawn)?;
        let inherited = their_data
            .iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .chain([begun.0.as_raw_fd()])
            .collect();
        let mut child = process(
            &config.python,
            "hurricane.worker.main",
            &their_control,
            inherited,
        )
        .spawn()
        .map_err(spawn)?;

        let claim = child.id().map(|pid| own.claim(pid));

        let mut hello = sources::frame();
        frame::encode(&mut hello, Kind::Config, |writer| {
            write_config(
                writer,
                config,
                plan,
                &gateway.config().root_path,
                server,
                &their_data,
                &begun,
            );
            config.develop.write(writer, number == 0);
            writer.end_dict();
        });
        // From here on only the process has its ends, so that ours see it end.
        drop((their_control, their_data));
        let (mut reader, mut writer) = control.into_split();
        let handshake = async {
            // An error means that the process has ended, of which reading tells too.
            let _ = writer.write_all(&hello).await;
            read_hello(&mut reader, loaded).await
        };
        let about = match timeout(config.start_timeout, handshake).await {
            Ok(Ok(about)) => about?,
            Ok(Err(_)) => return Err(StartError::Exited(child.wait().await.map_err(spawn)?)),
            Err(_) => return Err(StartError::TimedOut(config.start_timeout)),
        };

        gateway.serves(about.interface, &config.asgi);

        let (commands, receiver) = mpsc::unbounded_channel();
        let (alarm, trouble) = watch::channel(Trouble::None);
        let (begun, load) = (Arc::new(begun), Arc::default());
        // Those that the application is not called through are closed.
        let lane = data.split_off(plan.threads).pop();
        let clerks = desk.map(|desk| {
            let links = std::mem::take(&mut data);
            let clerks = open_clerks(desk, &about.handlers, links, &commands, &begun);
            (desk.clone(), clerks)
        });
        if !about.interface.has_threads() {
            data.clear();
        }
        let lane = lane.filter(|_| about.interface.has_loop());
        let links: Vec<Link> = data
            .into_iter()
            .enumerate()
            .map(|(index, (requests, answers))| Link {
                requests: Arc::new(requests),
                answers: Arc::new(answers),
                control: commands.clone(),
                index,
                begun: Arc::clone(&begun),
                load: Arc::clone(&load),
            })
            .collect();
        let lane = lane.map(|(events, sent)| {
            let link = LaneLink {
                events: Arc::new(events),
                sent: Arc::new(sent),
                control: commands.clone(),
                begun: Arc::clone(&begun),
                index: plan.threads,
            };
            let id = gateway.open_lane(link.clone());
            tokio::spawn(read_sent(gateway.clone(), id, link.clone()));
            (link, id)
        });
        let slots: Vec<SlotId> = links
            .iter()
            .map(|link| gateway.open(link.clone()))
            .collect();
        let checks = Arc::new(Checks::default());
        tokio::spawn(write_control(writer, receiver, Arc::clone(&checks), alarm));
        let seat = Seated {
            gateway: gateway.clone(),
            slots: slots.clone(),
            lane: lane.as_ref().map(|(_, id)| *id),
            loaded: Arc::clone(loaded),
        };
        tokio::spawn(read_control(reader, seat, checks));
        Ok(Self {
            about,
            control: commands,
            trouble,
            child,
            links,
            asked: 0,
            slots,
            lane,
            clerks,
            _claim: claim,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until there is a reason to replace it.
    pub(crate) async fn unfit(&mut self) -> Unfit {
        let Self { child, trouble, .. } = self;
        let unfit = tokio::select! {
            status = child.wait() => Unfit::Ended(status),
            Ok(trouble) = trouble.wait_for(|trouble| *trouble != Trouble::None) => match *trouble {
                Trouble::Hung => Unfit::Hung,
                Trouble::Stuck => Unfit::Stuck,
                Trouble::None | Trouble::Broken => Unfit::Broken,
            },
        };
        if matches!(unfit, Unfit::Ended(_)) {
            self.shut(Shutdown::Read);
        }
        unfit
    }

    /// Gives it no more requests, lets it finish those that it has begun, and ends it: politely
    /// when that is done within `grace`, after `last_word`, else so that it shows where its threads
    /// are.
    pub(crate) async fn retire(
        mut self,
        gateway: &Gateway,
        grace: Duration,
        last_word: impl Future<Output = ()>,
    ) {
        for slot in &self.slots {
            gateway.retire(*slot);
        }
        if let Some((_, lane)) = &self.lane {
            gateway.retire_lane(*lane);
        }
        let mut hung = false;
        for (desk, clerk) in self.clerks() {
            desk.retire(clerk);
            hung |= desk.is_hung(clerk);
        }
        // A message that takes too long is not waited for: it is tried again when this one is gone.
        let grace = if hung { Duration::ZERO } else { grace };
        let finished = async {
            while !self.is_done(gateway) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(grace, finished).await.is_ok() {
            last_word.await;
            self.stop(grace).await;
        } else {
            self.insist(Signal::ABORT).await;
        }
    }

    fn is_done(&self, gateway: &Gateway) -> bool {
        let lane = self.lane.as_ref();
        self.slots.iter().all(|slot| gateway.is_done(*slot))
            && lane.is_none_or(|(_, lane)| gateway.is_lane_done(*lane))
            && self.clerks().all(|(desk, clerk)| desk.is_done(clerk))
    }

    fn clerks(&self) -> impl Iterator<Item = (&Desk, ClerkId)> {
        self.clerks
            .iter()
            .flat_map(|(desk, clerks)| clerks.iter().map(move |(_, id)| (desk, *id)))
    }

    /// Ends the process: closes its channels, upon which it ends by itself. An application on an
    /// event loop has at most `limit` for what it does at its end.
    pub(crate) async fn stop(mut self, limit: Duration) {
        let patience = match self.lane {
            Some(_) => limit.max(INSIST),
            None => INSIST,
        };
        // The control thread of the worker sees the end of its channel and returns.
        self.shut(Shutdown::Both);
        let _ = self.control.send(Command::Close);
        if timeout(patience, self.child.wait()).await.is_err() {
            tracing::warn!(pid = self.pid(), "a worker did not end within {patience:?}");
            self.insist(Signal::TERM).await;
        }
    }

    /// Sends a signal, and SIGKILL when that does not end the process.
    async fn insist(&mut self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // The process has not been waited for, so the id is still its own.
            let _ = kill_process(pid, signal);
        }
        if timeout(INSIST, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.shut(Shutdown::Read);
    }

    fn shut(&self, how: Shutdown) {
        for link in &self.links {
            // What the process sent before is still read. An error means that it is shut.
            let _ = rustix::net::shutdown(&*link.answers, how);
            let _ = rustix::net::shutdown(&*link.requests, how);
        }
        if let Some((link, _)) = &self.lane {
            let _ = rustix::net::shutdown(&*link.sent, how);
            let _ = rustix::net::shutdown(&*link.events, how);
        }
        for (link, _) in self.clerks.iter().flat_map(|(_, clerks)| clerks) {
            let _ = rustix::net::shutdown(&*link.sent, how);
            let _ = rustix::net::shutdown(&*link.events, how);
        }
    }
}

/// A channel: our end, and that which the worker inherits.
pub(crate) fn pair() -> io::Result<(StdUnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs.into()))
}

/// Our ends of the data channels, for requests and for answers, and those of the worker.
type DataChannels = (Vec<(StdUnixStream, UnixStream)>, Vec<[OwnedFd; 2]>);

fn data_channels(count: usize) -> io::Result<DataChannels> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (requests, their_requests) = pair()?;
        let (answers, their_answers) = pair()?;
        ours.push((requests, UnixStream::from_std(answers)?));
        theirs.push([their_requests, their_answers]);
    }
    Ok((ours, theirs))
}

/// Adds the clerks of a worker to the desk. An event loop has one channel, the others of its handler
/// are closed.
fn open_clerks(
    desk: &Desk,
    handlers: &[HandlerFacts],
    channels: Vec<(StdUnixStream, UnixStream)>,
    control: &Control,
    begun: &Arc<Begun>,
) -> Vec<(LaneLink, ClerkId)> {
    let places = desk.config().concurrency;
    let channels = channels.into_iter().enumerate();
    let used = channels.filter_map(|(index, (events, sent))| {
        let handler = index / places;
        let is_async = handlers.get(handler)?.is_async;
        if is_async && index % places > 0 {
            return None;
        }
        let link = LaneLink {
            events: Arc::new(events),
            sent: Arc::new(sent),
            control: control.clone(),
            begun: Arc::clone(begun),
            index,
        };
        let id = desk.open(link.clone(), handler, is_async);
        Some((link, id))
    });
    used.collect()
}

/// A Python process that runs a module of the package on its end of the control channel.
///
/// `inherited` are descriptors that it is given beside it, which have to be open until it is
/// spawned.
#[expect(
    unsafe_code,
    reason = "code between fork and exec has to be marked as safe to run there"
)]
pub(crate) fn process(
    python: &Path,
    module: &str,
    control: &OwnedFd,
    mut inherited: Vec<RawFd>,
) -> Process {
    let mut process = Process::new(python);
    process
        .arg("-c")
        .arg(sources::BOOTSTRAP)
        .arg(control.as_raw_fd().to_string())
        .arg(module)
        // What the application prints is to be seen when it prints it.
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        // A signal from the terminal is for the server, which ends its workers itself.
        .process_group(0)
        .kill_on_drop(true);
    inherited.push(control.as_raw_fd());
    let parent = getpid();
    // SAFETY: the closure calls nothing but system calls, which are async-signal-safe, through
    // rustix, which does not allocate. The descriptors are open: the caller holds them until the
    // process is spawned.
    unsafe {
        process.pre_exec(move || {
            for &number in &inherited {
                fcntl_setfd(
                    std::os::fd::BorrowedFd::borrow_raw(number),
                    FdFlags::empty(),
                )?;
            }
            // The kernel ends the worker should the server be killed.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(io::Error::from(rustix::io::Errno::SRCH));
            }
            Ok(())
        });
    }
    process
}
