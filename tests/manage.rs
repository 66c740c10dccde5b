//! `manage.py serve`: where its options come from, and what it becomes.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::harness::{Launch, get, python};

/// The lines that the drivers of django-hurricane's users wait for.
#[test]
fn the_process_becomes_the_binary() {
    let server = Launch::manage("").start();
    let executable = fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
    assert_eq!(executable, Path::new(env!("CARGO_BIN_EXE_hurricane")));
    let process = get(server.port(), "/process").json();
    assert_eq!(process["parent"], server.pid());
    assert_eq!(process["python"], python().to_str().unwrap());
    assert_eq!(get(server.probe_port(), "/alive").status, 200);
    server.stop();
}

#[test]
fn workers_find_what_manage_py_finds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let project = root.join("tests/dropin");
    // From another folder, the script's folder is on the path of manage.py alone.
    let server = Launch::manage("").from(Path::new("/")).start();
    let process = get(server.port(), "/process").json();
    let path: Vec<_> = process["path"].as_array().unwrap().iter().collect();
    assert!(
        path.contains(&&project.to_str().unwrap().into()),
        "{path:?}"
    );
    server.stop();
}

#[test]
fn a_setting_goes_before_the_variable_and_the_command_line_before_both() {
    let alive = |launch: Launch, path: &str| {
        let server = launch.start();
        assert_eq!(get(server.probe_port(), path).status, 200, "{path}");
        server.stop();
    };
    let bare = "LIVENESS_PROBE = '/bare'";
    let prefixed = "LIVENESS_PROBE = '/bare'; HURRICANE_LIVENESS_PROBE = '/prefixed'";
    let variable = |launch: Launch| launch.env("HURRICANE_LIVENESS_PROBE", "/variable");
    alive(variable(Launch::manage("")), "/variable");
    alive(variable(Launch::manage(bare)), "/bare");
    alive(variable(Launch::manage(prefixed)), "/prefixed");
    // Also when it says what is the default.
    let given = Launch::manage(prefixed).arg("--liveness-probe", "/alive");
    alive(variable(given), "/alive");
}

#[test]
fn flags_are_what_their_text_says() {
    let metrics = |launch: Launch| {
        let server = launch.start();
        let status = get(server.probe_port(), "/metrics").status;
        server.stop();
        status == 200
    };
    let variable = |value: &str| Launch::manage("").env("HURRICANE_NO_METRICS", value);
    for (value, expected) in [("False", true), ("0", true), ("", true), ("True", false)] {
        assert_eq!(metrics(variable(value)), expected, "{value:?}");
    }
    let both = Launch::manage("NO_METRICS = False").env("HURRICANE_NO_METRICS", "1");
    assert!(metrics(both), "the setting goes before the variable");
    assert!(!metrics(Launch::manage("NO_METRICS = True")));
}

#[test]
fn workers_are_threads_and_processes_are_processes() {
    let threads = |launch: Launch| {
        let server = launch.start();
        let said = get(server.port(), "/process").json()["threads"].clone();
        let workers = server.workers().len();
        server.stop();
        (said, workers)
    };
    assert_eq!(
        threads(Launch::manage("").arg("--workers", 3)),
        (3.into(), 1)
    );
    assert_eq!(
        threads(Launch::manage("WORKERS = 3").arg("--processes", 2)),
        (3.into(), 2)
    );
    assert_eq!(
        threads(Launch::manage("").env("HURRICANE_WORKERS", "2")),
        (2.into(), 1)
    );
    assert_eq!(
        threads(Launch::manage("WORKERS = 3").arg("--threads", 2)),
        (2.into(), 1),
        "the command line goes first"
    );
    let ended = Launch::manage("")
        .arg("--workers", 3)
        .arg("--threads", 2)
        .run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--processes"), "{}", ended.stderr);
    let ended = Launch::manage("").arg("--workers", 0).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[test]
fn interface_is_also_the_host_of_the_probes() {
    let server = Launch::manage("").arg("--interface", "localhost").start();
    let listeners = server.listeners();
    assert!(
        listeners.contains(&(Ipv4Addr::LOCALHOST, server.probe_port())),
        "{listeners:?}"
    );
    server.stop();
}

#[test]
fn a_failing_system_check_starts_nothing() {
    let ended = Launch::manage("ROOT_URLCONF = 'dropin.nothing'").run();
    assert_eq!(ended.code, Some(1));
    assert!(!ended.stderr.contains("Starting"), "{}", ended.stderr);
}

#[test]
fn wrong_values_are_told_in_one_sentence() {
    for (settings, option, value, says) in [
        ("PORT = [1]", None, "", "PORT cannot be [1]"),
        ("", Some("--port"), "many", "--port"),
        ("", Some("--probe-host"), "no such host", "no such host"),
    ] {
        let mut launch = Launch::manage(settings);
        if !settings.is_empty() {
            launch = launch.without("--port");
        }
        if let Some(option) = option {
            launch = launch.arg(option, value);
        }
        let ended = launch.run();
        assert_eq!(ended.code, Some(2), "{says}");
        assert!(!ended.stderr.contains("Traceback"), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let ended = Launch::manage("").flag("--frobnicate").run();
    assert_eq!(ended.code, Some(2));
    let ended = Launch::manage("").env("PATH", "/nowhere").run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no binary 'hurricane'"));
}

/// The options of django-hurricane, a value for each, and what the binary calls them.
const OPTIONS: [(&str, &str, &str); 26] = [
    ("port", "8123", "port"),
    ("probe-port", "8124", "probe-port"),
    ("liveness-probe", "/l", "liveness-probe"),
    ("readiness-probe", "/r", "readiness-probe"),
    ("startup-probe", "/s", "startup-probe"),
    ("metrics", "/m", "metrics"),
    ("req-queue-len", "250", "req-queue-len"),
    ("workers", "3", "threads"),
    ("max-lifetime", "9", "max-lifetime"),
    ("max-memory", "950", "max-memory"),
    ("max-body-size", "1024", "max-body-size"),
    ("max-buffer-size", "2048", "max-buffer-size"),
    ("webhook-url", "http://h/", "webhook-url"),
    ("command", "migrate --noinput", "command"),
    ("static-watch", "/assets", "static-watch"),
    ("debugger-port", "5679", "debugger-port"),
    ("pycharm-host", "h", "pycharm-host"),
    ("pycharm-port", "5680", "pycharm-port"),
    ("static", "", "static"),
    ("media", "", "media"),
    ("autoreload", "", "autoreload"),
    ("no-probe", "", "no-probe"),
    ("no-metrics", "", "no-metrics"),
    ("check-migrations", "", "check-migrations"),
    ("check-migrations-apply", "", "check-migrations-apply"),
    ("debugger", "", "debugger"),
];

#[test]
fn every_option_of_django_hurricane_is_taken_from_each_of_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    // In the binary's place something that says what it is given.
    let script = folder.path().join("hurricane");
    let real = env!("CARGO_BIN_EXE_hurricane");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = options ] && exec {real} \"$@\"\nprintf '%s\\n' \"$@\"\nexec /usr/bin/env\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let launch = |settings: &str| {
        Launch::manage(settings)
            .without("--port")
            .without("--probe-port")
            .env("PATH", folder.path())
    };
    let variable = |name: &str| name.replace('-', "_").to_uppercase();
    let settings = |prefix: &str| -> String {
        let lines = OPTIONS.iter().map(|(name, value, _)| {
            let value = match *value {
                "" => "True".to_owned(),
                number if number.parse::<u16>().is_ok() => number.to_owned(),
                list if ["command", "static-watch"].contains(name) => format!("[['{list}']]"),
                text => format!("'{text}'"),
            };
            format!("{prefix}{} = {value}\n", variable(name))
        });
        lines.collect()
    };
    let by_command_line = OPTIONS.iter().fold(launch(""), |launch, (name, value, _)| {
        let option = format!("--{name}");
        if value.is_empty() {
            launch.flag(&option)
        } else {
            launch.arg(&option, value)
        }
    });
    let by_variables = OPTIONS.iter().fold(launch(""), |launch, (name, value, _)| {
        let value = if value.is_empty() { "1" } else { value };
        launch.env(&format!("HURRICANE_{}", variable(name)), value)
    });
    let said = by_command_line.run().stdout;
    let words: Vec<_> = said.lines().collect();
    for (name, value, is) in OPTIONS {
        let word = if value.is_empty() {
            format!("--{is}")
        } else {
            format!("--{is}={value}")
        };
        assert!(words.contains(&&*word), "--{name} becomes {word}: {said}");
    }
    for (source, launch) in [
        ("settings", launch(&settings(""))),
        ("settings with the prefix", launch(&settings("HURRICANE_"))),
        ("variables", by_variables),
    ] {
        let said = launch.run().stdout;
        let lines: Vec<_> = said.lines().collect();
        for (name, value, is) in OPTIONS {
            let values = if value.is_empty() {
                &["true", "1"][..]
            } else {
                &[value]
            };
            let given =
                |value: &&str| lines.contains(&&*format!("HURRICANE_{}={value}", variable(is)));
            assert!(values.iter().any(given), "{name} from {source}: {said}");
        }
    }
}

#[test]
fn every_option_of_the_binary_is_one_of_manage_py() {
    let help = |launch: Launch| launch.flag("--help").run().stdout;
    let django = help(Launch::manage(""));
    for option in include_str!("serve-help.txt")
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
    {
        let name = option.split(' ').next().unwrap();
        assert!(django.contains(&format!("--{name}")), "--{name}");
    }
    assert!(django.contains("--processes"));
}

#[test]
fn python_m_hurricane_is_hurricane() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_hurricane")).parent().unwrap();
    let run = |arguments: &[&str]| {
        let said = Command::new(python())
            .args(arguments)
            .env("PYTHONPATH", root.join("python"))
            .env("PATH", binary)
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    let version = run(&["-m", "hurricane", "--version"]);
    assert_eq!(
        version,
        concat!("hurricane ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let package = run(&[
        "-c",
        "import hurricane; print('hurricane', hurricane.__version__)",
    ]);
    assert_eq!(
        package, version,
        "the package and the binary have one version"
    );
    let modules = run(&[
        "-c",
        "import sys, hurricane; print([m for m in sys.modules if 'hurricane' in m])",
    ]);
    assert_eq!(
        modules.trim(),
        "['hurricane']",
        "importing it costs nothing"
    );
}
