//! `--autoreload`, `--static-watch` and `--debug`.

use std::{fs, path::Path};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Launch, Server, get, until_true};

/// An application of one file, which answers a text.
fn code(text: &str) -> String {
    format!("def application(environ, start):\n    start('200 OK', [])\n    return [b'{text}']\n")
}

/// A folder with the application `app`, and how it is served from there.
fn app(text: &str) -> (TempDir, Launch) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), code(text)).unwrap();
    let launch = Launch::bare(folder.path()).arg("--app", "app");
    (folder, launch.flag("--autoreload"))
}

fn wait_until_it_serves(server: &Server, text: &str) {
    until_true(&format!("{text:?} is served"), || {
        get(server.port(), "/").text() == text
    });
}

/// How often the workers have been replaced; the first line is of the start.
fn reloads(server: &Server) -> usize {
    let performed = server.stderr().matches("Autoreload was performed").count();
    performed.saturating_sub(1)
}

fn wait_for_reloads(server: &Server, count: usize) {
    until_true(&format!("there were {count} reloads"), || {
        reloads(server) >= count
    });
}

#[test]
fn new_code_is_served_when_it_is_written() {
    let (folder, launch) = app("one");
    let server = launch.arg("--workers", 2).start();
    assert!(server.stderr().contains("Autoreload was performed"));
    // Not loaded, so it does not matter.
    fs::write(folder.path().join("other.py"), "").unwrap();
    fs::write(folder.path().join("app.py"), code("two")).unwrap();
    server.wait_for_line("app.py modified; starting new workers");
    wait_for_reloads(&server, 1);
    for _ in 0..4 {
        assert_eq!(get(server.port(), "/").text(), "two", "all workers are new");
    }
    // As editors do: a new file takes the place of the old one.
    let next = folder.path().join("app.py.new");
    fs::write(&next, code("three")).unwrap();
    fs::rename(&next, folder.path().join("app.py")).unwrap();
    wait_until_it_serves(&server, "three");
    let ended = server.stop();
    assert!(!ended.stderr.contains("other.py"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
}

#[test]
fn a_change_within_the_second_and_of_the_same_length_is_seen() {
    let (folder, launch) = app("0000");
    // Python keeps what it compiles.
    let server = launch.env("PYTHONDONTWRITEBYTECODE", "").start();
    fs::write(folder.path().join("helper.py"), "text = b'0000'\n").unwrap();
    let app = "import helper\ndef application(environ, start):\n    start('200 OK', [])\n    return [helper.text]\n";
    fs::write(folder.path().join("app.py"), app).unwrap();
    wait_for_reloads(&server, 1);
    for number in 1..6 {
        let text = format!("{number:04}");
        let helper = format!("text = b'{text}'\n");
        fs::write(folder.path().join("helper.py"), helper).unwrap();
        wait_until_it_serves(&server, &text);
    }
    server.stop();
}

#[test]
fn what_is_imported_later_is_watched_too() {
    let (folder, launch) = app("unused");
    let later = "def application(environ, start):\n    import later\n    start('200 OK', [])\n    return [later.text]\n";
    fs::write(folder.path().join("app.py"), later).unwrap();
    fs::write(folder.path().join("later.py"), "text = b'one'\n").unwrap();
    let server = launch.start();
    let mut number = 0;
    wait_until_it_serves(&server, "one");
    // When the worker has told of it is not to be seen from here.
    until_true("a change is seen", || {
        number += 1;
        let text = format!("text = b'{number}'\n");
        fs::write(folder.path().join("later.py"), text).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        server.stderr().contains("later.py modified")
    });
    server.stop();
}

#[test]
fn code_that_does_not_load_leaves_the_old_at_work() {
    let (folder, launch) = app("old");
    let server = launch.start();
    let file = folder.path().join("app.py");
    fs::write(&file, "this is no Python").unwrap();
    server.wait_for_line("did not become ready, the old one goes on");
    assert_eq!(get(server.port(), "/").text(), "old");
    assert_eq!(server.stderr().matches("SyntaxError").count(), 1);
    fs::write(&file, "from missing import application").unwrap();
    server.wait_for_line("No module named 'missing'");
    assert_eq!(get(server.port(), "/").text(), "old");
    // What is missing has not been loaded, and yet is waited for.
    fs::write(folder.path().join("missing.py"), code("new")).unwrap();
    wait_until_it_serves(&server, "new");
    server.stop();
}

#[test]
fn a_package_that_comes_back_is_watched_again() {
    let (folder, launch) = app("unused");
    let package = folder.path().join("package");
    let make = |text: &str| {
        fs::create_dir(&package).unwrap();
        fs::write(package.join("__init__.py"), code(text)).unwrap();
    };
    make("one");
    let server = launch.arg("--app", "package").start();
    assert_eq!(get(server.port(), "/").text(), "one");
    fs::remove_dir_all(&package).unwrap();
    server.wait_for_line("did not become ready, the old one goes on");
    make("two");
    wait_until_it_serves(&server, "two");
    fs::write(package.join("__init__.py"), code("three")).unwrap();
    wait_until_it_serves(&server, "three");
    server.stop();
}

#[test]
fn an_application_that_does_not_start_is_waited_for() {
    let (folder, launch) = app("unused");
    fs::write(folder.path().join("app.py"), "1 / 0").unwrap();
    let mut server = launch.spawn();
    server.wait_for_line("does not start, waiting for a change");
    server.wait_for_line("ZeroDivisionError");
    let probes = server.early_probe_port();
    assert_eq!(get(probes, "/startup").status, 400);
    fs::write(folder.path().join("app.py"), code("mended")).unwrap();
    server.wait_until_up();
    assert_eq!(get(server.port(), "/").text(), "mended");
    server.stop();
}

#[test]
fn waiting_for_a_change_ends_with_a_signal() {
    let (folder, launch) = app("unused");
    fs::write(folder.path().join("app.py"), "1 / 0").unwrap();
    let server = launch.spawn();
    server.wait_for_line("does not start, waiting for a change");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn what_no_change_mends_ends_it() {
    let (_folder, launch) = app("unused");
    let ended = launch.arg("--python", "/nowhere/python").run();
    assert_eq!(ended.code, Some(5));
}

/// A project with a folder of templates and one of static files in that of the test.
const PROJECT: &str = "
folder = Path(os.environ['TEST_DIR'])
INSTALLED_APPS = [*INSTALLED_APPS, 'django.contrib.staticfiles']
STATIC_URL, STATIC_ROOT, STATICFILES_DIRS = 'static/', folder / 'collected', [folder / 'source']
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'DIRS': [folder / 'templates']}]
";

fn project(settings: &str) -> Launch {
    let launch = Launch::manage(&format!("{PROJECT}{settings}")).flag("--static");
    for folder in ["collected", "source/css", "templates/polls"] {
        fs::create_dir_all(launch.dir().join(folder)).unwrap();
    }
    fs::write(launch.dir().join("source/css/base.css"), "one").unwrap();
    fs::write(launch.dir().join("collected/kept.css"), "kept").unwrap();
    launch
}

#[test]
fn a_template_is_a_reason_to_reload() {
    let server = project("").env("HURRICANE_AUTORELOAD", "1").start();
    assert_eq!(server.wait_for_workers(1).len(), 1);
    fs::write(server.dir().join("templates/polls/index.html"), "Hello").unwrap();
    server.wait_for_line("index.html modified; starting new workers");
    wait_for_reloads(&server, 1);
    let ended = server.stop();
    assert!(!ended.stderr.contains("Collecting static"));
}

#[test]
fn static_files_that_change_are_collected() {
    let settings = "AUTORELOAD, STATIC_WATCH = True, [str(folder / 'source')]";
    let given = project("").flag("--autoreload");
    let source = given.dir().join("source");
    let given = given.arg("--static-watch", source.display());
    for launch in [given, project(settings)] {
        let source = launch.dir().join("source");
        let server = launch.start();
        server.wait_for_line("Watching static files for any changes");
        server.wait_for_line(&format!("Watching path {}.", source.display()));
        fs::write(source.join("css/base.css"), "two").unwrap();
        server.wait_for_line("Collecting static as static file changed");
        wait_for_reloads(&server, 1);
        assert_eq!(get(server.port(), "/static/css/base.css").text(), "two");
        let kept = get(server.port(), "/static/kept.css").status;
        assert_eq!(kept, 200, "nothing is cleared away");
        server.stop();
    }
}

#[test]
fn collecting_that_fails_is_told_and_no_more() {
    let launch = Launch::manage("").flag("--autoreload");
    let folder = launch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    let server = launch
        .arg("--static-watch", folder.display())
        .more("--static-watch", "/does/not/exist")
        .start();
    server.wait_for_line("ERROR Tried to watch /does/not/exist, but it does not exist.");
    fs::write(folder.join("new.css"), "new").unwrap();
    server.wait_for_line("the command 'collectstatic' failed");
    wait_for_reloads(&server, 1);
    assert_eq!(get(server.port(), "/").text(), "It works.");
    server.stop();
}

#[test]
fn static_watch_alone_is_an_error() {
    let ended = Launch::app("gallery").arg("--static-watch", ".").run();
    assert_eq!(ended.code, Some(2));
    let said = "hurricane: --static-watch goes with --autoreload only\n";
    assert_eq!(ended.stderr, said);
}

#[test]
fn django_s_debug_is_no_option() {
    for (settings, expected) in [("DEBUG = True", false), ("HURRICANE_DEBUG = True", true)] {
        let server = Launch::manage(settings).start();
        let said = server.stop().stderr;
        assert_eq!(said.contains("Autoreload"), expected, "{settings}: {said}");
    }
}

#[test]
fn a_failure_is_shown_to_clients_under_debug_only() {
    let failing = [
        (
            "wsgi",
            "def application(environ, start):\n    raise ValueError('<on purpose>')\n",
        ),
        (
            "asgi",
            "async def application(scope, receive, send):\n    raise ValueError('<on purpose>')\n",
        ),
    ];
    for (interface, code) in failing {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app.py"), code).unwrap();
        let launch = |folder: &Path| {
            let launch = Launch::bare(folder).arg("--app", "app");
            launch
                .arg("--interface", interface)
                .arg("--lifespan", "off")
        };
        let server = launch(folder.path()).flag("--debug").start();
        let page = get(server.port(), "/some/where?a=b");
        assert_eq!(page.status, 500);
        let text = page.text();
        for part in [
            "ValueError: &lt;on purpose&gt;",
            "app.py",
            "GET /some/where",
        ] {
            assert!(text.contains(part), "{interface}: {part} in {text}");
        }
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        server.stop();

        let server = launch(folder.path()).flag("--autoreload").start();
        let page = get(server.port(), "/");
        assert_eq!(page.status, 500);
        assert!(!page.text().contains("purpose"), "{}", page.text());
        server.stop();
    }
}
