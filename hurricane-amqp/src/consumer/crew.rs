//! The handler at work, on as many messages as it may have at a time.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::poll_immediate};
use hurricane_core::{Handler, Message, Outcome};
use tokio::{task::JoinSet, time};
use tracing::error;

use crate::{retry::RetryPolicy, status::Status};

/// What the handler is at. It outlives connections: what has begun goes on, and keeps its place until it ends.
#[derive(Debug)]
pub(super) struct Crew {
    tasks: JoinSet<Done>,
    free: Vec<usize>,
    /// With one place the first poll is made in place, which is all that most handlers need.
    single: bool,
}

/// A message to be handled.
pub(super) struct Job {
    pub(super) session: u64,
    pub(super) message: Message,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) status: Status,
    /// In ordered mode a message is retried in place.
    pub(super) in_place: Option<RetryPolicy>,
}

/// A message that was handled.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) session: u64,
    pub(super) message: Message,
    pub(super) verdict: Verdict,
    pub(super) duration: Duration,
    slot: usize,
}

/// What the handler said, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Said(Outcome),
    Panicked,
}

// === impl Crew ===

impl Crew {
    pub(super) fn new(size: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            free: (0..size).collect(),
            single: size == 1,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Begins with a message; there must be room. Returns what is done at once.
    pub(super) async fn start(&mut self, job: Job) -> Option<Done> {
        let slot = self.free.pop().expect("the caller has looked for room");
        let work = job.work(slot);
        if !self.single {
            self.tasks.spawn(work);
            return None;
        }
        let mut work = Box::pin(work);
        match poll_immediate(&mut work).await {
            Some(done) => {
                self.free.push(done.slot);
                Some(done)
            }
            None => {
                self.tasks.spawn(work);
                None
            }
        }
    }

    /// Waits for a message that is done; for ever, if there is none.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => {
                    self.free.push(done.slot);
                    return done;
                }
                // The handler's panics are caught; this is a task that was aborted.
                Some(Err(error)) => error!(%error, "a message was dropped in hand"),
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Waits until nothing is in hand, and drops what is not done in time; false if there was such.
    pub(super) async fn finish(&mut self, timeout: Duration) -> bool {
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = time::timeout(timeout, finished).await.is_ok();
        self.tasks.shutdown().await;
        in_time
    }

    /// Drops what is in hand.
    pub(super) async fn drop_all(&mut self) {
        self.tasks.shutdown().await;
    }
}

// === impl Job ===

impl Job {
    fn work(self, slot: usize) -> impl Future<Output = Done> + Send + 'static {
        let Self {
            session,
            mut message,
            handler,
            status,
            in_place,
        } = self;
        async move {
            let began = Instant::now();
            let verdict = loop {
                status.begin_slot(slot);
                let handling = AssertUnwindSafe(handler.handle(message.clone())).catch_unwind();
                let verdict = match handling.await {
                    Ok(outcome) => Verdict::Said(outcome),
                    Err(panic) => {
                        let text = panic_text(&*panic);
                        error!("The handler {:?} panicked: {text}", handler.name());
                        Verdict::Panicked
                    }
                };
                status.end_slot(slot);
                let after = match verdict {
                    Verdict::Said(Outcome::Retry { after }) => after,
                    Verdict::Panicked => None,
                    Verdict::Said(_) => break verdict,
                };
                match &in_place {
                    Some(policy) if !policy.is_exhausted(message.attempt) => {
                        time::sleep(after.unwrap_or_else(|| policy.pause(message.attempt))).await;
                        message.attempt += 1;
                    }
                    _ => break verdict,
                }
            };
            Done {
                session,
                message,
                verdict,
                duration: began.elapsed(),
                slot,
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
