//! A `RabbitMQ` for the tests, and what they need to look at it.

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hurricane_amqp::{
    Builder, ConnectionConfig, Consumer, Handler, Outcome, Publication, Publisher, Queue,
    ReconnectPolicy, Topology,
};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::time;

/// Long enough for a machine that has much else to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

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
        let server = find("rabbitmq-server").unwrap_or_else(|| {
            panic!(
                "rabbitmq-server is missing: install it (Debian, Ubuntu: apt install rabbitmq-server), \
                 or name a broker with AMQP_URL"
            )
        });
        let [port, epmd, distribution] = free_ports();
        let folder =
            env::temp_dir().join(format!("hurricane-broker-{}-{port}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        fs::write(
            file("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{port}\n"),
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

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A name that no other test has, nor another run against the same broker.
pub(crate) fn name(test: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{count}", std::process::id())
}

pub(crate) fn connection() -> ConnectionConfig {
    uri().parse().unwrap()
}

/// A consumer of a queue that survives whatever a test does.
pub(crate) fn consumer(queue: &str, handler: impl Handler) -> Builder {
    Consumer::builder(handler)
        .connection(connection())
        .topology(Topology::new(Queue::durable(queue)))
        .reconnect(quick())
}

pub(crate) fn quick() -> ReconnectPolicy {
    ReconnectPolicy {
        first: Duration::from_millis(50),
        longest: Duration::from_millis(200),
        max: None,
    }
}

/// Looks at the broker from outside.
pub(crate) struct Admin {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
    pub(crate) publisher: Publisher,
}

// === impl Admin ===

impl Admin {
    pub(crate) async fn new() -> Self {
        Self::at(uri()).await
    }

    pub(crate) async fn at(uri: &str) -> Self {
        let deadline = Instant::now() + DEADLINE;
        let connection = loop {
            match Connection::connect(uri, ConnectionProperties::default()).await {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < deadline, "{uri}: {error}"),
            }
            time::sleep(Duration::from_millis(50)).await;
        };
        Self {
            channel: connection.create_channel().await.unwrap(),
            publisher: Publisher::new(uri.parse().unwrap()),
            connection,
        }
    }

    pub(crate) async fn declare(&self, queue: &str) {
        let options = QueueDeclareOptions::durable();
        let declared = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Declares a queue and fills it with numbers from 0.
    pub(crate) async fn fill(&self, queue: &str, count: usize) {
        self.declare(queue).await;
        let publish = |number: usize| self.publish("", queue, number.to_string());
        futures_util::future::join_all((0..count).map(publish)).await;
    }

    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: impl Into<bytes::Bytes>) {
        let publication = Publication::new(exchange, key, body);
        self.publisher.publish(publication).await.unwrap();
    }

    /// Messages that wait in the queue.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        // A channel of its own, because a queue that is missing costs it.
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions::default().passive();
        let asked = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await;
        let depth = asked.map_or(u32::MAX, |queue| queue.message_count());
        if channel.status().connected() {
            channel.close(200, "".into()).await.unwrap();
        }
        depth
    }

    /// Takes a message out of a queue, and waits for one if there is none.
    pub(crate) async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let options = BasicGetOptions { no_ack: true };
        let what = format!("a message in {queue}");
        until_some(&what, || async {
            let got = self.channel.basic_get(queue.into(), options).await.unwrap();
            got.map(|message| message.delivery)
        })
        .await
    }

    pub(crate) async fn until_depth(&self, queue: &str, depth: u32) {
        until(&format!("{depth} messages in {queue}"), || async {
            self.depth(queue).await == depth
        })
        .await;
    }
}

/// Waits for a condition.
pub(crate) async fn until<Fut: Future<Output = bool>>(what: &str, condition: impl Fn() -> Fut) {
    until_some(what, || async { condition().await.then_some(()) }).await;
}

async fn until_some<T, Fut: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> Fut) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// A consumer at work.
pub(crate) struct Running {
    pub(crate) status: hurricane_amqp::Status,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError>>,
}

// === impl Running ===

impl Running {
    /// Starts a consumer and waits until it is subscribed.
    pub(crate) async fn start(builder: Builder) -> Self {
        let running = Self::begin(builder);
        let status = &running.status;
        until("the subscription", || async { status.has_begun() }).await;
        running
    }

    pub(crate) fn begin(builder: Builder) -> Self {
        let consumer = builder.build();
        let status = consumer.status().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(consumer.run(async {
            let _ = stopped.await;
        }));
        Self { status, stop, task }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> hurricane_amqp::Finished {
        let _ = self.stop.send(());
        let ended = time::timeout(DEADLINE, self.task)
            .await
            .expect("it did not stop");
        ended.unwrap().unwrap()
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn ask_to_stop(
        self,
    ) -> impl Future<Output = Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError>> {
        let _ = self.stop.send(());
        async {
            time::timeout(DEADLINE, self.task)
                .await
                .expect("it did not stop")
                .unwrap()
        }
    }

    /// Waits for its end.
    pub(crate) async fn end(
        self,
    ) -> Result<hurricane_amqp::Finished, hurricane_amqp::ConsumeError> {
        let Self { stop, task, .. } = self;
        let ended = time::timeout(DEADLINE, task)
            .await
            .expect("it did not end")
            .unwrap();
        drop(stop);
        ended
    }
}

/// The number a message holds.
pub(crate) fn number(message: &hurricane_amqp::Message) -> usize {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

pub(crate) const RETRY: Outcome = Outcome::Retry { after: None };
