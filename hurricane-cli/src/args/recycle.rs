//! When workers that work are replaced.

use clap::Args;

use crate::value;

/// The limits of a worker. Its replacement is ready before it is given no more requests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recycling")]
pub(crate) struct RecycleArgs {
    /// Replace a worker after so many requests, without losing any [default: never]
    #[arg(long, env = "HURRICANE_MAX_REQUESTS", value_name = "COUNT", value_parser = value::count)]
    pub(crate) max_requests: Option<usize>,

    /// At random up to so many requests later [default: a tenth of --max-requests]
    #[arg(long, env = "HURRICANE_MAX_REQUESTS_JITTER", value_name = "COUNT")]
    pub(crate) max_requests_jitter: Option<u64>,

    /// Replace a worker that holds more memory, in MB or with a unit (512M, 2G) [default: never]
    #[arg(long, env = "HURRICANE_MAX_MEMORY", value_name = "SIZE", value_parser = value::memory)]
    pub(crate) max_memory: Option<u64>,

    /// Not alive after so many requests, so that Kubernetes restarts the container [default: never]
    #[arg(long, env = "HURRICANE_MAX_LIFETIME", value_name = "COUNT", value_parser = value::count)]
    pub(crate) max_lifetime: Option<usize>,
}
