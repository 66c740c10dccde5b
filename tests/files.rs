//! Static and media files: from the settings of a project and from folders that are named.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::harness::{Connection, Launch, Request, Server, get, post, until_true};

const STYLE: &str = "body { color: red }";

/// Settings with folders for the files in that of the test.
const FOLDERS: &str = "
folder = Path(os.environ['TEST_DIR'])
STATIC_URL, STATIC_ROOT = 'static/', folder / 'static'
MEDIA_URL, MEDIA_ROOT = 'media/', folder / 'media'
";

/// The same under DEBUG, where the files come from a folder of the source.
const DEBUG: &str = "
folder = Path(os.environ['TEST_DIR'])
DEBUG = True
INSTALLED_APPS = [*INSTALLED_APPS, 'django.contrib.staticfiles']
STATIC_URL, STATICFILES_DIRS = 'static/', [folder / 'source']
";

/// Fills a folder of the test, and returns it.
fn folder(launch: &Launch, name: &str) -> PathBuf {
    let folder = launch.dir().join(name);
    fs::create_dir_all(folder.join("css")).unwrap();
    fs::write(folder.join("css/base.css"), STYLE).unwrap();
    fs::write(folder.join("css/base.0123456789ab.css"), STYLE).unwrap();
    folder
}

/// A project with static and media files, and where the static ones are.
fn project(more: &str) -> (Launch, PathBuf) {
    let launch = Launch::manage(&format!("{FOLDERS}{more}"));
    let folder = folder(&launch, "static");
    (launch.flag("--static").flag("--media"), folder)
}

fn status(server: &Server, path: &str) -> u16 {
    get(server.port(), path).status
}

#[test]
fn static_files_of_a_project_are_served_counted_and_logged() {
    let (launch, _) = project("");
    let server = launch.start();
    server.wait_for_line("Serving static files under /static/ from /");
    server.wait_for_line("Serving media files under /media/ from /");
    let style = get(server.port(), "/static/css/base.css?v=1");
    assert_eq!((style.status, style.text().as_str()), (200, STYLE));
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(style.header("cache-control"), Some("public, max-age=60"));
    let hashed = get(server.port(), "/static/css/base.0123456789ab.css");
    let kept = hashed.header("cache-control").unwrap();
    assert!(kept.ends_with("immutable"), "{kept}");
    let tag = style.header("etag").unwrap();
    let again = Request::new("GET", "/static/css/base.css").header("If-None-Match", tag);
    assert_eq!(again.send(server.port()).status, 304);
    assert_eq!(post(server.port(), "/static/css/base.css", "x").status, 405);
    assert_eq!(status(&server, "/static/css/nothing.css"), 404);
    assert_eq!(get(server.port(), "/").text(), "It works.");
    server.wait_for_line("200 GET /static/css/base.css?v=1 (127.0.0.1) ");
    let metrics = get(server.probe_port(), "/metrics").text();
    let counted = metrics.lines().any(|line| {
        line.starts_with("http_server_requests_total{")
            && line.contains(r#"http_route="/static/""#)
            && line.contains(r#"http_response_status_code="304""#)
            && line.ends_with(" 1")
    });
    assert!(counted, "{metrics}");
    server.stop();
}

#[test]
fn flags_come_from_settings_and_variables_too() {
    let launch = Launch::manage(&format!("{FOLDERS}MEDIA = True"));
    folder(&launch, "static");
    folder(&launch, "media");
    let launch = launch
        .env("HURRICANE_STATIC", "1")
        .env("HURRICANE_STATIC_MAX_AGE", "5m");
    let server = launch.start();
    let style = get(server.port(), "/static/css/base.css");
    assert_eq!(style.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(status(&server, "/media/css/base.css"), 200);
    server.stop();
    // Without them the application is asked, which knows no such page.
    let launch = Launch::manage(FOLDERS);
    folder(&launch, "static");
    let server = launch.start();
    assert_eq!(status(&server, "/static/css/base.css"), 404);
    assert!(!server.stderr().contains("Serving"), "{}", server.stderr());
    server.stop();
}

#[test]
fn there_is_no_way_out_of_a_folder() {
    let (launch, folder) = project("");
    let secret = launch.dir().join("secret.txt");
    fs::write(&secret, "secret").unwrap();
    fs::write(folder.join(".env"), "secret").unwrap();
    fs::create_dir(folder.join(".git")).unwrap();
    fs::write(folder.join(".git/config"), "secret").unwrap();
    symlink(&secret, folder.join("absolute")).unwrap();
    symlink("../secret.txt", folder.join("relative")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("css/base.css", folder.join("inside")).unwrap();
    symlink(folder.join("css"), folder.join("absolute-inside")).unwrap();
    let server = launch.start();
    let long = format!("/static/{}", "a".repeat(300));
    let longer = format!("/static/{}", "a/".repeat(5_000));
    for path in [
        "/static/",
        "/static/css",
        "/static/css/",
        "/static/../secret.txt",
        "/static/css/../../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2E%2E%2Fsecret.txt",
        "/static/..%2fsecret.txt",
        "/static/%252e%252e%252fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/..%c0%afsecret.txt",
        "/static//secret.txt",
        "/static/%2f%2fetc/passwd",
        "/static//etc/passwd",
        "/static/css/base.css%00",
        "/static/css/base.css%00.png",
        "/static/css/base.css/",
        "/static/css/base.css/more",
        "/static/.env",
        "/static/%2eenv",
        "/static/.git/config",
        "/static/C:%5cWindows%5cwin.ini",
        "/static/con",
        "/static/absolute",
        "/static/relative",
        "/static/up/secret.txt",
        &long,
        &longer,
    ] {
        let answer = get(server.port(), path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_eq!(answer.text(), "Not Found\n", "{path}");
    }
    for path in [
        "/static/inside",
        "/static/absolute-inside/base.css",
        "/st%61tic/css%2Fbase.css",
    ] {
        assert_eq!(get(server.port(), path).text(), STYLE, "{path}");
    }
    let log = server.stop().stderr;
    assert!(!log.contains("failed to read"), "{log}");
}

#[test]
fn an_upload_is_there_at_once() {
    let (launch, _) = project("");
    let server = launch.start();
    let uploaded = post(
        server.port(),
        "/upload/notes/gr%C3%B6%C3%9Fe%201.txt",
        "first",
    );
    assert_eq!(uploaded.status, 200, "{uploaded:?}");
    let url = uploaded.text();
    assert!(url.starts_with("/media/notes/"), "{url}");
    // One that only looks like a compressed form of it.
    let other = post(
        server.port(),
        "/upload/notes/gr%C3%B6%C3%9Fe%201.txt.gz",
        "other",
    );
    assert_eq!(other.status, 200, "{other:?}");
    let request = Request::new("GET", &url).header("Accept-Encoding", "gzip");
    let answer = request.send(server.port());
    assert_eq!(answer.text(), "first");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let large: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let url = post(server.port(), "/upload/large.bin", &large).text();
    let answer = get(server.port(), &url);
    assert!(answer.body == large, "{} bytes", answer.body.len());
    let part = Request::new("GET", &url).header("Range", "bytes=400000-400003");
    let part = part.send(server.port());
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &100_000_u32.to_le_bytes()[..])
    );
    server.stop();
}

/// What django-hurricane does there is to serve the working directory.
#[test]
fn folders_that_are_not_set_are_not_served() {
    let server = Launch::manage("STATIC_URL = 'static/'")
        .flag("--static")
        .flag("--media")
        .start();
    server.wait_for_line("Serving static files under /static/ from <STATIC_ROOT not set>");
    server.wait_for_line("Serving media files under / from ");
    server.wait_for_line("MEDIA_ROOT is not set");
    assert_eq!(get(server.port(), "/").text(), "It works.");
    for path in ["/static/manage.py", "/media/manage.py", "/manage.py"] {
        assert_eq!(status(&server, path), 404, "{path}");
    }
    server.stop();
}

#[test]
fn files_of_another_server_are_left_to_it() {
    let launch = Launch::manage(
        "STATIC_URL, STATIC_ROOT = 'https://cdn.example/static/', os.environ['TEST_DIR']
MEDIA_ROOT = os.environ['TEST_DIR']",
    );
    let server = launch.flag("--static").flag("--media").start();
    server.wait_for_line("--static has no effect: STATIC_URL is https://cdn.example/static/");
    server.wait_for_line("--media has no effect: MEDIA_URL is /");
    assert_eq!(get(server.port(), "/").text(), "It works.");
    server.stop();
}

#[test]
fn under_debug_the_finders_serve() {
    for (interface, root_path) in [("wsgi", ""), ("wsgi", "/shop"), ("asgi", "/shop")] {
        let launch = Launch::manage(DEBUG);
        let source = folder(&launch, "source");
        let server = launch
            .flag("--static")
            .arg("--interface", interface)
            .arg("--root-path", root_path)
            .start();
        server.wait_for_line("Serving static files under ");
        let base = format!("{root_path}/static/css");
        let style = get(server.port(), &format!("{base}/base.css"));
        assert_eq!(style.text(), STYLE, "{interface} {base}");
        // No collectstatic has to run.
        fs::write(source.join("css/new.css"), "new").unwrap();
        let new = get(server.port(), &format!("{base}/new.css"));
        assert_eq!(new.text(), "new", "{interface} {base}");
        assert_eq!(status(&server, &format!("{base}/nothing.css")), 404);
        let index = get(server.port(), &format!("{root_path}/"));
        assert_eq!(index.text(), "It works.", "{interface} {base}");
        server.stop();
    }
}

#[test]
fn settings_that_contradict_each_other_are_told_in_one_sentence() {
    let ended = Launch::manage(&format!("{DEBUG}MEDIA_URL = STATIC_URL"))
        .flag("--static")
        .run();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("must have different values"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("Traceback"), "{}", ended.stderr);
}

#[test]
fn a_root_path_may_be_in_the_url_or_not() {
    for settings in [
        "",
        "STATIC_URL = '/shop/static/'",
        "FORCE_SCRIPT_NAME = '/shop'",
    ] {
        let (launch, _) = project(settings);
        let server = launch.arg("--root-path", "/shop").start();
        server.wait_for_line("Serving static files under /shop/static/ from /");
        for path in ["/shop/static/css/base.css", "/static/css/base.css"] {
            assert_eq!(
                get(server.port(), path).text(),
                STYLE,
                "{settings:?} {path}"
            );
        }
        server.stop();
    }
}

#[test]
fn a_folder_is_served_for_any_application_while_python_is_busy() {
    let launch = Launch::app("gallery");
    let folder = folder(&launch, "some files");
    let missing = launch.dir().join("missing");
    let dirs = format!(
        "/assets/={0}\n/assets/css=/nowhere\n\n/later={1}",
        folder.display(),
        missing.display()
    );
    let server = launch
        .env("HURRICANE_STATIC_DIR", dirs)
        .arg("--threads", 1)
        .start();
    server.wait_for_line("There is no folder /nowhere yet");
    assert_eq!(
        status(&server, "/assets/css/base.css"),
        404,
        "the longer path"
    );
    fs::write(folder.join("robots.txt"), "all").unwrap();
    let busy = Connection::begin(server.port(), &Request::new("GET", "/print"));
    server.wait_for_line("written to wsgi.errors");
    assert_eq!(get(server.port(), "/assets/robots.txt").text(), "all");
    fs::create_dir(&missing).unwrap();
    fs::write(missing.join("a.txt"), "late").unwrap();
    assert_eq!(get(server.port(), "/later/a.txt").text(), "late");
    server.touch("go");
    drop(busy);
    server.stop();
}

#[test]
fn a_download_is_finished_at_the_end() {
    let launch = Launch::app("gallery");
    let folder = folder(&launch, "files");
    let large: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.join("large.bin"), &large).unwrap();
    let dir = format!("/files/={}", folder.display());
    let server = launch.arg("--static-dir", dir).start();
    let request = Request::new("GET", "/files/large.bin");
    let mut download = Connection::begin(server.port(), &request);
    let head = download.head().unwrap();
    assert_eq!(head.status, 200);
    server.signal(Signal::TERM);
    until_true("the server takes no more connections", || {
        Connection::try_open(server.port()).is_err()
    });
    let body = download.take(large.len()).unwrap();
    assert!(body == large, "the body has changed on its way");
    drop(download);
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
}

#[test]
fn what_cannot_be_served_is_told_in_one_sentence() {
    let dir = |value: &str| Launch::app("gallery").arg("--static-dir", value);
    for (launch, says) in [
        (Launch::app("gallery").flag("--static"), "no Django project"),
        (Launch::app("gallery").flag("--media"), "no Django project"),
        (dir("/assets/"), "URL=PATH"),
        (dir("assets=/srv"), "--static-dir"),
        (dir("/=/srv"), "/ is the application's"),
        (
            dir("/a=/srv").more("--static-dir", "/a/=/tmp"),
            "under one path, /a/",
        ),
        (
            dir("/shop/=/srv").arg("--root-path", "/shop/"),
            "all of the application",
        ),
    ] {
        let ended = launch.run();
        assert_eq!(ended.code, Some(2), "{says}: {}", ended.stderr);
        let sentence = ended.stderr.lines().last().unwrap();
        assert!(sentence.starts_with("hurricane: "), "{sentence}");
        assert!(sentence.contains(says), "{sentence}");
    }
}

/// Django's own storage writes names and manifest.
#[test]
fn hashed_names_are_those_of_the_manifest() {
    let settings = format!(
        "{FOLDERS}
INSTALLED_APPS = [*INSTALLED_APPS, 'django.contrib.staticfiles']
STATICFILES_DIRS = [folder / 'source']
STORAGES = {{'default': {{'BACKEND': 'django.core.files.storage.FileSystemStorage'}}, 'staticfiles':
            {{'BACKEND': 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'}}}}"
    );
    let launch = Launch::manage(&settings);
    folder(&launch, "source");
    let launch = launch
        .flag("--static")
        .arg("--command", "collectstatic --noinput --verbosity 0");
    let server = launch.start();
    let manifest = fs::read_to_string(server.dir().join("static/staticfiles.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let hashed = manifest["paths"]["css/base.css"].as_str().unwrap();
    let kept = |name: &str| {
        let answer = get(server.port(), &format!("/static/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        answer.header("cache-control").unwrap().to_owned()
    };
    assert!(kept(hashed).ends_with("immutable"), "{hashed}");
    assert_eq!(kept("css/base.css"), "public, max-age=60");
    // It looks like one, but is not.
    assert_eq!(kept("css/base.0123456789ab.css"), "public, max-age=60");
    assert!(Path::new(hashed).extension().is_some());
    server.stop();
}
