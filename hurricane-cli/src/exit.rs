//! How the process ends: one sentence, and a code that tells a script what was wrong.

use std::{io::Write, process::ExitCode};

use anyhow::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use hurricane_amqp::ConsumeError;
use hurricane_core::{
    BindError,
    server::{ServeError, StartupFailure},
};
use hurricane_python::{LoadFailure, StartError, TaskFailure};

/// The codes, for `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0  stopped by a signal, all requests finished
  1  failed in another way
  2  an option or a variable is wrong
  3  the application could not be loaded
  4  a port could not be taken
  5  Python could not be started
  6  Django is not installed for that Python
  7  stopped with requests unfinished: the graceful timeout passed, or a second signal came
  8  a command that was to be executed before the start failed
  9  a database does not answer, or its migrations could not be applied";

/// Those of `hurricane consume`.
pub(crate) const CONSUME_CODES: &str = "\
Exit codes:
  0  stopped by a signal, or after --max-lifetime messages
  1  failed in another way
  2  an option or a variable is wrong
  3  a handler could not be loaded
  4  the port of the probes could not be taken
  5  Python could not be started
  6  Django is not installed for that Python
  7  stopped before the end: a second signal came
  10 the broker refused the login, the virtual host, the queue or the exchange, or TLS was not agreed on
  11 the connection to the broker was lost, or could not be made, and is not made again";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const APPLICATION: u8 = 3;
const PORT: u8 = 4;
const PYTHON: u8 = 5;
const DJANGO: u8 = 6;
const UNFINISHED: u8 = 7;
const COMMAND: u8 = 8;
const DATABASE: u8 = 9;
const REFUSED: u8 = 10;
const LOST: u8 = 11;

/// Two options that do not go together, or a value that only shows to be wrong among others.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A second signal came before the end.
#[derive(Debug, thiserror::Error)]
#[error("a second signal cut the shutdown short")]
pub(crate) struct Cut;

/// Tells what was wrong with the command line; also answers `--help` and `--version`.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // An error means that nobody reads it.
        let _ = error.print();
        return if error.use_stderr() {
            USAGE.into()
        } else {
            ExitCode::SUCCESS
        };
    }
    say(&sentence(error));
    USAGE.into()
}

/// Tells why the server did not start or did not end well.
pub(crate) fn failure(error: &Error) -> ExitCode {
    say(&chain(error));
    code(error).into()
}

/// An error and its causes, apart from those whose words the one before has repeated already.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn code(error: &Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Usage>() {
            return USAGE;
        }
        if cause.is::<Cut>() {
            return UNFINISHED;
        }
        if let Some(error) = cause.downcast_ref::<ConsumeError>() {
            return if is_lost(error) { LOST } else { REFUSED };
        }
        if cause.is::<BindError>() {
            return PORT;
        }
        if let Some(code) = cause.downcast_ref().and_then(start) {
            return code;
        }
        if let Some(failure) = cause.downcast_ref::<StartupFailure>() {
            match failure.get_ref().downcast_ref() {
                Some(TaskFailure::Command { .. }) => return COMMAND,
                Some(TaskFailure::Database { .. }) => return DATABASE,
                Some(TaskFailure::Start(error)) => return start(error).unwrap_or(FAILED),
                _ => {}
            }
        }
        match cause.downcast_ref() {
            Some(ServeError::Drain(_) | ServeError::Shutdown(_) | ServeError::Cut) => {
                return UNFINISHED;
            }
            Some(ServeError::Bind(_)) => return PORT,
            _ => {}
        }
    }
    FAILED
}

/// Whether a consumer ended since there was no connection any more.
fn is_lost(error: &ConsumeError) -> bool {
    match error {
        ConsumeError::GaveUp { source, .. } => is_lost(source),
        error => error.is_transient(),
    }
}

/// The code for a Python process that did not start.
fn start(error: &StartError) -> Option<u8> {
    match error {
        StartError::Spawn { .. } => Some(PYTHON),
        StartError::Load {
            reason: LoadFailure::Django,
            ..
        } => Some(DJANGO),
        StartError::Load { .. } => Some(APPLICATION),
        _ => None,
    }
}

/// One sentence where clap has a paragraph: which option, what was given, what would be right.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut sentence = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if error.kind() == ErrorKind::InvalidValue
        && let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
        && !values.is_empty()
    {
        sentence.push_str(&format!(" (one of {})", values.join(", ")));
    }
    // Named in lines of their own, behind a colon.
    if error.kind() == ErrorKind::MissingRequiredArgument
        && let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
    {
        sentence.push_str(&format!(" {}", missing.join(", ")));
    }
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && let Some(variable) = variable_of(option, value)
    {
        sentence.push_str(&format!(" (from the variable {variable})"));
    }
    sentence
}

/// The variable that the value of an option came from, if it did.
fn variable_of(option: &str, value: &str) -> Option<String> {
    let name = option.split([' ', '=']).next()?.strip_prefix("--")?;
    let upper = name.replace('-', "_").to_uppercase();
    let variable = match upper.starts_with("AMQP_") {
        true => upper,
        false => format!("HURRICANE_{upper}"),
    };
    let on_the_command_line = std::env::args().any(|arg| {
        arg.strip_prefix("--")
            .is_some_and(|arg| arg == name || arg.starts_with(&format!("{name}=")))
    });
    (!on_the_command_line && std::env::var(&variable).is_ok_and(|set| set == value))
        .then_some(variable)
}

fn say(sentence: &str) {
    // An error means that nobody reads it; the code still tells.
    let _ = writeln!(std::io::stderr(), "hurricane: {sentence}");
}
