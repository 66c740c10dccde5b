//! A request on its way to an answer.

use std::{fs::File, sync::Arc, time::Instant};

use tokio::sync::oneshot;

use crate::{
    frame::{
        marshal::Writer,
        prepared::{Prepared, Repeats},
    },
    gateway::Reply,
    request,
};

/// A request that came in whole. It is kept until its answer has come, so that another worker
/// can be given it when the one that had it has not begun it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) stream: i32,
    /// What [`request::environ`] wrote.
    pub(crate) environ: Prepared,
    pub(crate) body: JobBody,
    /// When the client is told that it takes too long.
    pub(crate) deadline: Option<Instant>,
    /// `None` once the client has been answered.
    pub(crate) answer: Option<oneshot::Sender<Reply>>,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) enum JobBody {
    /// In memory; empty for most requests.
    Inline(Vec<u8>),
    /// In an unlinked temporary file, whose descriptor goes to the worker.
    Spooled(Arc<File>),
}

// === impl Job ===

impl Job {
    /// The file that has to go along with the request.
    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        match &self.body {
            JobBody::Inline(_) => None,
            JobBody::Spooled(file) => Some(file),
        }
    }

    /// Writes the request tuple.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, repeats: &mut Repeats) {
        request::head(writer, self.stream);
        writer.prepared(&self.environ, repeats);
        match &self.body {
            JobBody::Inline(data) => writer.bytes(data),
            // A number where the bytes would be says that there is a file.
            JobBody::Spooled(_) => writer.int(0),
        }
    }

    /// Whether the client still waits for the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.answer
            .as_ref()
            .is_some_and(|answer| !answer.is_closed())
    }

    /// Whether it came in before the other. Stream ids have 31 bits and come round again.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        other.stream.wrapping_sub(self.stream).wrapping_shl(1) > 0
    }

    /// Whether the client has waited as long as it is to.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.answer.is_some() && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Tells the client how its request ended, if it is still there.
    pub(crate) fn answer(&mut self, reply: Reply) {
        if let Some(answer) = self.answer.take() {
            // A client that has gone has dropped the other end.
            let _ = answer.send(reply);
        }
    }
}
