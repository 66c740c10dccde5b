//! What runs before the application serves, and after it has.

use std::{borrow::Cow, error::Error, future::Future, pin::Pin, time::Duration};

use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, error};

/// The error of a start-up task.
pub type StartupError = Box<dyn Error + Send + Sync>;

/// A shutdown task that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownTaskError {
    /// It took too long.
    #[error("the shutdown task {task:?} did not end within {limit:?}")]
    TimedOut {
        /// Its name.
        task: Cow<'static, str>,
        /// The time it had.
        limit: Duration,
    },
    /// It panicked; the panic's message is in the log.
    #[error("the shutdown task {task:?} panicked")]
    Panicked {
        /// Its name.
        task: Cow<'static, str>,
    },
}

/// A start-up task panicked; the panic's message is in the log.
#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panicked;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that must succeed before the application serves.
pub(super) struct StartupTask {
    name: Cow<'static, str>,
    begin: Box<dyn FnOnce() -> BoxFuture<Result<(), StartupError>> + Send>,
}

/// Something that is to be done when the application has ended.
pub(super) struct ShutdownTask {
    name: Cow<'static, str>,
    begin: Box<dyn FnOnce() -> BoxFuture<()> + Send>,
}

// === impl StartupTask ===

impl StartupTask {
    pub(super) fn new<F, Fut, E>(name: Cow<'static, str>, task: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<StartupError>,
    {
        Self {
            name,
            begin: Box::new(move || {
                let running = task();
                Box::pin(async move { running.await.map_err(Into::into) })
            }),
        }
    }

    /// Runs the task; an error comes with its name.
    pub(super) async fn run(self) -> Result<(), (Cow<'static, str>, StartupError)> {
        let Self { name, begin } = self;
        let started = Instant::now();
        let ended = apart(async move { begin().await }).await;
        match ended {
            Some(Ok(())) => {
                debug!("start-up task {name:?} took {:.0?}", started.elapsed());
                Ok(())
            }
            Some(Err(error)) => Err((name, error)),
            None => Err((name, Panicked.into())),
        }
    }
}

// === impl ShutdownTask ===

impl ShutdownTask {
    pub(super) fn new<F, Fut>(name: Cow<'static, str>, task: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            begin: Box::new(move || Box::pin(task())),
        }
    }
}

/// Runs all of them, the last one first, each for at most `limit`; returns the first error.
pub(super) async fn run_backwards(
    mut tasks: Vec<ShutdownTask>,
    limit: Duration,
) -> Result<(), ShutdownTaskError> {
    let mut verdict = Ok(());
    while let Some(ShutdownTask { name, begin }) = tasks.pop() {
        let started = Instant::now();
        let running = apart(async move { begin().await });
        let failed = match time::timeout(limit, running).await {
            Ok(Some(())) => {
                debug!("shutdown task {name:?} took {:.0?}", started.elapsed());
                continue;
            }
            Ok(None) => ShutdownTaskError::Panicked { task: name },
            Err(_) => ShutdownTaskError::TimedOut { task: name, limit },
        };
        error!("{failed}");
        verdict = verdict.and(Err(failed));
    }
    verdict
}

/// Runs a future as a task of its own, which ends with the one that waits for it; none if it panicked.
async fn apart<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut task = JoinSet::new();
    task.spawn(future);
    task.join_next().await?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_does_not_keep_the_others_from_running() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = Arc::clone(&order);
            ShutdownTask::new(name.into(), async move || order.lock().unwrap().push(name))
        };
        let tasks = vec![
            note("pool"),
            ShutdownTask::new("hangs".into(), std::future::pending),
            note("cache"),
            ShutdownTask::new("panics".into(), async || panic!("on purpose")),
            note("queue"),
        ];
        let limit = Duration::from_secs(5);
        let began = Instant::now();
        let error = run_backwards(tasks, limit).await.unwrap_err();
        assert_eq!(*order.lock().unwrap(), ["queue", "cache", "pool"]);
        assert_eq!(error.to_string(), r#"the shutdown task "panics" panicked"#);
        assert_eq!(began.elapsed().as_secs(), 5);

        let hangs = ShutdownTask::new("hangs".into(), std::future::pending);
        let error = run_backwards(vec![hangs], limit).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"the shutdown task "hangs" did not end within 5s"#
        );
    }
}
