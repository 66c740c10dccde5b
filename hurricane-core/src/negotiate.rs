//! What a client would rather have: the headers `Accept` and `Accept-Encoding`.

use http::{HeaderMap, header::AsHeaderName};

/// One thing a client would take, and how gladly: `text/plain; version=0.0.4; q=0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preference<'a> {
    /// A media type, an encoding, or a pattern such as `*/*`.
    pub(crate) value: &'a str,
    /// From 0, not at all, to 1000.
    pub(crate) weight: u16,
    params: &'a str,
}

// === impl Preference ===

impl<'a> Preference<'a> {
    /// Whether this is `value`, in whatever case.
    pub(crate) fn is(&self, value: &str) -> bool {
        self.value.eq_ignore_ascii_case(value)
    }

    /// The parameter of that name, without quotes.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        params(self.params)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn parse(text: &'a str) -> Self {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        let weight = params(rest)
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            // What cannot be read is not asked for.
            .map_or(1.0, |(_, weight)| weight.parse().unwrap_or(0.0_f64));
        Self {
            value: value.trim(),
            // The cast saturates, and makes zero of what is not a number.
            weight: (weight.clamp(0.0, 1.0) * 1e3) as u16,
            params: rest,
        }
    }
}

/// What the headers of that name ask for, in their order.
pub(crate) fn preferences(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl Iterator<Item = Preference<'_>> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|element| !element.trim().is_empty())
        .map(Preference::parse)
}

fn params(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|param| {
        let (name, value) = param.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ACCEPT};

    use super::*;

    #[test]
    fn reads_weights_and_parameters() {
        let mut headers = HeaderMap::new();
        let mut add = |value| headers.append(ACCEPT, HeaderValue::from_static(value));
        add("text/plain;version=\"0.0.4\" ; Q=0.25 , , application/json");
        add("*/*;q=nonsense, a/b;q=7, c/d;q=-1");
        let found: Vec<_> = preferences(&headers, ACCEPT).collect();
        let weights: Vec<_> = found.iter().map(|it| (it.value, it.weight)).collect();
        let expected = [
            ("text/plain", 250),
            ("application/json", 1000),
            ("*/*", 0),
            ("a/b", 1000),
            ("c/d", 0),
        ];
        assert_eq!(weights, expected);
        assert!(found[0].is("TEXT/Plain"));
        assert_eq!(found[0].param("Version"), Some("0.0.4"));
        assert_eq!(found[1].param("version"), None);
    }
}
