//! Asking the probes where nobody else does, so that webhooks hear of each change.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{self, Instant};

use super::Probes;
use crate::{
    check::Probe,
    lifecycle::Phase,
    webhook::{EventKind, EventStatus},
};

/// What a probe last said, and when.
#[derive(Debug, Default)]
pub(super) struct Health {
    last: Mutex<Option<(EventStatus, Instant)>>,
}

/// The shortest pause, lest a zero keep a thread busy.
const MIN_PAUSE: Duration = Duration::from_millis(1);

// === impl Health ===

impl Health {
    /// Takes note of an answer; returns whether it differs from the last one, or is the first.
    pub(super) fn change(&self, status: EventStatus) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((status, Instant::now()));
        before.is_none_or(|(before, _)| before != status)
    }

    /// When the probe was last asked for a whole answer.
    pub(super) fn asked(&self) -> Option<Instant> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(_, at)| at)
    }
}

/// Asks both probes until the process is to end; see [`Probes::watch`].
pub(super) async fn watch(probes: &Probes) {
    if !probes.tells(EventKind::Liveness) && !probes.tells(EventKind::Readiness) {
        return;
    }
    probes.lifecycle().reached(Phase::Running).await;
    let watching = async {
        tokio::join!(
            watch_one(probes, Probe::Liveness),
            watch_one(probes, Probe::Readiness)
        )
    };
    tokio::select! {
        biased;
        () = probes.lifecycle().reached(Phase::Draining) => {}
        _ = watching => {}
    }
}

async fn watch_one(probes: &Probes, probe: Probe) {
    let wanted = probes.health(probe).filter(|(kind, _)| probes.tells(*kind));
    let Some((_, health)) = wanted else {
        return;
    };
    let every = probes.watch_every().max(MIN_PAUSE);
    let mut asked = Instant::now();
    loop {
        if let Some(at) = health.asked() {
            asked = asked.max(at);
        }
        let rest = every.saturating_sub(asked.elapsed());
        if rest.is_zero() {
            probes.ask(probe).await;
            asked = Instant::now();
        } else {
            time::sleep(rest).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    };

    use tokio::{runtime::Handle, sync::mpsc};

    use super::*;
    use crate::{
        CheckResult, Dispatcher, Event, Lifecycle, ProbeConfig, Registry, Traffic, Webhook,
        WebhookError, async_trait, check_fn,
    };

    /// Passes on what it hears of the kinds that it wants.
    struct Ear {
        heard: mpsc::UnboundedSender<String>,
        wants: &'static [EventKind],
    }

    #[async_trait]
    impl Webhook for Ear {
        fn name(&self) -> &str {
            "ear"
        }

        async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
            let _ = self.heard.send(format!("{} {}", event.kind, event.status));
            Ok(())
        }

        fn wants(&self, kind: EventKind) -> bool {
            self.wants.contains(&kind)
        }
    }

    struct Scene {
        probes: Arc<Probes>,
        heard: mpsc::UnboundedReceiver<String>,
        well: Arc<AtomicBool>,
        runs: Arc<AtomicUsize>,
    }

    const BOTH: &[EventKind] = &[EventKind::Liveness, EventKind::Readiness];

    /// Probes of which readiness asks one check.
    fn scene(wants: &'static [EventKind]) -> Scene {
        let (well, runs) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let check = check_fn("database", {
            let (well, runs) = (Arc::clone(&well), Arc::<AtomicUsize>::clone(&runs));
            move || {
                runs.fetch_add(1, Relaxed);
                std::future::ready(if well.load(Relaxed) {
                    CheckResult::pass()
                } else {
                    CheckResult::fail("it is gone")
                })
            }
        });
        let (sender, heard) = mpsc::unbounded_channel();
        let ear = Ear {
            heard: sender,
            wants,
        };
        let mut registry = Registry::new();
        registry.add_check(check, [Probe::Readiness]).unwrap();
        registry.add_webhook(ear).unwrap();
        let dispatcher = Dispatcher::spawn(registry.webhooks(), None, &Handle::current());
        let probes = Probes::new(
            &ProbeConfig::default(),
            &registry,
            Lifecycle::new(),
            Arc::new(Traffic::new()),
            Handle::current(),
        );
        let probes = Arc::new(probes.unwrap().with_dispatcher(dispatcher));
        Scene {
            probes,
            heard,
            well,
            runs,
        }
    }

    impl Scene {
        fn watch(&self) -> tokio::task::JoinHandle<()> {
            let probes = Arc::clone(&self.probes);
            tokio::spawn(async move { probes.watch().await })
        }

        async fn hear(&mut self, count: usize) -> Vec<String> {
            let mut heard = Vec::new();
            while heard.len() < count {
                heard.push(self.heard.recv().await.unwrap());
            }
            heard.sort();
            heard
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told_though_nobody_asks() {
        let mut scene = scene(BOTH);
        let watching = scene.watch();
        time::sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.runs.load(Relaxed), 0, "it has not started yet");
        scene.probes.lifecycle().run();
        let began = Instant::now();
        assert_eq!(
            scene.hear(2).await,
            ["liveness succeeded", "readiness succeeded"]
        );
        scene.well.store(false, Relaxed);
        assert_eq!(scene.hear(1).await, ["readiness failed"]);
        scene.well.store(true, Relaxed);
        assert_eq!(scene.hear(1).await, ["readiness succeeded"]);
        assert_eq!(began.elapsed().as_secs(), 15, "each after five seconds");
        scene.probes.lifecycle().drain();
        watching.await.unwrap();
        assert!(scene.heard.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn where_somebody_asks_no_check_runs_more_often() {
        let scene = scene(BOTH);
        scene.probes.lifecycle().run();
        let _watching = scene.watch();
        for _ in 0..20 {
            scene.probes.ask(Probe::Readiness).await;
            time::sleep(Duration::from_secs(4)).await;
        }
        assert_eq!(scene.runs.load(Relaxed), 20);
        time::sleep(Duration::from_secs(10)).await;
        assert_eq!(scene.runs.load(Relaxed), 22);
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_webhook_wants_to_hear_is_not_asked() {
        let nothing = scene(&[EventKind::Startup]);
        nothing.probes.lifecycle().run();
        nothing.watch().await.unwrap();

        let mut alive = scene(&[EventKind::Liveness]);
        alive.probes.lifecycle().run();
        let _watching = alive.watch();
        assert_eq!(alive.hear(1).await, ["liveness succeeded"]);
        time::sleep(Duration::from_secs(60)).await;
        assert_eq!(alive.runs.load(Relaxed), 0);
    }
}
