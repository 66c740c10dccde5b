//! What the documents say, held against what the program does.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::harness::{Launch, get};

#[test]
fn the_readme_has_each_option_with_its_variable_and_value() {
    let readme = document("README.md");
    let rows: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `--"))
        .collect();
    let table: Vec<Value> = serde_json::from_str(&output(&["options", "serve"])).unwrap();
    let text = |option: &Value, field: &str| option[field].as_str().map(str::to_owned);
    for option in &table {
        let name = text(option, "name").unwrap();
        let value = text(option, "value").map_or_else(String::new, |value| format!(" {value}"));
        let variable = text(option, "variable").unwrap();
        let start = format!("{name}{value}` | `{variable}` | ");
        assert!(
            rows.iter().any(|row| row.starts_with(&start)),
            "README.md has no row that starts with \"| `--{start}\""
        );
    }
    assert_eq!(rows.len(), table.len(), "README.md has rows of no option");
}

#[test]
fn each_option_of_consume_is_documented_with_its_variable_and_value() {
    let document = document("docs/amqp.md");
    let rows: Vec<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `--"))
        .collect();
    let table: Vec<Value> = serde_json::from_str(&output(&["options", "consume"])).unwrap();
    for option in &table {
        let name = option["name"].as_str().unwrap();
        let value = option["value"].as_str();
        let value = value.map_or_else(String::new, |value| format!(" {value}"));
        let variable = option["variable"].as_str().unwrap();
        let start = format!("{name}{value}` | `{variable}` | ");
        assert!(
            rows.iter().any(|row| row.starts_with(&start)),
            "docs/amqp.md has no row that starts with \"| `--{start}\""
        );
    }
    assert_eq!(
        rows.len(),
        table.len(),
        "docs/amqp.md has rows of no option"
    );
}

#[test]
fn each_exit_code_of_consume_is_documented() {
    let document = document("docs/amqp.md");
    let section = section(&document, "### Exit codes");
    let told: BTreeSet<u8> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let help = output(&["consume", "--help"]);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let codes: BTreeSet<u8> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(codes.len() > 5, "{help}");
    assert_eq!(told, codes);
}

#[test]
fn the_readme_has_each_exit_code() {
    let readme = document("README.md");
    let section = section(&readme, "## Exit codes");
    let in_readme: BTreeSet<u8> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let help = output(&["serve", "--help"]);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let in_help: BTreeSet<u8> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(in_help.len() > 5, "{help}");
    assert_eq!(in_readme, in_help);
}

#[test]
fn the_metrics_are_those_of_the_document() {
    // Only there when something of the kind has happened, or in a server of one's own.
    const RARE: [&str; 4] = [
        "hurricane_metrics_overflow_total",
        "hurricane_requests_rejected_total",
        "hurricane_webhooks_delivered_total",
        "hurricane_webhooks_undelivered_total",
    ];
    let server = Launch::app("gallery").start();
    assert_eq!(get(server.port(), "/several").status, 200);
    let metrics = get(server.probe_port(), "/metrics").text();
    let told: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    server.stop();

    let document = document("docs/metrics.md");
    let names = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .filter(|(_, rest)| {
            [" | counter", " | histogram", " | gauge"]
                .iter()
                .any(|kind| rest.starts_with(kind))
        });
    let mut documented: BTreeSet<_> = names.map(|(name, _)| name).collect();
    for name in RARE {
        assert!(documented.remove(name), "{name} is not in docs/metrics.md");
    }
    assert_eq!(told, documented, "left: a scrape, right: docs/metrics.md");
}

fn document(path: &str) -> String {
    fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The part of a document under a heading.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(heading).unwrap();
    rest.split("\n## ").next().unwrap_or(rest)
}

fn output(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hurricane"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
