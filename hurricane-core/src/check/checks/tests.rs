use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::time;

use super::*;
use crate::{CheckResult, CheckRunner, Status, check_fn};

fn runner() -> CheckRunner {
    let policy = CheckPolicy::default();
    CheckRunner::new(&[], policy, Arc::new(Traffic::new()), Handle::current())
}

fn passing(name: impl Into<String>) -> impl Check {
    check_fn(name.into(), || future::ready(CheckResult::pass()))
}

async fn asked(
    runner: &CheckRunner,
    selection: Selection,
) -> (Vec<String>, Vec<String>, Vec<String>) {
    let report = runner.ask_with(Probe::Readiness, &selection).await;
    let names = report.checks.into_iter().map(|check| check.name).collect();
    (names, report.excluded, report.unknown)
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[tokio::test(start_paused = true)]
async fn checks_come_and_go_while_they_are_asked() {
    let runner = runner();
    let checks = runner.checks().clone();
    for name in ["b", "a", "c"] {
        checks
            .add(passing(name), [Probe::Readiness, Probe::Liveness])
            .unwrap();
    }
    let twice = checks.add(passing("a"), Probe::Startup).unwrap_err();
    assert_eq!(
        twice.to_string(),
        r#"a check named "a" is already registered"#
    );
    assert_eq!(checks.names(), names(["b", "a", "c"]));

    assert!(checks.remove("b"));
    assert!(!checks.remove("b"));
    assert!(!checks.contains("b") && checks.contains("a"));
    assert_eq!(
        asked(&runner, Selection::default()).await.0,
        names(["a", "c"])
    );
    checks.add(passing("b"), Probe::Readiness).unwrap();
    assert_eq!(
        asked(&runner, Selection::default()).await.0,
        names(["a", "c", "b"])
    );
    assert_eq!(runner.ask(Probe::Liveness).await.checks.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_can_be_removed_while_a_probe_waits_for_it() {
    let runner = runner();
    runner
        .checks()
        .add(check_fn("hangs", future::pending), Probe::Readiness)
        .unwrap();
    let (report, ()) = tokio::join!(runner.ask(Probe::Readiness), async {
        assert!(runner.checks().remove("hangs"));
    });
    assert_eq!(report.status(), Status::Fail);
    assert_eq!(runner.ask(Probe::Readiness).await.status(), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_selection_takes_names_or_tags_and_leaves_out_exclusions() {
    let runner = runner();
    let checks = runner.checks();
    let add = |name: &str, config| checks.add(passing(name), config).unwrap();
    add("database", CheckConfig::from(Probe::Readiness).tag("sql"));
    add(
        "replica",
        CheckConfig::from(Probe::Readiness).tag("sql").tag("far"),
    );
    add("cache", CheckConfig::from(Probe::Readiness));
    add("worker", CheckConfig::from(Probe::Liveness).tag("sql"));

    let all = Selection::default;
    for (selection, expected) in [
        (
            all(),
            (names(["database", "replica", "cache"]), vec![], vec![]),
        ),
        (Selection::only("cache"), (names(["cache"]), vec![], vec![])),
        (
            all().exclude("cache").exclude("cache").exclude("worker"),
            (
                names(["database", "replica"]),
                names(["cache"]),
                names(["worker"]),
            ),
        ),
        (
            all().tag("sql"),
            (names(["database", "replica"]), vec![], vec![]),
        ),
        (
            all().tag("far").tag("sql").exclude("database"),
            (names(["replica"]), names(["database"]), vec![]),
        ),
        (all().tag("none"), (vec![], vec![], vec![])),
        (
            Selection::only("worker"),
            (vec![], vec![], names(["worker"])),
        ),
        (
            Selection {
                only: names(["replica", "nobody", "database", "replica"]),
                exclude: names(["replica"]),
                tags: vec![],
            },
            (names(["database"]), names(["replica"]), names(["nobody"])),
        ),
    ] {
        assert_eq!(
            asked(&runner, selection.clone()).await,
            expected,
            "{selection:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_ten_thousand_checks_only_the_one_that_is_named_runs() {
    let runner = runner();
    let runs = Arc::new(AtomicUsize::new(0));
    for number in 0..10_000 {
        let runs = Arc::clone(&runs);
        let check = check_fn(format!("check {number}"), move || {
            runs.fetch_add(1, SeqCst);
            future::ready(CheckResult::pass())
        });
        runner.checks().add(check, Probe::Readiness).unwrap();
    }
    let report = runner
        .ask_with(Probe::Readiness, &Selection::only("check 4711"))
        .await;
    assert_eq!(report.checks.len(), 1);
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(runner.ask(Probe::Readiness).await.checks.len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_check_of_no_probe_is_asked_by_code() {
    let checks = runner().checks().clone();
    checks.add(passing("manual"), []).unwrap();
    let before = checks.last("manual").unwrap();
    assert_eq!(before.result.message, "no result within 800ms");
    assert_eq!(
        checks.ask("manual").await.unwrap().result,
        CheckResult::pass()
    );
    time::advance(Duration::from_secs(3)).await;
    let last = checks.last("manual").unwrap();
    assert_eq!((last.age, last.stale), (Some(Duration::from_secs(3)), true));
    assert!(checks.ask("other").await.is_none() && checks.last("other").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_or_dropped_runs_no_more() {
    let runner = runner();
    let runs = Arc::new(AtomicUsize::new(0));
    for name in ["removed", "dropped"] {
        let runs = Arc::clone(&runs);
        let check = check_fn(name, move || {
            runs.fetch_add(1, SeqCst);
            future::ready(CheckResult::pass())
        });
        let config = CheckConfig::from(Probe::Readiness).every(Duration::from_secs(10));
        runner.checks().add(check, config).unwrap();
    }
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(runs.load(SeqCst), 2);
    runner.checks().remove("removed");
    time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runs.load(SeqCst), 3);
    drop(runner);
    time::sleep(Duration::from_secs(100)).await;
    assert_eq!(runs.load(SeqCst), 3);
    assert_eq!(Arc::strong_count(&runs), 1, "the checks are gone");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_asks_every_check_once() {
    let runner = runner();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let check = check_fn("check", move || {
        count.fetch_add(1, SeqCst);
        future::ready(CheckResult::pass())
    });
    runner.checks().add(check, Probe::ALL).unwrap();
    runner.rehearse().await;
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_blocks_its_thread_blocks_no_second_one() {
    let policy = CheckPolicy {
        timeout: Duration::from_millis(20),
        ..CheckPolicy::default()
    };
    let runner = CheckRunner::new(&[], policy, Arc::new(Traffic::new()), Handle::current());
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let check = check_fn("blocks", move || {
        count.fetch_add(1, SeqCst);
        // Until there is nobody left to send.
        let _ = blocked.lock().unwrap().recv();
        future::ready(CheckResult::pass())
    });
    runner.checks().add(check, Probe::Readiness).unwrap();
    for _ in 0..5 {
        let report = runner.ask(Probe::Readiness).await;
        assert_eq!(report.status(), Status::Fail);
    }
    assert_eq!(runs.load(SeqCst), 1);
    drop(release);
    let healed = async {
        while runner.ask(Probe::Readiness).await.status() != Status::Pass {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(5), healed).await.unwrap();
}
