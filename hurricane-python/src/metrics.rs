//! What the application counts, asked of every worker at a scrape and put together.
//!
//! Counters, histograms and summaries are summed over the workers. Gauges follow the mode that
//! they declare (`multiprocess_mode` of `prometheus_client`). What a worker had counted when it
//! was replaced stays counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use hurricane_core::exposition::{MetricSource, SourceFamily, SourceKind, SourceSample};
use serde::Deserialize;
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use crate::{gateway::Control, pool::Pool, process, worker::Command};

/// How long a worker may take to tell, before what it told last counts.
const PATIENCE: Duration = Duration::from_millis(300);

/// The metrics of the application, for [`Builder::metric_source`](hurricane_core::Builder::metric_source).
#[derive(Debug)]
pub struct PythonMetrics(Pool);

/// What each worker told last, and what is left of those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// By process id, in an order that stays.
    living: BTreeMap<u32, Vec<Told>>,
    dead: Sum,
}

/// A family as a worker tells it, see `metrics.py`.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    name: String,
    help: String,
    #[serde(rename = "type")]
    kind: String,
    mode: String,
    samples: Vec<(String, BTreeMap<String, String>, String)>,
}

/// Families of several workers, in the order in which they came first.
#[derive(Clone, Debug, Default)]
struct Sum {
    families: Vec<SourceFamily>,
    places: HashMap<String, usize>,
}

/// How the same number of two workers becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Add,
    Least,
    Most,
    Last,
    /// Each is shown, with the process id as a label.
    Apart,
}

// === impl PythonMetrics ===

impl Pool {
    /// What the application counts, in `prometheus_client` and in the classes of
    /// `hurricane.metrics`; and what its interpreters and all processes take.
    #[must_use]
    pub fn metrics(&self) -> PythonMetrics {
        PythonMetrics(self.clone())
    }
}

#[async_trait]
impl MetricSource for PythonMetrics {
    async fn families(&self) -> Vec<SourceFamily> {
        let ledger = self.0.ledger();
        let mut asked = JoinSet::new();
        let workers = self.0.controls();
        let mut families = process::families(workers.iter().map(|(pid, _)| *pid));
        for (pid, control) in workers {
            let ledger = Arc::clone(ledger);
            asked.spawn(async move { ledger.ask(pid, &control).await });
        }
        asked.join_all().await;
        let told = ledger.total().into_iter();
        families.extend(told.filter(|family| !process::is_ours(&family.name)));
        families
    }
}

// === impl Ledger ===

impl Ledger {
    /// Has a worker tell what it has counted.
    pub(crate) async fn ask(&self, pid: u32, control: &Control) {
        let (answer, receiver) = oneshot::channel();
        let what = "metrics".into();
        if control.send(Command::Check { what, answer }).is_err() {
            return;
        }
        // An error means that it has ended, or is busy: what it told last counts.
        let Ok(Ok(answer)) = timeout(PATIENCE, receiver).await else {
            return;
        };
        match serde_json::from_str(&answer.message) {
            Ok(told) => drop(self.lock().living.insert(pid, told)),
            Err(error) => tracing::warn!(worker.pid = pid, %error, "metrics cannot be read"),
        }
    }

    /// Keeps what a worker that has ended had counted.
    pub(crate) fn bury(&self, pid: u32) {
        let mut entries = self.lock();
        if let Some(mut told) = entries.living.remove(&pid) {
            told.retain(Told::outlives);
            entries.dead.add(told, None);
        }
    }

    fn total(&self) -> Vec<SourceFamily> {
        let entries = self.lock();
        let mut sum = entries.dead.clone();
        let several = entries.living.len() > 1;
        for (pid, told) in &entries.living {
            sum.add(told.clone(), several.then_some(*pid));
        }
        sum.families
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Told ===

impl Told {
    fn join(&self) -> Join {
        match (self.kind.as_str(), self.mode.as_str()) {
            ("counter" | "histogram" | "summary", _) => Join::Add,
            ("info", _) => Join::Last,
            (_, "sum" | "livesum") => Join::Add,
            (_, "min" | "livemin") => Join::Least,
            (_, "max" | "livemax") => Join::Most,
            (_, "mostrecent" | "livemostrecent") => Join::Last,
            _ => Join::Apart,
        }
    }

    /// Whether it counts when the worker has ended.
    fn outlives(&self) -> bool {
        matches!(self.kind.as_str(), "counter" | "histogram" | "summary")
            || matches!(self.mode.as_str(), "sum" | "min" | "max")
    }
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, told: Vec<Told>, pid: Option<u32>) {
        for told in told {
            let join = told.join();
            let place = *self.places.entry(told.name.clone()).or_insert_with(|| {
                let kind = SourceKind::parse(&told.kind);
                let family = SourceFamily::new(told.name.clone(), told.help.clone(), kind);
                self.families.push(family);
                self.families.len() - 1
            });
            let family = &mut self.families[place];
            let created = format!("{}_created", told.name);
            let mut known: HashMap<_, _> = family
                .samples
                .iter()
                .enumerate()
                .map(|(index, sample)| ((sample.name.clone(), sample.labels.clone()), index))
                .collect();
            for (name, labels, value) in told.samples {
                // What is no number is left out.
                let Ok(value) = value.parse::<f64>() else {
                    continue;
                };
                let mut labels: Vec<_> = labels.into_iter().collect();
                if let (Join::Apart, Some(pid)) = (join, pid) {
                    labels.push(("pid".to_owned(), pid.to_string()));
                }
                let join = if name == created { Join::Least } else { join };
                match known.get(&(name.clone(), labels.clone())) {
                    Some(index) => {
                        let sample = &mut family.samples[*index];
                        sample.value = join.of(sample.value, value);
                    }
                    None => {
                        known.insert((name.clone(), labels.clone()), family.samples.len());
                        family.samples.push(SourceSample {
                            name,
                            labels,
                            value,
                        });
                    }
                }
            }
        }
    }
}

// === impl Join ===

impl Join {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Add => one + other,
            Self::Least => one.min(other),
            Self::Most => one.max(other),
            Self::Last | Self::Apart => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &str, mode: &str, value: &str) -> Vec<Told> {
        let (sample, family) = match kind {
            "counter" => ("x_total", "x"),
            _ => ("x", "x"),
        };
        let json = format!(
            r#"[{{"name": "{family}", "help": "", "type": "{kind}", "mode": "{mode}", "samples": [["{sample}", {{"a": "b"}}, "{value}"]]}}]"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn values(kind: &str, mode: &str) -> Vec<f64> {
        let ledger = Ledger::default();
        ledger.lock().living.insert(1, told(kind, mode, "3.0"));
        ledger.lock().living.insert(2, told(kind, mode, "2.0"));
        let samples = |families: Vec<SourceFamily>| {
            let samples = families.into_iter().flat_map(|family| family.samples);
            samples.map(|sample| sample.value).collect()
        };
        samples(ledger.total())
    }

    #[test]
    fn numbers_are_put_together_as_their_kind_and_mode_ask_for() {
        assert_eq!(values("counter", "all"), [5.0]);
        assert_eq!(values("gauge", "livesum"), [5.0]);
        assert_eq!(values("gauge", "min"), [2.0]);
        assert_eq!(values("gauge", "max"), [3.0]);
        assert_eq!(values("gauge", "mostrecent"), [2.0]);
        assert_eq!(values("gauge", "all"), [3.0, 2.0]);
    }

    #[test]
    fn what_a_worker_counted_outlives_it() {
        let ledger = Ledger::default();
        ledger.lock().living.insert(1, told("counter", "all", "3"));
        ledger.bury(1);
        ledger.bury(1);
        assert_eq!(ledger.total()[0].samples[0].value, 3.0);
        ledger.lock().living.insert(2, told("counter", "all", "4"));
        assert_eq!(ledger.total()[0].samples[0].value, 7.0);
        let ledger = Ledger::default();
        ledger.lock().living.insert(1, told("gauge", "all", "3"));
        ledger.bury(1);
        assert!(ledger.total().is_empty());
    }
}
