//! What is done before the application is served.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an option is the text of --help"
)]

use std::time::Duration;

use clap::Args;

use crate::value;

/// What comes before the workers, in a Python process of its own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Start of a Django project")]
pub(crate) struct StartupArgs {
    /// A management command to execute before the application's port opens
    ///
    /// With its arguments, quoted as for a shell: --command "loaddata demo". May be given
    /// more than once; in the variable each stands on a line of its own. Meanwhile the probes
    /// answer 400.
    #[arg(
        long,
        env = "HURRICANE_COMMAND",
        value_name = "COMMAND",
        value_parser = value::commands
    )]
    pub(crate) command: Vec<Commands>,

    /// Wait until no migrations are pending, in all databases
    #[arg(long, env = "HURRICANE_CHECK_MIGRATIONS", value_parser = value::boolean)]
    pub(crate) check_migrations: bool,

    /// Apply pending migrations
    ///
    /// Of several processes that do so one does, in PostgreSQL, MySQL and MariaDB, while the
    /// others wait.
    #[arg(long, env = "HURRICANE_CHECK_MIGRATIONS_APPLY", value_parser = value::boolean)]
    pub(crate) check_migrations_apply: bool,

    /// How long to wait for the databases to answer, before anything else [default: not at all]
    #[arg(long, env = "HURRICANE_WAIT_FOR_DB", value_name = "TIME", value_parser = value::duration)]
    pub(crate) wait_for_db: Option<Duration>,
}

/// Commands and their arguments. Named, since clap takes `Vec<Vec<_>>` for something else.
pub(crate) type Commands = Vec<Vec<String>>;
