//! What the options amount to: where the broker is, what is declared, how messages are treated.

use std::{env, fs, path::Path, time::Duration};

use anyhow::Result;
use hurricane_amqp::{
    ConnectionConfig, ConsumerConfig, DeadLetters, Exchange, ExchangeKind, FieldTable, Queue,
    ReconnectPolicy, RetryPolicy, RetryVia, Tls, TlsIdentity, Topology,
};
use hurricane_python::{
    AsgiConfig, DeskConfig, DevelopConfig, HandlerConfig, HandlerFacts, PoolConfig, RecycleConfig,
    WorkerConfig,
};

use crate::{
    args::consume::{BrokerArgs, ConsumeArgs, TopologyArgs, ViaArg},
    exit::Usage,
    serve,
    value::{Arguments, Lines},
};

/// The variable of the password. There is no option for it: a command line can be seen by all.
const PASSWORD: &str = "AMQP_PASSWORD";

/// What is known before the handlers have been loaded.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) connection: ConnectionConfig,
    pub(super) desk: DeskConfig,
    pub(super) pool: PoolConfig,
}

// === impl Plan ===

impl Plan {
    pub(super) fn of(args: &ConsumeArgs) -> Result<Self> {
        let connection = connection(&args.broker)?;
        let count = args.handler.len();
        let topology = &args.topology;
        let queues = each("--queue", &topology.queue, count, false)?;
        let exchanges = each("--exchange", &topology.exchange, count, true)?;
        if count > 1 && !topology.binding_key.is_empty() {
            let sentence = "--binding-key is of one handler: several say by get_routing_keys how their queues are bound";
            return Err(Usage(sentence.to_owned()).into());
        }
        if args.broker.reconnect && args.broker.max_reconnects == Some(0) {
            let sentence = "--reconnect and --max-reconnects 0 contradict each other";
            return Err(Usage(sentence.to_owned()).into());
        }
        let handlers = args.handler.iter().zip(queues.into_iter().zip(exchanges));
        let handlers = handlers
            .map(|(class, (queue, exchange))| HandlerConfig {
                class: class.clone(),
                queue,
                exchange,
                host: connection.host.clone(),
                port: connection.port,
                vhost: connection.vhost.clone(),
                user: connection.user.clone(),
                password: connection.password.clone(),
            })
            .collect();
        let work = &args.work;
        if args.delivery.ordered && (work.concurrency > 1 || work.workers > 1) {
            let sentence = "--ordered is one message after the other: --concurrency and --workers have to be 1";
            return Err(Usage(sentence.to_owned()).into());
        }
        let worker = WorkerConfig {
            python: match &work.python {
                Some(python) => python.clone(),
                None => serve::python()?,
            },
            app: None,
            asgi_app: None,
            interface: None,
            threads: 0,
            asgi: AsgiConfig::default(),
            multiprocess: work.workers > 1,
            static_files: false,
            media_files: false,
            start_timeout: work.start_timeout,
            develop: DevelopConfig {
                tell_files: args.reload.is_on(),
                ..DevelopConfig::default()
            },
        };
        Ok(Self {
            connection,
            desk: DeskConfig {
                handlers,
                concurrency: work.concurrency,
                ordered: args.delivery.ordered,
                timeout: some(work.handler_timeout),
            },
            pool: PoolConfig {
                workers: work.workers,
                worker,
                recycle: RecycleConfig {
                    max_memory: work.max_memory,
                    ..RecycleConfig::default()
                },
                graceful_timeout: args.end.graceful_timeout,
            },
        })
    }

    /// The consumer of a handler, which says of itself what the options do not say.
    pub(super) fn consumer(
        &self,
        args: &ConsumeArgs,
        index: usize,
        facts: &HandlerFacts,
    ) -> Result<ConsumerConfig> {
        let (delivery, handler) = (&args.delivery, &self.desk.handlers[index]);
        let several = self.desk.handlers.len() > 1;
        let mut connection = self.connection.clone();
        if several {
            connection.name = format!("{} {}", connection.name, handler.class);
        }
        let limit = args.probe.req_queue_len;
        Ok(ConsumerConfig {
            connection,
            topology: topology(&args.topology, handler, facts)?,
            prefetch: delivery.prefetch.unwrap_or(facts.prefetch),
            ordered: delivery.ordered,
            retry: RetryPolicy {
                max_attempts: delivery.retry_attempts,
                first: delivery.retry_delay,
                longest: delivery.retry_max_delay.max(delivery.retry_delay),
                via: match delivery.retry_via {
                    ViaArg::DelayQueue => RetryVia::DelayQueue,
                    ViaArg::Requeue => RetryVia::Requeue,
                },
            },
            dead_letters: match &delivery.dead_letter_queue {
                Some(queue) => DeadLetters::Queue(queue.clone()),
                None => DeadLetters::Broker,
            },
            reconnect: match args.broker.max_reconnects {
                Some(0) => None,
                max => Some(ReconnectPolicy {
                    max,
                    ..ReconnectPolicy::default()
                }),
            },
            graceful_timeout: args.end.graceful_timeout,
            max_in_hand: Some(limit).filter(|limit| *limit > 0),
            max_messages: args.end.max_lifetime.map(|count| count as u64),
            silence_timeout: some(delivery.silence_timeout),
            consumer_tag: delivery.consumer_tag.clone(),
            exclusive: delivery.exclusive_consumer,
            ..ConsumerConfig::default()
        })
    }
}

/// Zero stands for no limit.
fn some(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// The values of an option that each handler has one of.
fn each(option: &str, values: &[Lines], count: usize, shared: bool) -> Result<Vec<String>> {
    match lines(values).as_slice() {
        [] => Ok(vec![String::new(); count]),
        [value] if shared => Ok(vec![value.clone(); count]),
        values if values.len() == count => Ok(values.to_vec()),
        values => {
            let given = values.len();
            Err(Usage(format!(
                "{option} is given {given} times for {count} handlers"
            ))
            .into())
        }
    }
}

fn lines(values: &[Lines]) -> Vec<String> {
    let lines = values.iter().flat_map(|Lines(lines)| lines);
    lines.cloned().collect()
}

fn connection(args: &BrokerArgs) -> Result<ConnectionConfig> {
    let mut config = match args.amqp_url.as_str() {
        "" if args.amqp_host.is_empty() => {
            let sentence = "the broker is not named: give --amqp-url or --amqp-host, or set AMQP_URL or AMQP_HOST";
            return Err(Usage(sentence.to_owned()).into());
        }
        "" => ConnectionConfig::default(),
        url => url
            .parse()
            .map_err(|error: hurricane_amqp::UriError| Usage(format!("--amqp-url: {error}")))?,
    };
    if !args.amqp_host.is_empty() {
        config.host.clone_from(&args.amqp_host);
    }
    if let Some(vhost) = args.amqp_vhost.as_ref().filter(|vhost| !vhost.is_empty()) {
        config.vhost.clone_from(vhost);
    }
    if let Some(user) = &args.amqp_user {
        config.user.clone_from(user);
    }
    if let Some(password) = env::var(PASSWORD)
        .ok()
        .filter(|password| !password.is_empty())
    {
        config.password = password;
    }
    if let Some(path) = &args.amqp_password_file {
        let password = read("--amqp-password-file", path)?;
        let password = String::from_utf8(password)
            .map_err(|_| Usage("--amqp-password-file: that is no text".to_owned()))?;
        password
            .trim_end_matches(['\r', '\n'])
            .clone_into(&mut config.password);
    }
    let encrypted = args.amqp_tls || args.amqp_ca.is_some() || args.amqp_cert.is_some();
    if encrypted && config.tls.is_none() {
        config.tls = Some(Tls::default());
        if args.amqp_url.is_empty() {
            config.port = 5671;
        }
    }
    if let Some(tls) = &mut config.tls {
        *tls = encryption(args)?;
    }
    if let Some(port) = args.amqp_port {
        config.port = port;
    }
    if let Some(heartbeat) = args.amqp_heartbeat {
        config.heartbeat = heartbeat;
    }
    if let Some(timeout) = args.amqp_timeout {
        config.timeout = timeout;
    }
    config.name.clone_from(&args.amqp_connection_name);
    Ok(config)
}

fn encryption(args: &BrokerArgs) -> Result<Tls> {
    let ca = match &args.amqp_ca {
        Some(path) => {
            let ca = String::from_utf8(read("--amqp-ca", path)?);
            Some(ca.map_err(|_| Usage("--amqp-ca: that is no PEM".to_owned()))?)
        }
        None => None,
    };
    let identity = match (&args.amqp_cert, &args.amqp_key) {
        (Some(certificate), Some(key)) => Some(TlsIdentity {
            certificate: read("--amqp-cert", certificate)?,
            key: read("--amqp-key", key)?,
        }),
        _ => None,
    };
    Ok(Tls { ca, identity })
}

fn topology(
    args: &TopologyArgs,
    handler: &HandlerConfig,
    facts: &HandlerFacts,
) -> Result<Topology> {
    let table = |arguments: &[Arguments]| {
        let arguments = arguments.iter().flat_map(|Arguments(arguments)| arguments);
        arguments.cloned().collect::<FieldTable>()
    };
    let mut queue = if args.quorum {
        Queue::quorum(&handler.queue)
    } else {
        Queue::new(&handler.queue)
    };
    queue.durable |= args.durable;
    queue.auto_delete = args.auto_delete;
    queue.exclusive = args.exclusive;
    queue.arguments.extend(table(&args.queue_argument));
    if args.quorum && handler.queue.is_empty() {
        return Err(
            Usage("--quorum needs --queue: the broker names no quorum queues".to_owned()).into(),
        );
    }
    let mut topology = Topology::new(queue);
    if !handler.exchange.is_empty() {
        let kind = args
            .exchange_type
            .as_deref()
            .unwrap_or(&facts.exchange_type);
        let mut exchange = Exchange::new(&handler.exchange, exchange_kind(kind));
        exchange.durable = args.durable;
        exchange.arguments = table(&args.exchange_argument);
        topology = topology.with_exchange(exchange);
    }
    topology.binding_keys = lines(&args.binding_key);
    if topology.binding_keys.is_empty() {
        topology.binding_keys.clone_from(&facts.routing_keys);
    }
    topology.binding_arguments = table(&args.binding_argument);
    topology.passive = args.passive;
    Ok(topology)
}

fn exchange_kind(name: &str) -> ExchangeKind {
    match name {
        "topic" => ExchangeKind::Topic,
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Other(other.to_owned()),
    }
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let path = path.display();
        Usage(format!("{option}: {path} cannot be read: {error}")).into()
    })
}
