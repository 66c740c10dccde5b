//! What the application counts itself is in the answer to a scrape, over all workers.

use std::collections::HashSet;

use crate::harness::{
    Connection, Launch, Request, Server, get, is_running, metric, until, until_true,
};

fn scrape(server: &Server) -> String {
    get(server.probe_port(), "/metrics").text()
}

/// Waits until a metric has this value: a worker that has other things to do is not waited for, and its last word counts.
fn wait_for(server: &Server, name: &str, value: f64) {
    until_true(&format!("{name} is {value}"), || {
        metric(server, name) == Some(value)
    });
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
        wait_for(&server, name, value);
    }
    server.stop();
}

#[test]
fn the_registry_of_prometheus_client_is_shown() {
    let server = Launch::manage("").env("TEST_METRICS", "prometheus").start();
    get(server.port(), "/count?stock=2");
    wait_for(&server, "stock", 2.0);
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
    wait_for(&server, "orders", count);
    wait_for(&server, "price_count", count);
    // The least of both.
    wait_for(&server, "stock", 2.0);
    // What the client tells of its process is told of all.
    let text = scrape(&server);
    assert_eq!(text.matches("# TYPE process_open_fds ").count(), 1);
    assert!(text.contains("\nprocess_open_fds "), "{text}");
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

/// Those of django-hurricane with a project that has done nothing yet: the parser of `prometheus_client` counts 20.
#[test]
fn the_families_of_django_hurricane_are_there_by_default() {
    let server = Launch::manage("").arg("--processes", 2).start();
    let text = until("the workers have told", || {
        Some(scrape(&server)).filter(|text| text.contains("# TYPE python_info "))
    });
    let families: HashSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for name in [
        "python_gc_objects_collected_total",
        "python_gc_objects_uncollectable_total",
        "python_gc_collections_total",
        "python_info",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "request_counter_total",
        "request_counter_created",
        "response_time_average",
        "request_queue_length",
        "response_time_seconds",
        "response_time_seconds_created",
        "response_size_bytes",
        "response_size_bytes_created",
        "path_requests_total",
        "hurricane_info",
    ] {
        assert!(families.contains(name), "{name} is not in {text}");
    }
    let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("python_info{"), 1, "the same for all workers");
    assert_eq!(count("path_requests_total"), 0, "no request, no path");
    assert_eq!(count("request_counter_total 0"), 1);

    // The server and its workers are one.
    let memory = metric(&server, "process_resident_memory_bytes").unwrap();
    let pids = server
        .workers()
        .into_iter()
        .chain([server.pid()])
        .collect::<Vec<_>>();
    assert_eq!(pids.len(), 3);
    let resident = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<f64>().unwrap() * 1024.0
    };
    let sum: f64 = pids.iter().map(resident).sum();
    assert!(
        (memory - sum).abs() < 0.1 * sum,
        "{memory} is not about {sum}"
    );
    server.stop();
}

#[test]
fn hurricane_info_tells_how_the_server_was_started() {
    let server = Launch::manage("INSTALLED_APPS += ['steps']")
        .arg("--command", "step say 'a b'")
        .more("--command", "step leave 0")
        .flag("--static")
        .start();
    let text = scrape(&server);
    let line = text.lines().find(|line| line.starts_with("hurricane_info"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    let version = env!("CARGO_PKG_VERSION");
    let (port, probe_port) = (server.port(), server.probe_port());
    for label in [
        format!("version=\"{version}\""),
        "startup_time_seconds=\"".to_owned(),
        format!("server_port=\"{port}\""),
        "serve_static=\"true\"".to_owned(),
        "serve_media=\"false\"".to_owned(),
        format!("probe_port=\"{probe_port}\""),
        "commands=\"step say a b,step leave 0\"".to_owned(),
    ] {
        assert!(line.contains(&label), "{label} is not in {line}");
    }
    assert!(line.ends_with("} 1"), "{line}");
    server.stop();

    let held = Launch::manage("INSTALLED_APPS += ['steps']")
        .arg("--command", "step hold")
        .spawn();
    held.wait_for_note("hold []");
    let text = get(held.early_probe_port(), "/metrics").text();
    assert!(text.contains("\nhurricane_info 1\n"), "{text}");
    held.touch("release");
    held.wait_for_line("Starting HTTP Server");
    held.stop();
}
