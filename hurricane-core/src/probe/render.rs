//! The forms of an answer: a line, every check as text, every check as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Details, Verdict, query::quoted};
use crate::check::{CheckReport, Severity, Status};

/// The checks line by line, as `kubectl get --raw '/readyz?verbose'` shows those of Kubernetes.
pub(super) fn verbose(verdict: &Verdict, details: Details) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for check in &verdict.checks {
        let _ = writeln!(text, "{}", line(check, details));
    }
    for name in &verdict.excluded {
        let _ = writeln!(text, "[+]{name} excluded: ok");
    }
    if let Some(warning) = unmatched(verdict) {
        let _ = writeln!(text, "warn: {warning}");
    }
    let outcome = if verdict.passed() { "passed" } else { "failed" };
    let _ = writeln!(text, "{} check {outcome}", verdict.probe.name());
    text
}

fn line(check: &CheckReport, details: Details) -> String {
    let (mark, outcome) = match check.result.status {
        Status::Pass => ('+', "ok"),
        Status::Warn => ('+', "warning"),
        Status::Saturated => ('-', "saturated"),
        Status::Fail => ('-', "failed"),
    };
    let mut line = format!("[{mark}]{}", check.name);
    let message = details.reveal(&check.result.message, true);
    // What has an age without having been run is a heartbeat. Its message is a sentence with its name, such as "main
    // runtime stalled for 31s", which needs no word more.
    let is_heartbeat = check.age.is_some() && check.took.is_none();
    let sentence = message.strip_prefix(&*check.name).filter(|_| is_heartbeat);
    let _ = match (sentence, check.result.status) {
        (Some(rest), Status::Fail) => write!(line, "{rest}"),
        (Some(rest), _) => write!(line, " {outcome}:{rest}"),
        (None, _) if message.is_empty() => write!(line, " {outcome}"),
        (None, _) => write!(line, " {outcome}: {message}"),
    };
    let mut extras = Vec::new();
    if let Some(age) = check.age.filter(|_| sentence.is_none()) {
        let age = age.as_secs_f64();
        extras.push(if is_heartbeat {
            format!("last beat {age:.1}s ago")
        } else {
            format!("age {age:.1}s")
        });
    }
    if let Some(took) = check.took {
        extras.push(format!("took {took:.0?}"));
    }
    if check.stale && check.age.is_some() {
        extras.push("stale".to_owned());
    }
    if let Some(progress) = check.progress {
        extras.push(progress.to_string());
    }
    if check.severity != Severity::Critical {
        extras.push(check.severity.name().to_owned());
    }
    if !extras.is_empty() {
        let _ = write!(line, " ({})", extras.join(", "));
    }
    line
}

/// The probe, its status, and a list of its checks; with `verbose` also when and how long they ran.
pub(super) fn json(verdict: &Verdict, details: Details, verbose: bool) -> Value {
    let checks = verdict.checks.iter().map(|check| {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), (*check.name).into());
        let status = match check.result.status {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Saturated => "saturated",
            Status::Fail => "fail",
        };
        fields.insert("status".to_owned(), status.into());
        let message = details.reveal(&check.result.message, true);
        if !message.is_empty() {
            fields.insert("message".to_owned(), message.into());
        }
        if verbose {
            times(&mut fields, check);
        }
        Value::from(fields)
    });
    let mut body = json!({
        "probe": verdict.probe.name(),
        "status": overall(verdict),
        "checks": checks.collect::<Vec<_>>(),
    });
    if !verdict.excluded.is_empty() {
        body["excluded"] = json!(verdict.excluded);
    }
    if let Some(warning) = unmatched(verdict) {
        body["warning"] = warning.into();
    }
    body
}

/// The form of draft-inadarei-api-health-check.
pub(super) fn health_json(verdict: &Verdict, details: Details) -> Value {
    let checks: Map<String, Value> = verdict
        .checks
        .iter()
        .map(|check| (check.name.clone(), json!([health_check(check, details)])))
        .collect();
    let mut body = json!({ "status": overall(verdict), "checks": checks });
    if let Some(warning) = unmatched(verdict) {
        body["notes"] = json!([warning]);
    }
    body
}

fn health_check(check: &CheckReport, details: Details) -> Value {
    let status = match check.result.status {
        Status::Pass => "pass",
        Status::Warn => "warn",
        Status::Saturated | Status::Fail => "fail",
    };
    let mut fields = Map::new();
    fields.insert("status".to_owned(), status.into());
    let message = details.reveal(&check.result.message, true);
    if !message.is_empty() {
        fields.insert("output".to_owned(), message.into());
    }
    times(&mut fields, check);
    fields.into()
}

/// When and how long a check ran, in seconds, and what its result counts for.
fn times(fields: &mut Map<String, Value>, check: &CheckReport) {
    if let Some(age) = check.age {
        fields.insert("age".to_owned(), age.as_secs_f64().into());
    }
    if let Some(took) = check.took {
        fields.insert("duration".to_owned(), took.as_secs_f64().into());
    }
    if check.stale {
        fields.insert("stale".to_owned(), true.into());
    }
    if let Some(progress) = check.progress {
        fields.insert("progress".to_owned(), progress.to_string().into());
    }
    if check.severity != Severity::Critical {
        fields.insert("severity".to_owned(), check.severity.name().into());
    }
}

/// What is to be said of names that were to be excluded and that nothing has, in the words of Kubernetes.
fn unmatched(verdict: &Verdict) -> Option<String> {
    (!verdict.unknown.is_empty()).then(|| {
        format!(
            "some health checks cannot be excluded: no matches for {}",
            quoted(&verdict.unknown)
        )
    })
}

fn overall(verdict: &Verdict) -> &'static str {
    let warned = verdict
        .checks
        .iter()
        .any(|check| check.result.status == Status::Warn);
    match (verdict.passed(), warned) {
        (false, _) => "fail",
        (true, true) => "warn",
        (true, false) => "pass",
    }
}
