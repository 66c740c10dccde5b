//! What helps those who work on the application.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an option is the text of --help"
)]

use std::net::IpAddr;

use clap::Args;

use crate::value::{self, Paths};

/// Reloading and debugging.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Development")]
pub(crate) struct DevelopArgs {
    /// Replace the workers when a file changes that the application was loaded from
    ///
    /// Those are the files of all modules that it has imported, and Django's folders of templates.
    /// New workers are ready before the old ones are given no more requests. While new code does
    /// not load, the old code goes on.
    #[arg(long, env = "HURRICANE_AUTORELOAD", value_parser = value::boolean)]
    pub(crate) autoreload: bool,

    /// Collect a Django project's static files again when one changes in this folder
    ///
    /// Beside --autoreload. May be given more than once; in the variable each stands on a line of
    /// its own.
    #[arg(long, env = "HURRICANE_STATIC_WATCH", value_name = "PATH", value_parser = value::paths)]
    pub(crate) static_watch: Vec<Paths>,

    /// Show clients the traceback of an application that fails without an answer, and --autoreload
    ///
    /// Beside a debugger it does not reload.
    #[arg(long, env = "HURRICANE_DEBUG", value_parser = value::boolean)]
    pub(crate) debug: bool,

    /// Have debugpy listen for clients, in the first worker
    #[arg(long, env = "HURRICANE_DEBUGGER", value_parser = value::boolean)]
    pub(crate) debugger: bool,

    /// The port that debugpy listens on
    #[arg(long, env = "HURRICANE_DEBUGGER_PORT", value_name = "PORT", default_value_t = 5678, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) debugger_port: u16,

    /// The address that debugpy listens on; whoever reaches it can run anything
    #[arg(
        long,
        env = "HURRICANE_DEBUGGER_HOST",
        value_name = "ADDRESS",
        default_value = "127.0.0.1"
    )]
    pub(crate) debugger_host: IpAddr,

    /// Connect the first worker to the debug server of PyCharm on this host
    #[arg(long, env = "HURRICANE_PYCHARM_HOST", value_name = "HOST")]
    pub(crate) pycharm_host: Option<String>,

    /// The port of that debug server
    #[arg(long, env = "HURRICANE_PYCHARM_PORT", value_name = "PORT")]
    pub(crate) pycharm_port: Option<u16>,
}

/// Reloading of the handlers of messages.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Development")]
pub(crate) struct ReloadArgs {
    /// Replace the workers when a file changes that the handlers were loaded from
    ///
    /// New workers are ready before the old ones are given no more messages. While new code does
    /// not load, the old code goes on. Queues and bindings stay those of the start.
    #[arg(long, env = "HURRICANE_AUTORELOAD", value_parser = value::boolean)]
    pub(crate) autoreload: bool,

    /// The same as --autoreload
    #[arg(long, env = "HURRICANE_DEBUG", value_parser = value::boolean)]
    pub(crate) debug: bool,
}

impl ReloadArgs {
    /// Whether either is given.
    pub(crate) fn is_on(&self) -> bool {
        self.autoreload || self.debug
    }
}
