//! What is recorded through the `metrics` facade, kept by family.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tracing::warn;

use super::buckets::Buckets;
use crate::metric::Distribution;

/// Takes what is recorded through the facade.
///
/// Handles are looked up under a lock and then count without one. A name belongs to the kind it was first used for;
/// recording it as another kind goes nowhere, since one name with two types would spoil the whole scrape.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    buckets: Buckets,
    counters: Handles<Counter>,
    gauges: Handles<Gauge>,
    histograms: Handles<Histogram>,
    families: RwLock<Families>,
}

/// The handles given out for keys as they were asked for.
type Handles<H> = RwLock<HashMap<Key, H>>;

/// All families in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Families {
    families: BTreeMap<String, Family>,
    descriptions: HashMap<String, Description>,
}

/// All series of one name, by their labels as they are written.
#[derive(Debug)]
pub(super) enum Family {
    Counter(BTreeMap<String, Arc<AtomicU64>>),
    Gauge(BTreeMap<String, Arc<AtomicU64>>),
    Histogram(BTreeMap<String, Arc<Distribution>>),
}

#[derive(Debug)]
pub(super) struct Description {
    pub(super) help: SharedString,
}

// === impl Recorder ===

impl Recorder {
    pub(super) fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            ..Self::default()
        }
    }

    /// Looks at all families, while no new series can come.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Families) -> T) -> T {
        look(&self.families.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows a distribution that is counted elsewhere, unless there is a family of that name.
    pub(super) fn adopt(&self, name: &str, help: &str, distribution: &Distribution) {
        let name = metric_name(name);
        let known = self.read(|families| families.contains(&name));
        if !known {
            let mut families = self.write();
            let family =
                Family::Histogram([(String::new(), Arc::new(distribution.clone()))].into());
            families.families.entry(name.clone()).or_insert(family);
            let help = help.to_owned().into();
            families
                .descriptions
                .entry(name)
                .or_insert(Description { help });
        }
    }

    fn describe(&self, name: &KeyName, help: SharedString) {
        let mut families = self.write();
        // The first to describe a metric is the one who knows it.
        families
            .descriptions
            .entry(metric_name(name.as_str()))
            .or_insert(Description { help });
    }

    fn write(&self) -> impl std::ops::DerefMut<Target = Families> {
        self.families
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        cached(&self.counters, key, Counter::noop, || {
            let mut families = self.write();
            let family = families.family(key, || Family::Counter(BTreeMap::new()));
            let Family::Counter(series) = family else {
                return None;
            };
            let value = series.entry(labels(key)).or_default();
            Some(Counter::from_arc(Arc::clone(value)))
        })
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        cached(&self.gauges, key, Gauge::noop, || {
            let mut families = self.write();
            let family = families.family(key, || Family::Gauge(BTreeMap::new()));
            let Family::Gauge(series) = family else {
                return None;
            };
            let value = series.entry(labels(key)).or_default();
            Some(Gauge::from_arc(Arc::clone(value)))
        })
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        cached(&self.histograms, key, Histogram::noop, || {
            let mut families = self.write();
            let family = families.family(key, || Family::Histogram(BTreeMap::new()));
            let Family::Histogram(series) = family else {
                return None;
            };
            let distribution = series
                .entry(labels(key))
                .or_insert_with(|| Arc::new(self.buckets.distribution(key.name())));
            Some(Histogram::from_arc(Arc::clone(distribution)))
        })
    }
}

// === impl Families ===

impl Families {
    /// The families in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Family)> {
        self.families
            .iter()
            .map(|(name, family)| (name.as_str(), family))
    }

    /// The sentence that tells what a family is.
    pub(super) fn help(&self, name: &str) -> Option<&str> {
        self.descriptions
            .get(name)
            .map(|description| &*description.help)
    }

    /// Whether there is a family of that name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.families.contains_key(name)
    }

    fn family(&mut self, key: &Key, new: impl FnOnce() -> Family) -> &mut Family {
        self.families
            .entry(metric_name(key.name()))
            .or_insert_with(new)
    }
}

/// The handle for a key, made if it is new; one that does nothing if `make` refuses.
fn cached<H: Clone>(
    handles: &Handles<H>,
    key: &Key,
    noop: impl FnOnce() -> H,
    make: impl FnOnce() -> Option<H>,
) -> H {
    let known = handles.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = known.get(key) {
        return handle.clone();
    }
    drop(known);
    let made = make();
    let refused = made.is_none();
    let handle = handles
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key.to_retained())
        .or_insert_with(|| made.unwrap_or_else(noop))
        .clone();
    // Not under a lock: whoever takes log lines may count them here.
    if refused {
        warn!(
            metric.name = key.name(),
            "metric is recorded as another kind than before: these values are lost"
        );
    }
    handle
}

/// The name with an underscore for every character that Prometheus has no place for.
fn metric_name(name: &str) -> String {
    sanitize(name, |c| c == ':')
}

fn sanitize(name: &str, also: impl Fn(char) -> bool) -> String {
    let fits = |(index, c): (usize, char)| {
        let letter = c.is_ascii_alphabetic() || c == '_' || also(c);
        if letter || (index > 0 && c.is_ascii_digit()) {
            c
        } else {
            '_'
        }
    };
    name.chars().enumerate().map(fits).collect()
}

/// The labels as they are written between the braces, in the order of their names.
fn labels(key: &Key) -> String {
    let labels: BTreeMap<String, &str> = key
        .labels()
        .map(|label| (sanitize(label.key(), |_| false), label.value()))
        .collect();
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text
}

/// The value of a gauge.
pub(super) fn number(bits: &AtomicU64) -> f64 {
    f64::from_bits(bits.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_fit_prometheus() {
        assert_eq!(metric_name("shop.orders:open"), "shop_orders:open");
        assert_eq!(metric_name("2nd-höhe"), "_nd_h_he");
        let key = Key::from_parts("a", &[("b-c", "say \"hi\"\n\\"), ("a:b", "ü")]);
        assert_eq!(labels(&key), r#"a_b="ü",b_c="say \"hi\"\n\\""#);
    }
}
