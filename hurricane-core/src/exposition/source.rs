//! Families that are counted elsewhere, such as in another process, and shown beside our own.

use std::fmt::{self, Write as _};

use async_trait::async_trait;

use super::{Format, text::Families};

/// Tells families that are counted elsewhere, at each scrape.
///
/// A family whose name is taken by one that is recorded here is left out, as a scrape with two of one name cannot be
/// read.
///
/// # Examples
///
/// ```
/// use hurricane_core::{async_trait, exposition::{MetricSource, SourceFamily, SourceKind, SourceSample}};
///
/// #[derive(Debug)]
/// struct Cache;
///
/// #[async_trait]
/// impl MetricSource for Cache {
///     async fn families(&self) -> Vec<SourceFamily> {
///         let help = "Answers that were found in the cache.";
///         let mut hits = SourceFamily::new("cache_hits", help, SourceKind::Counter);
///         hits.samples.push(SourceSample::new("cache_hits_total", 12.0));
///         vec![hits]
///     }
/// }
/// ```
#[async_trait]
pub trait MetricSource: fmt::Debug + Send + Sync + 'static {
    /// The families as they are now.
    async fn families(&self) -> Vec<SourceFamily>;
}

/// A family of a [`MetricSource`], in the manner of `OpenMetrics`: a counter's name has no `_total`, its sample has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SourceFamily {
    /// The name.
    pub name: String,
    /// One sentence for the reader of the scrape.
    pub help: String,
    /// What kind of numbers these are.
    pub kind: SourceKind,
    /// The numbers.
    pub samples: Vec<SourceSample>,
}

/// The kind of a [`SourceFamily`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// A sum and a count.
    Summary,
    /// A one whose labels say something.
    Info,
    /// Anything else.
    Unknown,
}

/// A number of a [`SourceFamily`].
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSample {
    /// The name, which is that of the family and perhaps an ending, such as `_total` or `_bucket`.
    pub name: String,
    /// Labels and their values.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
}

// === impl SourceFamily ===

impl SourceFamily {
    /// A family without samples.
    #[must_use]
    pub fn new(name: impl Into<String>, help: impl Into<String>, kind: SourceKind) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            kind,
            samples: Vec::new(),
        }
    }
}

// === impl SourceKind ===

impl SourceKind {
    /// The kind of that name, as in the text of a scrape.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            _ => Self::Unknown,
        }
    }

    /// The name for the text format of Prometheus, which has fewer.
    const fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
            (Self::Summary, _) => "summary",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Gauge | Self::Info, _) => "gauge",
            (Self::Unknown, Format::OpenMetrics) => "unknown",
            (Self::Unknown, _) => "untyped",
        }
    }
}

// === impl SourceSample ===

impl SourceSample {
    /// A number without labels.
    #[must_use]
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            labels: Vec::new(),
            value,
        }
    }
}

/// Writes families that `own` has none of the name of.
pub(super) fn render(
    text: &mut String,
    families: &[SourceFamily],
    own: &Families<'_>,
    format: Format,
) {
    for family in families {
        let SourceFamily { name, kind, .. } = family;
        let with_ending = match kind {
            SourceKind::Counter => format!("{name}_total"),
            SourceKind::Info => format!("{name}_info"),
            _ => name.clone(),
        };
        if own.contains(name) || own.contains(&with_ending) {
            continue;
        }
        let shown = if format == Format::OpenMetrics {
            name
        } else {
            &with_ending
        };
        // Writing to a string cannot fail.
        if !family.help.is_empty() {
            let _ = writeln!(text, "# HELP {shown} {}", escaped(&family.help, format));
        }
        let _ = writeln!(text, "# TYPE {shown} {}", kind.name(format));
        let is_created = |sample: &&SourceSample| sample.name == format!("{name}_created");
        for sample in &family.samples {
            if format == Format::OpenMetrics || !is_created(&sample) {
                write_sample(text, sample, format);
            }
        }
        // The text format knows no such samples, so they are a family.
        let mut created = family.samples.iter().filter(is_created).peekable();
        if format != Format::OpenMetrics && created.peek().is_some() {
            let _ = writeln!(text, "# TYPE {name}_created gauge");
            for sample in created {
                write_sample(text, sample, format);
            }
        }
    }
}

fn write_sample(text: &mut String, sample: &SourceSample, format: Format) {
    text.push_str(&sample.name);
    for (index, (label, value)) in sample.labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        let value = escaped(value, Format::OpenMetrics);
        let _ = write!(text, "{label}=\"{value}\"");
    }
    if !sample.labels.is_empty() {
        text.push('}');
    }
    let _ = match sample.value {
        value if value == f64::INFINITY => writeln!(text, " +Inf"),
        value if value == f64::NEG_INFINITY => writeln!(text, " -Inf"),
        value if value.is_nan() => writeln!(text, " NaN"),
        value if format == Format::OpenMetrics => writeln!(text, " {value:?}"),
        value => writeln!(text, " {value}"),
    };
}

fn escaped(text: &str, format: Format) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    match format {
        Format::OpenMetrics => text.replace('"', "\\\""),
        Format::Text => text,
    }
}
