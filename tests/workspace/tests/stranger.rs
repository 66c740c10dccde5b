//! Somebody who knows nothing of the project copies what the README says about the library.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    crates::{metadata, root},
    ports::free_port,
};

/// How long the program may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It fails when the process has ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first block of a language after a heading.
fn block(readme: &str, language: &str) -> String {
    let (_, section) = readme.split_once("\n## As a Rust library\n").unwrap();
    let (_, rest) = section.split_once(&format!("\n```{language}\n")).unwrap();
    let (block, _) = rest.split_once("\n```\n").unwrap();
    format!("{block}\n")
}

/// Replaces what is there once.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain until {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// The body of an answer.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

/// Builds the program with the versions that the workspace has, so that little needs to be built for it.
fn build(folder: &Path, readme: &str) {
    let core = root().join("hurricane-core").canonicalize().unwrap();
    let manifest = replace(
        &block(readme, "toml"),
        "git = \"https://github.com/hurricane-server/hurricane\"",
        &format!("path = {core:?}"),
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--target-dir"])
        .arg(metadata()["target_directory"].as_str().unwrap())
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(
        build.status.success() && said.is_empty(),
        "cargo build: {said}"
    );
}

#[test]
fn what_the_readme_says_of_the_library_works_as_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (app, probes) = (free_port(), free_port());
    let mut program = block(&readme, "rust");
    for (port, free) in [("8000", app), ("8001", probes)] {
        let addr = |host: &str, port: &str| format!("([{host}], {port})");
        program = replace(
            &program,
            &addr("0, 0, 0, 0", port),
            &addr("127, 0, 0, 1", &free.to_string()),
        );
    }
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/main.rs"), program).unwrap();
    build(folder.path(), &readme);

    let path = metadata()["target_directory"].as_str().unwrap();
    let mut program = Program(
        Command::new(Path::new(path).join("debug/hello"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("the program serves", || {
        TcpStream::connect(("127.0.0.1", app)).ok()
    });

    let console = block(&readme, "console");
    let mut asked = 0;
    for example in console.split("$ curl ").skip(1) {
        let (command, answer) = example.split_once('\n').unwrap();
        let (port, path) = command
            .trim_matches('\'')
            .strip_prefix("localhost:")
            .and_then(|address| address.split_once('/'))
            .unwrap();
        let port = if port == "8000" { app } else { probes };
        // How long something took is another time each time.
        let without_times = |text: &str| -> Vec<String> {
            let lines = text.lines();
            let told = |line: &str| {
                let told = line.split(" (").next().unwrap_or_default();
                told.replace(|c: char| c.is_ascii_digit(), "")
            };
            lines.map(told).collect()
        };
        let body = get(port, &format!("/{path}"));
        assert_eq!(
            without_times(&body),
            without_times(answer),
            "{command}: {body}"
        );
        asked += 1;
    }
    assert_eq!(asked, 3);

    let pid = Pid::from_raw(program.0.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = until("the program ends", || program.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
