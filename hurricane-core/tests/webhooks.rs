//! The templates of the documentation are templates.
#![cfg(feature = "webhooks")]

use hurricane_core::{HttpWebhook, Webhook as _};

#[test]
fn the_templates_of_the_documentation_are_sound() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/webhooks.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, templates) = page.split_once("## Payloads of another form").unwrap();
    let blocks: Vec<_> = templates
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect();
    assert_eq!(blocks.len(), 3, "Slack, Teams, CloudEvents");
    for block in blocks {
        let webhook = HttpWebhook::new("https://ops.example/hooks").template(block);
        webhook
            .validate()
            .unwrap_or_else(|error| panic!("{error}: {block}"));
    }
}
