//! Families written as text, in both of the formats that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::atomic::Ordering::Relaxed,
};

use super::{
    Format,
    recorder::{Families, Family, number},
};
use crate::metric::Distribution;

/// Units that `OpenMetrics` may be told, where the name of the family ends with one.
const UNITS: [&str; 9] = [
    "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams",
];

/// Writes all families in a format; the end that `OpenMetrics` asks for is for the caller to write.
pub(super) fn render(families: &Families, format: Format) -> String {
    let mut text = String::with_capacity(16 * 1024);
    let mut bounds = BoundLabels::default();
    for (name, family) in families.iter() {
        let head = Head::of(families, name, family, format);
        head.write(&mut text, families.help(name), format);
        match family {
            Family::Counter(series) => {
                for (labels, value) in series {
                    sample(&mut text, &[name, head.suffix], labels, value.load(Relaxed));
                }
            }
            Family::Gauge(series) => {
                for (labels, value) in series {
                    sample(&mut text, &[name], labels, Number(number(value)));
                }
            }
            Family::Histogram(series) => {
                for (labels, distribution) in series {
                    histogram(&mut text, name, labels, distribution, &mut bounds);
                }
            }
        }
    }
    text
}

/// What the lines before the samples of a family say.
struct Head<'a> {
    /// The name of the family, which for a counter in `OpenMetrics` is not that of its samples.
    name: &'a str,
    kind: &'static str,
    /// What the samples of a counter have after the recorded name.
    suffix: &'static str,
}

impl<'a> Head<'a> {
    fn of(families: &Families, name: &'a str, family: &Family, format: Format) -> Self {
        let kind = match family {
            Family::Counter(_) => "counter",
            Family::Gauge(_) => "gauge",
            Family::Histogram(_) => "histogram",
        };
        let mut head = Self {
            name,
            kind,
            suffix: "",
        };
        if let (Family::Counter(_), Format::OpenMetrics) = (family, format) {
            match name.strip_suffix("_total") {
                // Two families of one name would make the whole scrape unreadable.
                Some(bare) if families.contains(bare) => head.kind = "unknown",
                None if families.contains(&format!("{name}_total")) => head.kind = "unknown",
                Some(bare) => head.name = bare,
                None => head.suffix = "_total",
            }
        }
        head
    }

    fn write(&self, text: &mut String, help: Option<&str>, format: Format) {
        let Self { name, kind, .. } = self;
        // Writing to a string cannot fail.
        if let Some(help) = help {
            let _ = write!(text, "# HELP {name} ");
            for c in help.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '\n' => text.push_str("\\n"),
                    '"' if format == Format::OpenMetrics => text.push_str("\\\""),
                    c => text.push(c),
                }
            }
            text.push('\n');
        }
        let _ = writeln!(text, "# TYPE {name} {kind}");
        let unit = UNITS.iter().find(|unit| {
            name.strip_suffix(**unit)
                .is_some_and(|rest| rest.ends_with('_'))
        });
        if let (Format::OpenMetrics, Some(unit)) = (format, unit) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
    }
}

fn histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    distribution: &Distribution,
    bounds: &mut BoundLabels,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    let limits = distribution.bounds().iter().copied();
    for (bound, below) in limits.chain([f64::INFINITY]).zip(distribution.cumulative()) {
        for part in [name, "_bucket{", labels, comma, "le=\"", bounds.get(bound)] {
            text.push_str(part);
        }
        let _ = writeln!(text, "\"}} {below}");
        count = below;
    }
    sample(text, &[name, "_sum"], labels, Number(distribution.sum()));
    sample(text, &[name, "_count"], labels, count);
}

fn sample(text: &mut String, name: &[&str], labels: &str, value: impl Display) {
    for part in name {
        text.push_str(part);
    }
    if !labels.is_empty() {
        for part in ["{", labels, "}"] {
            text.push_str(part);
        }
    }
    let _ = writeln!(text, " {value}");
}

/// A number as Prometheus reads it.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => value.fmt(f),
        }
    }
}

/// Bounds as the values of the label `le`, each written once.
#[derive(Default)]
struct BoundLabels(BTreeMap<u64, String>);

impl BoundLabels {
    fn get(&mut self, bound: f64) -> &str {
        self.0
            .entry(bound.to_bits())
            .or_insert_with(|| canonical(bound))
    }
}

/// The one form of a number that `OpenMetrics` wants in labels, which is that of Go: `0.5`, `1.0`, `1e+06`.
fn canonical(bound: f64) -> String {
    if bound == f64::INFINITY {
        return "+Inf".to_owned();
    }
    let magnitude = bound.abs();
    if bound != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let short = format!("{bound:e}");
        let (mantissa, exponent) = short.split_once('e').unwrap_or((&short, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    // Unlike `Display`, this keeps a fraction: `1.0`.
    format!("{bound:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_go_does() {
        let cases = [
            (0.005, "0.005"),
            (1.0, "1.0"),
            (7.5, "7.5"),
            (1e5, "100000.0"),
            (1e6, "1e+06"),
            (2.5e7, "2.5e+07"),
            (1e-5, "1e-05"),
            (0.0, "0.0"),
            (-1.0, "-1.0"),
            (f64::INFINITY, "+Inf"),
        ];
        for (bound, expected) in cases {
            assert_eq!(canonical(bound), expected);
        }
    }

    #[test]
    fn numbers_have_the_words_of_prometheus() {
        let values = [3.0, 0.25, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let text = values.map(|value| Number(value).to_string());
        assert_eq!(text, ["3", "0.25", "NaN", "+Inf", "-Inf"]);
    }
}
