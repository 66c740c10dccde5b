use std::{
    future,
    sync::Mutex,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::*;
use crate::{CheckRunner, Probe, Severity, Traffic, check_fn};

const POLICY: CheckPolicy = CheckPolicy {
    timeout: Duration::from_millis(800),
    max_age: Duration::from_secs(30),
    patience: Duration::from_millis(2),
};

const SECOND: Duration = Duration::from_secs(1);

/// One check that finds what it is told to find, and when it ran.
struct Scene {
    found: Arc<Mutex<CheckResult>>,
    runs: Arc<Mutex<Vec<Instant>>>,
    runner: CheckRunner,
}

impl Scene {
    fn new(config: impl FnOnce(CheckConfig) -> CheckConfig) -> Self {
        let found = Arc::new(Mutex::new(CheckResult::pass()));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let check = check_fn("check", {
            let (found, runs) = (Arc::clone(&found), Arc::clone(&runs));
            move || {
                runs.lock().unwrap().push(Instant::now());
                future::ready(found.lock().unwrap().clone())
            }
        });
        Self {
            found,
            runs,
            runner: runner(check, config(CheckConfig::from(Probe::Readiness))),
        }
    }

    fn finds(&self, result: CheckResult) {
        *self.found.lock().unwrap() = result;
    }

    fn runs(&self) -> usize {
        self.runs.lock().unwrap().len()
    }

    /// Asks once with the result that is to be found; returns what counts and how far it has come.
    async fn ask_with(&self, result: CheckResult) -> (CheckResult, String) {
        self.finds(result);
        let report = ask(&self.runner).await;
        let progress = report.progress.map(|progress| progress.to_string());
        (report.result, progress.unwrap_or_default())
    }
}

fn runner(check: impl Check, config: CheckConfig) -> CheckRunner {
    let runner = CheckRunner::new(&[], POLICY, Arc::new(Traffic::new()), Handle::current());
    runner.checks().add(check, config).unwrap();
    runner
}

async fn ask(runner: &CheckRunner) -> CheckReport {
    runner.ask(Probe::Readiness).await.checks.remove(0)
}

fn told(result: CheckResult, progress: &str) -> (CheckResult, String) {
    (result, progress.to_owned())
}

#[tokio::test(start_paused = true)]
async fn results_live_as_long_as_their_kind() {
    let scene = Scene::new(|config| config.ttl_pass(10 * SECOND).ttl_fail(2 * SECOND));
    ask(&scene.runner).await;
    scene.finds(CheckResult::fail("broken"));
    time::advance(9 * SECOND).await;
    let report = ask(&scene.runner).await;
    assert_eq!(report.result, CheckResult::pass());
    assert_eq!((report.age, report.stale), (Some(9 * SECOND), false));
    assert_eq!(scene.runs(), 1);

    time::advance(SECOND).await;
    assert_eq!(ask(&scene.runner).await.result, CheckResult::fail("broken"));
    scene.finds(CheckResult::pass());
    time::advance(SECOND).await;
    assert_eq!(ask(&scene.runner).await.result, CheckResult::fail("broken"));
    assert_eq!(scene.runs(), 2);
    time::advance(SECOND).await;
    assert_eq!(ask(&scene.runner).await.result, CheckResult::pass());
    assert_eq!(scene.runs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_result_counts_for_a_while_beyond_its_time_to_live() {
    let runs = Arc::new(AtomicUsize::new(0));
    let check = check_fn("once", move || {
        let first = runs.fetch_add(1, SeqCst) == 0;
        async move {
            if !first {
                future::pending::<()>().await;
            }
            CheckResult::pass()
        }
    });
    let config = CheckConfig::from(Probe::Readiness).ttl_pass(60 * SECOND);
    let runner = runner(check, config);
    ask(&runner).await;
    time::advance(61 * SECOND).await;
    let report = ask(&runner).await;
    assert_eq!((report.result.status, report.stale), (Status::Pass, true));
    time::advance(30 * SECOND).await;
    assert_eq!(ask(&runner).await.result.status, Status::Fail);
}

#[tokio::test(start_paused = true)]
async fn in_the_background_a_check_runs_by_itself_and_only_so() {
    let scene = Scene::new(|config| config.every(60 * SECOND));
    assert_eq!(ask(&scene.runner).await.result, CheckResult::pass());
    assert_eq!(scene.runs(), 1);
    scene.finds(CheckResult::fail("broken"));
    time::sleep(59 * SECOND).await;
    for _ in 0..100 {
        let report = ask(&scene.runner).await;
        assert_eq!((report.result.status, report.stale), (Status::Pass, false));
    }
    assert_eq!(scene.runs(), 1);
    time::sleep(2 * SECOND).await;
    let report = ask(&scene.runner).await;
    assert_eq!(
        (report.result, report.age),
        (CheckResult::fail("broken"), Some(SECOND))
    );
}

#[tokio::test(start_paused = true)]
async fn jitter_stretches_every_pause_by_its_share_at_most() {
    let scene = Scene::new(|config| config.every(100 * SECOND).jitter(0.5));
    time::sleep(10_000 * SECOND).await;
    let runs = scene.runs.lock().unwrap().clone();
    let pauses: Vec<_> = runs.windows(2).map(|two| two[1] - two[0]).collect();
    // The timer counts whole milliseconds.
    let range = 100 * SECOND..=150 * SECOND + Duration::from_millis(1);
    assert!(
        pauses.iter().all(|pause| range.contains(pause)),
        "{pauses:?}"
    );
    assert!(pauses.windows(2).any(|two| two[0] != two[1]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn before_the_first_result_a_check_stands_as_it_was_told() {
    for (initially, status) in [
        (None, Status::Fail),
        (Some(Status::Saturated), Status::Saturated),
        (Some(Status::Pass), Status::Pass),
    ] {
        let scene = Scene::new(|config| {
            let config = config.every(60 * SECOND).initial_delay(5 * SECOND);
            initially.into_iter().fold(config, CheckConfig::initially)
        });
        let before = Instant::now();
        let report = ask(&scene.runner).await;
        assert_eq!(report.result, CheckResult::with(status, "no result yet"));
        assert_eq!((report.found, before.elapsed()), (None, POLICY.timeout));
        time::sleep(5 * SECOND).await;
        assert_eq!(ask(&scene.runner).await.result, CheckResult::pass());
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_the_first_result_of_a_check_in_the_background() {
    let config = CheckConfig::from(Probe::Readiness).every(60 * SECOND);
    let check = check_fn("slow", || async {
        time::sleep(Duration::from_millis(500)).await;
        CheckResult::pass()
    });
    let report = ask(&runner(check, config)).await;
    assert_eq!((report.result, report.stale), (CheckResult::pass(), false));
}

#[tokio::test(start_paused = true)]
async fn in_the_background_too_a_result_counts_for_a_while_only() {
    let runs = Arc::new(AtomicUsize::new(0));
    let check = check_fn("once", move || {
        let first = runs.fetch_add(1, SeqCst) == 0;
        async move {
            if !first {
                future::pending::<()>().await;
            }
            CheckResult::pass()
        }
    });
    let config = CheckConfig::from(Probe::Readiness)
        .every(60 * SECOND)
        .timeout(1_000 * SECOND);
    let runner = runner(check, config);
    time::sleep(119 * SECOND).await;
    assert_eq!(ask(&runner).await.result, CheckResult::pass());
    time::sleep(SECOND).await;
    let report = ask(&runner).await;
    assert_eq!(report.result, CheckResult::fail("no result for 120s"));
    assert!(report.stale);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_is_given_up_and_tried_again() {
    let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let check = check_fn("hangs", {
        let (started, dropped) = (Arc::clone(&started), Arc::clone(&dropped));
        move || {
            started.fetch_add(1, SeqCst);
            let guard = Guard(Arc::clone(&dropped));
            async move {
                let _guard = guard;
                future::pending().await
            }
        }
    });
    let config = CheckConfig::from(Probe::Readiness).timeout(5 * SECOND);
    let runner = runner(check, config);
    for _ in 0..6 {
        assert_eq!(ask(&runner).await.result.message, "no result within 800ms");
        assert_eq!(started.load(SeqCst), 1, "runs pile up");
    }
    let report = ask(&runner).await;
    assert_eq!(report.result.message, "no result within 5s");
    assert_eq!((report.took, report.stale), (Some(5 * SECOND), false));
    assert_eq!(dropped.load(SeqCst), 1);
    ask(&runner).await;
    assert_eq!(started.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn thresholds_keep_a_check_from_flapping() {
    let scene = Scene::new(|config| config.failure_threshold(2).success_threshold(2));
    let (pass, broken) = (CheckResult::pass, || CheckResult::fail("broken"));
    // Nothing good is known yet, and one good result is not enough.
    let waits = told(CheckResult::fail("no good result yet"), "passing 1 of 2");
    assert_eq!(scene.ask_with(pass()).await, waits);
    assert_eq!(scene.ask_with(pass()).await, told(pass(), ""));

    let warning = told(CheckResult::warn("broken"), "failing 1 of 2");
    assert_eq!(scene.ask_with(broken()).await, warning);
    assert_eq!(scene.ask_with(pass()).await, told(pass(), ""));
    assert_eq!(scene.ask_with(broken()).await, warning);
    assert_eq!(scene.ask_with(broken()).await, told(broken(), ""));
    assert_eq!(
        scene.ask_with(pass()).await,
        told(broken(), "passing 1 of 2")
    );
    let busy = CheckResult::saturated("busy");
    assert_eq!(scene.ask_with(busy.clone()).await, told(busy, ""));
    scene.ask_with(pass()).await;
    assert_eq!(scene.ask_with(pass()).await, told(pass(), ""));
}

#[tokio::test(start_paused = true)]
async fn the_time_in_error_passes_without_further_results() {
    let scene = Scene::new(|config| {
        config
            .every(60 * SECOND)
            .max_time_in_error(40 * SECOND)
            .initially(Status::Pass)
    });
    scene.finds(CheckResult::fail("broken"));
    time::sleep(39 * SECOND).await;
    let report = ask(&scene.runner).await;
    assert_eq!(report.result, CheckResult::warn("broken"));
    assert_eq!(report.found, Some(Status::Fail));
    assert_eq!(
        report.since,
        Some(39 * SECOND),
        "it has stood good all the time"
    );
    time::sleep(2 * SECOND).await;
    let report = ask(&scene.runner).await;
    assert_eq!(report.result, CheckResult::fail("broken"));
    assert_eq!(report.since, Some(SECOND));
    assert_eq!(scene.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn severity_says_what_a_failure_counts_for() {
    for (severity, status) in [
        (Severity::Critical, Status::Fail),
        (Severity::Degraded, Status::Warn),
        (Severity::Informational, Status::Pass),
    ] {
        let scene = Scene::new(|config| config.severity(severity));
        scene.finds(CheckResult::fail("broken"));
        let report = ask(&scene.runner).await;
        assert_eq!(report.result, CheckResult::with(status, "broken"));
        assert_eq!(
            (report.found, report.severity),
            (Some(Status::Fail), severity)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_message_is_kept_than_is_told() {
    let scene = Scene::new(|config| config);
    scene.finds(CheckResult::fail("x".repeat(64 << 20)));
    let report = ask(&scene.runner).await;
    assert!(
        report.result.message.len() <= 4096,
        "{}",
        report.result.message.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_run_is_given_up_is_a_failed_result() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let check = check_fn("bomb", || async {
        let _bomb = Bomb;
        future::pending().await
    });
    let config = CheckConfig::from(Probe::Readiness)
        .every(SECOND)
        .timeout(SECOND);
    let runner = runner(check, config);
    time::sleep(10 * SECOND).await;
    let report = ask(&runner).await;
    assert_eq!(report.result, CheckResult::fail("check panicked"));
    assert!(
        report.age < Some(3 * SECOND),
        "it is run no more: {report:?}"
    );
}
