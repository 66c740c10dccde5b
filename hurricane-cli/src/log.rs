//! The log: lines to standard error, written by a thread of its own so that a slow reader never
//! holds up a request.

mod django;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::args::{LogArgs, LogFormat, LogLevel};

/// Where lines of the access log come from.
pub(crate) const ACCESS: &str = "hurricane::access";

/// What the `LOGGING` of a Django project makes of the log, as `manage.py serve` tells it.
const LOGGING: &str = "HURRICANE_LOGGING";

/// Keeps the log being written; what is still to be written is when it is dropped.
#[derive(Debug)]
pub(crate) struct Log {
    /// Whether the lines are those that users of django-hurricane wait for.
    pub(crate) is_djangos: bool,
    _guards: Vec<WorkerGuard>,
}

/// Sets up logging for the process.
pub(crate) fn init(args: &LogArgs) -> Log {
    if let Some(plan) = django::Plan::from_variable(LOGGING) {
        let filter = "warn,hurricane=debug,hurricane_core=debug,hurricane_python=debug";
        let (layer, guards) = django::layer(plan);
        tracing_subscriber::registry()
            .with(EnvFilter::new(filter))
            .with(layer)
            .init();
        return Log {
            is_djangos: true,
            _guards: guards,
        };
    }
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let level = match args.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Of what other crates say no more than warnings are of use, unless one asks for all.
    let filter = match args.log_level {
        LogLevel::Error | LogLevel::Trace => level.to_owned(),
        _ => format!("warn,hurricane={level},hurricane_core={level},hurricane_python={level}"),
    };
    let registry = tracing_subscriber::registry().with(EnvFilter::new(filter));
    match args.log_format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry
                .with(
                    fmt::layer()
                        .with_writer(writer)
                        .with_target(false)
                        .with_ansi(ansi),
                )
                .init();
        }
        LogFormat::Json => {
            let json = fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            registry.with(json.with_writer(writer)).init();
        }
    }
    Log {
        is_djangos: false,
        _guards: vec![guard],
    }
}
