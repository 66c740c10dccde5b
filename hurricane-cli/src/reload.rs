//! `--autoreload`: new workers when something changes that the application was loaded from, and
//! `--static-watch`: static files are collected again when they change.

mod watch;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hurricane_python::{Pool, Startup, TaskFailure};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::{error, info};

use self::watch::{Change, Concern, Watch};

/// A change is acted on when nothing has changed for so long, as editors and checkouts write
/// several files, and some of them twice.
const QUIET: Duration = Duration::from_millis(100);

/// So long is waited for that at most.
const UNREST: Duration = Duration::from_secs(2);

/// So many changes are remembered that do not matter as long as the code loads.
const IGNORED: usize = 1000;

/// What is done when files change.
pub(crate) struct Reload {
    pub(crate) pool: Pool,
    /// Collects the static files, where there are some.
    pub(crate) collector: Option<Startup>,
    pub(crate) static_watch: Vec<PathBuf>,
}

// === impl Reload ===

impl Reload {
    /// Watches from now on, as long as the runtime lives.
    pub(crate) fn start(self) -> Result<()> {
        let (sender, changes) = mpsc::unbounded_channel();
        let watch =
            Watch::new(&self.static_watch, sender).context("failed to watch for changes")?;
        tokio::spawn(self.run(watch, changes));
        Ok(())
    }

    async fn run(self, mut watch: Watch, mut changes: mpsc::UnboundedReceiver<Change>) {
        let mut loaded = self.pool.loaded();
        let mut telling: Option<JoinHandle<()>> = None;
        loop {
            watch.follow(&loaded.borrow_and_update());
            // Most of what happens in a folder may be of no concern, such as writing a database.
            let mut ignored = Vec::new();
            let (first, concern) = loop {
                let change = tokio::select! {
                    biased;
                    Ok(()) = loaded.changed() => {
                        watch.follow(&loaded.borrow_and_update());
                        if !watch.is_broken() {
                            continue;
                        }
                        // What came while the new code failed to load may be what it lacked.
                        let matters = |change: Change| Some((watch.heed(&change)?, change));
                        match ignored.drain(..).find_map(matters) {
                            Some((concern, change)) => break (change, concern),
                            None => continue,
                        }
                    }
                    Some(change) = changes.recv() => change,
                    else => return,
                };
                match watch.heed(&change) {
                    Some(concern) => break (change, concern),
                    None if ignored.len() < IGNORED => ignored.push(change),
                    None => {}
                }
            };
            let mut concerns = BTreeSet::from([concern]);
            let begun = Instant::now();
            while begun.elapsed() < UNREST
                && let Ok(Some(change)) = timeout(QUIET, changes.recv()).await
            {
                concerns.extend(watch.heed(&change));
            }
            if concerns.contains(&Concern::Static) {
                self.collect().await;
            }
            info!("{} modified; starting new workers", first.path.display());
            self.pool.reload();
            if let Some(telling) = telling.take() {
                telling.abort();
            }
            telling = Some(tokio::spawn(tell(self.pool.clone())));
        }
    }

    /// Collects the static files. The workers are replaced afterwards: they may know the files by
    /// names that a manifest has given them.
    async fn collect(&self) {
        let Some(collector) = &self.collector else {
            return;
        };
        info!("Collecting static as static file changed");
        match collector.run(|| {}).await {
            Ok(()) | Err(TaskFailure::Stopped) => {}
            Err(failure) => {
                let traceback = match &failure {
                    TaskFailure::Command { traceback, .. } => traceback.as_deref(),
                    _ => None,
                };
                error!("{failure}\n{}", traceback.unwrap_or_default().trim_end());
            }
        }
    }
}

/// Tells when the new workers are at work.
async fn tell(pool: Pool) {
    if pool.renewed().await {
        info!("Autoreload was performed");
    }
}
