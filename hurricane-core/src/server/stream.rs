//! A client's socket, which is given up when the client does not read what it is sent, and into which early hints are
//! written between what hyper writes.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

#[cfg(feature = "http2")]
use bytes::BytesMut;
#[cfg(feature = "http2")]
use tokio::io::AsyncReadExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{self, Sleep},
};

use super::{
    activity::Activity,
    hints::{self, Hints},
};

/// A socket whose writes fail when the client has taken nothing for a while.
#[derive(Debug)]
pub(super) struct Stream {
    inner: TcpStream,
    write_timeout: Option<Duration>,
    activity: Arc<Activity>,
    /// The client takes nothing more for now.
    stuck: bool,
    /// Runs from the moment the client takes nothing more.
    waiting: Option<Pin<Box<Sleep>>>,
    early: Option<Early>,
    /// What was read to see which protocol it is, and is to be read again.
    #[cfg(feature = "http2")]
    seen: BytesMut,
}

/// Hints on their way.
#[derive(Debug)]
struct Early {
    hints: Arc<Hints>,
    /// The request that had no answer yet when all was flushed; [`hints::NONE`] since something has been written.
    flushed: u64,
    /// What is being written.
    heads: Vec<u8>,
}

/// What a client that speaks HTTP/2 with prior knowledge says first.
#[cfg(feature = "http2")]
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pieces that are together no longer than this (bytes) are written as one: copying so little costs less than what the
/// kernel does for each piece.
const SMALL: usize = 1024;

// === impl Stream ===

impl Stream {
    pub(super) fn new(
        inner: TcpStream,
        write_timeout: Option<Duration>,
        activity: Arc<Activity>,
        hints: Option<Arc<Hints>>,
    ) -> Self {
        Self {
            inner,
            write_timeout,
            activity,
            stuck: false,
            waiting: None,
            early: hints.map(|hints| Early {
                hints,
                flushed: hints::NONE,
                heads: Vec::new(),
            }),
            #[cfg(feature = "http2")]
            seen: BytesMut::new(),
        }
    }

    /// Waits for as many bytes as it takes to see whether the client speaks HTTP/2.
    #[cfg(feature = "http2")]
    pub(super) async fn speaks_http2(&mut self) -> io::Result<bool> {
        while PREFACE.starts_with(&self.seen) && self.seen.len() < PREFACE.len() {
            let rest = PREFACE.len() - self.seen.len();
            if (&mut self.inner)
                .take(rest as u64)
                .read_buf(&mut self.seen)
                .await?
                == 0
            {
                return Ok(false);
            }
        }
        Ok(self.seen == PREFACE)
    }

    /// Writes the hints that may be written before what hyper writes next.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(early) = &mut self.early {
            // No more is taken while the client does not take these.
            if early.heads.is_empty() && early.flushed != hints::NONE {
                early.heads = early.hints.take(early.flushed);
            }
            if early.heads.is_empty() {
                break;
            }
            let written = Pin::new(&mut self.inner).poll_write(cx, &early.heads);
            let count = ready!(self.watch(written, cx))?;
            if let Some(early) = &mut self.early {
                early.heads.drain(..count);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes hints for the last time before something else is written.
    #[inline]
    fn poll_last_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early.is_some() {
            ready!(self.poll_early(cx))?;
            if let Some(early) = &mut self.early {
                early.flushed = hints::NONE;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what came of a write, unless it has been waiting for too long.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if mem::replace(&mut self.stuck, written.is_pending()) && written.is_ready() {
            self.activity.rest();
        }
        let Some(limit) = self.write_timeout else {
            return written;
        };
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(time::sleep(limit)));
        if waiting.as_mut().poll(cx).is_ready() {
            let error = io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read the answer",
            );
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(feature = "http2")]
        if !self.seen.is_empty() {
            let count = self.seen.len().min(buffer.remaining());
            buffer.put_slice(&self.seen.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_last_early(cx))?;
        let written = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_last_early(cx))?;
        let size: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if buffers.len() > 1 && size <= SMALL {
            let mut whole = [0; SMALL];
            let mut end = 0;
            for buffer in buffers {
                whole[end..end + buffer.len()].copy_from_slice(buffer);
                end += buffer.len();
            }
            return self.poll_write(cx, &whole[..end]);
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper calls it when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(early) = &mut self.early {
            early.flushed = early.hints.open();
            ready!(self.poll_early(cx))?;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, task::Waker};

    use http::HeaderValue;
    use tokio::{io::AsyncReadExt as _, net::TcpListener, time::Instant};

    use super::*;

    /// Both ends of a connection.
    async fn pair(write_timeout: Option<Duration>) -> (Stream, TcpStream) {
        pair_with(write_timeout, None).await
    }

    async fn pair_with(
        write_timeout: Option<Duration>,
        hints: Option<Arc<Hints>>,
    ) -> (Stream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let activity = Activity::new(Instant::now(), None);
        (Stream::new(server, write_timeout, activity, hints), client)
    }

    async fn write(stream: &mut Stream) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, &[0; 64 * 1024])).await
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_whether_they_are_put_together_or_not() {
        for length in [1, SMALL / 2, SMALL / 2 + 1, SMALL] {
            let (mut stream, mut client) = pair(None).await;
            let (first, second) = (vec![1; length], vec![2; length]);
            let pieces = [IoSlice::new(&first), IoSlice::new(&second)];
            let written = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces));
            assert_eq!(written.await.unwrap(), length * 2);
            drop(stream);
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, [first, second].concat());
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (mut stream, _client) = pair(Some(Duration::from_millis(20))).await;
        let error = loop {
            if let Err(error) = write(&mut stream).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_late_is_waited_for() {
        let (mut stream, mut client) = pair(Some(Duration::from_secs(20))).await;
        // Until the kernel takes no more.
        while stream.waiting.is_none() {
            tokio::select! {
                biased;
                written = write(&mut stream) => drop(written.unwrap()),
                () = std::future::ready(()) => {}
            }
        }
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 1024 * 1024];
            while client.read(&mut buffer).await.unwrap() > 0 {}
        });
        let before = stream.activity.idle_since();
        write(&mut stream).await.unwrap();
        assert!(stream.waiting.is_none());
        assert!(stream.activity.idle_since() > before);
        drop(stream);
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_no_hints_is_given_up() {
        let hints = Arc::<Hints>::default();
        let timeout = Some(Duration::from_millis(20));
        let (mut stream, _client) = pair_with(timeout, Some(Arc::clone(&hints))).await;
        let request = hints.begin();
        let link = HeaderValue::from_str(&"x".repeat(10_000)).unwrap();
        let error = loop {
            request.send([link.clone()]);
            if let Err(error) = poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn hints_that_a_client_does_not_take_are_limited_and_come_whole() {
        for vectored in [false, true] {
            let hints = Arc::<Hints>::default();
            let (mut stream, mut client) = pair_with(None, Some(Arc::clone(&hints))).await;
            let request = hints.begin();
            let link = HeaderValue::from_str(&"x".repeat(10_000)).unwrap();
            let head = format!(
                "HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n",
                "x".repeat(10_000)
            );
            let mut told = 0;
            let mut context = Context::from_waker(Waker::noop());
            while stream.early.as_ref().unwrap().heads.is_empty() {
                request.send([link.clone()]);
                told += 1;
                let _ = Pin::new(&mut stream).poll_flush(&mut context);
            }
            for _ in 0..100 {
                request.send([link.clone()]);
                let _ = Pin::new(&mut stream).poll_flush(&mut context);
            }
            let kept = 64 * 1024 / head.len();
            let reader = tokio::spawn(async move {
                let mut got = String::new();
                client.read_to_string(&mut got).await.unwrap();
                got
            });
            request.end();
            // In pieces that are not put together.
            let answer = "answer".repeat(SMALL);
            let mut rest = answer.as_bytes();
            while !rest.is_empty() {
                let (first, second) = rest.split_at(rest.len() / 2);
                let pieces = [IoSlice::new(first), IoSlice::new(second)];
                let written = poll_fn(|cx| {
                    let stream = Pin::new(&mut stream);
                    if vectored {
                        stream.poll_write_vectored(cx, &pieces)
                    } else {
                        stream.poll_write(cx, rest)
                    }
                });
                rest = &rest[written.await.unwrap()..];
            }
            drop(stream);
            let got = reader.await.unwrap();
            let wanted = head.repeat(told + kept) + &answer;
            assert!(got == wanted, "vectored: {vectored}, {} bytes", got.len());
        }
    }

    /// It would be in the middle of the answer.
    #[tokio::test]
    async fn a_hint_is_left_out_when_the_answer_has_begun() {
        for vectored in [false, true] {
            let hints = Arc::<Hints>::default();
            let (mut stream, mut client) = pair_with(None, Some(Arc::clone(&hints))).await;
            let request = hints.begin();
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut stream).poll_flush(&mut context);
            request.end();
            let piece = [b'x'; 64 * 1024];
            let mut length = 0;
            loop {
                let stream = Pin::new(&mut stream);
                let written = if vectored {
                    let pieces = [IoSlice::new(&piece), IoSlice::new(&piece)];
                    stream.poll_write_vectored(&mut context, &pieces)
                } else {
                    stream.poll_write(&mut context, &piece)
                };
                let Poll::Ready(written) = written else { break };
                length += written.unwrap();
                request.send([HeaderValue::from_static("</late>")]);
            }
            drop(stream);
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert_eq!(got.len(), length, "vectored: {vectored}");
        }
    }
}
