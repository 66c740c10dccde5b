//! `manage.py consume`: where its options come from, what it says, and what it becomes.

use std::{fs, path::Path};

use super::{Admin, broker, name};
use crate::harness::{Launch, get, until_true};
use crate::webhooks::Receiver;

/// What a project that logs has in its settings.
const LOGGING: &str = "LOGGING = {'version': 1, 'disable_existing_loggers': False,
    'formatters': {'line': {'format': '%(levelname)-8s %(name)s %(message)s'}},
    'handlers': {'console': {'class': 'logging.StreamHandler', 'formatter': 'line', 'stream': 'ext://sys.stdout'}},
    'root': {'handlers': ['console'], 'level': 'INFO'}}";

fn address() -> (&'static str, &'static str) {
    let address = broker::uri().trim_start_matches("amqp://");
    address.split_once(':').unwrap()
}

fn consume(settings: &str) -> Launch {
    Launch::manage_consume(
        "dropin.consumers.Querying",
        &format!("{LOGGING}\n{settings}"),
    )
}

#[test]
fn the_process_becomes_the_binary_and_says_what_its_users_wait_for() {
    let (admin, exchange, queue) = (Admin::new(), name("shop"), name("manage"));
    let (host, port) = address();
    let server = consume("")
        .arg("--amqp-host", host)
        .arg("--amqp-port", port)
        .arg("--queue", &queue)
        .arg("--exchange", &exchange)
        .start_consuming();
    admin.publish(&exchange, &queue, b"close");
    admin.publish(&exchange, &queue, b"hello");
    let line = format!("hello 2 not-a-secret {} {host} /", server.pid());
    server.wait_for_line(&line);
    let out = server.stop().stdout;
    let mut rest = out.as_str();
    for line in [
        "INFO     hurricane.amqp.general Starting a Tornado-powered Django AMQP consumer"
            .to_owned(),
        "INFO     hurricane.amqp.general Probe application running on port ".to_owned(),
        format!("INFO     hurricane.amqp.general Connecting to {host}:{port}/"),
        format!("INFO     hurricane.amqp.general Declaring exchange: {exchange}"),
        format!("INFO     hurricane.amqp.general Binding to {queue}"),
        "INFO     hurricane.amqp.general Issuing consumer".to_owned(),
        "INFO     hurricane.amqp.general Terminating Hurricane AMQP client".to_owned(),
    ] {
        let at = rest.find(&line);
        let at = at.unwrap_or_else(|| panic!("{line:?} is missing, or in the wrong place: {out}"));
        rest = &rest[at..];
    }
    assert!(!out.contains("auto-reconnect"), "{out}");
    assert!(
        !out.contains("failed at message"),
        "a connection that was lost is left: {out}"
    );
}

#[test]
fn the_broker_comes_from_the_command_line_the_settings_or_the_environment() {
    let (host, port) = address();
    let queue = name("sources");
    let started = |launch: Launch| {
        let server = launch.arg("--queue", &queue).start_consuming();
        server.wait_for_line(&format!("Connecting to {host}:{port}/"));
        server.stop().stdout
    };
    let settings = format!("AMQP_HOST = '{host}'; AMQP_PORT = {port}");
    started(consume(&settings).env("AMQP_HOST", "wrong.invalid"));
    started(consume("").env("AMQP_HOST", host).env("AMQP_PORT", port));
    let given = consume("AMQP_HOST = 'wrong.invalid'").env("AMQP_PORT", port);
    let out = started(given.arg("--amqp-host", host).flag("--reconnect"));
    assert!(
        out.contains("AMQP consumer running in auto-reconnect mode"),
        "{out}"
    );
    let settings = format!(
        "{settings}; AMQP_USER = 'guest'; AMQP_PASSWORD = 'guest'; HURRICANE_BINDING_KEY = ['a.*', 'b']; HURRICANE_EXCHANGE = '{queue}'"
    );
    let out = started(consume(&settings).env("AMQP_PASSWORD", "wrong"));
    for key in ["a.*", "b"] {
        let line = format!("Queue bound: {queue} with routing key {key}");
        assert!(out.contains(&line), "{line:?} is missing: {out}");
    }
}

#[test]
fn what_is_missing_is_told_in_the_known_words() {
    let ends = |launch: Launch, code: i32, says: &str| {
        let ended = launch.run();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let banner = "Starting a Tornado-powered Django AMQP consumer";
        assert!(ended.stdout.contains(banner), "{}", ended.stdout);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        ended.stdout
    };
    ends(
        consume(""),
        1,
        "CommandError: The amqp host must not be empty: set it either as environment AMQP_HOST, in the django settings as AMQP_HOST or as optional argument --amqp-host",
    );
    ends(
        consume("").arg("--amqp-host", "127.0.0.1"),
        1,
        "CommandError: The amqp port must not be empty: set it either as environment AMQP_PORT, in the django settings as AMQP_PORT or as optional argument --amqp-port",
    );
    let incorrect = Launch::manage_consume("dropin.consumers.IncorrectHandler", LOGGING);
    let out = ends(
        incorrect.arg("--amqp-host", "127.0.0.1"),
        1,
        "CommandError: Cannot start the consumer due to an implementation error",
    );
    let line = "ERROR    hurricane.amqp.general The type <class 'dropin.consumers.IncorrectHandler'> is not subclass of _AMQPConsumer";
    assert!(out.contains(line), "{out}");
}

#[test]
fn without_reconnect_the_end_of_the_broker_is_the_end() {
    let broker = broker::Broker::start();
    let server = consume("")
        .env("AMQP_URL", broker.uri())
        .arg("--queue", "q")
        .start_consuming();
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    broker.stop();
    server.wait_for_line(
        "WARNING  hurricane.amqp.general Channel 1 was closed: Transport indicated EOF",
    );
    assert_eq!(server.ended().code, Some(11));
}

#[test]
fn a_check_of_the_project_fails_liveness() {
    let check = "import os
from django.core import checks
def check(app_configs, **kwargs):
    failed = os.path.exists(os.environ['TEST_DIR'] + '/failed')
    return [checks.Error('on purpose')] if failed else []
checks.register(check, 'liveness')";
    let server = consume(check)
        .env("AMQP_URL", broker::uri())
        .arg("--queue", name("checked"))
        .start_consuming();
    let alive = || get(server.probe_port(), "/alive");
    assert_eq!(alive().status, 200);
    server.touch("failed");
    until_true("liveness fails", || alive().status == 500);
    server.stop();
}

#[test]
fn new_code_handles_messages() {
    let (admin, exchange, queue) = (Admin::new(), name("shop"), name("reload"));
    let (host, port) = address();
    let launch = Launch::manage_consume("reloaded_handlers.Handler", LOGGING);
    let code = |text: &str| {
        format!(
            "from hurricane.amqp.basehandler import TopicHandler\n\n\nclass Handler(TopicHandler):\n    def on_message(self, channel, deliver, properties, body):\n        print({text:?}, body.decode(), flush=True)\n        self.acknowledge_message(deliver.delivery_tag)\n"
        )
    };
    let file = launch.dir().join("reloaded_handlers.py");
    fs::write(&file, code("first")).unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    let path = std::env::join_paths([launch.dir(), &package]).unwrap();
    let server = launch
        .env("PYTHONPATH", path)
        .arg("--amqp-host", host)
        .arg("--amqp-port", port)
        .arg("--queue", &queue)
        .arg("--exchange", &exchange)
        .flag("--autoreload")
        .start_consuming();
    admin.publish(&exchange, &queue, b"one");
    server.wait_for_line("first one");
    fs::write(&file, "this is no Python").unwrap();
    server.wait_for_line("did not become ready, the old one goes on");
    admin.publish(&exchange, &queue, b"two");
    server.wait_for_line("first two");
    fs::write(&file, code("second")).unwrap();
    server.wait_for_line("reloaded_handlers.py modified; starting new workers");
    until_true("the new code is at work", || {
        server.stdout().matches("Autoreload was performed").count() == 2
    });
    admin.publish(&exchange, &queue, b"three");
    server.wait_for_line("second three");
    server.stop();
}

#[test]
fn webhooks_are_told_and_those_of_the_project_run_in_python() {
    let receiver = Receiver::takes();
    let (_, queue) = (Admin::new(), name("webhooks"));
    let server = consume("from dropin import hooks")
        .env("AMQP_URL", broker::uri())
        .arg("--queue", &queue)
        .arg("--webhook-url", receiver.url())
        .start_consuming();
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    server.wait_for_note(&format!("liveness succeeded {}", receiver.url()));
    server.stop();
    let told = receiver.until_shutdown();
    for event in ["startup succeeded", "drain succeeded", "shutdown succeeded"] {
        assert!(told.iter().any(|told| told == event), "{told:?}");
    }
    assert!(
        !told.iter().any(|told| told.starts_with("liveness")),
        "{told:?}"
    );
}
