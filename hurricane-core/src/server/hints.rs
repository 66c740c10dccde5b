//! Early hints (103, RFC 8297): what a client may fetch while the answer to its request is made.
//!
//! hyper does not send them, so the connection's [`Stream`](super::stream::Stream) does, below hyper. It may when the
//! request is in hand, hyper has flushed what it wrote before, and has written nothing since: then neither the end of
//! the answer before nor the beginning of this one is on its way. All of that is known in the connection's own task, so
//! whoever tells a hint only leaves it here and wakes that task.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
};

use http::HeaderValue;

/// Tells a client early what it is going to need (103, RFC 8297), while the answer to its request is made.
///
/// With [`ServeConfig::early_hints`](super::ServeConfig::early_hints) each request of HTTP/1.1 has one among its
/// extensions. Others have none: a client of HTTP/1.0 would not understand it (RFC 9110 section 15.2), and on HTTP/2
/// hyper cannot send it.
///
/// Not every client of HTTP/1.1 understands it either (RFC 8297 section 3), though RFC 9110 asks for that, and browsers
/// make use of it on HTTP/2 and HTTP/3 alone. So it is best told to a proxy that is known to pass it on.
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use http::HeaderValue;
/// use hurricane_core::server::EarlyHints;
///
/// async fn page(hints: Option<Extension<EarlyHints>>) -> String {
///     if let Some(Extension(hints)) = hints {
///         hints.send([HeaderValue::from_static("</style.css>; rel=preload; as=style")]);
///     }
///     render().await
/// }
///
/// async fn render() -> String {
///     // Takes its time.
///     String::new()
/// }
///
/// let app: Router = Router::new().route("/", get(page));
/// ```
#[derive(Clone, Debug)]
pub struct EarlyHints {
    connection: Arc<Hints>,
    request: u64,
}

/// What has been told on one connection.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// How many requests there have been, of which the last one may be in hand.
    requests: AtomicU64,
    /// The request whose answer has not begun; [`NONE`] otherwise.
    open: AtomicU64,
    /// That of the connection's task, which is the same for as long as there is a connection.
    task: OnceLock<Waker>,
    /// Whether there is something in `told`, so that it need not be locked to see that there is not.
    any: AtomicBool,
    told: Mutex<Told>,
}

/// What is to be sent for one request.
#[derive(Debug, Default)]
struct Told {
    request: u64,
    heads: Vec<u8>,
}

/// No request has this number.
pub(super) const NONE: u64 = 0;

/// So much is kept for a client that takes nothing (bytes); more hints are left out.
const MOST: usize = 64 * 1024;

// === impl EarlyHints ===

impl EarlyHints {
    /// Has the values of `Link` (RFC 8288) sent at once, in a head of their own.
    ///
    /// Without values nothing is sent. A hint is no more than that: it is left out once the answer is there, which may
    /// be when the service is polled for the first time, and while the client has 64 KiB of hints to take.
    pub fn send(&self, links: impl IntoIterator<Item = HeaderValue>) {
        let mut head = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        let empty = head.len();
        for link in links {
            head.extend_from_slice(b"link: ");
            head.extend_from_slice(link.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        if head.len() == empty {
            return;
        }
        head.extend_from_slice(b"\r\n");
        let mut told = self.connection.told();
        if told.request > self.request {
            return;
        }
        if told.request < self.request {
            told.request = self.request;
            told.heads.clear();
        }
        if told.heads.len() + head.len() > MOST {
            return;
        }
        told.heads.append(&mut head);
        self.connection.any.store(true, Release);
        let task = self.connection.task.get();
        drop(told);
        if let Some(task) = task {
            task.wake_by_ref();
        }
    }

    /// Notes which task is to send them.
    pub(super) fn sent_by(&self, task: &Waker) {
        if self.connection.task.get().is_none() {
            // Under the lock: either the one who tells something finds the task, or the task finds what was told.
            let _told = self.connection.told();
            self.connection.task.get_or_init(|| task.clone());
        }
    }

    /// Notes that the answer is there.
    pub(super) fn end(&self) {
        self.connection.open.store(NONE, Relaxed);
    }
}

// === impl Hints ===

impl Hints {
    /// Notes that a request is in hand.
    pub(super) fn begin(self: &Arc<Self>) -> EarlyHints {
        let request = self.requests.load(Relaxed) + 1;
        self.requests.store(request, Relaxed);
        self.open.store(request, Relaxed);
        EarlyHints {
            connection: Arc::clone(self),
            request,
        }
    }

    /// The request whose answer has not begun.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// The heads for a request. Those for others come too late, and are dropped.
    pub(super) fn take(&self, request: u64) -> Vec<u8> {
        if !self.any.load(Acquire) {
            return Vec::new();
        }
        let mut told = self.told();
        self.any.store(false, Relaxed);
        let heads = mem::take(&mut told.heads);
        if told.request == request {
            heads
        } else {
            Vec::new()
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nothing panics while it is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_for_a_request_of_the_past_is_not_sent_with_another() {
        let hints = Arc::<Hints>::default();
        let (past, present) = (hints.begin(), hints.begin());
        let link = |name| [HeaderValue::from_static(name)];
        past.send(link("</past>"));
        present.send(link("</present>"));
        past.send(link("</past>"));
        let heads = hints.take(hints.open());
        let wanted = "HTTP/1.1 103 Early Hints\r\nlink: </present>\r\n\r\n";
        assert_eq!(String::from_utf8(heads).unwrap(), wanted);
        past.send(link("</past>"));
        assert!(hints.take(hints.open()).is_empty());
    }
}
