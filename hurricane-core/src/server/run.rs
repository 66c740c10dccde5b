//! The life of a server, from its ports to its end. Read top to bottom, it is the order of things.

use std::{
    borrow::Cow, convert::Infallible, error::Error, fmt::Write as _, future::pending, io,
    net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use http_body::Body;
use tokio::{sync::oneshot, task, time};
use tracing::{error, info, warn};

use super::{
    Hurricane, ShutdownTaskError, StartupError, StartupFailure, connection::App,
    connections::serve, tasks,
};
use crate::{
    lifecycle::Phase,
    listener::{BindError, Listener},
    probe::{self, ProbeServer, SpawnError},
    shutdown::{DrainTimedOut, Signals},
    webhook::{Dispatcher, Event, EventKind, EventStatus},
};

/// A server that has its ports; made by [`Hurricane::bind`].
#[derive(Debug)]
pub struct BoundServer {
    hurricane: Hurricane,
    listener: Listener,
    probe: Option<probe::Bound>,
}

/// A server that did not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A port is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system does not let the process handle signals.
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    /// The probe server could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A start-up task failed.
    #[error("the start-up task {task:?} failed")]
    Startup {
        /// Its name.
        task: Cow<'static, str>,
        /// Its error, of its own type.
        source: StartupError,
    },
    /// The probe server died while the application served.
    #[error("the probe server died")]
    ProbeServerDied,
    /// Requests in flight did not finish in time.
    #[error(transparent)]
    Drain(#[from] DrainTimedOut),
    /// A shutdown task did not come to its end.
    #[error(transparent)]
    Shutdown(#[from] ShutdownTaskError),
    /// A second signal ended the process before it was done.
    #[error("a second signal cut the shutdown short")]
    Cut,
}

/// How long the last webhooks have.
const WEBHOOKS: Duration = Duration::from_secs(5);

/// How long they have when nobody wants to wait any longer.
const WEBHOOKS_CUT: Duration = Duration::from_millis(500);

// === impl BoundServer ===

impl BoundServer {
    pub(super) fn new(
        hurricane: Hurricane,
        listener: Listener,
        probe: Option<probe::Bound>,
    ) -> Self {
        Self {
            hurricane,
            listener,
            probe,
        }
    }

    /// The address of the application.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The address of the probe server, where there is one.
    #[must_use]
    pub fn probe_addr(&self) -> Option<SocketAddr> {
        self.probe.as_ref().map(probe::Bound::local_addr)
    }

    /// The server, to look at.
    #[must_use]
    pub fn hurricane(&self) -> &Hurricane {
        &self.hurricane
    }

    /// Serves the application until the process is to end.
    ///
    /// # Errors
    ///
    /// A start-up task failed, or not everything could be finished at the end.
    pub async fn serve<S, B>(self, app: S) -> Result<(), ServeError>
    where
        S: App<B>,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self {
            mut hurricane,
            listener,
            probe,
        } = self;
        let mut signals = Signals::install().map_err(ServeError::Signals)?;
        let spawn = |bound: probe::Bound| bound.spawn(Arc::clone(&hurricane.probes));
        let mut probe = probe.map(spawn).transpose()?;
        // Usually the probe server's work. Dropped at the end, the set ends its tasks.
        let mut chores = task::JoinSet::new();
        if probe.is_none() {
            #[cfg(feature = "prometheus")]
            if let Some(exposition) = hurricane.probes.exposition() {
                chores.spawn(probe::upkeep(exposition.clone()));
            }
            let probes = Arc::clone(&hurricane.probes);
            chores.spawn(async move { probes.watch().await });
        }

        let served = live(&mut hurricane, listener, app, probe.as_mut(), &mut signals).await;

        hurricane.lifecycle.drain();
        let tasks = std::mem::take(&mut hurricane.shutdown);
        let shutdown = tasks::run_backwards(tasks, hurricane.shutdown_task_limit);
        let ended = if matches!(served, Err(ServeError::Cut)) {
            // A second signal ends what takes its time, and so do these.
            Ok(())
        } else {
            tokio::select! {
                biased;
                _ = signals.recv() => Err(ServeError::Cut),
                ended = shutdown => ended.map_err(ServeError::from),
            }
        };
        hurricane.lifecycle.stop();
        tell_end(&hurricane.dispatcher, &served, &ended);
        let cut = [&served, &ended]
            .iter()
            .any(|result| matches!(result, Err(ServeError::Cut)));
        // Before the last webhooks, which may take their time: who comes after this process finds its ports free.
        if let Some(probe) = probe {
            end(probe).await;
        }
        let deadline = if cut { WEBHOOKS_CUT } else { WEBHOOKS };
        let flushed = tokio::select! {
            biased;
            _ = signals.recv() => Err(ServeError::Cut),
            flushed = hurricane.dispatcher.close(deadline) => {
                if let Err(error) = flushed {
                    warn!("{error}");
                }
                Ok(())
            }
        };
        served.and(ended).and(flushed)
    }
}

/// From the start-up to the last answer.
async fn live<S, B>(
    hurricane: &mut Hurricane,
    listener: Listener,
    app: S,
    mut probe: Option<&mut ProbeServer>,
    signals: &mut Signals,
) -> Result<(), ServeError>
where
    S: App<B>,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let lifecycle = hurricane.lifecycle.clone();

    // Starting.
    let tasks = std::mem::take(&mut hurricane.startup);
    let startup = async {
        for task in tasks {
            task.run().await?;
        }
        Ok::<_, (Cow<'static, str>, StartupError)>(())
    };
    let started = tokio::select! {
        biased;
        _ = signals.recv() => return Ok(()),
        () = lifecycle.reached(Phase::Draining) => return Ok(()),
        started = startup => started,
    };
    if let Err((task, source)) = started {
        let causes = traceback(&*source);
        let event = match source.downcast_ref::<StartupFailure>() {
            Some(failure) => failure.event(causes),
            None => Event::new(EventKind::Startup, EventStatus::Failed).with_traceback(causes),
        };
        hurricane.dispatcher.send(event);
        return Err(ServeError::Startup { task, source });
    }

    // Running. The port listens first, so that nobody who sees the phase is refused.
    let addr = listener.local_addr();
    let listener = listener.listen()?;
    let mut config = hurricane.config.clone();
    config.heartbeat = Some(hurricane.probes.heartbeat("main runtime"));
    let (drain, drained) = oneshot::channel::<Infallible>();
    let mut served = pin!(serve(listener, app, config, async {
        // Nothing can be sent; the sender is dropped.
        let _ = drained.await;
    }));
    if lifecycle.run() {
        info!("serving on {addr}");
        let event = Event::new(EventKind::Startup, EventStatus::Succeeded);
        hurricane.dispatcher.send(event);
    }
    let mut verdict = Ok(());
    tokio::select! {
        biased;
        _ = signals.recv() => {}
        () = lifecycle.reached(Phase::Draining) => {}
        () = died(&mut probe) => {
            error!("the probe server died, so nobody can tell how this process is");
            verdict = Err(ServeError::ProbeServerDied);
        }
        served = &mut served => return Ok(served?),
    }

    // Draining. Readiness fails from here on, and the application serves on until that is noticed.
    lifecycle.drain();
    let event = Event::new(EventKind::Drain, EventStatus::Succeeded);
    hurricane.dispatcher.send(event);
    tokio::select! {
        biased;
        _ = signals.recv() => return Err(ServeError::Cut),
        () = time::sleep(hurricane.shutdown_delay) => {}
        served = &mut served => return Ok(served?),
    }
    drop(drain);
    tokio::select! {
        biased;
        _ = signals.recv() => Err(ServeError::Cut),
        served = &mut served => verdict.and(served.map_err(Into::into)),
    }
}

/// Tells how the process ends. A start-up that failed has been told.
fn tell_end(
    dispatcher: &Dispatcher,
    served: &Result<(), ServeError>,
    ended: &Result<(), ServeError>,
) {
    let event = |status| Event::new(EventKind::Shutdown, status);
    dispatcher.send(match (served, ended) {
        (Err(ServeError::Startup { .. }), _) => return,
        (Err(error), _) | (Ok(()), Err(error)) => {
            event(EventStatus::Failed).with_traceback(traceback(error))
        }
        (Ok(()), Ok(())) => event(EventStatus::Succeeded),
    });
}

/// Waits for the death of the probe server, for ever where there is none.
async fn died(probe: &mut Option<&mut ProbeServer>) {
    match probe {
        Some(probe) => probe.ended().await,
        None => pending().await,
    }
}

/// Joins the probe server's thread, on a thread where blocking does no harm.
async fn end(probe: ProbeServer) {
    match task::spawn_blocking(|| probe.shutdown()).await {
        Ok(Ok(())) => {}
        Ok(Err(panicked)) => error!("{panicked}"),
        Err(error) => error!(%error, "the probe server could not be joined"),
    }
}

/// The error and its causes, one in a line.
fn traceback(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, "\ncaused by: {cause}");
        source = cause.source();
    }
    text
}
