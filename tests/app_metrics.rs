//! What the application counts itself is in the answer to a scrape, over all workers.

use std::collections::HashSet;

use crate::harness::{
    Connection, Launch, Request, Server, get, is_running, metric, until, until_true,
};

fn scrape(server: &Server) -> String {
    get(server.probe_port(), "/metrics").text()
}

/// Asks until both workers have answered; how many requests that took, and who answered.
fn count_in_both(server: &Server) -> (usize, Vec<u32>) {
    let mut workers = HashSet::new();
    let mut count = 0;
    until("both workers have counted", || {
        // Two at a time, as one alone always goes to the same.
        let slow = Request::new("GET", "/count?stock=2&sleep=0.2");
        let begin = |_| Connection::begin(server.port(), &slow);
        for mut connection in [0, 1].map(begin) {
            let pid = connection.response("GET").unwrap().text();
            workers.insert(pid.parse().unwrap());
            count += 1;
        }
        (workers.len() == 2).then_some(())
    });
    (count, workers.into_iter().collect())
}

#[test]
fn the_classes_of_hurricane_are_shown() {
    let server = Launch::manage("").env("TEST_METRICS", "own").start();
    get(server.port(), "/count?size=3");
    get(server.port(), "/count?size=5");
    for (name, value) in [
        ("orders", 2.0),
        ("basket_size", 4.0),
        ("shelf", 7.0),
        ("answer", 42.0),
        ("later", 43.0),
    ] {
        assert_eq!(metric(&server, name), Some(value), "{name}");
    }
    server.stop();
}

#[test]
fn the_registry_of_prometheus_client_is_shown() {
    let server = Launch::manage("").env("TEST_METRICS", "prometheus").start();
    get(server.port(), "/count?stock=2");
    let text = scrape(&server);
    for line in [
        "# HELP sold_total Things that were sold.",
        "# TYPE sold_total counter",
        r#"sold_total{thing="a \"thing\""} 1"#,
        "# TYPE price histogram",
        r#"price_bucket{le="1.0"} 0"#,
        r#"price_bucket{le="10.0"} 1"#,
        r#"price_bucket{le="+Inf"} 1"#,
        "price_sum 5",
        "stock 2",
        "# TYPE python_info gauge",
        "orders 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
    let open = Request::new("GET", "/metrics").header("Accept", "application/openmetrics-text");
    let open = open.send(server.probe_port()).text();
    assert!(open.contains("# TYPE sold counter\n"), "{open}");
    assert!(open.contains("sold_total{thing=\"a \\\"thing\\\"\"} 1.0\n"));
    assert!(open.ends_with("# EOF\n") && open.matches("# EOF").count() == 1);
    server.stop();
}

#[test]
fn what_several_workers_count_is_put_together_and_outlives_them() {
    // A worker that has counted twice is replaced.
    let server = Launch::manage("")
        .env("TEST_METRICS", "prometheus")
        .arg("--processes", 2)
        .arg("--workers", 1)
        .start();
    let (count, workers) = count_in_both(&server);
    let count = count as f64;
    assert_eq!(metric(&server, "orders"), Some(count));
    assert_eq!(metric(&server, "price_count"), Some(count));
    assert_eq!(metric(&server, "stock"), Some(2.0), "the least of both");
    // Each worker has its own.
    let text = scrape(&server);
    for pid in &workers {
        let line = format!("process_open_fds{{pid=\"{pid}\"}}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    // After the last scrape, so that only the worker knows of it.
    get(server.port(), "/count?stock=2");
    server.signal(rustix::process::Signal::HUP);
    until_true("the old workers are gone", || {
        workers.iter().all(|pid| !is_running(*pid))
    });
    until_true("what they counted stays", || {
        metric(&server, "orders") == Some(count + 1.0)
            && metric(&server, "price_count") == Some(count + 1.0)
    });
    server.stop();
}

#[test]
fn without_metrics_of_its_own_nothing_is_added() {
    let server = Launch::manage("").start();
    assert!(!scrape(&server).contains("python_"));
    server.stop();
}
