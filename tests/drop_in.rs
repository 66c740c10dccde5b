//! What users of django-hurricane rely on, as the document about migrating from it says: a project with nothing but
//! `hurricane`, through `manage.py serve`.

use std::{
    env,
    ffi::OsString,
    iter,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::{
    harness::{Connection, Launch, Request, get, is_allowed, post, python},
    logging::LOGGING,
    webhooks::Receiver,
};

/// A check of liveness that raises an exception.
const BROKEN: &str = "
from django.core.checks import register
@register('hurricane', deploy=True)
def broken(**kwargs):
    raise ValueError('a secret detail')
";

#[test]
fn a_project_without_databases_is_alive_and_ready() {
    let server = Launch::manage("DATABASES = {}").start();
    for probe in ["/startup", "/alive", "/ready"] {
        assert_eq!(get(server.probe_port(), probe).status, 200, "{probe}");
    }
    server.stop();
}

#[test]
fn probes_take_get_post_and_head_with_one_slash_at_the_end() {
    let server = Launch::manage("")
        .arg("--startup-probe", " //pro be/")
        .start();
    let port = server.probe_port();
    for path in ["/probe", "/probe/", "/probe?x=1"] {
        assert_eq!(get(port, path).status, 200, "{path}");
        assert_eq!(post(port, path, b"null").status, 200, "{path}");
        let head = Request::new("HEAD", path).send(port);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    let answer = get(port, "/probe");
    let header = |name| answer.header(name).unwrap_or_default();
    assert!(header("content-type").starts_with("text/plain"));
    assert!(header("cache-control").contains("no-store"));
    assert_eq!(get(port, "/probe//").status, 404);
    assert_eq!(Request::new("PUT", "/probe").send(port).status, 405);
    server.stop();
}

#[test]
fn a_check_that_raises_is_a_check_error() {
    // The first run is that of manage.py.
    for (debug, body) in [
        ("", "check error"),
        (
            "DEBUG = True",
            "django check error: ValueError('a secret detail')",
        ),
    ] {
        let server = Launch::manage(&format!("{BROKEN}\n{debug}")).start();
        let answer = get(server.probe_port(), "/alive");
        assert_eq!((answer.status, answer.text().as_str()), (500, body));
        assert_eq!(get(server.probe_port(), "/ready").status, 200);
        assert_eq!(get(server.probe_port(), "/startup").status, 200);
        server.stop();
    }
}

#[test]
fn the_end_of_a_life_is_told_without_metrics_too() {
    let server = Launch::manage("MAX_LIFETIME = 2")
        .flag("--no-metrics")
        .start();
    for _ in 0..2 {
        assert_eq!(get(server.port(), "/").status, 200);
    }
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    assert_eq!(get(server.port(), "/").status, 200);
    let answer = get(server.probe_port(), "/alive");
    assert_eq!(answer.status, 400);
    let why = "lifetime: 3 requests answered, the limit is 2";
    assert_eq!(answer.text(), why);
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    server.stop();
}

#[test]
fn a_check_of_the_databases_can_be_replaced() {
    for (replaced, says) in [
        ("lambda: False", "a database does not answer"),
        ("lambda: 1 / 0", "division by zero"),
    ] {
        let settings =
            format!("import hurricane.server\nhurricane.server.check_databases = {replaced}");
        let ended = Launch::manage(&settings).flag("--check-migrations").run();
        assert_eq!(ended.code, Some(9), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn what_is_tornados_is_told_where_it_is_imported() {
    let settings = "from hurricane.server import make_http_server";
    let ended = Launch::manage(settings).run();
    assert_ne!(ended.code, Some(0));
    let says =
        "hurricane.server.make_http_server is not there: Hurricane's server is not tornado's";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}

#[test]
fn each_database_is_asked() {
    let settings =
        "DATABASES['other'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/nowhere/db'}";
    let server = Launch::manage(settings).start();
    for probe in ["/alive", "/ready"] {
        let answer = get(server.probe_port(), probe);
        let says = (answer.status, answer.text());
        assert_eq!(says, (500, "database error".to_owned()), "{probe}");
    }
    server.stop();
}

#[test]
fn a_queue_over_its_limit_is_told_once() {
    let receiver = Receiver::takes();
    let server = Launch::manage("REQ_QUEUE_LEN = 0")
        .arg("--webhook-url", receiver.url())
        .env("NO_PROXY", "127.0.0.1")
        .start();
    for _ in 0..3 {
        let answer = get(server.probe_port(), "/ready");
        assert_eq!(answer.status, 400);
        let says = "request queue: 0 requests wait for a worker, the limit is 0";
        assert_eq!(answer.text(), says);
    }
    server.stop();
    let told = receiver.until_shutdown();
    let count = told.iter().filter(|event| event.starts_with("readiness"));
    assert_eq!(count.count(), 1, "{told:?}");
    assert!(told.contains(&"readiness failed".to_owned()), "{told:?}");
}

#[test]
fn a_port_that_is_taken_is_4() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for option in ["--port", "--probe-port"] {
        let ended = Launch::manage("").arg(option, port).run();
        assert_eq!(ended.code, Some(4), "{option}: {}", ended.stderr);
        assert!(ended.stderr.contains("Address already in use"));
    }
}

#[test]
fn requests_come_to_the_project_as_the_document_says() {
    let settings = "MIDDLEWARE = ['dropin.web.Counting']";
    let server = Launch::manage(settings)
        .arg("--max-body-size", 1024)
        .arg("--max-buffer-size", 4096)
        .start();
    let port = server.port();
    let first = Request::new("POST", "http://elsewhere/meta?a=%20b")
        .header("X_Under", "forged")
        .header("X-Forwarded-For", "9.9.9.9")
        .header("X-Forwarded-Proto", "https")
        .chunked([&b"fo"[..], b"ur"])
        .send(port);
    assert!(first.header("date").is_some());
    assert_eq!(first.header("server"), None);
    let first = first.json();
    for (name, value) in [
        ("PATH_INFO", "/meta"),
        ("QUERY_STRING", "a=%20b"),
        ("SCRIPT_NAME", ""),
        ("CONTENT_LENGTH", "4"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("body", "four"),
        ("scheme", "http"),
    ] {
        assert_eq!(first[name], value, "{name} in {first}");
    }
    assert_eq!(first.get("HTTP_X_UNDER"), None, "{first}");
    let second = Request::new("FOO", "/meta").send(port).json();
    assert_eq!(second["method"], "FOO", "methods are Django's affair");
    assert_eq!(second["made"], 1, "middleware is made once");
    assert_eq!(
        second["finished"][0], first["thread"],
        "signals come on the request's thread"
    );

    assert_eq!(get(port, "/later").text(), "later");
    let head = Request::new("HEAD", "/later").send(port);
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("5"), 0)
    );
    let nothing = get(port, "/nothing");
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));
    assert_eq!(nothing.header("server"), Some("the project's"));

    let mut stream = Connection::begin(port, &Request::new("GET", "/stream"));
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"first\n"[..]));
    server.touch("go");
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b"second\n"[..]));

    assert_eq!(post(port, "/meta", [b'x'; 1025]).status, 413);
    let long = Request::new("GET", "/meta").header("X-Long", "x".repeat(5000));
    assert_eq!(long.send(port).status, 431);
    server.stop();
}

#[test]
fn webhooks_have_the_payload_that_receivers_know() {
    let receiver = Receiver::takes();
    let launch = |settings: &str| {
        let logging = LOGGING.replace("LEVEL", "'INFO'");
        Launch::manage(&format!("{logging}\nHURRICANE_VERSION = '7.1'\n{settings}"))
            .arg("--webhook-url", receiver.url())
            .env("NO_PROXY", "127.0.0.1")
    };
    let nowhere = "DATABASES['default']['NAME'] = '/nowhere/db.sqlite3'";
    for (launch, status, traceback) in [
        (
            launch("").arg("--command", "step fail"),
            "failed",
            "this step fails",
        ),
        (
            launch(nowhere).flag("--check-migrations"),
            "warning",
            "unable to open database file",
        ),
    ] {
        let ended = launch.run();
        for line in [
            format!("Webhook with a status {status} has been initiated"),
            format!("Start sending startup webhook to {}", receiver.url()),
            "Loop will be closed".to_owned(),
        ] {
            assert!(ended.stdout.contains(&line), "{line:?} in {}", ended.stdout);
        }
        let body = receiver.next_body();
        let keys = [
            "info",
            "type",
            "traceback",
            "status",
            "timestamp",
            "podname",
            "version",
        ];
        let at = keys.map(|key| {
            body.find(&format!("\"{key}\":"))
                .unwrap_or_else(|| panic!("{key} in {body}"))
        });
        assert!(at.is_sorted(), "{body}");
        let payload: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(payload["info"], "Startup webhook");
        assert_eq!(payload["status"], status);
        assert_eq!(payload["version"], "7.1");
        let told = payload["traceback"].as_str().unwrap();
        assert!(
            told.contains("Traceback") && told.contains(traceback),
            "{told}"
        );
    }
}

/// Nobody probes: the server asks itself, after five seconds.
#[test]
fn webhooks_are_told_of_changes_that_nobody_probes_for() {
    let receiver = Receiver::takes();
    let server = Launch::manage(BROKEN)
        .arg("--webhook-url", receiver.url())
        .env("NO_PROXY", "127.0.0.1")
        .flag("--no-probe")
        .start();
    let mut told: Vec<_> = (0..3).map(|_| receiver.next_summary()).collect();
    told[1..].sort();
    assert_eq!(
        told,
        [
            "startup succeeded",
            "liveness failed",
            "readiness succeeded"
        ]
    );
    server.stop();
}

#[test]
fn drivers_find_the_ports_and_the_lines_they_know() {
    drive("ports");
}

#[test]
fn drivers_find_what_settings_and_variables_say() {
    drive("settings");
}

#[test]
fn drivers_find_commands_and_migrations_done() {
    drive("commands");
}

#[test]
fn drivers_find_the_limits_they_set() {
    drive("limits");
}

/// Has `drive.py` start some servers and ask them, in namespaces of its own, where the usual ports are free.
fn drive(which: &str) {
    let unshare = [
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    if !is_allowed(&unshare) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let driven = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg(python())
        .arg(root.join("tests/dropin/drive.py"))
        .args([folder.path(), Path::new(which)])
        .env("PYTHONPATH", root.join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PATH", search_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&driven.stderr);
    assert!(driven.status.success(), "{said}");
}

/// With the binary under test before all others.
fn search_path() -> OsString {
    let binary = Path::new(env!("CARGO_BIN_EXE_hurricane")).parent().unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = iter::once(binary.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap()
}
