//! What a request asks of a probe, beyond how it is.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;

use super::Verdict;
use crate::check::Selection;

/// What a request asks of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Whether every check is to be told.
    pub(super) verbose: bool,
    /// Which checks are asked.
    pub(super) selection: Selection,
}

// === impl Query ===

impl Query {
    /// Reads the query of `uri`; `check` is the name of a check in its path, as it stands there.
    ///
    /// Parameters that mean nothing here are let pass, since Kubernetes' own servers do so.
    pub(super) fn of(uri: &Uri, check: Option<&str>) -> Self {
        let mut query = Self::default();
        let Selection {
            only,
            exclude,
            tags,
        } = &mut query.selection;
        only.extend(check.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned()));
        for pair in uri.query().unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "verbose" => query.verbose = true,
                "check" if check.is_none() => only.push(decode(value)),
                "exclude" => exclude.push(decode(value)),
                "tag" => tags.push(decode(value)),
                _ => {}
            }
        }
        query
    }

    /// Why the verdict answers nothing: what was asked for is not there. A slip of the pen must not look green.
    pub(super) fn missed(&self, verdict: &Verdict) -> Option<String> {
        let probe = verdict.probe.name();
        let Selection { only, tags, .. } = &self.selection;
        if let Some(name) = only.iter().find(|name| verdict.unknown.contains(name)) {
            return Some(format!("the {probe} probe has no check named {name:?}\n"));
        }
        let tagged = only.is_empty() && !tags.is_empty() && verdict.excluded.is_empty();
        (tagged && verdict.checks.is_empty()).then(|| {
            format!(
                "the {probe} probe has no check with the tag {}\n",
                quoted(tags)
            )
        })
    }

    /// Whether single checks are asked, and not the probe.
    pub(super) fn is_for_checks(&self) -> bool {
        !self.selection.only.is_empty()
    }
}

/// A list of names in quotes.
pub(super) fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

fn decode(value: &str) -> String {
    let spaced: Cow<'_, str> = if value.contains('+') {
        value.replace('+', " ").into()
    } else {
        value.into()
    };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(uri: &'static str, check: Option<&str>) -> Query {
        Query::of(&Uri::from_static(uri), check)
    }

    #[test]
    fn names_may_be_written_in_any_way() {
        let expected = Query {
            verbose: true,
            selection: Selection::default()
                .exclude("main runtime")
                .exclude("main runtime")
                .exclude("50%")
                .tag("a&b"),
        };
        let uri = "/?exclude=main+runtime&exclude=main%20runtime&exclude=50%&verbose&tag=a%26b&x=1";
        assert_eq!(query(uri, None), expected);
        assert_eq!(query("/", None), Query::default());
        assert_eq!(query("/?verbosely", None), Query::default());
    }

    #[test]
    fn a_check_in_the_path_is_the_only_one() {
        let query = query("/ready/a+b%20c?check=other", Some("a+b%20c"));
        assert_eq!(query.selection, Selection::only("a+b c"));
    }
}
