//! The log as the `LOGGING` of a Django project wants it, without Python: see `logs.py`.

use std::{fmt::Write as _, io::Write, time::SystemTime};

use hurricane_python::LogRecord;
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer};

use super::{ACCESS, python::Lines};

/// The loggers of the server.
#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    general: Logger,
    access: Logger,
}

#[derive(Debug, Deserialize)]
struct Logger {
    name: String,
    level: u32,
    handlers: Vec<Handler>,
    /// Whether it takes Python to do what is asked for.
    python: bool,
    /// Whether structlog logs, which is told more.
    structlog: bool,
}

#[derive(Debug, Deserialize)]
struct Handler {
    stream: Stream,
    level: u32,
    /// How a time is written; if nothing is said, with milliseconds.
    date: Option<String>,
    utc: bool,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    Stdout,
    Stderr,
}

/// A part of a format.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Segment {
    Text {
        text: String,
    },
    Field {
        field: String,
        left: bool,
        zero: bool,
        width: usize,
        precision: Option<usize>,
    },
}

/// Writes events as the plan says.
pub(super) struct DjangoLayer {
    plan: Plan,
    stdout: NonBlocking,
    stderr: NonBlocking,
    python: Option<Lines>,
}

/// What Python calls a record.
struct Record<'a> {
    logger: &'a str,
    level: u32,
    message: String,
    time: Timestamp,
}

// === impl Plan ===

impl Plan {
    /// The plan in a variable; none if there is none, or none that can be read.
    pub(super) fn from_variable(name: &str) -> Option<Self> {
        serde_json::from_str(&std::env::var(name).ok()?).ok()
    }

    /// Whether there is a logger that takes Python.
    pub(super) fn needs_python(&self) -> bool {
        self.general.python || self.access.python
    }

    /// Whether lines of the access log say where a request belongs.
    pub(super) fn has_ids(&self) -> bool {
        self.access.structlog
    }
}

// === impl DjangoLayer ===

/// The layer, and what keeps its lines being written.
pub(super) fn layer(
    plan: Plan,
    python: Option<Lines>,
) -> (DjangoLayer, Vec<WorkerGuard>, Vec<ErrorCounter>) {
    let (stdout, out) = tracing_appender::non_blocking(std::io::stdout());
    let (stderr, err) = tracing_appender::non_blocking(std::io::stderr());
    let counters = vec![stdout.error_counter(), stderr.error_counter()];
    let layer = DjangoLayer {
        plan,
        stdout,
        stderr,
        python,
    };
    (layer, vec![out, err], counters)
}

impl<S: Subscriber> Layer<S> for DjangoLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let logger = if metadata.target() == ACCESS {
            &self.plan.access
        } else {
            &self.plan.general
        };
        let level = number(*metadata.level());
        if level < logger.level {
            return;
        }
        let mut message = Message::default();
        event.record(&mut message);
        if let (true, Some(python)) = (logger.python, &self.python) {
            return python.send(LogRecord {
                logger: logger.name.clone(),
                level,
                time: SystemTime::now(),
                message: message.text + &message.fields,
            });
        }
        let record = Record {
            logger: &logger.name,
            level,
            message: message.text + &message.fields,
            time: Timestamp::now(),
        };
        for handler in logger
            .handlers
            .iter()
            .filter(|handler| level >= handler.level)
        {
            let line = handler.line(&record);
            let mut writer = match handler.stream {
                Stream::Stdout => self.stdout.clone(),
                Stream::Stderr => self.stderr.clone(),
            };
            // An error means that nobody reads it.
            let _ = writer.write_all(line.as_bytes());
        }
    }
}

// === impl Handler ===

impl Handler {
    fn line(&self, record: &Record<'_>) -> String {
        let mut line = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text { text } => line.push_str(text),
                Segment::Field {
                    field,
                    left,
                    zero,
                    width,
                    precision,
                } => {
                    let text = self.value(field, *precision, record);
                    // Writing to a string cannot fail.
                    let _ = match (left, zero) {
                        (true, _) => write!(line, "{text:<width$}"),
                        (false, true) => write!(line, "{text:0>width$}"),
                        (false, false) => write!(line, "{text:>width$}"),
                    };
                }
            }
        }
        line.push('\n');
        line
    }

    fn value(&self, field: &str, precision: Option<usize>, record: &Record<'_>) -> String {
        let millis = record.time.subsec_millisecond();
        let pid = std::process::id().to_string();
        let text = match field {
            "asctime" => self.date(record.time),
            "created" => {
                let seconds = record.time.as_microsecond() as f64 / 1e6;
                return format!("{seconds:.*}", precision.unwrap_or(6));
            }
            "msecs" => return format!("{millis:.*}", precision.unwrap_or_default()),
            "levelname" => name(record.level).to_owned(),
            "levelno" => record.level.to_string(),
            "name" => record.logger.to_owned(),
            "message" => record.message.clone(),
            "process" | "thread" => pid,
            "processName" => "MainProcess".to_owned(),
            "threadName" => "MainThread".to_owned(),
            _ => "hurricane".to_owned(),
        };
        match precision {
            Some(length) => text.chars().take(length).collect(),
            None => text,
        }
    }

    fn date(&self, time: Timestamp) -> String {
        let zone = if self.utc {
            TimeZone::UTC
        } else {
            TimeZone::system()
        };
        let time = time.to_zoned(zone);
        match &self.date {
            // What it does not know of the format is left as it is.
            Some(format) => jiff::fmt::strtime::format(format, &time)
                .unwrap_or_else(|_| time.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            None => format!(
                "{},{:03}",
                time.strftime("%Y-%m-%d %H:%M:%S"),
                time.subsec_nanosecond() / 1_000_000
            ),
        }
    }
}

/// The message of an event, and its other fields behind it.
#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.text.push_str(value);
        } else {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}

/// The number that Python has for a level.
fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

fn name(level: u32) -> &'static str {
    match level {
        40 => "ERROR",
        30 => "WARNING",
        20 => "INFO",
        _ => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(date: &str, segments: &str) -> String {
        let json = format!(
            r#"{{"stream": "stdout", "level": 0, "date": {date}, "utc": true, "segments": {segments}}}"#
        );
        let handler: Handler = serde_json::from_str(&json).unwrap();
        handler.line(&Record {
            logger: "hurricane.server.general",
            level: 30,
            message: "all is well".to_owned(),
            time: Timestamp::from_millisecond(1_700_000_000_012).unwrap(),
        })
    }

    fn field(name: &str, left: bool, width: usize) -> String {
        format!(
            r#"{{"field": "{name}", "left": {left}, "zero": false, "width": {width}, "precision": null}}"#
        )
    }

    #[test]
    fn writes_a_line_as_python_would() {
        let segments = format!(
            r#"[{}, {{"text": " "}}, {}, {{"text": "|"}}, {}, {{"text": " "}}, {}]"#,
            field("asctime", false, 0),
            field("levelname", true, 8),
            field("name", false, 26),
            field("message", false, 0)
        );
        assert_eq!(
            line("null", &segments),
            "2023-11-14 22:13:20,012 WARNING |  hurricane.server.general all is well\n"
        );
    }

    #[test]
    fn writes_times_as_asked() {
        let segments = format!("[{}]", field("asctime", false, 0));
        assert_eq!(line("\"%d/%b/%Y %H:%M\"", &segments), "14/Nov/2023 22:13\n");
    }
}
