//! How `hurricane serve` ends: one sentence, and a code that tells a script what was wrong.

use std::{fs, net::TcpListener, process::Command};

use rustix::process::Signal;

use crate::harness::{Connection, Ended, Launch, Request, python};

/// Checks the code, and that the last line is the one sentence for people.
fn ends(ended: &Ended, code: i32, says: &str) {
    assert_eq!(ended.code, Some(code));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("hurricane: "), "{last:?}");
    assert!(last.contains(says), "{last:?} says {says:?}");
    assert!(!ended.stderr.contains("panicked"));
    assert_eq!(ended.stdout, "", "stdout is not for messages");
}

#[test]
fn a_clean_stop_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Launch::app("gallery").start();
        server.signal(signal);
        assert_eq!(server.ended().code, Some(0));
    }
}

#[test]
fn a_signal_during_the_start_is_a_clean_stop() {
    let server = Launch::app("late").spawn();
    server.wait_for_note("importing");
    let stopped = server.stop();
    assert!(!stopped.stderr.contains("panicked"));
}

#[test]
fn a_wrong_option_is_2() {
    ends(
        &Launch::app("gallery").arg("--threads", "many").run(),
        2,
        "--threads",
    );
    ends(
        &Launch::app("gallery").flag("--frobnicate").run(),
        2,
        "--frobnicate",
    );
}

#[test]
fn an_application_that_does_not_import_is_3_with_the_whole_traceback() {
    let ended = Launch::app("broken").run();
    ends(&ended, 3, "broken");
    for line in [
        "Traceback (most recent call last):",
        "in deep",
        "RuntimeError: broken on purpose",
        "broken.py",
    ] {
        assert!(ended.stderr.contains(line), "the traceback has {line:?}");
    }
    assert!(
        !ended.stderr.contains("<hurricane>"),
        "the loader's own lines are of no use"
    );
    let traceback = ended.stderr.find("Traceback").unwrap();
    let sentence = ended.stderr.find("hurricane: ").unwrap();
    assert!(
        traceback < sentence,
        "first the traceback, then the sentence"
    );
}

#[test]
fn a_module_that_imports_what_is_not_there_is_3_with_the_traceback() {
    let ended = Launch::app("missing").run();
    ends(&ended, 3, "missing");
    assert!(
        ended
            .stderr
            .contains("No module named 'a_module_that_nobody_has'")
    );
    assert!(ended.stderr.contains("missing.py"));
}

#[test]
fn an_application_that_is_not_there_is_3_without_a_traceback() {
    for (app, says) in [
        ("nowhere", "nowhere"),
        ("nowhere.wsgi:application", "nowhere"),
        ("constants:application", "application"),
        ("constants:nothing", "nothing"),
        ("constants:Config.nothing", "nothing"),
        ("constants:number", "not callable"),
        ("constants:Config.text", "not callable"),
    ] {
        let ended = Launch::app(app).run();
        ends(&ended, 3, says);
        assert!(!ended.stderr.contains("Traceback"), "{app}");
    }
}

#[test]
fn no_application_at_all_is_3_and_says_how_to_name_one() {
    let empty = tempfile::tempdir().unwrap();
    let ended = Launch::bare(empty.path()).run();
    ends(&ended, 3, "--app");
    assert!(ended.stderr.contains("DJANGO_SETTINGS_MODULE"));
    assert!(!ended.stderr.contains("Traceback"));
}

#[test]
fn settings_that_do_not_load_are_3() {
    let ended = Launch::django()
        .env("DJANGO_SETTINGS_MODULE", "mysite.nothing")
        .run();
    ends(&ended, 3, "mysite.nothing");
    assert!(ended.stderr.contains("ModuleNotFoundError"));
}

#[test]
fn a_worker_that_ends_while_it_starts_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("leaving.py"), "import os\nos._exit(0)\n").unwrap();
    let ended = Launch::bare(folder.path()).arg("--app", "leaving").run();
    ends(&ended, 1, "ended while it was starting");
}

#[test]
fn a_port_that_is_taken_is_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let says = format!("127.0.0.1:{port}");
    ends(&Launch::app("gallery").arg("--port", port).run(), 4, &says);
    ends(
        &Launch::app("gallery").arg("--probe-port", port).run(),
        4,
        &says,
    );
    // Before anything is loaded.
    let ended = Launch::app("broken").arg("--port", port).run();
    ends(&ended, 4, &says);
    assert!(!ended.stderr.contains("Traceback"));
}

#[test]
fn an_address_of_another_machine_is_4() {
    ends(
        &Launch::app("gallery").arg("--host", "192.0.2.1").run(),
        4,
        "192.0.2.1",
    );
}

#[test]
fn no_python_is_5() {
    let launch = || Launch::app("gallery");
    ends(
        &launch().arg("--python", "/nowhere/python").run(),
        5,
        "/nowhere/python",
    );
    ends(&launch().arg("--python", "/").run(), 5, "/");
    let empty = tempfile::tempdir().unwrap();
    let ended = launch().without("--python").env("PATH", empty.path()).run();
    ends(&ended, 5, "--python");
    let ended = launch()
        .without("--python")
        .env("VIRTUAL_ENV", empty.path())
        .run();
    ends(&ended, 5, empty.path().to_str().unwrap());
}

#[test]
fn no_django_is_6() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(python())
        .args(["-m", "venv", "--without-pip"])
        .arg(dir.path())
        .status();
    assert!(made.unwrap().success());
    let bare = dir.path().join("bin/python");
    let ended = Launch::django().arg("--python", bare.display()).run();
    ends(&ended, 6, "Django is not installed");
    assert!(
        ended.stderr.contains(bare.to_str().unwrap()),
        "it names the interpreter"
    );
    // As a module's own import too.
    let wsgi = Launch::django()
        .arg("--python", bare.display())
        .arg("--app", "mysite.wsgi");
    ends(&wsgi.run(), 6, "mysite.wsgi");
}

#[test]
fn a_request_that_outlasts_the_graceful_timeout_is_7() {
    let server = Launch::app("faults")
        .arg("--graceful-timeout", "300ms")
        .start();
    let mut connection = Connection::begin(server.port(), &Request::new("GET", "/hold"));
    server.wait_for_note("ran hold ");
    server.signal(Signal::TERM);
    ends(&server.ended(), 7, "did not finish");
    connection.response("GET").expect_err("the request was cut");
}

#[test]
fn a_second_signal_is_7_and_at_once() {
    let server = Launch::app("faults").start();
    let _connection = Connection::begin(server.port(), &Request::new("GET", "/hold"));
    server.wait_for_note("ran hold ");
    server.signal(Signal::TERM);
    server.wait_for_line("Received signal SIGTERM");
    server.signal(Signal::TERM);
    ends(&server.ended(), 7, "second signal");
}

#[test]
fn the_codes_are_in_the_help() {
    let ended = Launch::app("gallery").flag("--help").run();
    assert_eq!(ended.code, Some(0));
    let codes = ended.stdout.split_once("Exit codes:").unwrap().1;
    for code in 0..=9 {
        assert!(codes.contains(&format!("\n  {code}  ")), "{code}");
    }
}
