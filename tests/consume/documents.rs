//! The manifests in `docs/amqp.md`: that they name what there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use super::{Admin, consume, name};
use crate::harness::get;

/// What the triggers of KEDA 2 take, and what they need, as its sources have it
/// (`pkg/scalers/rabbitmq_scaler.go`, `metrics_api_scaler.go`).
const TRIGGERS: [(&str, &[&str], &[&str]); 2] = [
    (
        "rabbitmq",
        &["queueName", "hostFromEnv", "mode", "value"],
        &["protocol", "vhostName", "activationValue", "unsafeSsl"],
    ),
    (
        "metrics-api",
        &["url", "valueLocation", "targetValue"],
        &[
            "format",
            "activationTargetValue",
            "aggregationType",
            "unsafeSsl",
        ],
    ),
];

/// The manifests of a kind.
fn manifests(kind: &str) -> Vec<String> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/amqp.md");
    let document = fs::read_to_string(document).unwrap();
    let blocks = document.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .filter(|block| block.contains(&format!("kind: {kind}\n")))
        .collect()
}

/// The value of the first such key.
fn value<'a>(manifest: &'a str, key: &str) -> &'a str {
    let mut lines = manifest
        .lines()
        .map(|line| line.trim_start_matches([' ', '-']));
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let value = value.unwrap_or_else(|| panic!("{key} is missing: {manifest}"));
    value.trim_matches(['\'', '"'])
}

/// The type of the only trigger, and what it is given.
fn trigger(manifest: &str) -> (&str, BTreeMap<&str, &str>) {
    let (_, trigger) = manifest.split_once("  triggers:\n    - ").unwrap();
    let (_, metadata) = trigger.split_once("      metadata:\n").unwrap();
    let metadata = metadata.lines().map(|line| {
        let line = line.strip_prefix("        ").unwrap();
        let (key, value) = line.split_once(": ").unwrap();
        (key, value.trim_matches(['\'', '"']))
    });
    (value(trigger, "type"), metadata.collect())
}

#[test]
fn the_scaled_objects_have_the_form_that_keda_reads() {
    let [deployment] = manifests("Deployment").try_into().unwrap();
    let objects = manifests("ScaledObject");
    assert_eq!(objects.len(), TRIGGERS.len());
    for (object, (kind, needed, known)) in objects.iter().zip(TRIGGERS) {
        assert_eq!(value(object, "apiVersion"), "keda.sh/v1alpha1");
        let target = format!("scaleTargetRef: {}\n", value(&deployment, "metadata"));
        assert!(object.contains(&target), "{object}");
        let count = |key| value(object, key).parse::<u32>().unwrap();
        assert!(count("minReplicaCount") <= count("maxReplicaCount"));
        let (found, given) = trigger(object);
        assert_eq!(found, kind);
        for key in needed {
            assert!(given.contains_key(key), "{key} is missing: {object}");
        }
        for key in given.keys() {
            assert!(
                needed.contains(key) || known.contains(key),
                "{key}: {object}"
            );
        }
    }
    let (_, rabbitmq) = trigger(&objects[0]);
    assert_eq!(
        (rabbitmq["protocol"], rabbitmq["mode"]),
        ("amqp", "QueueLength")
    );
    // KEDA looks for the variable among those of the pods that it scales.
    let variable = format!("- name: {}\n", rabbitmq["hostFromEnv"]);
    assert!(deployment.contains(&variable), "{deployment}");
    let arguments = format!("--queue, {},", rabbitmq["queueName"]);
    assert!(deployment.contains(&arguments), "{deployment}");
}

#[test]
fn the_metric_that_keda_is_pointed_to_is_there() {
    let objects = manifests("ScaledObject");
    let (_, given) = trigger(&objects[1]);
    let path = given["url"].split_once(":8001").unwrap().1;
    assert_eq!(given["format"], "prometheus");
    let (admin, queue) = (Admin::new(), name("keda"));
    admin.fill(&queue, (0..3).map(|number| format!("keep {number}")));
    let server = consume("Noting", &queue)
        .arg("--prefetch", 1)
        .arg("--silence-timeout", "200ms")
        .start_consuming();
    let wanted = format!("{} ", given["valueLocation"].replace("mails", &queue));
    crate::harness::until_true(&format!("{wanted}is 2"), || {
        let metrics = get(server.probe_port(), path).text();
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(&wanted));
        value.expect("the metric is there") == "2"
    });
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_line("Received signal SIGTERM");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ended().code, Some(7));
}

#[test]
fn the_deployment_has_options_and_probes_that_there_are() {
    let [deployment] = manifests("Deployment").try_into().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hurricane"))
        .args(["options", "consume"])
        .output()
        .unwrap();
    let options: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let known: BTreeSet<_> = options
        .iter()
        .map(|option| option["name"].as_str().unwrap())
        .collect();
    let given = value(&deployment, "args")
        .trim_matches(['[', ']'])
        .split(", ");
    for option in given.filter_map(|word| word.strip_prefix("--")) {
        assert!(known.contains(option), "--{option}");
    }
    let server = consume("Noting", &name("probes")).start_consuming();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = value(&deployment, probe).split_once("path: ").unwrap().1;
        let path = path.split(',').next().unwrap();
        assert_eq!(get(server.probe_port(), path).status, 200, "{probe} {path}");
    }
    server.stop();
}
