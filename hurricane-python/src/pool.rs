//! The workers: started together, replaced when they end or hang, stopped together.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hurricane_core::{Dispatcher, Event, EventKind, EventStatus, Traffic};
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    asgi::Interface,
    backoff::Backoff,
    gateway::{Control, Gateway, GatewayConfig},
    handler::Desk,
    loaded::Loaded,
    metrics::Ledger,
    reaper::Own,
    recycle::{Meter, RecycleConfig, Worn},
    worker::{About, CheckAnswer, Command, StartError, Unfit, Worker, WorkerConfig},
};

/// How long a worker at least is kept that works but is too large, and how long it goes on when its
/// replacement did not become ready.
const PAUSE: Duration = Duration::from_secs(10);

/// How many workers there are and how they are started and ended.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How many processes.
    pub workers: usize,
    /// How each of them is started.
    pub worker: WorkerConfig,
    /// When a worker that works is replaced.
    pub recycle: RecycleConfig,
    /// How long a worker that is replaced may take to finish what it has begun.
    pub graceful_timeout: Duration,
}

/// The worker processes behind a [`Gateway`]. Cloning shares it.
///
/// A worker that dies is replaced, at once at first and then with longer and longer pauses; one
/// that hangs is ended once its replacement is ready. When the runtime ends they are killed.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// Has checks run by whichever worker is up.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: PoolConfig,
    gateway: Gateway,
    /// Where the workers get messages from, if that is what they are for.
    desk: Option<Desk>,
    /// The control channels and process ids of the workers that are up, by seat.
    live: watch::Sender<Vec<Option<(Control, u32)>>>,
    ledger: Arc<Ledger>,
    loaded: Arc<watch::Sender<Loaded>>,
    /// Whose turn it is to run a check.
    turn: AtomicUsize,
    /// Who tells others that a worker has crashed.
    dispatcher: OnceLock<Dispatcher>,
    /// How many times new workers have been asked for.
    asked: watch::Sender<u64>,
    /// What has become of that.
    renewal: watch::Sender<Renewal>,
    /// Whether the tasks that go on beside the workers have been started.
    is_open: AtomicBool,
    /// Held while a worker that works is replaced, and by one at a time.
    recycling: Semaphore,
    /// How many of them there have been.
    recycled: AtomicUsize,
    own: Own,
    stop: CancellationToken,
    /// How long the workers may take to end, once they are to.
    farewell: OnceLock<Duration>,
    tasks: TaskTracker,
}

/// How far the workers are as new as was asked for.
#[derive(Debug)]
struct Renewal {
    /// How many times new workers had been asked for when the one in each seat was started.
    seats: Vec<u64>,
    /// The same of the latest that did not become ready, though it was asked for: the code is then not tried again.
    refused: u64,
}

/// One worker after the other.
struct Seat {
    number: usize,
    server: SocketAddr,
    shared: Arc<Shared>,
    backoff: Backoff,
}

// === impl Pool ===

impl Pool {
    /// A pool whose workers are not started yet. Its [checks](Self::checks) wait for them.
    #[must_use]
    pub fn new(config: PoolConfig, gateway: Gateway) -> Self {
        Self::with(config, gateway, None)
    }

    /// A pool whose workers handle the messages of a [`Desk`], and no requests.
    ///
    /// What [`start`](Self::start) is told of an address is of no use to them.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::Ipv4Addr;
    ///
    /// use hurricane_python::{Desk, DeskConfig, HandlerConfig, Pool, PoolConfig};
    ///
    /// # async fn run(pool_config: PoolConfig) -> Result<(), hurricane_python::StartError> {
    /// let desk = Desk::new(DeskConfig {
    ///     handlers: vec![HandlerConfig {
    ///         class: "shop.consumers.Mails".to_owned(),
    ///         queue: "mails".to_owned(),
    ///         ..HandlerConfig::default()
    ///     }],
    ///     concurrency: 1,
    ///     ..DeskConfig::default()
    /// });
    /// let pool = Pool::for_desk(pool_config, desk.clone());
    /// let about = pool.start((Ipv4Addr::UNSPECIFIED, 0).into()).await?;
    /// println!("bound with {:?}", about.handlers[0].routing_keys);
    /// // Each of these is a `hurricane_core::Handler`, for a consumer.
    /// for handler in desk.handlers() { /* … */ }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn for_desk(config: PoolConfig, desk: Desk) -> Self {
        let gateway = Gateway::new(GatewayConfig::default(), Arc::new(Traffic::new()));
        Self::with(config, gateway, Some(desk))
    }

    fn with(config: PoolConfig, gateway: Gateway, desk: Option<Desk>) -> Self {
        let shared = Shared {
            live: watch::Sender::new(vec![None; config.workers]),
            ledger: Arc::default(),
            loaded: Arc::new(watch::Sender::default()),
            turn: AtomicUsize::new(0),
            dispatcher: OnceLock::new(),
            asked: watch::Sender::new(0),
            renewal: watch::Sender::new(Renewal {
                seats: vec![0; config.workers],
                refused: 0,
            }),
            is_open: AtomicBool::new(false),
            recycling: Semaphore::new(1),
            recycled: AtomicUsize::new(0),
            own: Own::default(),
            stop: CancellationToken::new(),
            farewell: OnceLock::new(),
            tasks: TaskTracker::new(),
            config,
            gateway,
            desk,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts the workers and waits until all of them are ready.
    ///
    /// `server` is the address that the application is served on, of which it is told
    /// (`SERVER_NAME` and `SERVER_PORT`).
    ///
    /// # Errors
    ///
    /// The first worker that does not become ready; the others are killed.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(&self, server: SocketAddr) -> Result<About, StartError> {
        let shared = &self.shared;
        if !shared.is_open.swap(true, Relaxed) {
            self.open();
        }
        let mut starting = JoinSet::new();
        for number in 0..shared.config.workers {
            let shared = Arc::clone(shared);
            let start = async move { (number, shared.start_worker(server, number).await) };
            starting.spawn(start);
        }
        let mut workers = Vec::new();
        while let Some(started) = starting.join_next().await {
            let (number, worker) = started.expect("starting a worker does not panic");
            workers.push((number, worker?));
        }
        let about = workers
            .first()
            .map(|(_, worker)| worker.about.clone())
            .unwrap_or_default();
        for (number, worker) in workers {
            let seat = Seat {
                number,
                server,
                shared: Arc::clone(shared),
                backoff: Backoff::default(),
            };
            seat.takes(&worker);
            shared.tasks.spawn(seat.run(worker));
        }
        Ok(about)
    }

    /// Like [`start`](Self::start), but where the application cannot be loaded, it is tried again
    /// each time that new workers [are asked for](Self::reload).
    ///
    /// # Errors
    ///
    /// What new code does not mend: there is no such interpreter, or no Django for it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start_at_last(&self, server: SocketAddr) -> Result<About, StartError> {
        let mut asked = self.shared.asked.subscribe();
        loop {
            let before = *asked.borrow_and_update();
            match self.start(server).await {
                Err(error) if error.is_the_applications() => {
                    let error = chain(&error);
                    tracing::error!(
                        error,
                        "The application does not start, waiting for a change"
                    );
                    newer(&mut asked, |count| count > before).await;
                }
                ended => return ended,
            }
        }
    }

    /// Starts what goes on beside the workers.
    fn open(&self) {
        let shared = &self.shared;
        shared.tasks.spawn(
            shared
                .stop
                .clone()
                .run_until_cancelled_owned(shared.gateway.clone().dispatch()),
        );
        shared.tasks.spawn(
            shared
                .stop
                .clone()
                .run_until_cancelled_owned(shared.gateway.clone().watch()),
        );
        shared.tasks.spawn(
            shared
                .stop
                .clone()
                .run_until_cancelled_owned(shared.gateway.clone().watch_lanes()),
        );
        if let Some(desk) = &shared.desk {
            let (dispatch, watch) = (desk.clone().dispatch(), desk.clone().watch());
            let stop = &shared.stop;
            shared
                .tasks
                .spawn(stop.clone().run_until_cancelled_owned(dispatch));
            shared
                .tasks
                .spawn(stop.clone().run_until_cancelled_owned(watch));
        }
        let reaper = shared.own.clone().reap_orphans();
        shared
            .tasks
            .spawn(shared.stop.clone().run_until_cancelled_owned(reaper));
    }

    /// Has webhooks told when a worker crashes; of several dispatchers the first counts.
    pub fn tell(&self, dispatcher: Dispatcher) {
        // The error is that there is one already.
        let _ = self.shared.dispatcher.set(dispatcher);
    }

    /// How many workers are up.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.live.borrow().iter().flatten().count()
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// Replaces all workers by new ones, one after the other, as in
    /// [recycling](RecycleConfig). One that does not become ready leaves the old one at work.
    pub fn reload(&self) {
        self.shared.asked.send_modify(|count| *count += 1);
    }

    /// Waits until all workers are as new as was asked for so far; false when a new one did not
    /// become ready, and so the old ones go on.
    pub async fn renewed(&self) -> bool {
        let asked = *self.shared.asked.borrow();
        let mut renewal = self.shared.renewal.subscribe();
        let done = |renewal: &Renewal| {
            renewal.refused >= asked || renewal.seats.iter().all(|seat| *seat >= asked)
        };
        let renewal = renewal.wait_for(done).await;
        renewal
            .expect("the sender lives as long as the pool")
            .refused
            < asked
    }

    /// What the application was loaded from, as far as its workers have told: they do where
    /// [`DevelopConfig::tell_files`](crate::DevelopConfig) is set.
    #[must_use]
    pub fn loaded(&self) -> watch::Receiver<Loaded> {
        self.shared.loaded.subscribe()
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// The process ids and control channels of the workers that are up.
    pub(crate) fn controls(&self) -> Vec<(u32, Control)> {
        let live = self.shared.live.borrow();
        let up = live.iter().flatten();
        up.map(|(control, pid)| (*pid, control.clone())).collect()
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker(Arc::clone(&self.shared))
    }

    /// Ends the workers, which have a moment to end by themselves, and waits until they are gone.
    /// What an ASGI application does at its end may take the graceful timeout.
    pub async fn stop(&self) {
        self.stop_within(self.shared.config.graceful_timeout).await;
    }

    /// Like [`stop`](Self::stop), with another limit for what an ASGI application does at its end.
    pub async fn stop_within(&self, limit: Duration) {
        // An error means that it was stopped before.
        let _ = self.shared.farewell.set(limit);
        self.shared.gateway.close_sockets();
        // What is left of them ends with the workers.
        let _ = timeout(limit, self.shared.gateway.sockets_closed()).await;
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

// === impl Shared ===

impl Shared {
    /// Starts the worker for a seat.
    async fn start_worker(&self, server: SocketAddr, number: usize) -> Result<Worker, StartError> {
        let started = Instant::now();
        let asked = *self.asked.borrow();
        let Self { own, loaded, .. } = self;
        let (config, gateway) = (&self.config.worker, &self.gateway);
        let start = Worker::start(
            config,
            gateway,
            self.desk.as_ref(),
            server,
            own,
            loaded,
            number,
        )
        .await;
        loaded.send_if_modified(|loaded| {
            std::mem::replace(&mut loaded.is_broken, start.is_err()) != start.is_err()
        });
        let mut worker = start?;
        worker.asked = asked;
        tracing::info!(
            worker.pid = worker.pid(),
            python = worker.about.python,
            django = worker.about.django,
            // Handlers of messages have none.
            interface = self
                .desk
                .is_none()
                .then(|| Interface::name(Some(worker.about.interface))),
            "Worker is ready after {:.3} s",
            started.elapsed().as_secs_f64(),
        );
        Ok(worker)
    }

    fn refused(&self) -> u64 {
        self.renewal.borrow().refused
    }

    fn refuse(&self, asked: u64) {
        self.renewal
            .send_modify(|renewal| renewal.refused = renewal.refused.max(asked));
    }
}

// === impl Asker ===

impl Asker {
    /// Has a check run; waits for a worker while none is up.
    pub(crate) async fn ask(&self, what: impl Into<Cow<'static, str>>) -> CheckAnswer {
        let what = what.into();
        loop {
            let (answer, receiver) = oneshot::channel();
            let worker = self.next().await;
            // An error, here and below, means that the worker has just ended: the next one is asked.
            let what = what.clone();
            if worker.send(Command::Check { what, answer }).is_ok()
                && let Ok(answer) = receiver.await
            {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn next(&self) -> Control {
        let mut live = self.0.live.subscribe();
        let up = live.wait_for(|live| live.iter().any(Option::is_some)).await;
        let up = up.expect("the sender lives as long as the asker");
        let turn = self.0.turn.fetch_add(1, Relaxed);
        let mut workers = up.iter().flatten().cycle();
        let count = up.iter().flatten().count();
        workers.nth(turn % count).expect("one is up").0.clone()
    }
}

// === impl Seat ===

impl Seat {
    /// Looks after one worker after the other until the pool stops.
    async fn run(mut self, mut worker: Worker) {
        let stop = self.shared.stop.clone();
        let mut pid = worker.pid().unwrap_or_default();
        loop {
            let since = Instant::now();
            let next = stop
                .run_until_cancelled(self.next(&mut worker, since))
                .await;
            let Some(next) = next else { break };
            self.takes(&next);
            let old = std::mem::replace(&mut worker, next);
            let shared = Arc::clone(&self.shared);
            let pid = std::mem::replace(&mut pid, worker.pid().unwrap_or_default());
            self.shared.tasks.spawn(async move {
                let control = old.control.clone();
                let last_word = async { shared.ledger.ask(pid, &control).await };
                // When the pool stops, requests have been finished or given up: what is left of
                // the old worker is killed as it is dropped.
                let grace = shared.config.graceful_timeout;
                let retire = old.retire(&shared.gateway, grace, last_word);
                shared.stop.run_until_cancelled(retire).await;
                shared.ledger.bury(pid);
            });
        }
        self.is_empty();
        // Requests have been finished, or given up, by now.
        let limit = self.shared.farewell.get().copied();
        worker
            .stop(limit.unwrap_or(self.shared.config.graceful_timeout))
            .await;
    }

    /// Waits until there is a reason to replace a worker, and for its replacement.
    async fn next(&mut self, worker: &mut Worker, since: Instant) -> Worker {
        let shared = Arc::clone(&self.shared);
        let mut asked = shared.asked.subscribe();
        // Once the process has ended it has no id any more.
        let pid = worker.pid();
        loop {
            let meter = Meter::of(worker, &shared.gateway);
            let has = worker.asked;
            let worn = tokio::select! {
                biased;
                unfit = worker.unfit() => {
                    self.mourn(pid, &unfit);
                    return self.replacement(since.elapsed()).await;
                }
                () = newer(&mut asked, |count| count > has.max(shared.refused())) => Worn::Asked,
                worn = shared.config.recycle.worn(&meter) => worn,
            };
            // While the replacement starts, the worker may die of something else.
            let next = tokio::select! {
                biased;
                unfit = worker.unfit() => {
                    self.mourn(pid, &unfit);
                    return self.replacement(since.elapsed()).await;
                }
                next = self.renewal(worn, pid, since.elapsed()) => next,
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// The replacement of a worker that works; none when it does not become ready.
    async fn renewal(&self, worn: Worn, pid: Option<u32>, uptime: Duration) -> Option<Worker> {
        let shared = &self.shared;
        let alone = shared.recycling.acquire().await;
        let _alone = alone.expect("the semaphore is not closed");
        let asked = *shared.asked.borrow();
        if matches!(worn, Worn::Asked) && asked <= shared.refused() {
            // It was tried for another worker just now, and does not load.
            return None;
        }
        let number = shared.recycled.fetch_add(1, Relaxed) + 1;
        match worn {
            Worn::Memory { .. } => {
                tracing::warn!(worker.pid = pid, "{worn} (restart #{number})");
                // One that is too large from the beginning is not replaced again and again.
                sleep(PAUSE.saturating_sub(uptime)).await;
            }
            Worn::Requests(_) | Worn::Asked => {
                tracing::info!(worker.pid = pid, "{worn}; replacing it");
            }
        }
        match shared.start_worker(self.server, self.number).await {
            Ok(worker) => Some(worker),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(
                    worker.pid = pid,
                    error,
                    "The next worker did not become ready, the old one goes on"
                );
                if matches!(worn, Worn::Asked) {
                    shared.refuse(asked);
                } else {
                    sleep(PAUSE).await;
                }
                None
            }
        }
    }

    /// Tells that a worker is to be replaced because something is wrong with it.
    fn mourn(&self, pid: Option<u32>, unfit: &Unfit) {
        match unfit {
            Unfit::Ended(Ok(status)) => {
                tracing::error!(worker.pid = pid, "Worker ended unexpectedly: {status}");
            }
            Unfit::Ended(Err(error)) => {
                tracing::error!(worker.pid = pid, %error, "Worker is lost");
            }
            Unfit::Stuck => tracing::error!(
                worker.pid = pid,
                "Worker hangs: its event loop does not turn; replacing it"
            ),
            Unfit::Hung => tracing::error!(
                worker.pid = pid,
                "Worker hangs: a request has passed its timeout; replacing it"
            ),
            Unfit::Broken => tracing::error!(
                worker.pid = pid,
                "Worker cannot be understood; replacing it"
            ),
        }
        self.tell(pid, unfit);
        if matches!(unfit, Unfit::Ended(_)) {
            self.is_empty();
        }
    }

    fn tell(&self, pid: Option<u32>, unfit: &Unfit) {
        if let Some(dispatcher) = self.shared.dispatcher.get() {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let event = Event::new(EventKind::WorkerCrashed, EventStatus::Failed)
                .with_worker(format!("worker {}{pid}", self.number + 1))
                .with_traceback(unfit.to_string());
            dispatcher.send(event);
        }
    }

    /// Starts workers until one is ready.
    async fn replacement(&mut self, mut uptime: Duration) -> Worker {
        let mut asked = self.shared.asked.subscribe();
        loop {
            let pause = self.backoff.after(uptime);
            if !pause.is_zero() {
                tracing::warn!("Starting the next worker in {pause:?}");
                // Somebody who asks for new workers has mended something.
                let _ = timeout(pause, asked.changed()).await;
            }
            asked.mark_unchanged();
            match self.shared.start_worker(self.server, self.number).await {
                Ok(worker) => return worker,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "The next worker did not become ready");
                }
            }
            uptime = Duration::ZERO;
        }
    }

    fn takes(&self, worker: &Worker) {
        let up = (worker.control.clone(), worker.pid().unwrap_or_default());
        self.shared
            .live
            .send_modify(|live| live[self.number] = Some(up));
        self.shared
            .renewal
            .send_modify(|renewal| renewal.seats[self.number] = worker.asked);
    }

    fn is_empty(&self) {
        self.shared
            .live
            .send_modify(|live| live[self.number] = None);
    }
}

/// Waits until new workers have been asked for so many times.
async fn newer(asked: &mut watch::Receiver<u64>, enough: impl Fn(u64) -> bool) {
    // An error cannot be: the pool has the sender.
    let _ = asked.wait_for(|count| enough(*count)).await;
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
