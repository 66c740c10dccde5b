//! All connections of a listener: accepting them, and ending them in good order.

use std::{
    collections::HashMap,
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body::Body;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{self, AbortHandle, JoinSet},
    time::{self, Instant, Interval, MissedTickBehavior},
};
use tracing::{debug, warn};

use super::{
    activity::Activity,
    connection::{App, PerConnection, Protocols, drive},
    stream::Stream,
};
use crate::{
    heartbeat::Heartbeat,
    listener::{ACCEPT_PAUSE, BACKLOG, is_connection_error},
    shutdown::DrainTimedOut,
};

/// Configures how a listener is served.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// How long a client may take to send the head of a request; also how long an idle connection is kept, and how long
    /// the client may take nothing of the last part of an answer. It may be a tenth more, but at most a second, until it
    /// is noticed.
    pub header_timeout: Duration,
    /// Most bytes in the head of a request; more is answered with 431.
    pub max_header_bytes: usize,
    /// How long a client may take nothing of what it is sent before its connection is closed; none is for ever.
    pub write_timeout: Option<Duration>,
    /// Most connections at a time; more wait in the kernel's queue.
    pub max_connections: Option<usize>,
    /// Whether the connection that has been idle for longest is closed when there are too many, so that a new one need
    /// not wait. Idle is a connection without a request in hand, and a head that has not come to its end is none yet.
    pub close_idle: bool,
    /// Whether HTTP/2 is spoken with clients that begin with it (prior knowledge, without TLS).
    #[cfg(feature = "http2")]
    pub http2: bool,
    /// Whether requests of HTTP/1.1 have [`EarlyHints`](super::EarlyHints) among their extensions.
    pub early_hints: bool,
    /// How long idle connections are kept when the end begins, for requests that are on the wire already.
    pub linger: Duration,
    /// How long requests in flight may take to finish at the end.
    pub grace: Duration,
    /// Beats for as long as connections can be accepted and the runtime gets round to a task of its own.
    pub heartbeat: Option<Heartbeat>,
}

/// Serves the connections of a listener until `drain` resolves, and then ends in good order.
///
/// The end: connections in the kernel's queue are accepted, the listener is closed; every answer says
/// `Connection: close`; idle connections are closed after [`linger`](ServeConfig::linger); requests in flight have
/// [`grace`](ServeConfig::grace) to finish. Dropping the future cuts all connections at once.
///
/// The service finds the client's address in the request's extensions, as axum's `ConnectInfo<SocketAddr>`, and
/// [`EarlyHints`](super::EarlyHints) where they are [asked for](ServeConfig::early_hints).
///
/// # Errors
///
/// Requests were still in flight when the grace was over; they have been cut.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use hurricane_core::server::{ServeConfig, serve};
/// use hyper::body::Incoming;
/// use tokio::net::TcpListener;
/// use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let app = service_fn(|_: Request<Incoming>| async {
///     Ok::<_, Infallible>(Response::new("hello".to_owned()))
/// });
/// let drain = async { /* wait for a reason to stop */ };
/// serve(listener, app, ServeConfig::default(), drain).await?;
/// # Ok(())
/// # }
/// ```
pub async fn serve<S, B>(
    listener: TcpListener,
    app: S,
    config: ServeConfig,
    drain: impl Future<Output = ()>,
) -> Result<(), DrainTimedOut>
where
    S: App<B>,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = Connections::new(app, config);
    connections.accept_until(&listener, drain).await;
    let deadline = Instant::now() + connections.config.grace;
    connections.close(listener);
    connections.finish(deadline).await
}

/// For how long accepting may fail before the heartbeat stops.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections on which no request comes are looked for at least so often.
const ROUND: Duration = Duration::from_secs(1);

struct Connections<S> {
    app: S,
    config: ServeConfig,
    protocols: Protocols,
    /// Whether answers are to say `Connection: close`.
    closing: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    open: HashMap<task::Id, Open>,
    /// When connections are looked for on which no request comes.
    rounds: Interval,
    /// From when idle times are counted.
    epoch: Instant,
    /// Told when a connection has become idle.
    idle: Arc<Notify>,
}

/// An open connection, seen from outside.
struct Open {
    /// Tells it to end when it has nothing in hand; none once it has been told.
    end: Option<oneshot::Sender<()>>,
    /// Ends it at once.
    task: AbortHandle,
    activity: Arc<Activity>,
}

// === impl ServeConfig ===

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            max_header_bytes: 64 * 1024,
            write_timeout: None,
            max_connections: None,
            close_idle: false,
            #[cfg(feature = "http2")]
            http2: false,
            early_hints: false,
            linger: Duration::from_millis(100),
            grace: Duration::from_secs(30),
            heartbeat: None,
        }
    }
}

// === impl Connections ===

impl<S> Connections<S> {
    fn new(app: S, config: ServeConfig) -> Self {
        let protocols = Protocols::new(&config);
        let round = (config.header_timeout / 10).clamp(Duration::from_millis(1), ROUND);
        let mut rounds = time::interval(round);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            app,
            config,
            protocols,
            closing: Arc::default(),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            rounds,
            epoch: Instant::now(),
            idle: Arc::default(),
        }
    }

    async fn accept_until<B>(&mut self, listener: &TcpListener, drain: impl Future<Output = ()>)
    where
        S: App<B>,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let mut drain = pin!(drain);
        let mut beat = time::interval(
            self.config
                .heartbeat
                .as_ref()
                .map_or(PATIENCE, Heartbeat::pause),
        );
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let most = self.config.max_connections.unwrap_or(usize::MAX);
        // Set after an accept that failed because the process is out of something.
        let mut pause = None;
        let idle = Arc::clone(&self.idle);
        // Accepted, but there was no room yet.
        let mut next: Option<(TcpStream, SocketAddr)> = None;
        loop {
            if let Some((stream, peer)) =
                next.take_if(|_| self.open.len() < most || self.make_room())
            {
                self.spawn(stream, peer);
            }
            let full = self.open.len() >= most;
            tokio::select! {
                biased;
                () = &mut drain => {
                    if let Some((stream, peer)) = next {
                        self.spawn(stream, peer);
                    }
                    return;
                }
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                _ = self.rounds.tick(), if !self.open.is_empty() => self.close_late(),
                _ = beat.tick(), if self.config.heartbeat.is_some() => {
                    // A listener that fails to accept over and over is as good as none.
                    let accepts = pause.is_none_or(|until| until + PATIENCE < Instant::now());
                    if let (Some(heartbeat), true) = (self.config.heartbeat.clone(), accepts) {
                        // By a task, as this loop may run on a thread that is not one of the runtime's workers.
                        tokio::spawn(async move { heartbeat.beat() });
                    }
                }
                // Now there may be one that can be closed for the next one.
                () = idle.notified(), if next.is_some() => {}
                accepted = accept(listener, pause), if next.is_none() && (!full || self.config.close_idle) => match accepted {
                    Ok(accepted) => {
                        pause = None;
                        next = Some(accepted);
                    }
                    Err(error) if is_connection_error(&error) => debug!(%error, "connection was lost before it was accepted"),
                    Err(error) => {
                        warn!(%error, "failed to accept a connection");
                        pause = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                },
            }
        }
    }

    /// Accepts what the kernel has accepted already, and then nothing more.
    fn close<B>(&mut self, listener: TcpListener)
    where
        S: App<B>,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.closing.store(true, Relaxed);
        if let Some(heartbeat) = &self.config.heartbeat {
            heartbeat.retire();
        }
        // Asked of the kernel itself, as the runtime may not have heard of the latest connections yet.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for _ in 0..BACKLOG {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer),
                Err(error) if is_connection_error(&error) => {}
                Err(_) => break,
            }
        }
    }

    /// Waits for the connections to end, the idle ones a short time, the busy ones until the deadline.
    async fn finish(mut self, deadline: Instant) -> Result<(), DrainTimedOut> {
        let linger = Instant::now() + self.config.linger;
        let _ = time::timeout_at(linger.min(deadline), self.all_ended()).await;
        for end in self.open.values_mut().filter_map(|open| open.end.take()) {
            // The error means that it has ended just now.
            let _ = end.send(());
        }
        if time::timeout_at(deadline, self.all_ended()).await.is_ok() {
            return Ok(());
        }
        let count = self.tasks.len();
        self.tasks.shutdown().await;
        Err(DrainTimedOut {
            count,
            grace: self.config.grace,
        })
    }

    async fn all_ended(&mut self) {
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => self.forget(ended),
                    None => return,
                },
                _ = self.rounds.tick() => self.close_late(),
            }
        }
    }

    fn spawn<B>(&mut self, stream: TcpStream, peer: SocketAddr)
    where
        S: App<B>,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(client.addr = %peer, %error, "failed to set TCP_NODELAY");
        }
        let (end, ended) = oneshot::channel();
        let idle = self.config.close_idle.then(|| Arc::clone(&self.idle));
        let activity = Activity::new(self.epoch, idle);
        let hints = self.config.early_hints.then(Arc::default);
        let service = PerConnection::new(
            self.app.clone(),
            peer,
            Arc::clone(&self.closing),
            Arc::clone(&activity),
            hints.clone(),
        );
        let timeout = self.config.write_timeout;
        let stream = Stream::new(stream, timeout, Arc::clone(&activity), hints);
        let task = self
            .tasks
            .spawn(drive(self.protocols.clone(), stream, service, ended));
        let open = Open {
            end: Some(end),
            activity,
            task: task.clone(),
        };
        self.open.insert(task.id(), open);
    }

    /// Closes the connection that has been idle for longest; returns whether there was one to be closed.
    fn make_room(&mut self) -> bool {
        let idle = self.open.iter().filter_map(|(id, open)| {
            let since = open.activity.idle_since()?;
            Some((since, *id))
        });
        let longest = idle.min_by_key(|(since, _)| *since).map(|(_, id)| id);
        let Some(open) = longest.and_then(|id| self.open.remove(&id)) else {
            return false;
        };
        debug!("too many connections: the one that has been idle for longest is closed");
        open.task.abort();
        true
    }

    /// Closes the connections on which no request has come in time.
    fn close_late(&self) {
        let now = self.epoch.elapsed();
        let Some(moment) = now.checked_sub(self.config.header_timeout) else {
            return;
        };
        for open in self.open.values() {
            if open.activity.is_late(moment) {
                debug!("no request came in time on a connection: it is closed");
                open.task.abort();
            }
        }
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    // The panic hook has told more; the client sees its connection closed.
                    warn!(%error, "connection ended with a panic");
                }
                error.id()
            }
        };
        self.open.remove(&id);
    }
}

async fn accept(
    listener: &TcpListener,
    pause: Option<Instant>,
) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(until) = pause {
        time::sleep_until(until).await;
    }
    listener.accept().await
}
