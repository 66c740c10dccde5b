//! The webhooks that the settings ask for.

use std::{collections::HashMap, env, fs, path::Path};

use anyhow::Result;
use hurricane_core::{HttpWebhook, Webhook as _};

use crate::{args::WebhookArgs, exit::Usage, value::Events};

/// The variable of the secrets. There is no option for it: a command line can be seen by all.
const SECRET: &str = "HURRICANE_WEBHOOK_SECRET";

/// One webhook for each URL.
pub(crate) fn of(args: &WebhookArgs) -> Result<Vec<HttpWebhook>> {
    let urls: Vec<_> = urls(args).collect();
    if urls.is_empty() {
        return useless(args).map(|()| Vec::new());
    }
    let template = match &args.webhook_template {
        Some(path) => Some(read("--webhook-template", path)?),
        None => None,
    };
    let mut secrets = env::var(SECRET).unwrap_or_default();
    if let Some(path) = &args.webhook_secret_file {
        secrets.push(' ');
        secrets.push_str(&read("--webhook-secret-file", path)?);
    }
    let mut names = HashMap::new();
    let webhooks = urls.into_iter().map(|url| {
        let mut webhook = HttpWebhook::new(url);
        if let Some(template) = &template {
            webhook = webhook.template(template);
        }
        if let Some(Events(kinds)) = &args.webhook_events {
            webhook = webhook.only(kinds.iter().copied());
        }
        for secret in secrets.split_whitespace() {
            webhook = webhook.secret(secret);
        }
        // Of two URLs the part that can be shown may be the same.
        let count: &mut usize = names.entry(webhook.name().to_owned()).or_default();
        *count += 1;
        if *count > 1 {
            let name = format!("{} ({count})", webhook.name());
            webhook = webhook.named(name);
        }
        webhook
    });
    Ok(webhooks.collect())
}

/// Where they post to, in the same order.
pub(crate) fn urls(args: &WebhookArgs) -> impl Iterator<Item = &String> {
    args.webhook_url.iter().flat_map(|words| &words.0)
}

/// Options that do nothing without a URL are a mistake.
fn useless(args: &WebhookArgs) -> Result<()> {
    for (option, is_given) in [
        ("--webhook-events", args.webhook_events.is_some()),
        ("--webhook-template", args.webhook_template.is_some()),
        ("--webhook-secret-file", args.webhook_secret_file.is_some()),
    ] {
        if is_given {
            return Err(Usage(format!("{option} is of no use without --webhook-url")).into());
        }
    }
    Ok(())
}

fn read(option: &str, path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Usage(format!("{option}: {path} cannot be read: {error}")).into()
    })
}
