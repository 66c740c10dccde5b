//! The command line, as clap sees it.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an option is the text of --help"
)]

pub(crate) mod consume;
pub(crate) mod develop;
pub(crate) mod files;
pub(crate) mod recycle;
pub(crate) mod startup;
pub(crate) mod table;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use self::{
    consume::ConsumeArgs, develop::DevelopArgs, files::FilesArgs, recycle::RecycleArgs,
    startup::StartupArgs,
};
use crate::{
    exit,
    value::{self, Events, Words},
};

/// Serves Python applications on Kubernetes: HTTP, probes and metrics in Rust, the application in Python
#[derive(Debug, Parser)]
#[command(name = "hurricane", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a WSGI or ASGI application, such as a Django project, over HTTP
    #[command(after_help = exit::CODES)]
    Serve(Box<ServeArgs>),
    /// Consume queues of RabbitMQ with handlers in Python
    #[command(after_help = exit::CONSUME_CODES)]
    Consume(Box<ConsumeArgs>),
    /// Write the options of a command as JSON, for `manage.py`
    #[command(hide = true)]
    Options {
        /// The command
        command: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) probe: ProbeArgs,
    #[command(flatten)]
    pub(crate) startup: StartupArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) recycle: RecycleArgs,
    #[command(flatten)]
    pub(crate) asgi: AsgiArgs,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    #[command(flatten)]
    pub(crate) stop: StopArgs,
    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,
    #[command(flatten)]
    pub(crate) develop: DevelopArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// What is served, and by which Python.
#[derive(Debug, Args)]
#[command(next_help_heading = "Application")]
pub(crate) struct AppArgs {
    /// The application, as module:attribute
    ///
    /// Without it a Django project is looked for: by DJANGO_SETTINGS_MODULE, else by the
    /// manage.py of the working directory.
    #[arg(long, env = "HURRICANE_APP", value_name = "MODULE:ATTRIBUTE", value_parser = value::app)]
    pub(crate) app: Option<String>,

    /// How the application is called
    ///
    /// auto takes an application whose call is asynchronous for ASGI, and so a Django project
    /// that has ASGI_APPLICATION but not WSGI_APPLICATION among its settings; all else is WSGI.
    /// hybrid is both in the same processes: WebSockets and --async-path go to the ASGI
    /// application, all else to the WSGI application.
    #[arg(
        long,
        env = "HURRICANE_INTERFACE",
        value_name = "INTERFACE",
        default_value = "auto"
    )]
    pub(crate) interface: InterfaceArg,

    /// The ASGI application beside --app, as module:attribute (hybrid)
    ///
    /// Without it the Django project's, as without --app.
    #[arg(long, env = "HURRICANE_ASGI_APP", value_name = "MODULE:ATTRIBUTE", value_parser = value::app)]
    pub(crate) asgi_app: Option<String>,

    /// How paths begin that go to the ASGI application, such as /events/ (hybrid)
    ///
    /// May be given more than once. The variable may hold several, with spaces between them.
    #[arg(long, env = "HURRICANE_ASYNC_PATH", value_name = "PATH", value_parser = value::prefixes)]
    pub(crate) async_path: Vec<Words>,

    /// The Python interpreter
    ///
    /// Without it that of the active virtual environment, else python3, else python.
    #[arg(long, env = "HURRICANE_PYTHON", value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// The path under which the application is mounted (SCRIPT_NAME)
    #[arg(long, env = "HURRICANE_ROOT_PATH", value_name = "PATH", default_value = "", hide_default_value = true, value_parser = value::root_path)]
    pub(crate) root_path: String,
}

/// The application's port.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// The port of the application; 0 lets the system choose
    #[arg(
        long,
        env = "HURRICANE_PORT",
        value_name = "PORT",
        default_value_t = 8000
    )]
    pub(crate) port: u16,

    /// The address to listen on; :: is all of IPv6 and IPv4
    #[arg(
        long,
        env = "HURRICANE_HOST",
        value_name = "ADDRESS",
        default_value = "0.0.0.0"
    )]
    pub(crate) host: IpAddr,

    /// The longest request body, in bytes or with a unit (K, M, G); longer ones are answered 413
    #[arg(long, env = "HURRICANE_MAX_BODY_SIZE", value_name = "SIZE", default_value = "100M", value_parser = value::size)]
    pub(crate) max_body_size: u64,

    /// The longest head of a request, with a unit (K, M), up to 1M; longer ones are answered 431
    #[arg(long, env = "HURRICANE_MAX_BUFFER_SIZE", value_name = "SIZE", default_value = "64K", value_parser = value::head_size)]
    pub(crate) max_buffer_size: usize,

    /// How long a client may take to send the head of a request, or nothing at all on a connection
    #[arg(long, env = "HURRICANE_HEADER_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = value::duration)]
    pub(crate) header_timeout: Duration,
}

/// The probes and the metrics.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probes and metrics")]
pub(crate) struct ProbeArgs {
    /// The port of the probes and metrics [default: the application's port + 1]
    ///
    /// The application's own port puts them before the application, on one port.
    #[arg(long, env = "HURRICANE_PROBE_PORT", value_name = "PORT")]
    pub(crate) probe_port: Option<u16>,

    /// The address that the probes listen on [default: that of --host]
    #[arg(long, env = "HURRICANE_PROBE_HOST", value_name = "ADDRESS")]
    pub(crate) probe_host: Option<IpAddr>,

    /// The path of the startup probe
    #[arg(
        long,
        env = "HURRICANE_STARTUP_PROBE",
        value_name = "PATH",
        default_value = "/startup"
    )]
    pub(crate) startup_probe: String,

    /// The path of the readiness probe
    #[arg(
        long,
        env = "HURRICANE_READINESS_PROBE",
        value_name = "PATH",
        default_value = "/ready"
    )]
    pub(crate) readiness_probe: String,

    /// The path of the liveness probe
    #[arg(
        long,
        env = "HURRICANE_LIVENESS_PROBE",
        value_name = "PATH",
        default_value = "/alive"
    )]
    pub(crate) liveness_probe: String,

    /// The path of the metrics
    #[arg(
        long,
        env = "HURRICANE_METRICS",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub(crate) metrics: String,

    /// Answer no probes and no metrics
    #[arg(long, env = "HURRICANE_NO_PROBE", value_parser = value::boolean)]
    pub(crate) no_probe: bool,

    /// Collect and answer no metrics
    #[arg(long, env = "HURRICANE_NO_METRICS", value_parser = value::boolean)]
    pub(crate) no_metrics: bool,

    /// Not ready while so many requests wait for a worker
    #[arg(
        long,
        env = "HURRICANE_REQ_QUEUE_LEN",
        value_name = "COUNT",
        default_value_t = 10
    )]
    pub(crate) req_queue_len: usize,

    /// How long a probe waits for the checks; stay below the probe's timeoutSeconds
    #[arg(long, env = "HURRICANE_PROBE_TIMEOUT", value_name = "TIME", default_value = "800ms", value_parser = value::duration)]
    pub(crate) probe_timeout: Duration,

    /// How old a check's last result may be that counts when there is no newer one in time
    #[arg(long, env = "HURRICANE_CHECK_MAX_AGE", value_name = "TIME", default_value = "30s", value_parser = value::duration)]
    pub(crate) check_max_age: Duration,
}

/// The workers and the queue before them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
pub(crate) struct WorkArgs {
    /// How many Python processes
    #[arg(long, env = "HURRICANE_WORKERS", value_name = "COUNT", default_value = "1", value_parser = value::count)]
    pub(crate) workers: usize,

    /// How many threads in each of them, each with one request at a time (WSGI)
    #[arg(long, env = "HURRICANE_THREADS", value_name = "COUNT", default_value = "4", value_parser = value::count)]
    pub(crate) threads: usize,

    /// How many requests may wait for a worker; further ones are answered 503
    #[arg(long, env = "HURRICANE_QUEUE_SIZE", value_name = "COUNT", default_value = "2048", value_parser = value::count)]
    pub(crate) queue_size: usize,

    /// How long a request may take until its response begins; 0 is as long as it takes
    ///
    /// Then it is answered 504, and the worker that has it is replaced.
    #[arg(long, env = "HURRICANE_REQUEST_TIMEOUT", value_name = "TIME", default_value = "0", value_parser = value::duration)]
    pub(crate) request_timeout: Duration,

    /// How long a worker may take to load the application
    #[arg(long, env = "HURRICANE_START_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) start_timeout: Duration,
}

/// The event loop of an ASGI application.
#[derive(Debug, Args)]
#[command(next_help_heading = "ASGI")]
pub(crate) struct AsgiArgs {
    /// How many requests the event loop of a worker has in hand at most; further ones wait
    #[arg(long, env = "HURRICANE_CONCURRENCY", value_name = "COUNT", default_value = "256", value_parser = value::count)]
    pub(crate) concurrency: usize,

    /// Which event loop: auto is uvloop where it is installed
    #[arg(
        long = "loop",
        id = "loop",
        env = "HURRICANE_LOOP",
        value_name = "LOOP",
        default_value = "auto"
    )]
    pub(crate) event_loop: LoopArg,

    /// Whether to tell the application that it starts and ends: auto is if it wants to know
    #[arg(
        long,
        env = "HURRICANE_LIFESPAN",
        value_name = "LIFESPAN",
        default_value = "auto"
    )]
    pub(crate) lifespan: LifespanArg,

    /// How long a request may go on when its client has gone; then its task is cancelled
    #[arg(long, env = "HURRICANE_DISCONNECT_GRACE", value_name = "TIME", default_value = "10s", value_parser = value::duration)]
    pub(crate) disconnect_grace: Duration,

    /// Let the application send early hints (103), where what is before the server passes them on
    ///
    /// A proxy that does not know them takes the first one for the answer.
    #[arg(long, env = "HURRICANE_EARLY_HINTS", value_parser = value::boolean)]
    pub(crate) early_hints: bool,

    /// How often to ask the client of a WebSocket whether it is still there; 0 is never
    #[arg(long, env = "HURRICANE_WS_PING_INTERVAL", value_name = "TIME", default_value = "20s", value_parser = value::duration)]
    pub(crate) ws_ping_interval: Duration,

    /// How long it may take to answer that; then the WebSocket is closed
    #[arg(long, env = "HURRICANE_WS_PING_TIMEOUT", value_name = "TIME", default_value = "20s", value_parser = value::duration)]
    pub(crate) ws_ping_timeout: Duration,

    /// The longest message of a client on a WebSocket, in bytes or with a unit (K, M, G)
    #[arg(long, env = "HURRICANE_WS_MAX_SIZE", value_name = "SIZE", default_value = "16M", value_parser = value::size)]
    pub(crate) ws_max_size: u64,
}

/// The end.
#[derive(Debug, Args)]
#[command(next_help_heading = "Termination")]
pub(crate) struct StopArgs {
    /// How long to go on serving after SIGTERM, not ready, until load balancers have noticed
    #[arg(long, env = "HURRICANE_SHUTDOWN_DELAY", value_name = "TIME", default_value = "0", value_parser = value::duration)]
    pub(crate) shutdown_delay: Duration,

    /// How long requests in hand may take to finish after that
    #[arg(long, env = "HURRICANE_GRACEFUL_TIMEOUT", value_name = "TIME", default_value = "25s", value_parser = value::duration)]
    pub(crate) graceful_timeout: Duration,
}

/// The webhooks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookArgs {
    /// Where to post the events of the process's life, as JSON; may be given more than once
    ///
    /// The variable may hold several, with spaces between them.
    #[arg(
        long,
        env = "HURRICANE_WEBHOOK_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) webhook_url: Vec<Words>,

    /// Which events to post, with commas between them: startup, liveness, readiness,
    /// worker_crashed, drain, shutdown [default: all]
    #[arg(long, env = "HURRICANE_WEBHOOK_EVENTS", value_name = "EVENTS", value_parser = value::events)]
    pub(crate) webhook_events: Option<Events>,

    /// A file with a JSON template of what is posted, in place of the usual payload
    #[arg(long, env = "HURRICANE_WEBHOOK_TEMPLATE", value_name = "PATH")]
    pub(crate) webhook_template: Option<PathBuf>,

    /// A file with the secrets to sign with, each whsec_ and base64
    ///
    /// They may also be in the variable HURRICANE_WEBHOOK_SECRET. Two are for the time of going
    /// over from one to the other: then each event has both signatures.
    #[arg(long, env = "HURRICANE_WEBHOOK_SECRET_FILE", value_name = "PATH")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
}

/// The log, which goes to standard error.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// What is logged: this and what is more severe
    #[arg(
        long,
        env = "HURRICANE_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true
    )]
    pub(crate) log_level: LogLevel,

    /// One line of text or one JSON object for each event
    #[arg(
        long,
        env = "HURRICANE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// The access log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct AccessArgs {
    /// Do not log each request
    #[arg(long, env = "HURRICANE_NO_ACCESS_LOG", value_parser = value::boolean)]
    pub(crate) no_access_log: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum InterfaceArg {
    Auto,
    Wsgi,
    Asgi,
    Hybrid,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LoopArg {
    Auto,
    Asyncio,
    Uvloop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LifespanArg {
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    #[value(alias = "critical")]
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The command line, with what some options are otherwise of some commands.
pub(crate) fn command() -> clap::Command {
    Cli::command().mut_subcommand("consume", |consume| {
        consume
            .mut_arg("probe_port", |port| {
                port.help("The port of the probes and metrics [default: 8001]")
                    .long_help(None)
            })
            .mut_arg("probe_host", |host| {
                host.help("The address that the probes listen on [default: 0.0.0.0]")
            })
            .mut_arg("req_queue_len", |length| {
                length
                    .help("Not ready while so many messages are in hand; 0 is no limit")
                    .default_value("0")
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_has_its_variable() {
        let cli = command();
        let serve = cli.find_subcommand("serve").unwrap();
        for option in serve
            .get_arguments()
            .filter(|option| option.get_id() != "help")
        {
            let name = option.get_id().as_str().to_uppercase();
            let variable = option.get_env().and_then(|variable| variable.to_str());
            assert_eq!(variable, Some(format!("HURRICANE_{name}").as_str()));
        }
    }
}
