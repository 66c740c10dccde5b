//! The log: lines to standard error, written by a thread of its own so that a slow reader never
//! holds up a request.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::args::{LogArgs, LogFormat, LogLevel};

/// Where lines of the access log come from.
pub(crate) const ACCESS: &str = "hurricane::access";

/// Sets up logging for the process; what is still to be written is when the guard is dropped.
pub(crate) fn init(args: &LogArgs) -> WorkerGuard {
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
    guard
}
