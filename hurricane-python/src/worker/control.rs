//! The control channel: what is said to a worker beside its requests, and what it says.

use std::{
    borrow::Cow,
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, oneshot, watch},
};

use super::{About, LoadFailure, StartError};
use crate::{
    asgi::{Interface, lane::LaneId},
    files::ProjectFiles,
    frame::{
        self, Kind, PROTOCOL,
        marshal::{DecodeError, Reader},
    },
    gateway::Gateway,
    handler::HandlerFacts,
    loaded::Loaded,
    slot::SlotId,
};

/// What the control channel is for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run checks and tell how they went.
    Check {
        what: Cow<'static, str>,
        answer: oneshot::Sender<CheckAnswer>,
    },
    /// The slot is to give back what it has not begun.
    Recall(usize),
    /// The client of this slot's stream has gone.
    Cancel(usize, i32),
    /// A request has been running for longer than it may.
    Hung,
    /// The event loop has not turned for longer than it may.
    Stuck,
    /// What came from the worker made no sense.
    Broken,
    /// Nothing more is to be said.
    Close,
}

/// How checks went in the worker; see `checks.py`.
#[derive(Debug)]
pub(crate) struct CheckAnswer {
    pub(crate) status: i32,
    pub(crate) message: String,
}

/// What is wrong with a worker that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    Hung,
    Stuck,
    Broken,
}

/// Where a worker has its place at the gateway.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) gateway: Gateway,
    pub(super) slots: Vec<SlotId>,
    pub(super) lane: Option<LaneId>,
    pub(super) loaded: Arc<watch::Sender<Loaded>>,
}

/// Checks that the worker has been asked to run, by number.
pub(super) type Checks = Mutex<HashMap<i32, oneshot::Sender<CheckAnswer>>>;

/// Reads one frame, whole.
pub(crate) async fn read_frame(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut data = vec![0; frame::HEAD];
    reader.read_exact(&mut data).await?;
    let length = frame::needed(&data);
    data.resize(length, 0);
    reader.read_exact(&mut data[frame::HEAD..]).await?;
    Ok(data)
}

/// Reads what the worker says when it has, or has not, loaded the application.
pub(super) async fn read_hello(
    reader: &mut OwnedReadHalf,
    loaded: &watch::Sender<Loaded>,
) -> io::Result<Result<About, StartError>> {
    loop {
        let data = read_frame(reader).await?;
        let hello = match remark(&data, loaded) {
            Ok(true) => continue,
            Ok(false) => parse_hello(&data),
            Err(error) => Err(error),
        };
        return Ok(hello.unwrap_or_else(|error| Err(StartError::Protocol(error.to_string()))));
    }
}

/// Takes note of what a worker may say at any time; false if it is something else.
fn remark(data: &[u8], loaded: &watch::Sender<Loaded>) -> Result<bool, DecodeError> {
    let (kind, mut reader, _) = frame::decode(data)?.ok_or(DecodeError::Truncated)?;
    match kind {
        Kind::Log => log(&mut reader)?,
        Kind::Loaded => {
            let mut result = Ok(());
            loaded.send_modify(|loaded| result = loaded.read(&mut reader));
            result?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Logs a line for Python.
pub(crate) fn log(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let is_warning = reader.fields(2)?.text()? == b"warning";
    let message = reader.string()?;
    if is_warning {
        tracing::warn!("{message}");
    } else {
        tracing::info!("{message}");
    }
    Ok(())
}

fn parse_hello(data: &[u8]) -> Result<Result<About, StartError>, DecodeError> {
    let (kind, mut reader, _) = frame::decode(data)?.ok_or(DecodeError::Truncated)?;
    match kind {
        Kind::Ready => {
            let (python, django) = match versions(reader.fields(5)?)? {
                Ok(versions) => versions,
                Err(error) => return Ok(Err(error)),
            };
            let name = reader.text()?;
            let Some(interface) = Interface::parse(name) else {
                let name = String::from_utf8_lossy(name).into_owned();
                return Ok(Err(StartError::Protocol(format!(
                    "it speaks of an interface {name:?}"
                ))));
            };
            Ok(Ok(About {
                python,
                django,
                interface,
                files: ProjectFiles::read(&mut reader)?,
                handlers: Vec::new(),
            }))
        }
        Kind::Handling => {
            let (python, django) = match versions(reader.fields(4)?)? {
                Ok(versions) => versions,
                Err(error) => return Ok(Err(error)),
            };
            Ok(Ok(About {
                python,
                django,
                handlers: HandlerFacts::read_all(&mut reader)?,
                ..About::default()
            }))
        }
        Kind::Failed => {
            let reason = LoadFailure::of(reader.fields(2)?.text()?);
            Ok(Err(StartError::Load {
                reason,
                message: reader.string()?,
            }))
        }
        kind => Err(DecodeError::Kind(kind as u8)),
    }
}

/// With what every hello begins: the protocol, which has to be ours, and the versions of Python and Django.
fn versions(
    reader: &mut Reader<'_>,
) -> Result<Result<(String, Option<String>), StartError>, DecodeError> {
    let protocol = reader.int32()?;
    if protocol != PROTOCOL {
        return Ok(Err(StartError::Protocol(format!(
            "it speaks protocol {protocol}"
        ))));
    }
    let python = reader.string()?;
    let django = if reader.none() {
        None
    } else {
        Some(reader.string()?)
    };
    Ok(Ok((python, django)))
}

pub(super) async fn write_control(
    mut writer: OwnedWriteHalf,
    mut commands: mpsc::UnboundedReceiver<Command>,
    checks: Arc<Checks>,
    alarm: watch::Sender<Trouble>,
) {
    let mut number = 0_i32;
    let mut out = Vec::new();
    while let Some(command) = commands.recv().await {
        out.clear();
        match command {
            Command::Check { what, answer } => {
                number = number.wrapping_add(1);
                lock(&checks).insert(number, answer);
                frame::encode(&mut out, Kind::Check, |writer| {
                    writer.tuple(2);
                    writer.int(number);
                    writer.text(&what);
                });
            }
            Command::Recall(slot) => frame::encode(&mut out, Kind::Recall, |writer| {
                writer.int(slot_number(slot));
            }),
            Command::Cancel(slot, stream) => frame::encode(&mut out, Kind::Cancel, |writer| {
                writer.tuple(2);
                writer.int(slot_number(slot));
                writer.int(stream);
            }),
            Command::Hung => sound(&alarm, Trouble::Hung),
            Command::Stuck => sound(&alarm, Trouble::Stuck),
            Command::Broken => {
                alarm.send_replace(Trouble::Broken);
            }
            Command::Close => break,
        }
        if writer.write_all(&out).await.is_err() {
            break;
        }
    }
}

/// Tells of trouble, unless there is some already.
fn sound(alarm: &watch::Sender<Trouble>, trouble: Trouble) {
    alarm.send_if_modified(|current| {
        let news = *current == Trouble::None;
        if news {
            *current = trouble;
        }
        news
    });
}

pub(super) async fn read_control(mut reader: OwnedReadHalf, seat: Seated, checks: Arc<Checks>) {
    while let Ok(data) = read_frame(&mut reader).await {
        if let Err(error) = obey(&data, &seat, &checks) {
            tracing::error!(%error, "a worker's message could not be read");
            break;
        }
    }
    // Whoever waits for a check of this worker asks another one.
    lock(&checks).clear();
}

fn obey(data: &[u8], seat: &Seated, checks: &Checks) -> Result<(), DecodeError> {
    if remark(data, &seat.loaded)? {
        return Ok(());
    }
    let (kind, mut reader, _) = frame::decode(data)?.ok_or(DecodeError::Truncated)?;
    match kind {
        Kind::Checked => {
            let number = reader.fields(3)?.int32()?;
            let answer = CheckAnswer {
                status: reader.int32()?,
                message: reader.string()?,
            };
            if let Some(asker) = lock(checks).remove(&number) {
                // Whoever asked may have stopped waiting.
                let _ = asker.send(answer);
            }
        }
        Kind::Beat => {
            let lag = Duration::from_micros(reader.unsigned()?);
            if let Some(lane) = seat.lane {
                seat.gateway.beat_lane(lane, lag);
            }
        }
        Kind::Recalled => {
            let slot = reader.fields(2)?.int32()?;
            let count = reader.sequence()?;
            let streams = (0..count)
                .map(|_| reader.int32())
                .collect::<Result<Vec<_>, _>>()?;
            if let Some(id) = usize::try_from(slot)
                .ok()
                .and_then(|slot| seat.slots.get(slot))
            {
                seat.gateway.recalled(*id, &streams);
            }
        }
        kind => return Err(DecodeError::Kind(kind as u8)),
    }
    Ok(())
}

fn slot_number(slot: usize) -> i32 {
    i32::try_from(slot).expect("a worker has few slots")
}

fn lock(checks: &Checks) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<CheckAnswer>>> {
    checks.lock().unwrap_or_else(PoisonError::into_inner)
}
