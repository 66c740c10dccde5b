//! A `RabbitMQ` of our own, for the tests of this crate and those of the program.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use super::ports::free_port;

/// Long enough for a machine that has much else to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A broker of our own. It ends with this process, in whatever way that ends: a shell waits for the end of its input.
pub(crate) struct Broker {
    uri: String,
    port: u16,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    shell: Mutex<Shell>,
}

struct Shell {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Starts and stops the broker as it is told, and cleans up when nobody can tell it anything any more.
const SCRIPT: &str = r#"
begin() { "$SERVER" >>"$FOLDER/output" 2>&1 </dev/null & pid=$!; }
end() { kill -KILL "$pid"; wait "$pid" 2>/dev/null; }
begin
while read -r word; do
    case $word in start) begin ;; stop) end ;; esac
    echo "$word"
done
end
epmd -kill >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

/// The broker that tests share: the one at `AMQP_URL`, or one of our own.
pub(crate) fn uri() -> &'static str {
    static SHARED: OnceLock<(String, Option<Broker>)> = OnceLock::new();
    let (uri, _) = SHARED.get_or_init(|| match env::var("AMQP_URL") {
        Ok(uri) => (uri, None),
        Err(_) => {
            let broker = Broker::start();
            (broker.uri.clone(), Some(broker))
        }
    });
    uri
}

// === impl Broker ===

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with these lines in its configuration beside the usual ones.
    pub(crate) fn start_with(configuration: &str) -> Self {
        let server = find("rabbitmq-server").unwrap_or_else(|| {
            panic!(
                "rabbitmq-server is missing: install it (Debian, Ubuntu: apt install rabbitmq-server), \
                 or name a broker with AMQP_URL"
            )
        });
        let [port, epmd, distribution] = [(); 3].map(|()| free_port());
        let folder =
            env::temp_dir().join(format!("hurricane-broker-{}-{port}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        fs::write(
            file("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{port}\n{configuration}"),
        )
        .unwrap();
        fs::write(file("plugins"), "[].").unwrap();
        let environment = [
            ("HOME", file("")),
            ("FOLDER", file("")),
            ("SERVER", server.display().to_string()),
            ("RABBITMQ_NODENAME", format!("hurricane-{port}@localhost")),
            ("RABBITMQ_BASE", file("")),
            ("RABBITMQ_MNESIA_BASE", file("data")),
            ("RABBITMQ_LOG_BASE", file("log")),
            ("RABBITMQ_CONFIG_FILE", file("rabbitmq")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins")),
            ("RABBITMQ_PID_FILE", file("pid")),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".into(),
            ),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            // The script then becomes the broker, instead of starting it.
            ("RUNNING_UNDER_SYSTEMD", "true".into()),
        ];
        let environment: Vec<_> = environment
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .envs(environment.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // An interrupt from the terminal is for the tests.
            .process_group(0)
            .spawn()
            .unwrap();
        let shell = Shell {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            _child: child,
        };
        let broker = Self {
            uri: format!("amqp://127.0.0.1:{port}"),
            port,
            folder,
            environment,
            shell: Mutex::new(shell),
        };
        broker.wait_until_up();
        broker
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Ends the broker without a word, as a node that dies.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// Starts it once more, with the same data, and waits until it answers.
    pub(crate) fn start_again(&self) {
        self.tell("start");
        self.wait_until_up();
    }

    /// Runs `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let output = Command::new(find("rabbitmqctl").expect("it comes with the server"))
            .args(arguments)
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {output:?}"
        );
    }

    fn tell(&self, word: &str) {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.input, "{word}").unwrap();
        let mut answer = String::new();
        shell.output.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), word);
    }

    /// A broker listens when it is ready for the most part; it says so in its output when it is.
    fn wait_until_up(&self) {
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let output = || fs::read_to_string(self.folder.join("output")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "the broker did not start: {}",
                output()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The program itself: what Debian has on the path changes the user, and the environment with it.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).collect::<Vec<_>>();
    [Path::new("/usr/lib/rabbitmq/bin")]
        .into_iter()
        .chain(folders.iter().map(PathBuf::as_path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
