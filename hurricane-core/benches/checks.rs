//! What asking checks costs, with few and with many of them registered.

use std::{sync::Arc, time::Duration};

use criterion::Criterion;
use hurricane_core::{
    CheckConfig, CheckPolicy, CheckResult, CheckRunner, Probe, Traffic, check_fn,
};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("checks");
    for count in [10, 10_000] {
        let runner = runner(&runtime, count);
        runtime.block_on(runner.ask(Probe::Readiness));
        group.bench_function(format!("one by name of {count}"), |bencher| {
            bencher.iter(|| runtime.block_on(runner.checks().ask("check 7")));
        });
        group.bench_function(format!("the last result of one of {count}"), |bencher| {
            bencher.iter(|| runner.checks().last("check 7"));
        });
    }
    let runner = runner(&runtime, 10);
    group.bench_function("a probe of 10", |bencher| {
        bencher.iter(|| runtime.block_on(runner.ask(Probe::Readiness)));
    });
    group.finish();
    criterion.final_summary();
}

fn runner(runtime: &Runtime, count: usize) -> CheckRunner {
    let policy = CheckPolicy {
        timeout: Duration::from_secs(10),
        ..CheckPolicy::default()
    };
    let runner = CheckRunner::new(
        &[],
        policy,
        Arc::new(Traffic::new()),
        runtime.handle().clone(),
    );
    for index in 0..count {
        let check = check_fn(format!("check {index}"), || async { CheckResult::pass() });
        runner
            .checks()
            .add(check, CheckConfig::new([Probe::Readiness]))
            .expect("no name comes twice");
    }
    runner
}
