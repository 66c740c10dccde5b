//! The channel of a clerk: what it says, batch by batch.

use std::collections::VecDeque;

use super::{
    desk::{ClerkId, Desk},
    said::Said,
};
use crate::{
    asgi::channel::LaneLink,
    frame::{self, Kind, marshal::DecodeError},
    slot::Buffer,
    worker::Command,
};

/// The desk's end of a clerk's channel: two sockets and a place in the shared page, as an event
/// loop of the gateway has.
pub(crate) type ClerkLink = LaneLink;

/// Reads what a clerk says until its worker is gone.
pub(super) async fn read_said(desk: Desk, id: ClerkId, link: ClerkLink) {
    let mut buffer = Buffer::new();
    // It sends no descriptors.
    let mut files = VecDeque::new();
    while matches!(buffer.fill(&link.sent, &mut files).await, Ok(1..)) {
        files.clear();
        match take(&mut buffer) {
            Ok(items) if items.is_empty() => {}
            Ok(items) => desk.hear(id, items),
            Err(error) => {
                tracing::error!(%error, "a worker's message could not be read; the worker is ended");
                // An error means that the worker is gone already.
                let _ = link.control.send(Command::Broken);
                break;
            }
        }
    }
    desk.close(id, link.begun.count(link.index));
}

/// All whole frames in the buffer.
fn take(buffer: &mut Buffer) -> Result<Vec<Said>, DecodeError> {
    let mut items = Vec::new();
    while let Some((kind, mut reader, length)) = frame::decode(buffer.filled())? {
        if kind != Kind::Sent {
            return Err(DecodeError::Kind(kind as u8));
        }
        let count = reader.sequence()?;
        items.reserve(count.min(1024));
        for _ in 0..count {
            items.push(Said::read(&mut reader)?);
        }
        buffer.consume(length);
    }
    Ok(items)
}
