//! Under `manage.py serve` the log is what the project's LOGGING makes of it.

use crate::harness::{Launch, Server, get};

/// The format that users of django-hurricane have in their projects.
const LOGGING: &str = "
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
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
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
