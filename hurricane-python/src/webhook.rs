//! Webhooks that a project has registered in Python in place of the server's; see `webhooks.py`.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use hurricane_core::{Event, EventKind, Webhook, WebhookError};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    check::PASS,
    pool::{Asker, Pool},
};

/// How long a worker may take to begin with one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which webhooks a project has registered. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ProjectWebhooks {
    asker: Asker,
    codes: Arc<OnceLock<Vec<String>>>,
}

/// A webhook that leaves to Python what the project has a webhook of its own for.
///
/// Where no worker takes it, the event is delivered by the webhook behind it.
#[derive(Debug)]
pub struct OrPython<W> {
    inner: W,
    url: String,
    project: ProjectWebhooks,
}

// === impl ProjectWebhooks ===

impl Pool {
    /// The webhooks that the project has registered in `hurricane.webhooks.webhook_registry`.
    #[must_use]
    pub fn webhooks(&self) -> ProjectWebhooks {
        ProjectWebhooks {
            asker: self.asker(),
            codes: Arc::default(),
        }
    }
}

impl ProjectWebhooks {
    /// Asks a worker which there are. Until then there are none.
    pub async fn ask(&self) {
        let answer = timeout(PATIENCE, self.asker.ask("webhooks")).await;
        let codes = answer
            .ok()
            .and_then(|answer| serde_json::from_str(&answer.message).ok());
        // They are asked for once, at the start.
        self.codes.get_or_init(|| codes.unwrap_or_default());
    }

    /// Puts them before a webhook that posts to `url`.
    #[must_use]
    pub fn before<W: Webhook>(&self, url: impl Into<String>, webhook: W) -> OrPython<W> {
        OrPython {
            inner: webhook,
            url: url.into(),
            project: self.clone(),
        }
    }

    fn has(&self, kind: EventKind) -> bool {
        let codes = self.codes.get();
        codes.is_some_and(|codes| codes.contains(&kind.to_string()))
    }
}

// === impl OrPython ===

#[async_trait]
impl<W: Webhook> Webhook for OrPython<W> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn deliver(&self, event: &Event) -> Result<(), WebhookError> {
        if self.project.has(event.kind) {
            let event = json!({
                "code": event.kind.to_string(),
                "url": self.url,
                "status": event.status.to_string(),
                "traceback": event.traceback,
            });
            let begun = self.project.asker.ask(format!("webhook {event}"));
            if let Ok(answer) = timeout(PATIENCE, begun).await
                && answer.status == PASS
            {
                return Ok(());
            }
        }
        self.inner.deliver(event).await
    }

    fn wants(&self, kind: EventKind) -> bool {
        self.inner.wants(kind)
    }

    fn validate(&self) -> Result<(), WebhookError> {
        self.inner.validate()
    }
}
