//! Every option of `hurricane serve`: what it does, from the command line and from its variable,
//! and what is said of values that are wrong.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Connection, Launch, Request, Server, free_port, get, metric, post, python, until_true,
};

/// Checks the effect of an option that is set in either way.
fn both(app: &str, option: &str, value: &str, check: impl Fn(Launch)) {
    println!("{option} {value}");
    check(Launch::app(app).arg(option, value));
    println!("the variable of {option}, {value}");
    check(Launch::app(app).variable(option, value));
}

/// The same for an option without a value.
fn both_flag(app: &str, flag: &str, check: impl Fn(Launch)) {
    println!("{flag}");
    check(Launch::app(app).flag(flag));
    for yes in ["true", "1"] {
        println!("the variable of {flag}, {yes}");
        check(Launch::app(app).variable(flag, yes));
    }
}

fn begin(server: &Server, path: &str) -> Connection {
    Connection::begin(server.port(), &Request::new("GET", path))
}

// === the application ===

#[test]
fn app_names_the_application() {
    let launch = || Launch::app("gallery").without("--app");
    for launch in [
        launch().arg("--app", "gallery:view_hello"),
        launch().variable("--app", "gallery:view_hello"),
    ] {
        let server = launch.start();
        assert_eq!(get(server.port(), "/whatever").text(), "hello");
        server.stop();
    }
    let server = launch().arg("--app", "gallery").start();
    assert_eq!(
        get(server.port(), "/several").text(),
        "abc",
        "the attribute is `application`"
    );
    server.stop();
}

#[test]
fn without_app_the_django_project_is_found() {
    // By manage.py.
    let server = Launch::django().start();
    assert_eq!(get(server.port(), "/hello").text(), "Hello, World!");
    server.wait_for_line("django=");
    server.stop();
    // By the variable, from anywhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/django-polls");
    let launch = Launch::bare(elsewhere.path()).env("PYTHONPATH", project);
    let server = launch
        .env("DJANGO_SETTINGS_MODULE", "mysite.settings")
        .start();
    assert_eq!(get(server.port(), "/hello").text(), "Hello, World!");
    server.stop();
}

#[test]
fn python_is_the_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    let script = dir.path().join("bin/python");
    let text = format!(
        "#!/bin/sh\n: > \"$TEST_DIR/used\"\nexec '{}' \"$@\"\n",
        python().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(&script, dir.path().join("python3")).unwrap();
    let is_used = |launch: Launch| {
        let server = launch.start();
        assert!(server.dir().join("used").exists());
        server.stop();
    };
    both("gallery", "--python", script.to_str().unwrap(), is_used);
    // The active virtual environment, and the first on the path.
    let launch = || Launch::app("gallery").without("--python");
    is_used(
        launch()
            .env("VIRTUAL_ENV", dir.path())
            .env("PATH", "/nowhere"),
    );
    let path = format!("/nowhere:{}:/usr/bin:/bin", dir.path().display());
    is_used(launch().env("PATH", path));
}

#[test]
fn root_path_is_where_the_application_is() {
    both("gallery:environ", "--root-path", "/shop/", |launch| {
        let server = launch.start();
        let environ = get(server.port(), "/shop/cart").json();
        assert_eq!(
            (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
            (&"/shop".into(), &"/cart".into())
        );
        server.stop();
    });
}

// === ports and addresses ===

#[test]
fn port_and_probe_port_are_the_ports() {
    both("gallery", "--port", &free_port().to_string(), |launch| {
        let server = launch.start();
        server.wait_for_line(&format!("Starting HTTP Server on port {}", server.port()));
        assert_eq!(get(server.port(), "/hello").status, 200);
        server.stop();
    });
    let port = free_port();
    both("gallery", "--probe-port", &port.to_string(), |launch| {
        let server = launch.start();
        assert_eq!(server.probe_port(), port);
        assert_eq!(get(port, "/alive").status, 200);
        assert_eq!(get(server.port(), "/environ").status, 200);
        server.stop();
    });
}

#[test]
fn the_probes_are_on_the_next_port_by_default() {
    let port = free_port();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1));
    let launch = Launch::app("gallery").arg("--port", port);
    let ended = launch.without("--probe-port").run();
    // Taken here or by somebody else; either way the error names it.
    assert_eq!(ended.code, Some(4));
    assert!(
        ended
            .stderr
            .contains(&format!("probe server to 127.0.0.1:{}", port + 1))
    );
}

#[test]
fn on_one_port_the_probes_come_before_the_application() {
    let port = free_port();
    let server = Launch::app("gallery:environ")
        .arg("--port", port)
        .arg("--probe-port", port)
        .start();
    assert_eq!((server.port(), server.probe_port()), (port, port));
    server.wait_for_line("running integrated on port");
    for probe in ["/startup", "/ready", "/alive/", "/metrics"] {
        let response = get(port, probe);
        assert_eq!(response.status, 200);
        assert!(!response.text().contains("PATH_INFO"), "{probe}");
    }
    for path in ["/other", "/livez", "/ready/database"] {
        assert_eq!(get(port, path).json()["PATH_INFO"], path);
    }
    let mut connection = Connection::open(port);
    for path in ["/alive", "/other", "/ready", "/other"] {
        assert_eq!(
            Request::new("GET", path)
                .send_on(&mut connection)
                .unwrap()
                .status,
            200
        );
    }
    server.stop();
}

#[test]
fn host_and_probe_host_are_the_addresses() {
    let port = |line: &str, before: &str| -> u16 {
        let rest = line.split_once(before).unwrap().1;
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let other = Ipv4Addr::new(127, 0, 0, 2);
    both("gallery", "--host", "127.0.0.2", |launch| {
        let server = launch.spawn();
        let app = port(&server.wait_for_line("Starting HTTP Server"), "on port ");
        let probes = port(
            &server.wait_for_line("Starting probe application"),
            "on port ",
        );
        // The probes follow.
        let expected = BTreeSet::from([(other, app), (other, probes)]);
        until_true("it listens there", || server.listeners() == expected);
        server.stop();
    });
    both("gallery", "--probe-host", "127.0.0.2", |launch| {
        let server = launch.spawn();
        let app = port(&server.wait_for_line("Starting HTTP Server"), "on port ");
        let probes = port(
            &server.wait_for_line("Starting probe application"),
            "on port ",
        );
        let expected = BTreeSet::from([(Ipv4Addr::LOCALHOST, app), (other, probes)]);
        until_true("it listens there", || server.listeners() == expected);
        server.stop();
    });
}

// === limits ===

#[test]
fn max_body_size_limits_bodies() {
    both("gallery", "--max-body-size", "1K", |launch| {
        let server = launch.start();
        assert_eq!(post(server.port(), "/echo", "x".repeat(1024)).status, 200);
        assert_eq!(post(server.port(), "/echo", "x".repeat(1025)).status, 413);
        server.stop();
    });
}

#[test]
fn req_queue_len_decides_on_readiness() {
    both("gallery", "--req-queue-len", "0", |launch| {
        let server = launch.start();
        assert_eq!(
            get(server.probe_port(), "/ready").status,
            400,
            "no queue is shorter than 0"
        );
        assert_eq!(get(server.probe_port(), "/alive").status, 200);
        server.stop();
    });
}

#[test]
fn queue_size_limits_the_queue() {
    both("faults", "--queue-size", "1", |launch| {
        let server = launch.arg("--threads", 1).start();
        let mut held = begin(&server, "/hold?0");
        server.wait_for_note("ran hold 0");
        let mut queued = begin(&server, "/quick?1");
        until_true("it waits", || {
            metric(&server, "request_queue_length") == Some(1.0)
        });
        assert_eq!(get(server.port(), "/quick?2").status, 503);
        server.touch("go");
        assert_eq!(held.response("GET").unwrap().status, 200);
        assert_eq!(queued.response("GET").unwrap().status, 200);
        server.stop();
    });
}

#[test]
fn workers_and_threads_are_counted() {
    both("faults", "--workers", "3", |launch| {
        let server = launch.start();
        let mut workers = server.workers();
        workers.sort_unstable();
        workers.dedup();
        assert_eq!(workers.len(), 3);
        server.stop();
    });
    both("faults", "--threads", "3", |launch| {
        let server = launch.start();
        assert_eq!(get(server.port(), "/threads").text(), "3");
        let mut held: Vec<_> = (0..3)
            .map(|number| begin(&server, &format!("/hold?{number}")))
            .collect();
        for number in 0..3 {
            server.wait_for_note(&format!("ran hold {number}"));
        }
        server.touch("go");
        for connection in &mut held {
            assert_eq!(connection.response("GET").unwrap().status, 200);
        }
        server.stop();
    });
}

// === probes and metrics ===

#[test]
fn probes_and_metrics_have_the_paths_that_are_given() {
    for (option, default) in [
        ("--startup-probe", "/startup"),
        ("--readiness-probe", "/ready"),
        ("--liveness-probe", "/alive"),
        ("--metrics", "/metrics"),
    ] {
        both("gallery", option, "health/it", |launch| {
            let server = launch.start();
            assert_eq!(
                get(server.probe_port(), "/health/it").status,
                200,
                "{option}"
            );
            assert_eq!(
                get(server.probe_port(), "/health/it/").status,
                200,
                "{option}"
            );
            assert_eq!(get(server.probe_port(), default).status, 404, "{option}");
            server.stop();
        });
    }
}

#[test]
fn no_probe_answers_none() {
    both_flag("gallery:environ", "--no-probe", |launch| {
        let port = free_port();
        let server = launch.arg("--port", port).without("--probe-port").start();
        server.wait_for_line("No probe application running");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_err());
        for path in ["/alive", "/metrics"] {
            assert_eq!(
                get(port, path).json()["PATH_INFO"],
                path,
                "it is the application's"
            );
        }
        server.stop();
    });
}

#[test]
fn a_flag_can_be_off_in_its_variable() {
    for no in ["false", "0", "no", "off"] {
        let server = Launch::app("gallery").env("HURRICANE_NO_PROBE", no).start();
        assert_eq!(get(server.probe_port(), "/alive").status, 200, "{no}");
        server.stop();
    }
}

#[test]
fn no_metrics_collects_none() {
    both_flag("gallery", "--no-metrics", |launch| {
        let server = launch.start();
        server.wait_for_line("--no-metrics flag was set");
        assert_eq!(get(server.probe_port(), "/metrics").status, 404);
        assert_eq!(get(server.probe_port(), "/alive").status, 200);
        server.stop();
    });
}

#[test]
fn probe_timeout_is_how_long_a_probe_waits() {
    both("faults", "--probe-timeout", "50ms", |launch| {
        let server = launch.arg("--check-max-age", "300ms").start();
        let mut held = begin(&server, "/gil?1");
        server.wait_for_note("ran gil 1");
        until_true("the last result is too old", || {
            let answer = get(server.probe_port(), "/alive");
            answer.status == 500 && answer.text().contains("no result within 50ms")
        });
        server.free_the_gil();
        assert_eq!(held.response("GET").unwrap().status, 200);
        server.stop();
    });
}

#[test]
fn check_max_age_is_how_long_a_result_counts() {
    both("faults", "--check-max-age", "300ms", |launch| {
        let server = launch.arg("--probe-timeout", "50ms").start();
        let mut held = begin(&server, "/gil?1");
        server.wait_for_note("ran gil 1");
        until_true("the last result is too old", || {
            get(server.probe_port(), "/alive").status == 500
        });
        server.free_the_gil();
        assert_eq!(held.response("GET").unwrap().status, 200);
        until_true("there is a new result", || {
            get(server.probe_port(), "/alive").status == 200
        });
        server.stop();
    });
}

// === times ===

#[test]
fn header_timeout_is_how_long_a_head_may_take() {
    both("faults", "--header-timeout", "0.5", |launch| {
        let server = launch.start();
        let start = Instant::now();
        let mut idle = Connection::open(server.port());
        let mut slow = Connection::open(server.port());
        slow.send("GET /quick HTTP/1.1\r\nHost: a\r\nX-Slow: ");
        let _ = slow.rest();
        let _ = idle.rest();
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert_eq!(
            server.notes(),
            [""; 0],
            "the request reached the application"
        );
        server.stop();
    });
}

#[test]
fn request_timeout_is_how_long_a_request_may_take() {
    both("faults", "--request-timeout", "0.3", |launch| {
        let server = launch.arg("--graceful-timeout", "300ms").start();
        let start = Instant::now();
        assert_eq!(get(server.port(), "/hold?0").status, 504);
        assert!(start.elapsed() >= Duration::from_millis(300));
        server.touch("go");
        server.wait_for_workers(2);
        server.stop();
    });
}

#[test]
fn start_timeout_is_how_long_loading_may_take() {
    both("late", "--start-timeout", "300ms", |launch| {
        let ended = launch.run();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("not ready after 0.3 seconds"));
    });
}

#[test]
fn shutdown_delay_is_how_long_it_serves_on() {
    both("gallery", "--shutdown-delay", "400ms", |launch| {
        let server = launch.start();
        let start = Instant::now();
        server.stop();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(400), "{took:?}");
    });
}

#[test]
fn graceful_timeout_is_how_long_requests_may_take_at_the_end() {
    both("faults", "--graceful-timeout", "200ms", |launch| {
        let server = launch.start();
        let _held = begin(&server, "/hold?0");
        server.wait_for_note("ran hold 0");
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code, Some(7));
    });
}

// === the log ===

/// Whether a line is of the access log, and what it says before the time.
fn access(line: &str) -> Option<&str> {
    let (rest, time) = line.strip_suffix("ms")?.rsplit_once(' ')?;
    let (_, decimals) = time.split_once('.')?;
    let is_time = decimals.len() == 2 && time.parse::<f64>().is_ok();
    let begin = rest
        .find(" INFO ")
        .or(rest.find(" WARN "))
        .or(rest.find("ERROR "))?;
    is_time.then(|| rest[begin..].trim_start())
}

#[test]
fn each_request_is_a_line_of_the_log() {
    let server = Launch::app("gallery").start();
    get(server.port(), "/hello?a=1&b=%20");
    post(server.port(), "/echo", "x");
    get(server.port(), "/status/404_Nothing");
    get(server.port(), "/raise/error");
    let log = server.stop().stderr;
    let lines: Vec<_> = log.lines().filter_map(access).collect();
    assert_eq!(
        lines,
        [
            "INFO 200 GET /hello?a=1&b=%20 (127.0.0.1)",
            "INFO 200 POST /echo (127.0.0.1)",
            "WARN 404 GET /status/404_Nothing (127.0.0.1)",
            "ERROR 500 GET /raise/error (127.0.0.1)",
        ]
    );
}

#[test]
fn no_access_log_leaves_requests_out() {
    both_flag("gallery", "--no-access-log", |launch| {
        let server = launch.start();
        assert_eq!(get(server.port(), "/hello").status, 200);
        let log = server.stop().stderr;
        assert!(!log.contains("/hello"));
        assert!(
            log.contains("Received signal SIGTERM"),
            "everything else is there"
        );
    });
}

#[test]
fn log_level_leaves_lesser_events_out() {
    both("gallery", "--log-level", "warn", |launch| {
        let port = free_port();
        let server = launch.arg("--port", port).spawn();
        until_true("it serves", || Connection::try_open(port).is_ok());
        assert_eq!(get(port, "/hello").status, 200);
        assert_eq!(get(port, "/status/404_Nothing").status, 404);
        let log = server.stop().stderr;
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("404 GET"), "{log}");
    });
    both("gallery", "--log-level", "error", |launch| {
        let port = free_port();
        let server = launch.arg("--port", port).spawn();
        until_true("it serves", || Connection::try_open(port).is_ok());
        assert_eq!(get(port, "/status/404_Nothing").status, 404);
        assert_eq!(server.stop().stderr, "");
    });
}

#[test]
fn log_format_json_is_one_object_a_line() {
    both("gallery", "--log-format", "json", |launch| {
        let server = launch.start();
        assert_eq!(get(server.port(), "/hello").status, 200);
        let log = server.stop().stderr;
        let events: Vec<serde_json::Value> = log
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect();
        assert!(
            events
                .iter()
                .all(|event| event["level"].is_string() && event["timestamp"].is_string())
        );
        let says = |text: &str| {
            events.iter().any(|event| {
                event["message"]
                    .as_str()
                    .is_some_and(|said| said.starts_with(text))
            })
        };
        assert!(says("Starting HTTP Server on port "));
        assert!(says("200 GET /hello (127.0.0.1) "));
        assert!(says("Received signal SIGTERM"));
    });
}

// === wrong values ===

#[test]
fn a_wrong_value_is_one_line_that_says_what_is_right() {
    for (option, value, right) in [
        ("--app", "no such/app", "module:attribute"),
        ("--root-path", "shop", "slash"),
        ("--port", "70000", "65535"),
        ("--port", "http", "invalid digit"),
        ("--host", "localhost", "IP address"),
        ("--max-body-size", "much", "100M"),
        ("--probe-port", "-1", "65535"),
        ("--probe-host", "here", "IP address"),
        ("--req-queue-len", "-1", "invalid digit"),
        ("--probe-timeout", "soon", "500ms"),
        ("--check-max-age", "30 parsecs", "500ms"),
        ("--workers", "0", "from 1 on"),
        ("--threads", "many", "from 1 on"),
        ("--queue-size", "0", "from 1 on"),
        ("--request-timeout", "-1s", "500ms"),
        ("--start-timeout", "", "500ms"),
        ("--header-timeout", "late", "500ms"),
        ("--shutdown-delay", "1 2", "500ms"),
        ("--graceful-timeout", "NaN", "500ms"),
        ("--log-level", "loud", "error, warn, info, debug, trace"),
        ("--log-format", "xml", "text, json"),
    ] {
        let variable = format!("HURRICANE_{}", option[2..].replace('-', "_").to_uppercase());
        // With `=`, as values that begin with a dash need.
        let given = Launch::app("gallery")
            .without(option)
            .flag(&format!("{option}={value}"))
            .run();
        let from_variable = Launch::app("gallery").variable(option, value).run();
        for (ended, is_variable) in [(given, false), (from_variable, true)] {
            assert_eq!(ended.code, Some(2), "{option} {value}");
            assert_eq!(ended.stdout, "");
            let lines: Vec<_> = ended.stderr.lines().collect();
            assert_eq!(lines.len(), 1, "{option} {value}: {lines:?}");
            for part in ["hurricane: ", option, value, right] {
                assert!(lines[0].contains(part), "{:?} has {part:?}", lines[0]);
            }
            assert_eq!(lines[0].contains(&variable), is_variable, "{:?}", lines[0]);
        }
    }
}

#[test]
fn flags_with_a_wrong_variable_say_what_is_right() {
    for flag in ["--no-probe", "--no-metrics", "--no-access-log"] {
        let variable = format!("HURRICANE_{}", flag[2..].replace('-', "_").to_uppercase());
        let ended = Launch::app("gallery").env(&variable, "maybe").run();
        assert_eq!(ended.code, Some(2));
        let line = ended.stderr.trim_end();
        assert!(!line.contains('\n'), "{line:?}");
        for part in [flag, "maybe", "true", "false", variable.as_str()] {
            assert!(line.contains(part), "{line:?} has {part:?}");
        }
    }
}

#[test]
fn options_that_do_not_go_together_are_one_line_too() {
    let launch = || Launch::app("gallery");
    for (launch, parts) in [
        (
            launch().arg("--port", 65535).without("--probe-port"),
            ["--port 65535", "--probe-port"],
        ),
        (
            launch()
                .arg("--startup-probe", "/x")
                .arg("--liveness-probe", "x/"),
            ["/x", "more than one"],
        ),
        (
            launch().arg("--metrics", "/ready"),
            ["/ready", "more than one"],
        ),
        (
            launch().flag("--frobnicate"),
            ["--frobnicate", "unexpected"],
        ),
        (launch().flag("word"), ["word", "unexpected"]),
        (launch().flag("--threads"), ["--threads", "value"]),
        (
            launch().arg("--threads", 2).flag("--threads=3"),
            ["--threads", "cannot be used multiple times"],
        ),
    ] {
        let ended = launch.run();
        assert_eq!(ended.code, Some(2));
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in parts {
            assert!(lines[0].contains(part), "{:?} has {part:?}", lines[0]);
        }
        assert!(
            !lines[0].contains("()") && !lines[0].contains("of )"),
            "{:?}",
            lines[0]
        );
    }
}

#[test]
fn the_command_line_goes_before_the_variable() {
    let server = Launch::app("faults")
        .arg("--threads", 2)
        .env("HURRICANE_THREADS", "5")
        .start();
    assert_eq!(get(server.port(), "/threads").text(), "2");
    server.stop();
}

#[test]
fn every_option_is_in_the_help_with_its_variable() {
    let ended = Launch::app("gallery").flag("--help").run();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let help = include_str!("serve-help.txt");
    assert_eq!(ended.stdout, help, "tests/serve-help.txt is out of date");
    for option in help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
    {
        let option = option.trim_end_matches([':', ',', '.', ']']);
        let variable = format!("HURRICANE_{}", option[2..].replace('-', "_").to_uppercase());
        // Without the sign for a variable whose value is not shown.
        let shown = ["=]", "]"].map(|end| format!("[env: {variable}{end}"));
        assert!(shown.iter().any(|shown| help.contains(shown)), "{option}");
    }
}

#[test]
fn the_head_of_a_request_may_be_as_long_as_it_is_told() {
    let status = |launch: Launch, length: usize| {
        let server = launch.start();
        let value = "x".repeat(length);
        let request = Request::new("GET", "/hello").header("X-Long", &value);
        let status = request.send(server.port()).status;
        server.stop();
        status
    };
    let launch = |size: &str| Launch::app("gallery").arg("--max-buffer-size", size);
    assert_eq!(status(launch("4K"), 3 << 10), 200);
    assert_eq!(status(launch("4K"), 5 << 10), 431);
    // More than a connection's buffer is by itself.
    assert_eq!(status(launch("600K"), 500 << 10), 200);
    let django = Launch::manage("MAX_BUFFER_SIZE = 4096").without("--app");
    assert_eq!(status(django, 5 << 10), 431);
    let ended = launch("100").run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("1K at least"), "{}", ended.stderr);
}
