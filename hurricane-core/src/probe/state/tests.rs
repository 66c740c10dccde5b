use std::{future, time::Duration};

use tokio::time;

use super::*;
use crate::check_fn;

fn probes() -> Probes {
    let mut registry = Registry::new();
    let check = check_fn("database", || future::ready(CheckResult::pass()));
    registry
        .add_check(check, [Probe::Liveness, Probe::Readiness])
        .unwrap();
    Probes::new(
        &ProbeConfig::default(),
        &registry,
        Lifecycle::new(),
        Arc::new(Traffic::new()),
        Handle::current(),
    )
    .unwrap()
}

fn running() -> Probes {
    let probes = probes();
    probes.lifecycle().run();
    probes
}

fn names(checks: &[CheckReport]) -> Vec<&str> {
    checks.iter().map(|check| &*check.name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_latch_holds_readiness_back_and_nothing_else() {
    let probes = running();
    let latch = probes.state().latch("cache warm");
    time::advance(Duration::from_secs(3)).await;
    let verdict = probes.ask(Probe::Readiness).await;
    assert_eq!(
        (verdict.status.as_u16(), &*verdict.text),
        (400, "cache warm: held for 3s")
    );
    assert_eq!(names(&verdict.checks), ["cache warm", "database"]);
    assert_eq!(
        verdict.checks[0].result,
        CheckResult::saturated("held for 3s")
    );
    assert_eq!(verdict.checks[0].since, Some(Duration::from_secs(3)));
    assert!(probes.ask(Probe::Liveness).await.passed());
    assert!(probes.ask(Probe::Startup).await.passed());
    latch.release();
    assert!(probes.ask(Probe::Readiness).await.passed());
}

#[tokio::test(start_paused = true)]
async fn a_condemned_process_is_neither_alive_nor_ready_until_it_drains() {
    let probes = running();
    probes.state().condemn("the log is corrupt");
    for probe in [Probe::Liveness, Probe::Readiness] {
        let verdict = probes.ask(probe).await;
        assert_eq!(
            (verdict.status.as_u16(), &*verdict.text),
            (500, "the log is corrupt")
        );
        assert_eq!(names(&verdict.checks), ["application", "database"]);
    }
    probes.lifecycle().drain();
    assert!(probes.ask(Probe::Liveness).await.passed());
}

#[tokio::test(start_paused = true)]
async fn everything_a_probe_looks_at_can_be_named() {
    let probes = running();
    let _heartbeat = probes.heartbeat("main runtime");
    let _latch = probes.state().latch("cache warm");
    for (probe, name, status) in [
        (Probe::Liveness, "main runtime", 200),
        (Probe::Liveness, "application", 200),
        (Probe::Liveness, "database", 200),
        (Probe::Readiness, "lifecycle", 200),
        (Probe::Readiness, "cache warm", 400),
    ] {
        let verdict = probes.ask_with(probe, &Selection::only(name)).await;
        assert_eq!(names(&verdict.checks), [name]);
        assert_eq!(verdict.status, status, "{name}");
        assert!(verdict.unknown.is_empty(), "{name}");

        let all_others = Selection::default().exclude(name);
        let verdict = probes.ask_with(probe, &all_others).await;
        assert!(!names(&verdict.checks).contains(&name));
        assert_eq!(
            (&*verdict.excluded, verdict.unknown.len()),
            (&[name.to_owned()][..], 0)
        );
    }
    // Each probe has its own.
    for (probe, name) in [
        (Probe::Readiness, "main runtime"),
        (Probe::Liveness, "cache warm"),
        (Probe::Startup, "database"),
    ] {
        let verdict = probes.ask_with(probe, &Selection::only(name)).await;
        assert_eq!(
            (verdict.checks.len(), &*verdict.unknown),
            (0, &[name.to_owned()][..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_named_is_asked_in_every_phase() {
    let probes = probes();
    let database = Selection::only("database");
    let not_lifecycle = Selection::default().exclude("lifecycle").exclude("nobody");
    for (change, whole, named) in [("starting", 400, 200), ("draining", 400, 200)] {
        let verdict = probes.ask(Probe::Readiness).await;
        assert_eq!(
            (verdict.status.as_u16(), names(&verdict.checks)),
            (whole, vec!["lifecycle"])
        );
        assert_eq!(verdict.checks[0].result.message, change);
        for selection in [&database, &not_lifecycle] {
            let verdict = probes.ask_with(Probe::Readiness, selection).await;
            assert_eq!(
                (verdict.status.as_u16(), names(&verdict.checks)),
                (named, vec!["database"])
            );
        }
        let verdict = probes
            .ask_with(Probe::Readiness, &Selection::default().exclude("nobody"))
            .await;
        assert_eq!(
            (verdict.status.as_u16(), &*verdict.unknown),
            (400, &["nobody".to_owned()][..])
        );
        probes.lifecycle().drain();
    }
    let verdict = probes.ask_with(Probe::Liveness, &database).await;
    assert_eq!(names(&verdict.checks), ["database"]);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_no_answer_that_webhooks_are_told_of() {
    let probes = running();
    let _latch = probes.state().latch("cache warm");
    for selection in [
        Selection::only("cache warm"),
        Selection::default().exclude("cache warm"),
    ] {
        probes.ask_with(Probe::Readiness, &selection).await;
        assert_eq!(probes.readiness.asked(), None, "{selection:?}");
    }
    probes.ask(Probe::Readiness).await;
    assert_ne!(probes.readiness.asked(), None);
}
