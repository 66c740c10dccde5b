//! What the exporter writes, put in order, and made `OpenMetrics` of where that is wanted.
//!
//! metrics-exporter-prometheus knows the text format of Prometheus only, and gives families and series another order
//! with each scrape.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
};

use metrics_exporter_prometheus::formatting::{sanitize_description, sanitize_metric_name};

use super::Format;
use crate::metric::Distribution;

/// Units that `OpenMetrics` may be told, where the name of the family ends with one.
const UNITS: [&str; 9] = [
    "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams",
];

/// A family of the text format.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    kind: &'a str,
    /// As it is written, with its escapes.
    help: Option<Cow<'a, str>>,
    series: Vec<Series<'a>>,
}

/// The lines of one series.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series<'a> {
    /// The last line, which for a histogram is the first that does not differ by its bucket.
    last: Cow<'a, str>,
    before: Vec<Cow<'a, str>>,
}

/// All families in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Families<'a>(BTreeMap<Cow<'a, str>, Family<'a>>);

// === impl Families ===

impl<'a> Families<'a> {
    /// Reads what the exporter wrote. Also returns the names that were used for another kind before: of two families
    /// of one name, which would spoil the whole scrape, only the first is kept.
    pub(super) fn read(text: &'a str) -> (Self, HashSet<&'a str>) {
        let mut families = Self::default();
        let mut twice = HashSet::new();
        // A family is a block of lines, and an empty line ends it.
        for block in text.split("\n\n") {
            let mut help = None;
            let mut lines = block.lines().peekable();
            if let Some(line) = lines.next_if(|line| line.starts_with("# HELP ")) {
                help = line[7..].split_once(' ').map(|(_, help)| help.into());
            }
            let head = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let Some((name, kind)) = head.and_then(|head| head.split_once(' ')) else {
                continue;
            };
            if families.0.contains_key(name) {
                twice.insert(name);
                continue;
            }
            let mut family = Family {
                kind,
                help,
                series: Vec::new(),
            };
            let mut before = Vec::new();
            for line in lines {
                if kind == "histogram" && !line[name.len()..].starts_with("_count") {
                    before.push(line.into());
                    continue;
                }
                family.series.push(Series {
                    last: line.into(),
                    before: std::mem::take(&mut before),
                });
            }
            family.series.sort_unstable();
            families.0.insert(name.into(), family);
        }
        (families, twice)
    }

    /// Adds values that are counted elsewhere, unless there is a family of that name.
    pub(super) fn add(&mut self, name: &str, help: &str, values: &Distribution) {
        let name = sanitize_metric_name(name);
        let mut before = Vec::with_capacity(values.bounds().len() + 2);
        let mut count = 0;
        let bounds = values.bounds().iter().copied().chain([f64::INFINITY]);
        for (bound, below) in bounds.zip(values.cumulative()) {
            let bound = canonical(bound);
            before.push(format!("{name}_bucket{{le=\"{bound}\"}} {below}").into());
            count = below;
        }
        before.push(format!("{name}_sum {}", values.sum()).into());
        let series = Series {
            last: format!("{name}_count {count}").into(),
            before,
        };
        self.0.entry(name.into()).or_insert_with(|| Family {
            kind: "histogram",
            help: Some(sanitize_description(help).into()),
            series: vec![series],
        });
    }

    /// Adds a family with one series, or with none, unless there is a family of that name.
    pub(super) fn declare(
        &mut self,
        name: &str,
        kind: &'a str,
        help: Option<&'a str>,
        value: Option<&str>,
    ) {
        let series = value.map(|value| Series {
            last: format!("{name} {value}").into(),
            before: Vec::new(),
        });
        self.0
            .entry(name.to_owned().into())
            .or_insert_with(|| Family {
                kind,
                help: help.map(Cow::from),
                series: series.into_iter().collect(),
            });
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Writes all of them in a format; the end that `OpenMetrics` asks for is for the caller to write.
    pub(super) fn write(&self, format: Format) -> String {
        let mut text = String::with_capacity(16 * 1024);
        let mut bounds = HashMap::new();
        for (name, family) in &self.0 {
            let head = self.head(name, family, format);
            head.write(&mut text, family.help.as_deref(), format);
            for series in &family.series {
                for line in series.before.iter().chain([&series.last]) {
                    head.sample(&mut text, line, name, &mut bounds);
                }
            }
        }
        text
    }

    fn head<'b>(&self, name: &'b str, family: &Family<'b>, format: Format) -> Head<'b> {
        let mut head = Head {
            name,
            kind: family.kind,
            suffix: "",
        };
        if (head.kind, format) == ("counter", Format::OpenMetrics) {
            match name.strip_suffix("_total") {
                // Two families of one name would make the whole scrape unreadable.
                Some(bare) if self.contains(bare) => head.kind = "unknown",
                None if self.contains(&format!("{name}_total")) => head.kind = "unknown",
                Some(bare) => head.name = bare,
                None => head.suffix = "_total",
            }
        }
        head
    }
}

/// What the lines before the samples of a family say.
struct Head<'a> {
    /// The name of the family, which for a counter in `OpenMetrics` is not that of its samples.
    name: &'a str,
    kind: &'a str,
    /// What the samples of a counter have after the recorded name.
    suffix: &'static str,
}

impl Head<'_> {
    // Writing to a string cannot fail.
    fn write(&self, text: &mut String, help: Option<&str>, format: Format) {
        let Self { name, kind, .. } = self;
        if let Some(help) = help {
            let help = match format {
                Format::Text => help.into(),
                Format::OpenMetrics => help.replace('"', "\\\""),
            };
            let _ = writeln!(text, "# HELP {name} {help}");
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

    /// Writes a sample of the family `name`.
    fn sample<'b>(
        &self,
        text: &mut String,
        line: &'b str,
        name: &str,
        bounds: &mut HashMap<&'b str, String>,
    ) {
        let rest = &line[name.len()..];
        text.push_str(name);
        text.push_str(self.suffix);
        // The value has no blanks, while labels may have any.
        let (labels, value) = rest.rsplit_once(' ').unwrap_or((rest, ""));
        // The bucket's bound is always the last label.
        let bucket = labels
            .strip_prefix("_bucket")
            .and_then(|labels| labels.strip_suffix("\"}")?.rsplit_once("le=\""));
        match bucket {
            None => text.push_str(labels),
            Some((others, bound)) => {
                let number = || bound.parse().map_or_else(|_| bound.to_owned(), canonical);
                let bound = bounds.entry(bound).or_insert_with(number);
                for part in ["_bucket", others, "le=\"", bound, "\"}"] {
                    text.push_str(part);
                }
            }
        }
        text.push(' ');
        text.push_str(match value {
            "inf" => "+Inf",
            "-inf" => "-Inf",
            value => value,
        });
        text.push('\n');
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
        let (families, _) =
            Families::read("# TYPE a gauge\na{x=\"1 } 2\"} inf\na NaN\na{y=\"\"} -inf\n\n");
        let expected = "# TYPE a gauge\na NaN\na{x=\"1 } 2\"} +Inf\na{y=\"\"} -Inf\n";
        assert_eq!(families.write(Format::Text), expected);
    }
}
