//! Under `manage.py serve` the log is what the project's LOGGING makes of it.

use std::fs;

use crate::harness::{Connection, Launch, Request, Server, get, until, until_true};

/// The format that users of django-hurricane have in their projects.
pub(crate) const LOGGING: &str = "
LOGGING = {
    'version': 1,
    'formatters': {'plain': {'format': '%(asctime)s %(levelname)-8s %(name)-12s %(message)s'}},
    'handlers': {'console': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout', 'formatter': 'plain'}},
    'loggers': {'hurricane': {'handlers': ['console'], 'level': LEVEL}},
}
INSTALLED_APPS += ['steps']
";

fn launch(level: &str) -> Launch {
    Launch::manage(&LOGGING.replace("LEVEL", level))
}

fn port(server: &Server) -> u16 {
    let line = server.wait_for_line("Starting HTTP Server on port ");
    wait_until_open(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// The port is named before it is open.
fn wait_until_open(port: u16) -> u16 {
    until_true("the port takes connections", || {
        Connection::try_open(port).is_ok()
    });
    port
}

#[test]
fn lines_have_the_format_and_go_where_logging_says() {
    // Projects have such a variable for their LOGGING.
    let server = launch("'INFO'").env("HURRICANE_LOG_LEVEL", "INFO").spawn();
    let port = port(&server);
    assert_eq!(get(port, "/?a=b").status, 200);
    assert_eq!(get(port, "/doesnotexist").status, 404);
    server.wait_for_line(" INFO     hurricane.server.access 200 GET /?a=b (127.0.0.1) ");
    server.wait_for_line(" WARNING  hurricane.server.access 404 GET /doesnotexist (127.0.0.1) ");
    let ended = server.stop();
    let lines: Vec<_> = ended.stdout.lines().collect();
    let start = lines
        .iter()
        .filter(|line| !line.contains("Worker is ready"));
    for (line, text) in start.zip([
        "Tornado-powered Django web server",
        "Starting probe application running on port ",
        "Starting Prometheus metrics exporter on port ",
        "Starting HTTP Server on port ",
        "Startup time is ",
    ]) {
        assert!(line.contains(text), "{line:?} says {text:?}");
        let (time, rest) = line.split_at("2026-01-01 00:00:00,000".len());
        assert_eq!(time.as_bytes()[19], b',', "{line:?}");
        assert!(
            rest.starts_with(" INFO     hurricane.server.general "),
            "{line:?}"
        );
    }
    assert!(
        ended
            .stdout
            .contains("Received signal SIGTERM. Shutting down now.")
    );
    assert!(!ended.stderr.contains("INFO"), "{}", ended.stderr);
    let durations = ended.stdout.matches("ms\n").count();
    assert_eq!(durations, 2, "only access lines end with milliseconds");
}

#[test]
fn the_level_is_that_of_the_logger() {
    // Nothing is said of the start, but what is worse.
    let ended = launch("'WARNING'").arg("--command", "step fail").run();
    assert!(
        ended
            .stdout
            .contains(" ERROR    hurricane.server.general the command")
    );
    assert!(!ended.stdout.contains("INFO"), "{}", ended.stdout);
}

#[test]
fn a_failed_command_is_told_in_the_words_that_are_waited_for() {
    let ended = launch("'INFO'").arg("--command", "step fail").run();
    assert_eq!(ended.code, Some(8));
    for line in [
        " INFO     hurricane.server.general Tornado-powered Django web server",
        " INFO     hurricane.server.general Starting execution of management commands",
        " ERROR    hurricane.server.general the command 'step' failed: this step fails",
        "Traceback (most recent call last):",
        " INFO     hurricane.server.general Webhook with a status failed has been initiated",
        " WARNING  hurricane.server.general No webhook can be sent, as no url is specified",
        " INFO     hurricane.server.general Loop will be closed",
    ] {
        assert!(ended.stdout.contains(line), "{line}");
    }
}

#[test]
fn without_a_handler_of_a_standard_stream_the_server_logs_by_itself() {
    let file = LOGGING.replace("LEVEL", "'INFO'").replace(
        "'logging.StreamHandler', 'stream': 'ext://sys.stdout'",
        "'logging.NullHandler'",
    );
    for launch in [
        Launch::manage(""),
        Launch::manage(&file),
        launch("'INFO'").arg("--log-format", "text"),
    ] {
        let server = launch.start();
        assert!(server.stderr().contains(" INFO hurricane "));
        assert!(!server.stdout().contains("hurricane.server"));
        server.stop();
    }
}

/// Handlers that only Python has, for lines of one kind.
fn with_handler(handler: &str) -> Launch {
    let settings = LOGGING.replace("LEVEL", "'INFO'").replace(
        "'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout'",
        handler,
    );
    Launch::manage(&settings)
}

#[test]
fn a_file_is_written_by_python() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let log = || fs::read_to_string(&file).unwrap_or_default();
    let handler =
        "'class': 'logging.handlers.RotatingFileHandler', 'filename': os.environ['TEST_LOG']";
    let server = with_handler(handler).env("TEST_LOG", &file).spawn();
    let port = until("the port is in the file", || {
        let log = log();
        let (_, rest) = log.split_once("Starting HTTP Server on port ")?;
        let (port, _) = rest.split_once('\n')?;
        port.parse().ok()
    });
    wait_until_open(port);
    assert_eq!(get(port, "/doesnotexist").status, 404);
    let line = " WARNING  hurricane.server.access 404 GET /doesnotexist (127.0.0.1) ";
    until_true("the request is in the file", || log().contains(line));
    let ended = server.stop();
    let log = log();
    // What is said last is written too.
    let last = " INFO     hurricane.server.general Stopped\n";
    assert!(log.ends_with(last), "{log}");
    assert!(!ended.stdout.contains("Starting"), "{}", ended.stdout);
}

#[test]
fn a_filter_is_heeded() {
    let access = "'hurricane.server.access': {'handlers': ['console'], 'level': 'INFO', 'filters': ['redacts'], 'propagate': False}";
    let filters = "'version': 1, 'filters': {'redacts': {'()': 'dropin.logs.Redacts'}},";
    let settings = LOGGING
        .replace("LEVEL", "'INFO'")
        .replace("'version': 1,", filters)
        .replace("'loggers': {", &format!("'loggers': {{{access}, "));
    let server = Launch::manage(&settings).spawn();
    let port = port(&server);
    assert_eq!(get(port, "/?key=secret").status, 200);
    server.wait_for_line(" INFO     hurricane.server.access 200 GET /?key=… (127.0.0.1) ");
    let ended = server.stop();
    assert!(!ended.stdout.contains("secret"), "{}", ended.stdout);
}

#[test]
fn a_handler_that_hangs_holds_up_nothing() {
    let settings = LOGGING.replace("LEVEL", "'INFO'").replace(
        "'loggers': {",
        "'loggers': {'hurricane.server.access': {'handlers': ['hangs'], 'level': 'INFO', 'propagate': False},",
    );
    let settings = settings.replace(
        "'handlers': {'console'",
        "'handlers': {'hangs': {'class': 'dropin.logs.Hangs'}, 'console'",
    );
    let server = Launch::manage(&settings).spawn();
    let port = port(&server);
    for _ in 0..20 {
        assert_eq!(get(port, "/").status, 200);
    }
    server.stop();
}

#[test]
fn a_command_that_fails_is_in_the_file_when_the_server_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let handler = "'class': 'logging.FileHandler', 'filename': os.environ['TEST_LOG']";
    let ended = with_handler(handler)
        .env("TEST_LOG", &file)
        .arg("--command", "step fail")
        .run();
    assert_eq!(ended.code, Some(8));
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.contains("the command 'step' failed: this step fails\nTraceback"));
    assert!(log.contains(" INFO     hurricane.server.general Loop will be closed"));
}

#[test]
fn structlog_logs_where_the_project_configures_it() {
    let settings = "
import structlog
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
";
    let server = Launch::manage(settings).spawn();
    let line = server.wait_for_line("Starting HTTP Server on port ");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["level"], "info");
    let port = said["event"].as_str().unwrap().rsplit_once(' ').unwrap().1;
    let port = wait_until_open(port.parse().unwrap());
    assert_eq!(get(port, "/doesnotexist?a").status, 404);
    let line = server.wait_for_line("TX GET /doesnotexist?a ");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (
            &said["level"],
            &said["status"],
            &said["method"],
            &said["path"]
        ),
        (
            &"warning".into(),
            &404.into(),
            &"GET".into(),
            &"/doesnotexist?a".into()
        )
    );
    assert_eq!(said["remote_ip"], "127.0.0.1");
    assert!(said["request_time"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(
        (&said["id"], &said["traceparent"]),
        (&"n/a".into(), &"n/a".into())
    );
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::new("GET", "/?b")
        .header("X-Request-ID", "a7\"} traceparent=forged")
        .header("traceparent", parent);
    assert_eq!(request.send(port).status, 200);
    let line = server.wait_for_line("TX GET /?b ");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&said["id"], &said["traceparent"]),
        (&"n/a".into(), &parent.into())
    );
    let request = Request::new("GET", "/?c").header("X-Request-ID", "a7\"}");
    assert_eq!(request.send(port).status, 200);
    let line = server.wait_for_line("TX GET /?c ");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["id"], "a7\"}");
    server.stop();
}
