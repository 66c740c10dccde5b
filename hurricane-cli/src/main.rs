//! The `hurricane` command.

mod access;
mod args;
mod consume;
mod develop;
mod errors;
mod exit;
mod files;
mod info;
mod log;
mod reload;
mod serve;
mod value;
mod webhook;

use std::{io::Write, process::ExitCode};

use clap::FromArgMatches;

use crate::{
    args::{Cli, Command, table},
    exit::Usage,
};

/// Every request allocates a dozen small things; this is measurably quicker at them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = args::command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let (log, result) = match cli.command {
        Command::Serve(args) => {
            let log = log::init(&args.log, args.app.python.as_deref());
            let result = serve::run(&args, &log);
            (log, result)
        }
        Command::Consume(args) => {
            let log = log::init(&args.log, args.work.python.as_deref());
            let result = consume::run(&args, &log);
            (log, result)
        }
        Command::Options { command } => return options(&command),
    };
    // What is still to be written is, before the last sentence.
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failure(&error),
    }
}

/// Writes the table of a command's options to standard output.
fn options(command: &str) -> ExitCode {
    let Some(table) = table::of(command) else {
        return exit::failure(&Usage(format!("there is no command {command:?}")).into());
    };
    match writeln!(std::io::stdout(), "{table}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failure(&error.into()),
    }
}
