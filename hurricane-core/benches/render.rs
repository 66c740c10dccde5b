//! What a scrape costs.

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};
use hurricane_core::{Exposition, exposition::Format};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("render");
    for (name, exposition) in [
        ("1,000 counters", counters(1_000)),
        ("1,000 histograms of 17 lines", histograms(1_000)),
    ] {
        group.bench_function(format!("{name}, text"), |bencher| {
            bencher.iter(|| exposition.render());
        });
        group.bench_function(format!("{name}, OpenMetrics"), |bencher| {
            bencher.iter(|| exposition.render_as(Format::OpenMetrics));
        });
        let gzip = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        group.bench_function(format!("{name}, text, gzip"), |bencher| {
            bencher.iter(|| exposition.respond(&gzip));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn counters(count: usize) -> Exposition {
    let exposition = Exposition::new();
    exposition.local(|| {
        for index in 0..count {
            let route = format!("/items/{index}");
            metrics::counter!("items_total", "method" => "GET", "status" => "200", "route" => route)
                .increment(index as u64);
        }
    });
    exposition
}

fn histograms(count: usize) -> Exposition {
    let exposition = Exposition::new();
    exposition.local(|| {
        for index in 0..count {
            let route = format!("/items/{index}");
            metrics::histogram!("items_seconds", "method" => "GET", "status" => "200", "route" => route)
                .record(index as f64 / 100.0);
        }
    });
    exposition
}
