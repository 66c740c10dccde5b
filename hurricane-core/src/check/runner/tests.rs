use std::{
    future,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{self, Instant},
};

use super::*;
use crate::{Check, CheckReport, CheckResult, Status, check_fn, registry::Registry};

const POLICY: CheckPolicy = CheckPolicy {
    timeout: Duration::from_millis(800),
    max_age: Duration::from_secs(30),
    patience: Duration::from_millis(5),
};

/// A check that waits for a permit, counts its runs, and finds what it is told to find.
#[derive(Default)]
struct Scene {
    runs: AtomicUsize,
    broken: AtomicBool,
    gate: Option<Semaphore>,
}

impl Scene {
    fn gated() -> Arc<Self> {
        Arc::new(Self {
            gate: Some(Semaphore::new(0)),
            ..Self::default()
        })
    }

    fn open(&self) {
        self.gate.as_ref().unwrap().add_permits(1);
    }

    fn check(self: &Arc<Self>, name: &'static str) -> impl Check {
        let scene = Arc::clone(self);
        check_fn(name, move || {
            let scene = Arc::clone(&scene);
            async move {
                scene.runs.fetch_add(1, SeqCst);
                if let Some(gate) = &scene.gate {
                    gate.acquire().await.unwrap().forget();
                }
                if scene.broken.load(SeqCst) {
                    CheckResult::fail("broken")
                } else {
                    CheckResult::pass()
                }
            }
        })
    }
}

fn runner<C: Check>(checks: impl IntoIterator<Item = C>) -> (CheckRunner, Arc<Traffic>) {
    let mut registry = Registry::new();
    for check in checks {
        registry.add_check(check, [Probe::Liveness]).unwrap();
    }
    let traffic = Arc::new(Traffic::new());
    let runner = CheckRunner::new(
        registry.checks(),
        POLICY,
        Arc::clone(&traffic),
        Handle::current(),
    );
    (runner, traffic)
}

/// The first check's report, and how long the probe took.
async fn ask(runner: &CheckRunner) -> (CheckReport, Duration) {
    let before = Instant::now();
    let report = runner.ask(Probe::Liveness).await;
    (report.checks[0].clone(), before.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_askers_share_one_run() {
    let scene = Scene::gated();
    let runner = Arc::new(runner([scene.check("gated")]).0);
    let mut askers = JoinSet::new();
    for _ in 0..1_000 {
        let runner = Arc::clone(&runner);
        askers.spawn(async move { runner.ask(Probe::Liveness).await });
    }
    // Time stands still as long as an asker has not come so far that it waits.
    time::sleep(Duration::from_millis(100)).await;
    scene.open();
    let reports = askers.join_all().await;
    assert!(
        reports
            .iter()
            .all(|report| report.status() == Status::Pass && !report.checks[0].stale)
    );
    assert_eq!(scene.runs.load(SeqCst), 1);

    scene.open();
    ask(&runner).await;
    assert_eq!(scene.runs.load(SeqCst), 2, "the next asker starts anew");
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_goes_away_leaves_the_run_to_the_next() {
    let scene = Scene::gated();
    let (runner, _) = runner([scene.check("gated")]);
    let given_up = time::timeout(Duration::from_millis(10), runner.ask(Probe::Liveness)).await;
    assert!(given_up.is_err());
    scene.open();
    let (report, _) = ask(&runner).await;
    assert!(!report.stale);
    assert_eq!(report.took, Some(Duration::from_millis(10)));
    assert_eq!(scene.runs.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn all_checks_share_one_deadline() {
    let hanging = ["a", "b", "c"].map(|name| check_fn(name, future::pending));
    let (runner, _) = runner(hanging);
    let before = Instant::now();
    let report = runner.ask(Probe::Liveness).await;
    assert_eq!(before.elapsed(), POLICY.timeout);
    assert_eq!(report.checks.len(), 3);
    assert_eq!(report.status(), Status::Fail);
    assert_eq!(
        report.first_failed().unwrap().result.message,
        "no result within 800ms"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_result_counts_until_it_is_too_old() {
    let scene = Scene::gated();
    let (runner, _) = runner([scene.check("gated")]);
    scene.open();
    ask(&runner).await;

    // The second run hangs; the first probe that meets it gives it all the time there is.
    let (report, waited) = ask(&runner).await;
    assert!(report.stale);
    assert_eq!(
        (report.result.status, waited),
        (Status::Pass, POLICY.timeout)
    );
    assert_eq!(report.age, Some(POLICY.timeout));

    // Those that come later know that it hangs.
    time::advance(Duration::from_secs(10)).await;
    let (report, waited) = ask(&runner).await;
    assert!(report.stale && report.result.status == Status::Pass);
    assert!(waited < Duration::from_millis(10), "{waited:?}");

    time::advance(Duration::from_secs(20)).await;
    let (report, waited) = ask(&runner).await;
    assert_eq!(report.result, CheckResult::fail("no result within 800ms"));
    assert_eq!((report.age, waited), (None, POLICY.timeout));

    // The run was never given up, and its end counts.
    scene.open();
    let (report, _) = ask(&runner).await;
    assert_eq!(report.result.status, Status::Pass);
    assert_eq!(scene.runs.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_busy_process_gets_little_time_and_keeps_its_last_result() {
    let scene = Scene::gated();
    let (runner, traffic) = runner([scene.check("gated")]);
    traffic.begin();

    // There is no last result yet, so even a busy process waits.
    let (report, waited) = ask(&runner).await;
    assert_eq!(
        (report.result.status, waited),
        (Status::Fail, POLICY.timeout)
    );
    scene.open();
    ask(&runner).await;

    let (report, waited) = ask(&runner).await;
    assert!(report.stale);
    // The timer counts whole milliseconds.
    assert!(
        waited <= POLICY.patience + Duration::from_millis(1),
        "{waited:?}"
    );

    // The run went on, and what it finds is what the next probe says.
    scene.broken.store(true, SeqCst);
    scene.open();
    let (report, _) = ask(&runner).await;
    assert_eq!(report.result, CheckResult::fail("broken"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_gets_all_the_time() {
    let slow = check_fn("slow", || async {
        time::sleep(Duration::from_millis(500)).await;
        CheckResult::pass()
    });
    let (runner, _) = runner([slow]);
    for _ in 0..2 {
        let (report, waited) = ask(&runner).await;
        assert!(!report.stale);
        assert_eq!(waited, Duration::from_millis(500));
    }
}

#[tokio::test(start_paused = true)]
async fn panics_are_failed_results() {
    struct Sudden;

    impl Check for Sudden {
        fn name(&self) -> &str {
            "sudden"
        }

        fn check<'a: 'b, 'b>(&'a self) -> Pin<Box<dyn Future<Output = CheckResult> + Send + 'b>> {
            panic!("before there is a future")
        }
    }

    let later = check_fn("later", || async {
        time::sleep(Duration::from_millis(1)).await;
        panic!("within the future")
    });
    for (runner, _) in [runner([Sudden]), runner([later])] {
        for _ in 0..2 {
            let (report, _) = ask(&runner).await;
            assert_eq!(report.result, CheckResult::fail("check panicked"));
            assert!(!report.stale);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_gone_runs_no_checks() {
    let gone = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.handle().clone()
    });
    let mut registry = Registry::new();
    let check = check_fn("check", || async { CheckResult::pass() });
    registry.add_check(check, [Probe::Liveness]).unwrap();
    let runner = CheckRunner::new(
        registry.checks(),
        POLICY,
        Arc::default(),
        gone.await.unwrap(),
    );
    for _ in 0..2 {
        let (report, _) = ask(&runner).await;
        assert_eq!(report.result.message, "no result within 800ms");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_checks_of_the_probe_are_asked() {
    let (runner, _) = runner([check_fn("broken", || async { CheckResult::fail("broken") })]);
    let report = runner.ask(Probe::Readiness).await;
    assert_eq!((report.checks.len(), report.status()), (0, Status::Pass));
}
