//! What a project has done before it is served: commands, databases, migrations.

use std::{fs, process::Command};

use rustix::process::Signal;

use crate::harness::{Ended, Launch, get, is_running, python, until};

/// A project with the application `steps`: a command that does as it is told, and a migration.
fn steps() -> Launch {
    Launch::manage("INSTALLED_APPS += ['steps']")
}

fn fails(launch: Launch, code: i32, says: &str) -> Ended {
    let ended = launch.run();
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("hurricane: "), "{last:?}");
    assert!(last.contains(says), "{last:?} says {says:?}");
    assert!(!ended.stderr.contains("Starting HTTP Server"));
    ended
}

#[test]
fn commands_are_executed_one_after_the_other_before_the_start() {
    let launch = || steps().without("--command");
    for launch in [
        launch()
            .arg("--command", "step say 'a b' c")
            .more("--command", "step leave 0")
            .more("--command", "makemigrations --check"),
        launch().env(
            "HURRICANE_COMMAND",
            "step say 'a b' c\nstep leave 0\nmakemigrations --check",
        ),
        Launch::manage(
            "INSTALLED_APPS += ['steps']; COMMAND = [[\"step say 'a b' c\"], ['step leave 0'], ['makemigrations --check']]",
        ),
    ] {
        let server = launch.start();
        assert_eq!(server.notes(), ["say ['a b', 'c']", "leave ['0']"]);
        server.wait_for_line("Starting execution of management commands");
        server
            .wait_for_line("Starting execution of command step with arguments ['say', 'a b', 'c']");
        server.wait_for_line("Command step was executed in ");
        assert!(server.stdout().starts_with("a b|c\nNo changes detected\n"));
        assert_eq!(get(server.port(), "/").status, 200);
        server.stop();
    }
}

#[test]
fn probes_answer_400_while_a_command_runs() {
    let server = steps().arg("--command", "step hold").spawn();
    server.wait_for_note("hold []");
    let port = server.early_probe_port();
    for probe in ["/startup", "/alive", "/ready"] {
        let answer = get(port, probe);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, ""),
            "{probe}"
        );
    }
    assert_eq!(get(port, "/metrics").status, 200);
    server.touch("release");
    server.wait_for_line("Starting HTTP Server");
    server.stop();
}

#[test]
fn a_command_that_fails_is_8_with_its_traceback() {
    let ended = fails(
        steps()
            .arg("--command", "step fail")
            .more("--command", "step say never"),
        8,
        "the command 'step' failed: this step fails",
    );
    assert!(ended.stderr.contains("Traceback (most recent call last)"));
    assert!(ended.stderr.contains("ERROR"));
    assert!(ended.stderr.contains("in fail"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("never"));
    for (command, says) in [
        ("step leave 3", "ended with 3"),
        ("nothing", "Unknown command: 'nothing'"),
        ("step die", "ended (signal: 9"),
        ("step", "the following arguments are required"),
    ] {
        fails(steps().arg("--command", command), 8, says);
    }
}

#[test]
fn a_command_that_cannot_be_read_is_2() {
    for command in ["step say 'a", " "] {
        let ended = steps().arg("--command", command).run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("--command"), "{}", ended.stderr);
    }
}

#[test]
fn a_project_that_does_not_load_is_3_before_any_command() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Launch::bare(folder.path())
        .arg("--command", "migrate")
        .run();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("DJANGO_SETTINGS_MODULE"));
}

#[test]
fn a_signal_ends_the_command_that_runs() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = steps()
            .arg("--command", "step hold")
            .more("--command", "step say never")
            .spawn();
        let pid = until("the command runs", || {
            let notes = server.notes();
            notes
                .iter()
                .find_map(|note| note.strip_prefix("pid ")?.parse().ok())
        });
        server.signal(signal);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!is_running(pid));
        assert_eq!(ended.stdout, "tidied up\n");
    }
}

#[test]
fn pending_migrations_are_waited_for() {
    let server = steps().flag("--check-migrations").spawn();
    server.wait_for_line("There are 1 pending migrations");
    server.wait_for_line("Migrations are pending");
    assert_eq!(get(server.early_probe_port(), "/startup").status, 400);
    let migrated = Command::new(python())
        .args(["manage.py", "migrate", "--verbosity", "0"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/dropin"))
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../python"),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TEST_DIR", server.dir())
        .env("TEST_SETTINGS", "INSTALLED_APPS += ['steps']")
        .status();
    assert!(migrated.unwrap().success());
    server.wait_for_line("No pending migrations");
    server.wait_for_line("Starting HTTP Server");
    server.stop();
    // Waiting ends with a signal.
    let server = steps().flag("--check-migrations").spawn();
    server.wait_for_line("Migrations are pending");
    server.stop();
}

#[test]
fn pending_migrations_are_applied() {
    let apply = "--check-migrations-apply";
    for launch in [
        steps().flag(apply),
        steps().variable(apply, "true"),
        Launch::manage("INSTALLED_APPS += ['steps']; CHECK_MIGRATIONS_APPLY = True"),
        // In every database.
        Launch::manage(
            "INSTALLED_APPS += ['steps']; DATABASES['other'] = dict(DATABASES['default'], NAME=str(DATABASES['default']['NAME']) + '2')",
        )
        .flag(apply),
    ] {
        let server = launch.start();
        for line in ["Applying migrations", "No pending migrations"] {
            server.wait_for_line(line);
        }
        assert!(server.stdout().contains("Applying steps.0001_initial"));
        server.stop();
    }
}

#[test]
fn a_database_that_does_not_answer_is_9() {
    let nowhere = "DATABASES['default']['NAME'] = '/nowhere/db.sqlite3'";
    for launch in [
        Launch::manage(nowhere).flag("--check-migrations"),
        Launch::manage(nowhere).flag("--check-migrations-apply"),
    ] {
        let ended = fails(launch, 9, "unable to open database file");
        let line = "Database command execution has failed with unable to open database file";
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
    let ended = fails(
        Launch::manage(nowhere).arg("--wait-for-db", 1),
        9,
        "no database after 1 seconds",
    );
    assert!(ended.stderr.contains("Waiting for the database: unable"));
}

#[test]
fn a_database_that_comes_late_is_waited_for() {
    let late = "from pathlib import Path; DATABASES['default']['NAME'] = Path(os.environ['TEST_DIR']) / 'late' / 'db'";
    let server = Launch::manage(late).arg("--wait-for-db", "10m").spawn();
    server.wait_for_line("Waiting for the database");
    fs::create_dir(server.dir().join("late")).unwrap();
    server.wait_for_line("Starting HTTP Server");
    server.stop();
    // Waiting ends with a signal.
    let server = Launch::manage(late).arg("--wait-for-db", "10m").spawn();
    server.wait_for_line("Waiting for the database");
    server.stop();
}

#[test]
fn what_a_project_puts_in_place_of_the_check_is_asked() {
    let settings = "
import hurricane.server
def check_databases():
    raise OSError('not today')
hurricane.server.check_databases = check_databases
";
    let launch = Launch::manage(settings).flag("--check-migrations");
    fails(launch, 9, "a database does not answer: not today");
}

#[test]
fn checks_of_the_tag_startup_hold_the_start_back() {
    let cold = "
from django.core.checks import Error, register
@register('startup', deploy=True)
def cold(**kwargs):
    warm = os.path.exists(os.path.join(os.environ['TEST_DIR'], 'warm'))
    return [] if warm else [Error('the cache is cold')]
";
    let server = Launch::manage(cold).spawn();
    server.wait_for_line("The start waits for the checks of the tag 'startup': ");
    assert_eq!(get(server.early_probe_port(), "/startup").status, 400);
    server.touch("warm");
    server.wait_for_line("Starting HTTP Server");
    server.stop();
    // A signal ends the wait.
    let server = Launch::manage(cold).spawn();
    server.wait_for_line("The start waits for the checks of the tag 'startup': ");
    server.stop();
}
