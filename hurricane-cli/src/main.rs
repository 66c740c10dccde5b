//! The `hurricane` command.

mod access;
mod args;
mod exit;
mod log;
mod serve;
mod value;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let Command::Serve(args) = cli.command;
    let _flushed_at_the_end = log::init(&args.log);
    match serve::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failure(&error),
    }
}
