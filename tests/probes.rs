//! What Kubernetes asks, and what it is told.

use std::fs;

use rustix::process::Signal;

use crate::harness::{
    Connection, Launch, Request, Response, Server, get, metric, until, until_true,
};

const PROBES: [&str; 3] = ["/startup", "/ready", "/alive"];

fn ask(server: &Server, path: &str) -> (u16, String) {
    let response = get(server.probe_port(), path);
    (response.status, response.text())
}

/// Waits until a probe has this status, and returns what it says.
fn wait_for(server: &Server, path: &str, status: u16) -> Response {
    until(&format!("{path} is {status}"), || {
        Some(get(server.probe_port(), path)).filter(|response| response.status == status)
    })
}

// === the states of a server ===

#[test]
fn nothing_is_green_before_the_application_is_loaded() {
    let server = Launch::app("late").spawn();
    let port = server.early_probe_port();
    server.wait_for_note("importing");
    for probe in PROBES {
        let response = get(port, probe);
        assert_eq!(
            (response.status, response.text()),
            (400, String::new()),
            "{probe}"
        );
    }
    assert_eq!(get(port, "/metrics").status, 200);
    server.touch("imported");
    until_true("the start is over", || get(port, "/startup").status == 200);
    for probe in PROBES {
        assert_eq!(get(port, probe).status, 200, "{probe}");
    }
    server.stop();
}

#[test]
fn all_is_green_when_the_application_serves() {
    let server = Launch::django().start();
    let (status, text) = ask(&server, "/startup");
    assert_eq!(status, 200);
    let seconds = text.strip_prefix("Startup was finished ").unwrap();
    assert!(
        seconds.contains('.') && seconds.parse::<f64>().unwrap() > 1e9,
        "{seconds}"
    );
    assert_eq!(ask(&server, "/alive"), (200, "alive".to_owned()));
    assert_eq!(ask(&server, "/ready"), (200, String::new()));
    assert_eq!(get(server.port(), "/slow?seconds=0.05").status, 200);
    let (status, text) = ask(&server, "/alive");
    assert_eq!(status, 200);
    let time = text.strip_prefix("Average response time: ").unwrap();
    let (time, rest) = time.split_once("ms").unwrap();
    assert!(time.parse::<f64>().unwrap() >= 50.0, "{text}");
    assert_eq!(time.split_once('.').unwrap().1.len(), 2, "{text}");
    assert_eq!(rest, " Request queue size: 0 Rx");
    server.stop();
}

#[test]
fn a_failing_check_turns_its_own_probe_red() {
    for (debug, text) in [("0", "check error"), ("1", "django check error: ")] {
        let launch = Launch::django().env("DJANGO_DEBUG", debug);
        let (live, ready) = (
            launch.dir().join("not-live"),
            launch.dir().join("not-ready"),
        );
        let server = launch
            .env("POLLS_LIVENESS_FAIL", &live)
            .env("POLLS_READINESS_FAIL", &ready)
            .start();

        fs::write(&ready, "").unwrap();
        let red = wait_for(&server, "/ready", 500).text();
        assert_eq!(ask(&server, "/alive").0, 200);
        assert_eq!(ask(&server, "/startup").0, 200);
        if debug == "0" {
            assert_eq!(red, text, "without DEBUG nothing is given away");
        } else {
            assert!(
                red.starts_with(text) && red.contains("POLLS_READINESS_FAIL"),
                "{red}"
            );
        }
        fs::write(&live, "").unwrap();
        fs::remove_file(&ready).unwrap();
        wait_for(&server, "/ready", 200);
        let red = wait_for(&server, "/alive", 500).text();
        assert!(red.starts_with(text), "{red}");
        assert_eq!(
            get(server.port(), "/hello").status,
            200,
            "the application serves on"
        );
        fs::remove_file(&live).unwrap();
        wait_for(&server, "/alive", 200);
        server.stop();
    }
}

#[test]
fn a_warning_leaves_the_probes_green() {
    let server = Launch::django().env("POLLS_WARN", "1").start();
    for probe in PROBES {
        assert_eq!(ask(&server, probe).0, 200, "{probe}");
    }
    let (_, verbose) = ask(&server, "/ready?verbose");
    assert!(
        verbose.contains("readiness checks warning") && verbose.contains("polls.W001"),
        "{verbose}"
    );
    let json = Request::new("GET", "/alive").header("Accept", "application/health+json");
    assert_eq!(json.send(server.probe_port()).json()["status"], "warn");
    server.stop();
}

#[test]
fn a_database_that_is_lost_turns_the_probes_red_until_it_is_back() {
    let apps = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/apps");
    for (debug, text) in [
        ("0", "database error"),
        ("1", "django database error: connection refused, on purpose"),
    ] {
        let server = Launch::django()
            .env("PYTHONPATH", apps)
            .env("DJANGO_SETTINGS_MODULE", "flaky_settings")
            .env("DJANGO_DEBUG", debug)
            .start();
        for _ in 0..2 {
            server.touch("db-down");
            assert_eq!(wait_for(&server, "/alive", 500).text(), text);
            assert_eq!(wait_for(&server, "/ready", 500).text(), text);
            assert_eq!(ask(&server, "/startup").0, 200);
            fs::remove_file(server.dir().join("db-down")).unwrap();
            wait_for(&server, "/alive", 200);
            wait_for(&server, "/ready", 200);
        }
        server.stop();
    }
}

#[test]
fn a_database_that_was_never_there_turns_the_probes_red() {
    let launch = Launch::django().env("DJANGO_DEBUG", "0");
    let database = launch.dir().join("polls.sqlite3");
    let content = fs::read(&database).unwrap();
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    let server = launch.start();
    assert_eq!(ask(&server, "/alive"), (500, "database error".to_owned()));
    assert_eq!(ask(&server, "/ready"), (500, "database error".to_owned()));
    fs::remove_dir(&database).unwrap();
    fs::write(&database, content).unwrap();
    wait_for(&server, "/ready", 200);
    server.stop();
}

#[test]
fn a_long_queue_is_not_ready_and_alive() {
    let server = Launch::app("faults")
        .arg("--threads", 1)
        .arg("--req-queue-len", 2)
        .start();
    let port = server.port();
    let begin = |path: &str| Connection::begin(port, &Request::new("GET", path));
    let mut all = vec![begin("/hold?0")];
    server.wait_for_note("ran hold 0");
    all.push(begin("/quick?1"));
    until_true("one waits", || {
        metric(&server, "request_queue_length") == Some(1.0)
    });
    assert_eq!(
        ask(&server, "/ready"),
        (200, String::new()),
        "below the limit"
    );
    all.push(begin("/quick?2"));
    until_true("two wait", || {
        metric(&server, "request_queue_length") == Some(2.0)
    });
    let why = "request queue: 2 requests wait for a worker, the limit is 2".to_owned();
    assert_eq!(ask(&server, "/ready"), (400, why));
    assert_eq!(ask(&server, "/alive").0, 200);
    assert_eq!(ask(&server, "/startup").0, 200);
    assert!(
        ask(&server, "/ready?verbose").1.contains("2 requests wait"),
        "it says why"
    );
    server.touch("go");
    for connection in &mut all {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    assert_eq!(ask(&server, "/ready").0, 200);
    server.stop();
}

#[test]
fn idle_connections_do_not_count_as_load() {
    let server = Launch::app("faults").start();
    let _idle: Vec<_> = (0..50).map(|_| Connection::open(server.port())).collect();
    let _asking: Vec<_> = (0..50)
        .map(|_| Connection::open(server.probe_port()))
        .collect();
    assert_eq!(ask(&server, "/ready").0, 200);
    server.stop();
}

#[test]
fn a_server_that_ends_is_not_ready_and_alive() {
    let server = Launch::app("faults").start();
    let mut held = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    server.signal(Signal::TERM);
    assert_eq!(wait_for(&server, "/ready", 400).text(), "");
    assert_eq!(ask(&server, "/alive").0, 200);
    assert_eq!(ask(&server, "/startup").0, 200);
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().status, 200);
    assert_eq!(server.ended().code, Some(0));
}

// === the forms of an answer ===

#[test]
fn verbose_names_every_check() {
    let server = Launch::django().start();
    let (status, text) = ask(&server, "/ready?verbose");
    assert_eq!(status, 200);
    for check in [
        "[+]request queue ok",
        "[+]readiness checks ok",
        "[+]database ok",
        "readiness check passed",
    ] {
        assert!(text.contains(check), "{check} in {text}");
    }
    let (status, text) = ask(&server, "/alive?verbose");
    assert_eq!(status, 200);
    for check in [
        "[+]liveness checks ok",
        "[+]database ok",
        "liveness check passed",
    ] {
        assert!(text.contains(check), "{check} in {text}");
    }
    assert!(!text.contains("event loop"), "there is none: {text}");
    assert_eq!(ask(&server, "/startup?verbose").0, 200);
    server.stop();
}

#[test]
fn json_is_for_those_who_ask_for_it() {
    let launch = Launch::django();
    let ready = launch.dir().join("not-ready");
    let server = launch.env("POLLS_READINESS_FAIL", &ready).start();
    let json = Request::new("GET", "/ready").header("Accept", "application/health+json");
    let green = json.send(server.probe_port());
    assert_eq!(
        green.header("content-type"),
        Some("application/health+json")
    );
    let body = green.json();
    assert_eq!(body["status"], "pass");
    let check = &body["checks"]["readiness checks"][0];
    assert_eq!(check["status"], "pass");
    assert!(
        check["age"].is_number() && check["duration"].is_number(),
        "{body}"
    );
    fs::write(&ready, "").unwrap();
    wait_for(&server, "/ready", 500);
    let red = json.send(server.probe_port());
    assert_eq!((red.status, &red.json()["status"]), (500, &"fail".into()));
    let plain = Request::new("GET", "/alive")
        .header("Accept", "*/*")
        .send(server.probe_port());
    assert!(
        plain
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    server.stop();
}

#[test]
fn single_checks_can_be_asked_and_left_out() {
    let server = Launch::django().start();
    assert_eq!(ask(&server, "/ready/database"), (200, "ok".to_owned()));
    assert_eq!(
        ask(&server, "/alive/main%20runtime"),
        (200, "ok".to_owned())
    );
    let (status, sentence) = ask(&server, "/ready?check=databse");
    assert_eq!(status, 404, "{sentence}");
    let (status, text) = ask(&server, "/ready?verbose&exclude=database&exclude=x");
    assert_eq!(status, 200);
    assert!(text.contains("[+]database excluded: ok\nwarn: "), "{text}");
    server.stop();
}

#[test]
fn the_names_of_kubernetes_own_servers_are_known() {
    let server = Launch::app("gallery").start();
    for (path, probe) in [
        ("/livez", "liveness"),
        ("/healthz", "liveness"),
        ("/readyz", "readiness"),
    ] {
        let accept = Request::new("GET", path).header("Accept", "application/json");
        let answer = accept.send(server.probe_port());
        assert_eq!(
            (answer.status, &answer.json()["probe"]),
            (200, &probe.into())
        );
    }
    server.stop();
}

#[test]
fn get_head_and_post_ask_and_others_do_not() {
    let server = Launch::app("gallery").start();
    let port = server.probe_port();
    for path in ["/startup", "/ready", "/alive", "/metrics"] {
        for method in ["GET", "HEAD", "POST"] {
            for slash in ["", "/", "?query=1", "/?query"] {
                let response = Request::new(method, &format!("{path}{slash}")).send(port);
                assert_eq!(response.status, 200, "{method} {path}{slash}");
                let cache = response.header("cache-control").unwrap();
                assert!(cache.contains("no-store"), "{cache}");
            }
        }
        let response = Request::new("POST", path).body("ignored").send(port);
        assert_eq!(response.status, 200, "POST {path} with a body");
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let response = Request::new(method, path).send(port);
            assert_eq!(response.status, 405, "{method} {path}");
            assert!(response.header("allow").unwrap().contains("GET"));
        }
        assert_eq!(get(port, &format!("{path}//")).status, 404);
        assert_eq!(get(port, &format!("{path}x")).status, 404);
    }
    for path in ["/", "/nothing", "/hello", "/Alive"] {
        let response = get(port, path);
        assert_eq!(response.status, 404, "{path}");
        assert!(
            response
                .header("cache-control")
                .unwrap()
                .contains("no-store")
        );
    }
    server.stop();
}

#[test]
fn probes_share_connections_and_survive_nonsense() {
    let server = Launch::app("gallery").start();
    let mut connection = Connection::open(server.probe_port());
    for _ in 0..20 {
        for probe in PROBES {
            assert_eq!(
                Request::new("GET", probe)
                    .send_on(&mut connection)
                    .unwrap()
                    .status,
                200
            );
        }
    }
    let mut nonsense = Connection::open(server.probe_port());
    nonsense.send("\0\0\0\r\n\r\n");
    let _ = nonsense.rest();
    assert_eq!(ask(&server, "/alive").0, 200);
    let log = server.stop().stderr;
    assert!(
        !log.contains("/alive ("),
        "probes are not in the access log"
    );
}

// === metrics ===

#[test]
fn metrics_count_what_the_application_does() {
    let server = Launch::app("faults").arg("--threads", 1).start();
    let sum = |name: &str, labels: &str| -> f64 {
        let metrics = get(server.probe_port(), "/metrics").text();
        let series = metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(labels));
        series
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    };
    let requests = |labels: &str| sum("http_server_requests_total{", labels);
    assert_eq!(requests(""), 0.0);
    for _ in 0..3 {
        assert_eq!(get(server.port(), "/quick?1").status, 200);
    }
    assert_eq!(get(server.port(), "/nothing").status, 500);
    assert_eq!(
        Request::new("BREW", "/quick?2").send(server.port()).status,
        200
    );
    until_true("they are counted", || requests("") == 5.0);
    assert_eq!(requests("status_code=\"200\""), 4.0);
    assert_eq!(requests("status_code=\"500\""), 1.0);
    assert_eq!(requests("method=\"GET\""), 4.0);
    assert_eq!(
        requests("method=\"BREW\""),
        0.0,
        "clients cannot make up series"
    );
    assert_eq!(sum("http_server_request_duration_seconds_count{", ""), 5.0);
    assert_eq!(
        sum(
            "http_server_response_body_size_bytes_sum{",
            "status_code=\"200\""
        ),
        4.0
    );
    assert!(metric(&server, "response_time_average").unwrap() > 0.0);

    let mut held = Connection::begin(server.port(), &Request::new("GET", "/hold?0"));
    server.wait_for_note("ran hold 0");
    assert_eq!(metric(&server, "http_server_active_requests"), Some(1.0));
    assert_eq!(
        metric(&server, "request_queue_length"),
        Some(0.0),
        "it does not wait any more"
    );
    let mut waiting = Connection::begin(server.port(), &Request::new("GET", "/quick?3"));
    until_true("it waits", || {
        metric(&server, "request_queue_length") == Some(1.0)
    });
    assert_eq!(metric(&server, "http_server_active_requests"), Some(2.0));
    server.touch("go");
    assert_eq!(held.response("GET").unwrap().status, 200);
    assert_eq!(waiting.response("GET").unwrap().status, 200);
    until_true("all are done", || {
        metric(&server, "http_server_active_requests") == Some(0.0)
    });
    assert_eq!(metric(&server, "request_queue_length"), Some(0.0));
    server.stop();
}

#[test]
fn an_application_that_only_fails_is_seen() {
    let server = Launch::app("faults").start();
    let ratio = || metric(&server, "hurricane_server_error_ratio").unwrap();
    assert_eq!(ratio(), 0.0);
    for _ in 0..10 {
        assert_eq!(get(server.port(), "/quick?1").status, 200);
    }
    assert!(
        ask(&server, "/ready?verbose")
            .1
            .contains("[+]server errors ok")
    );
    for _ in 0..30 {
        assert_eq!(get(server.port(), "/nothing").status, 500);
    }
    assert_eq!(ratio(), 0.75);
    let (status, text) = ask(&server, "/ready?verbose");
    assert_eq!(status, 200, "another pod would answer the same");
    let warning = "[+]server errors warning: 30 of 40 answers in the last minute were errors";
    assert!(text.contains(warning), "{text}");
    server.stop();
}

#[test]
fn metrics_are_in_the_form_that_prometheus_reads() {
    let server = Launch::app("gallery").start();
    assert_eq!(get(server.port(), "/hello").status, 200);
    let response = get(server.probe_port(), "/metrics");
    let content_type = response.header("content-type").unwrap();
    assert!(
        content_type.starts_with("text/plain; version=0.0.4"),
        "{content_type}"
    );
    for line in response
        .text()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(
            series.starts_with(|first: char| first.is_ascii_alphabetic()),
            "{line}"
        );
    }
    for name in [
        "http_server_requests_total",
        "request_queue_length",
        "http_server_request_duration_seconds",
    ] {
        assert!(
            response.text().contains(&format!("# TYPE {name} ")),
            "{name}"
        );
    }
    server.stop();
}
