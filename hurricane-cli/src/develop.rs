//! What helps those who work on the application: which of the options go together, and what is said of them.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use hurricane_python::{DevelopConfig, Pycharm, RecycleConfig};
use tracing::Level;

use crate::{args::develop::DevelopArgs, exit::Usage};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Develop {
    /// Whether the workers are replaced when a file changes.
    pub(crate) autoreload: bool,
    /// Whose files are collected again when they change.
    pub(crate) static_watch: Vec<PathBuf>,
    pub(crate) config: DevelopConfig,
}

// === impl Develop ===

impl Develop {
    pub(crate) fn of(args: &DevelopArgs) -> Result<Self> {
        let has_debugger = args.debugger || args.pycharm_host.is_some();
        if args.autoreload && has_debugger {
            let why = "a new worker would need the debugger's connection while the old one has it";
            let sentence = format!("Autoreload and debugger are not compatible: {why}");
            return Err(Usage(sentence).into());
        }
        let autoreload = args.autoreload || (args.debug && !has_debugger);
        let static_watch: Vec<_> = args.static_watch.iter().flat_map(|p| p.0.clone()).collect();
        if !static_watch.is_empty() && !autoreload {
            return Err(Usage("--static-watch goes with --autoreload only".to_owned()).into());
        }
        let address = SocketAddr::new(args.debugger_host, args.debugger_port);
        let pycharm = args.pycharm_host.as_ref().map(|host| Pycharm {
            host: host.clone(),
            port: args.pycharm_port,
        });
        Ok(Self {
            autoreload,
            static_watch,
            config: DevelopConfig {
                tell_files: autoreload,
                show_tracebacks: args.debug,
                debugpy: args.debugger.then_some(address),
                pycharm,
            },
        })
    }

    /// When a worker that works is replaced: not while somebody may be looking into it.
    pub(crate) fn recycle(&self, config: RecycleConfig) -> RecycleConfig {
        if self.config.has_debugger() {
            RecycleConfig::default()
        } else {
            config
        }
    }

    /// What is said at the start.
    pub(crate) fn lines(&self, workers: usize) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        let mut say = |level, line: String| lines.push((level, line));
        if !self.static_watch.is_empty() {
            say(
                Level::INFO,
                "Watching static files for any changes".to_owned(),
            );
        }
        for path in &self.static_watch {
            let name = path.display();
            if path.exists() {
                say(Level::INFO, format!("Watching path {name}."));
            } else {
                let line = format!("Tried to watch {name}, but it does not exist.");
                say(Level::ERROR, line);
            }
        }
        if self.autoreload {
            say(Level::INFO, "Autoreload was performed".to_owned());
        }
        if self.config.show_tracebacks {
            let line = "--debug: clients see the traceback of an application that fails";
            say(Level::WARN, line.to_owned());
        }
        if self.config.has_debugger() {
            let line = "Beside a debugger no worker is replaced for being slow, large or old";
            say(Level::INFO, line.to_owned());
            if workers > 1 {
                let line = format!("Only the first of {workers} workers has the debugger");
                say(Level::WARN, line);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn develop(options: &[&str]) -> Result<Develop> {
        let words = ["hurricane", "serve"].iter().chain(options);
        let Command::Serve(args) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!("that is what was asked for");
        };
        Develop::of(&args.develop)
    }

    #[test]
    fn debug_reloads_but_not_beside_a_debugger() {
        let debug = develop(&["--debug"]).unwrap();
        assert!(debug.autoreload && debug.config.show_tracebacks);
        let both = develop(&["--debug", "--debugger"]).unwrap();
        assert!(!both.autoreload && both.config.show_tracebacks);
        assert!(!develop(&["--autoreload"]).unwrap().config.show_tracebacks);
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for options in [
            ["--autoreload", "--debugger"],
            ["--autoreload", "--pycharm-host=ide"],
        ] {
            let error = develop(&options).unwrap_err().to_string();
            assert!(error.starts_with("Autoreload and debugger are not compatible"));
        }
        let error = develop(&["--static-watch", "static"]).unwrap_err();
        assert!(error.to_string().contains("--autoreload"));
    }

    #[test]
    fn debugpy_listens_to_this_machine_unless_told_otherwise() {
        let address = |options: &[&str]| develop(options).unwrap().config.debugpy.unwrap();
        assert_eq!(address(&["--debugger"]).to_string(), "127.0.0.1:5678");
        let wide = ["--debugger", "--debugger-host=::", "--debugger-port=80"];
        assert_eq!(address(&wide).to_string(), "[::]:80");
    }
}
