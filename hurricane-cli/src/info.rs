//! `hurricane_info`: how the server was started, as the labels of a metric that is always one.

use std::sync::{Arc, OnceLock};

use hurricane_core::{
    async_trait,
    exposition::{MetricSource, SourceFamily, SourceKind, SourceSample},
};

use crate::args::ServeArgs;

/// What the metric tells. It has no labels before the server has started.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    of_static: bool,
    of_media: bool,
    commands: String,
    labels: Arc<OnceLock<Vec<(String, String)>>>,
}

// === impl Info ===

impl Info {
    pub(crate) fn new(args: &ServeArgs) -> Self {
        let commands = args.startup.command.iter().flatten();
        let commands: Vec<String> = commands.map(|words| words.join(" ")).collect();
        Self {
            of_static: args.files.of_static,
            of_media: args.files.of_media,
            commands: commands.join(","),
            labels: Arc::default(),
        }
    }

    /// The server has started: on these ports, after so many seconds.
    pub(crate) fn started(&self, port: u16, probe_port: Option<u16>, seconds: f64) {
        let probe_port = probe_port.map(|port| port.to_string());
        let labels = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("startup_time_seconds", format!("{seconds:.5}")),
            ("server_port", port.to_string()),
            ("serve_static", self.of_static.to_string()),
            ("serve_media", self.of_media.to_string()),
            ("probe_port", probe_port.unwrap_or_default()),
            ("commands", self.commands.clone()),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value));
        // A server starts once.
        self.labels.get_or_init(|| labels.into());
    }
}

#[async_trait]
impl MetricSource for Info {
    async fn families(&self) -> Vec<SourceFamily> {
        let help = "How the server was started.";
        let mut family = SourceFamily::new("hurricane", help, SourceKind::Info);
        let mut sample = SourceSample::new("hurricane_info", 1.0);
        sample.labels = self.labels.get().cloned().unwrap_or_default();
        family.samples.push(sample);
        vec![family]
    }
}
