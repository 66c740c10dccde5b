//! A `hurricane serve` under test.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    os::unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

use super::{
    client::{Connection, get},
    output::{Output, Stream},
    until, until_true,
};

/// A server to be started: on ports that the system chooses, unless told otherwise.
pub(crate) struct Launch {
    wrapper: Vec<&'static str>,
    program: Vec<OsString>,
    folder: PathBuf,
    options: Vec<(String, Option<String>)>,
    env: Vec<(String, OsString)>,
    dir: TempDir,
}

/// A server that runs. A test ends it, else the test fails.
pub(crate) struct Server {
    child: Child,
    status: Option<ExitStatus>,
    output: Output,
    dir: TempDir,
    port: Option<u16>,
    probe_port: Option<u16>,
}

/// A server that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The interpreter with Django that the servers are to use.
pub(crate) fn python() -> PathBuf {
    let python = std::env::var_os("HURRICANE_TEST_PYTHON");
    let python = python.expect(
        "HURRICANE_TEST_PYTHON does not name the Python interpreter for the tests: run `make test`, which sets it",
    );
    PathBuf::from(python)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A database with the demo's data; every server gets a copy of its own.
fn polls_db() -> &'static [u8] {
    static DATABASE: OnceLock<Vec<u8>> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("polls.sqlite3");
        for arguments in [&["migrate", "--verbosity", "0"][..], &["loaddata", "demo"]] {
            let made = Command::new(python())
                .arg("manage.py")
                .args(arguments)
                .current_dir(root().join("examples/django-polls"))
                .env("POLLS_DB", &path)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "manage.py {arguments:?}: {said}");
        }
        fs::read(path).unwrap()
    })
}

// === impl Launch ===

impl Launch {
    /// The Django example, with a database of its own.
    pub(crate) fn django() -> Self {
        let launch = Self::bare(&root().join("examples/django-polls"));
        let database = launch.dir.path().join("polls.sqlite3");
        fs::write(&database, polls_db()).unwrap();
        launch.env("POLLS_DB", database)
    }

    /// An application of `tests/apps`, as `module:attribute`.
    pub(crate) fn app(app: &str) -> Self {
        Self::bare(&root().join("tests/apps")).arg("--app", app)
    }

    /// No application is named; `folder` is the working directory.
    pub(crate) fn bare(folder: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let launch = Self {
            wrapper: Vec::new(),
            program: vec![env!("CARGO_BIN_EXE_hurricane").into(), "serve".into()],
            folder: folder.to_owned(),
            options: Vec::new(),
            env: Vec::new(),
            dir,
        };
        let dir = launch.dir.path().to_owned();
        launch
            .env("TEST_DIR", dir)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg("--python", python().to_str().unwrap())
            .arg("--host", "127.0.0.1")
            .arg("--port", "0")
            .arg("--probe-port", "0")
    }

    /// A handler of `tests/apps`, as `module.Class`.
    pub(crate) fn consume(handler: &str) -> Self {
        let mut launch = Self::bare(&root().join("tests/apps"))
            .without("--host")
            .without("--port")
            .arg("--probe-host", "127.0.0.1");
        launch.program[1] = "consume".into();
        launch.program.push(handler.into());
        launch
    }

    /// `manage.py serve` of a project that has nothing but hurricane in it, which is given these settings.
    pub(crate) fn manage(settings: &str) -> Self {
        let mut launch = Self::bare(&root().join("tests/dropin")).without("--python");
        launch.program = vec![python().into(), "manage.py".into(), "serve".into()];
        let binary = Path::new(env!("CARGO_BIN_EXE_hurricane")).parent().unwrap();
        launch
            .env("PYTHONPATH", root().join("python"))
            .env("PATH", binary)
            .env("TEST_SETTINGS", settings)
    }

    /// `manage.py consume` of that project.
    pub(crate) fn manage_consume(handler: &str, settings: &str) -> Self {
        let mut launch = Self::manage(settings)
            .without("--host")
            .without("--port")
            .arg("--probe-host", "127.0.0.1");
        launch.program[2] = "consume".into();
        launch.program.push(handler.into());
        launch
    }

    /// Sets an option, in place of what it was.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that numbers can be given as they are"
    )]
    pub(crate) fn arg(mut self, option: &str, value: impl ToString) -> Self {
        self = self.without(option);
        self.options
            .push((option.to_owned(), Some(value.to_string())));
        self
    }

    /// Gives an option once more, beside what is given.
    pub(crate) fn more(mut self, option: &str, value: &str) -> Self {
        self.options
            .push((option.to_owned(), Some(value.to_owned())));
        self
    }

    /// Adds a word that is no option.
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.program.push(word.into());
        self
    }

    pub(crate) fn flag(mut self, option: &str) -> Self {
        self.options.push((option.to_owned(), None));
        self
    }

    pub(crate) fn without(mut self, option: &str) -> Self {
        self.options.retain(|(name, _)| name != option);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets an option by its variable instead of the command line.
    pub(crate) fn variable(self, option: &str, value: &str) -> Self {
        let name = option
            .trim_start_matches('-')
            .replace('-', "_")
            .to_uppercase();
        self.without(option)
            .env(&format!("HURRICANE_{name}"), value)
    }

    /// Starts the server through another command.
    pub(crate) fn through(mut self, wrapper: &[&'static str]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    /// Starts it in another folder; a script is named by its whole path then.
    pub(crate) fn from(mut self, folder: &Path) -> Self {
        for word in &mut self.program {
            if self.folder.join(&*word).is_file() {
                *word = self.folder.join(&*word).into();
            }
        }
        folder.clone_into(&mut self.folder);
        self
    }

    /// The folder that the application knows as `TEST_DIR`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn start(self) -> Server {
        let mut server = self.spawn();
        server.wait_until_up();
        server
    }

    /// Starts a consumer, and waits until it has subscribed.
    pub(crate) fn start_consuming(self) -> Server {
        let mut server = self.spawn();
        let port = server.wait_for_number("Probe application running on port ");
        server.probe_port = Some(port);
        until_true("it consumes", || get(port, "/startup").status == 200);
        server
    }

    /// Starts it, and does not wait.
    pub(crate) fn spawn(self) -> Server {
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        words.extend(self.program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let ours = [
                "HURRICANE_",
                "AMQP_",
                "DJANGO_",
                "POLLS_",
                "VIRTUAL_ENV",
                "PYTHON",
            ];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        for (option, value) in &self.options {
            command.arg(option).args(value);
        }
        let mut child = command
            .envs(self.env)
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Output::default();
        output.follow(Stream::Stdout, child.stdout.take().unwrap());
        output.follow(Stream::Stderr, child.stderr.take().unwrap());
        Server {
            child,
            status: None,
            output,
            dir: self.dir,
            port: None,
            probe_port: None,
        }
    }

    /// Runs it until it ends by itself.
    pub(crate) fn run(self) -> Ended {
        self.spawn().ended()
    }
}

// === impl Server ===

impl Server {
    /// Waits until it serves.
    pub(crate) fn wait_until_up(&mut self) {
        let port = self.wait_for_number("Starting HTTP Server on port ");
        self.port = Some(port);
        until_true("the port takes connections", || {
            Connection::try_open(port).is_ok()
        });
        let log = self.output.text(Stream::Stderr);
        if let Some(probes) = log
            .lines()
            .find_map(|line| line.split_once("Starting probe application "))
        {
            let port = number_after(probes.1, " on port ").unwrap();
            self.probe_port = Some(port);
            let startup = probes.1.split_once("startup-probe: ").unwrap().1;
            let startup = startup.split([' ', '"', ',']).next().unwrap();
            until_true("the start is over", || get(port, startup).status == 200);
        }
    }

    /// The application's port.
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("the server was started")
    }

    /// The probes' port, which may be the same.
    pub(crate) fn probe_port(&self) -> u16 {
        self.probe_port.expect("the server has probes")
    }

    /// The probes' port of a server that does not serve yet.
    pub(crate) fn early_probe_port(&self) -> u16 {
        self.wait_for_number("Starting probe application running on port ")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a file in [`dir`](Self::dir), which the application looks for.
    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.dir.path().join(name), "").unwrap();
    }

    /// Lets an application go on that holds the GIL, which it does until somebody wants to write to its pipe.
    pub(crate) fn free_the_gil(&self) {
        let pipe = self.dir.path().join("gil");
        let mut write = fs::OpenOptions::new();
        write
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        until("the GIL is held", || write.open(&pipe).ok());
    }

    /// What the application noted, line by line.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.dir.path().join("notes")).unwrap_or_default();
        // A line that is being written has no end yet.
        let whole = notes.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    pub(crate) fn wait_for_note(&self, note: &str) {
        until_true(&format!("the application notes {note:?}"), || {
            self.notes().iter().any(|noted| noted == note)
        });
    }

    /// Waits for a line of its output that holds `text`, and returns it.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        let line = self
            .output
            .find(|line| line.contains(text).then(|| line.to_owned()));
        line.unwrap_or_else(|| panic!("the server has not said {text:?}"))
    }

    fn wait_for_number(&self, before: &str) -> u16 {
        let number = self.output.find(|line| number_after(line, before));
        number.unwrap_or_else(|| panic!("the server has not said {before:?}"))
    }

    pub(crate) fn stderr(&self) -> String {
        self.output.text(Stream::Stderr)
    }

    pub(crate) fn stdout(&self) -> String {
        self.output.text(Stream::Stdout)
    }

    /// The process ids of all workers that became ready, in that order.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let log = self.stderr();
        let lines = log.lines().filter(|line| line.contains("Worker is ready"));
        lines
            .map(|line| number_after(line, "worker.pid=").unwrap())
            .collect()
    }

    /// How many connections its clients have open at the application's port.
    pub(crate) fn open_connections(&self) -> usize {
        let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).unwrap();
        let ours = format!(":{:04X}", self.port());
        let established = "01";
        let open = sockets.lines().skip(1).filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&ours))
                && fields.nth(1) == Some(established)
        });
        open.count()
    }

    /// Where it listens. Asked of the kernel: what answers on a port may be a server of another test.
    pub(crate) fn listeners(&self) -> BTreeSet<(Ipv4Addr, u16)> {
        let pid = self.pid();
        let sockets: BTreeSet<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .collect();
        let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        let rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let listening = "0A";
        // The fields are: number, local address, remote address, state, and behind others the inode.
        rows.filter(|row| {
            row[3] == listening && sockets.contains(Path::new(&format!("socket:[{}]", row[9])))
        })
        .map(|row| {
            let (address, port) = row[1].split_once(':').unwrap();
            let address = u32::from_str_radix(address, 16).unwrap().to_le_bytes();
            (address.into(), u16::from_str_radix(port, 16).unwrap())
        })
        .collect()
    }

    /// Waits until so many workers have become ready, over all its life.
    pub(crate) fn wait_for_workers(&self, count: usize) -> Vec<u32> {
        until("the workers are ready", || {
            Some(self.workers()).filter(|workers| workers.len() >= count)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Ends it with SIGTERM; that has to be an end in good order.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.ended();
        assert_eq!(ended.code, Some(0), "the exit code after SIGTERM");
        ended
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> Ended {
        let status = until("the server ends", || self.child.try_wait().unwrap());
        self.output.wait_for_end();
        let ended = Ended {
            code: status.code().or(status.signal().map(|signal| 128 + signal)),
            stdout: self.stdout(),
            stderr: self.stderr(),
        };
        self.status = Some(status);
        // A test that fails from here on has the whole output in the captured text.
        println!("the server ended: {:?}", ended.code);
        println!("{}", self.output.transcript());
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        // It fails when the process has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        println!(
            "the server was killed by the test; it said:\n{}",
            self.output.transcript()
        );
        assert!(
            std::thread::panicking(),
            "the test has not ended its server"
        );
    }
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn number_after<T: std::str::FromStr>(line: &str, before: &str) -> Option<T> {
    let rest = line.split_once(before)?.1;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}
