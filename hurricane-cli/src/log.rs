//! The log: lines to standard error, written by a thread of its own so that a slow reader never
//! holds up a request.

mod django;
mod python;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
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
    /// Whether lines of the access log say where a request belongs.
    pub(crate) has_ids: bool,
    dropped: Dropped,
    _guards: Vec<WorkerGuard>,
    _python: Option<python::Guard>,
}

/// Counts the lines that were not written, as too many waited. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dropped {
    appenders: Vec<ErrorCounter>,
    python: Option<Arc<AtomicU64>>,
}

// === impl Log ===

impl Log {
    /// The lines that were not written.
    pub(crate) fn dropped(&self) -> &Dropped {
        &self.dropped
    }
}

// === impl Dropped ===

impl Dropped {
    pub(crate) fn count(&self) -> u64 {
        let appenders: usize = self.appenders.iter().map(ErrorCounter::dropped_lines).sum();
        let python = self.python.as_ref().map(|count| count.load(Relaxed));
        appenders as u64 + python.unwrap_or_default()
    }
}

/// Sets up logging for the process. `python` is the interpreter of a Django project whose `LOGGING` takes one.
pub(crate) fn init(args: &LogArgs, python: Option<&Path>) -> Log {
    if let Some(plan) = django::Plan::from_variable(LOGGING) {
        let filter = "warn,hurricane=debug,hurricane_core=debug,hurricane_python=debug";
        let python = python.filter(|_| plan.needs_python());
        let has_ids = plan.has_ids();
        // Without a thread there is no server either.
        let python = python.and_then(|path| python::Lines::start(path.to_owned()).ok());
        let (lines, python) = python.unzip();
        let dropped = lines.as_ref().map(python::Lines::dropped);
        let (layer, guards, appenders) = django::layer(plan, lines);
        tracing_subscriber::registry()
            .with(EnvFilter::new(filter))
            .with(layer)
            .init();
        return Log {
            is_djangos: true,
            has_ids,
            dropped: Dropped {
                appenders,
                python: dropped,
            },
            _guards: guards,
            _python: python,
        };
    }
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let appenders = vec![writer.error_counter()];
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
        has_ids: false,
        dropped: Dropped {
            appenders,
            python: None,
        },
        _guards: vec![guard],
        _python: None,
    }
}
