//! The options of `hurricane consume`.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an option is the text of --help"
)]

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{LogArgs, ProbeArgs, WebhookArgs, develop::ReloadArgs};
use crate::value::{self, Arguments, Lines};

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The handler classes, as package.module.Class
    #[arg(value_name = "HANDLER", required = true, value_parser = value::class)]
    pub(crate) handler: Vec<String>,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) topology: TopologyArgs,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    #[command(flatten)]
    pub(crate) work: HandlerArgs,
    #[command(flatten)]
    pub(crate) probe: ProbeArgs,
    #[command(flatten)]
    pub(crate) end: EndArgs,
    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,
    #[command(flatten)]
    pub(crate) reload: ReloadArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Where the broker is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct BrokerArgs {
    /// The broker, as amqp://user:password@host:port/vhost, or amqps for TLS
    ///
    /// The options below go before what it says.
    #[arg(
        long,
        env = "AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) amqp_url: String,

    /// The broker's host
    #[arg(
        long,
        env = "AMQP_HOST",
        value_name = "HOST",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) amqp_host: String,

    /// Its port [default: 5672, or 5671 with TLS]
    #[arg(long, env = "AMQP_PORT", value_name = "PORT", value_parser = value::broker_port)]
    pub(crate) amqp_port: Option<u16>,

    /// The virtual host [default: /]
    #[arg(long, env = "AMQP_VHOST", value_name = "NAME")]
    pub(crate) amqp_vhost: Option<String>,

    /// Whom to log in as [default: guest]
    ///
    /// The password is in the variable AMQP_PASSWORD, or in --amqp-password-file: a command line
    /// can be seen by all.
    #[arg(long, env = "AMQP_USER", value_name = "NAME")]
    pub(crate) amqp_user: Option<String>,

    /// A file with the password
    #[arg(long, env = "AMQP_PASSWORD_FILE", value_name = "PATH")]
    pub(crate) amqp_password_file: Option<PathBuf>,

    /// Encrypt the connection, as amqps does
    #[arg(long, env = "AMQP_TLS", value_parser = value::boolean)]
    pub(crate) amqp_tls: bool,

    /// A file with certificates of authorities to trust beside the system's (PEM); implies TLS
    #[arg(long, env = "AMQP_CA", value_name = "PATH")]
    pub(crate) amqp_ca: Option<PathBuf>,

    /// A file with the certificate to show to the broker (PEM); implies TLS
    #[arg(long, env = "AMQP_CERT", value_name = "PATH", requires = "amqp_key")]
    pub(crate) amqp_cert: Option<PathBuf>,

    /// A file with its key (PEM, PKCS #8)
    #[arg(long, env = "AMQP_KEY", value_name = "PATH", requires = "amqp_cert")]
    pub(crate) amqp_key: Option<PathBuf>,

    /// Lost is a connection without a sign of life for twice this; 0 leaves it to the broker [default: 30s]
    #[arg(long, env = "AMQP_HEARTBEAT", value_name = "TIME", value_parser = value::duration)]
    pub(crate) amqp_heartbeat: Option<Duration>,

    /// How long connecting may take, with the login [default: 10s]
    #[arg(long, env = "AMQP_TIMEOUT", value_name = "TIME", value_parser = value::duration)]
    pub(crate) amqp_timeout: Option<Duration>,

    /// The name of the connection in the broker's lists
    #[arg(
        long,
        env = "AMQP_CONNECTION_NAME",
        value_name = "NAME",
        default_value = "hurricane"
    )]
    pub(crate) amqp_connection_name: String,

    /// Connect again when the connection is lost, which is the default
    ///
    /// Under manage.py it is not: there a lost connection ends the process without it.
    #[arg(long, env = "HURRICANE_RECONNECT", value_parser = value::boolean)]
    pub(crate) reconnect: bool,

    /// How often in a row to try to connect again; 0 ends with the connection [default: for ever]
    #[arg(long, env = "HURRICANE_MAX_RECONNECTS", value_name = "COUNT")]
    pub(crate) max_reconnects: Option<u32>,
}

/// What is declared.
#[derive(Debug, Args)]
#[command(next_help_heading = "Queue")]
pub(crate) struct TopologyArgs {
    /// The queue; without a name the broker chooses one. One for each handler
    #[arg(long, env = "HURRICANE_QUEUE", value_name = "NAME")]
    pub(crate) queue: Vec<Lines>,

    /// The exchange it is bound to; none leaves it to the name of the queue. One for each handler, or one for all
    #[arg(long, env = "HURRICANE_EXCHANGE", value_name = "NAME")]
    pub(crate) exchange: Vec<Lines>,

    /// The kind of the exchange: topic, direct, fanout, headers, or a plug-in's [default: the handler's]
    #[arg(long, env = "HURRICANE_EXCHANGE_TYPE", value_name = "TYPE")]
    pub(crate) exchange_type: Option<String>,

    /// A key to bind the queue with; may be given more than once [default: the handler's, else the queue's name]
    #[arg(long, env = "HURRICANE_BINDING_KEY", value_name = "KEY")]
    pub(crate) binding_key: Vec<Lines>,

    /// An argument of the binding, for an exchange of headers; may be given more than once
    ///
    /// A value is a number, true, false, or text. In the variable each stands on a line of its own,
    /// as with all options of the queue that may be given more than once.
    #[arg(long, env = "HURRICANE_BINDING_ARGUMENT", value_name = "NAME=VALUE", value_parser = value::arguments)]
    pub(crate) binding_argument: Vec<Arguments>,

    /// Let queue and exchange survive a restart of the broker
    #[arg(long, env = "HURRICANE_DURABLE", value_parser = value::boolean)]
    pub(crate) durable: bool,

    /// Make the queue a quorum queue, which is durable, and replicated
    #[arg(long, env = "HURRICANE_QUORUM", value_parser = value::boolean)]
    pub(crate) quorum: bool,

    /// Let the queue go with its last consumer
    #[arg(long, env = "HURRICANE_AUTO_DELETE", value_parser = value::boolean)]
    pub(crate) auto_delete: bool,

    /// Let the queue belong to this connection alone, and go with it
    #[arg(long, env = "HURRICANE_EXCLUSIVE", value_parser = value::boolean)]
    pub(crate) exclusive: bool,

    /// An argument of the queue, such as x-max-length=1000; may be given more than once
    #[arg(long, env = "HURRICANE_QUEUE_ARGUMENT", value_name = "NAME=VALUE", value_parser = value::arguments)]
    pub(crate) queue_argument: Vec<Arguments>,

    /// An argument of the exchange; may be given more than once
    #[arg(long, env = "HURRICANE_EXCHANGE_ARGUMENT", value_name = "NAME=VALUE", value_parser = value::arguments)]
    pub(crate) exchange_argument: Vec<Arguments>,

    /// Declare nothing, only look whether queue and exchange are there
    #[arg(long, env = "HURRICANE_PASSIVE", value_parser = value::boolean)]
    pub(crate) passive: bool,
}

/// How messages are treated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub(crate) struct DeliveryArgs {
    /// How many messages the broker hands out ahead of their acknowledgement; 0 is no limit [default: the handler's, else 100]
    #[arg(long, env = "HURRICANE_PREFETCH", value_name = "COUNT")]
    pub(crate) prefetch: Option<u16>,

    /// Handle one message after the other, and repeat one that fails until it is done with
    #[arg(long, env = "HURRICANE_ORDERED", value_parser = value::boolean)]
    pub(crate) ordered: bool,

    /// How often a message is tried, the first time included; then it is a dead letter. 0 is no limit
    #[arg(
        long,
        env = "HURRICANE_RETRY_ATTEMPTS",
        value_name = "COUNT",
        default_value_t = 5
    )]
    pub(crate) retry_attempts: u32,

    /// The pause after the first try; it doubles with each
    #[arg(long, env = "HURRICANE_RETRY_DELAY", value_name = "TIME", default_value = "1s", value_parser = value::duration)]
    pub(crate) retry_delay: Duration,

    /// The longest pause between two tries
    #[arg(long, env = "HURRICANE_RETRY_MAX_DELAY", value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) retry_max_delay: Duration,

    /// How a message that failed comes back: over queues that hold it for its pause, or back to its queue
    #[arg(
        long,
        env = "HURRICANE_RETRY_VIA",
        value_name = "WAY",
        default_value = "delay-queue"
    )]
    pub(crate) retry_via: ViaArg,

    /// A queue for messages that are rejected or were tried too often [default: as the broker has it]
    #[arg(long, env = "HURRICANE_DEAD_LETTER_QUEUE", value_name = "NAME")]
    pub(crate) dead_letter_queue: Option<String>,

    /// The name of the subscription [default: the broker chooses]
    #[arg(
        long,
        env = "HURRICANE_CONSUMER_TAG",
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) consumer_tag: String,

    /// Be the only consumer of the queue, or none
    #[arg(long, env = "HURRICANE_EXCLUSIVE_CONSUMER", value_parser = value::boolean)]
    pub(crate) exclusive_consumer: bool,

    /// When the queue grows and nothing is delivered for so long, subscribe anew; 0 is never
    ///
    /// For a queue with a single active consumer it has to be 0.
    #[arg(long, env = "HURRICANE_SILENCE_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = value::duration)]
    pub(crate) silence_timeout: Duration,
}

/// The processes of the handlers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Handlers")]
pub(crate) struct HandlerArgs {
    /// The Python interpreter
    ///
    /// Without it that of the active virtual environment, else python3, else python.
    #[arg(long, env = "HURRICANE_PYTHON", value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// How many Python processes
    #[arg(long, env = "HURRICANE_WORKERS", value_name = "COUNT", default_value = "1", value_parser = value::count)]
    pub(crate) workers: usize,

    /// How many messages of a handler each of them handles at the same time: threads, or tasks of an async handler
    #[arg(long, env = "HURRICANE_CONCURRENCY", value_name = "COUNT", default_value = "1", value_parser = value::places)]
    pub(crate) concurrency: usize,

    /// How long a handler may take for a message; 0 is as long as it takes
    ///
    /// Then the message is tried again, and the worker that has it is replaced.
    #[arg(long, env = "HURRICANE_HANDLER_TIMEOUT", value_name = "TIME", default_value = "0", value_parser = value::duration)]
    pub(crate) handler_timeout: Duration,

    /// How long a worker may take to load the handlers
    #[arg(long, env = "HURRICANE_START_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) start_timeout: Duration,

    /// Replace a worker that holds more memory, in MB or with a unit (512M, 2G) [default: never]
    #[arg(long, env = "HURRICANE_MAX_MEMORY", value_name = "SIZE", value_parser = value::memory)]
    pub(crate) max_memory: Option<u64>,
}

/// The end.
#[derive(Debug, Args)]
#[command(next_help_heading = "Termination")]
pub(crate) struct EndArgs {
    /// How long messages in hand may take to finish after SIGTERM; then they go back to their queue
    #[arg(long, env = "HURRICANE_GRACEFUL_TIMEOUT", value_name = "TIME", default_value = "25s", value_parser = value::duration)]
    pub(crate) graceful_timeout: Duration,

    /// End in good order after so many messages, so that Kubernetes restarts the container [default: never]
    #[arg(long, env = "HURRICANE_MAX_LIFETIME", value_name = "COUNT", value_parser = value::count)]
    pub(crate) max_lifetime: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViaArg {
    DelayQueue,
    Requeue,
}
