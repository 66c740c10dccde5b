//! Which files are served without the application.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an option is the text of --help"
)]

use std::time::Duration;

use clap::Args;

use crate::value::{self, Folders};

/// The files that Rust serves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Static and media files")]
pub(crate) struct FilesArgs {
    /// Serve a Django project's static files: STATIC_ROOT under STATIC_URL
    ///
    /// Under DEBUG, with django.contrib.staticfiles installed, Django's finders serve them.
    #[arg(long = "static", id = "static", env = "HURRICANE_STATIC", value_parser = value::boolean)]
    pub(crate) of_static: bool,

    /// Serve a Django project's media files: MEDIA_ROOT under MEDIA_URL
    #[arg(long = "media", id = "media", env = "HURRICANE_MEDIA", value_parser = value::boolean)]
    pub(crate) of_media: bool,

    /// Serve the files of a folder under a path, for any application: /assets/=dist
    ///
    /// May be given more than once; in the variable each stands on a line of its own.
    #[arg(long, env = "HURRICANE_STATIC_DIR", value_name = "URL=PATH", value_parser = value::folders)]
    pub(crate) static_dir: Vec<Folders>,

    /// How long browsers may keep a file without asking again
    ///
    /// Static files with a hash of their content in their name, as Django's
    /// ManifestStaticFilesStorage makes them, may be kept for ever in any case.
    #[arg(long, env = "HURRICANE_STATIC_MAX_AGE", value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) static_max_age: Duration,
}
