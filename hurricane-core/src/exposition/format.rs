//! The formats of a scrape, and which of them a client wants.

use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING},
};

use crate::negotiate::{Preference, preferences};

/// How metrics are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text format of Prometheus.
    #[default]
    Text,
    /// `OpenMetrics`: counters end in `_total`, units are told, and the end is marked.
    OpenMetrics,
}

// === impl Format ===

impl Format {
    /// The format that a client asks for with the header `Accept`.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::ACCEPT};
    /// use hurricane_core::exposition::Format;
    ///
    /// let mut headers = HeaderMap::new();
    /// assert_eq!(Format::accepted(&headers), Format::Text);
    /// let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    /// headers.insert(ACCEPT, HeaderValue::from_static(accept));
    /// assert_eq!(Format::accepted(&headers), Format::OpenMetrics);
    /// ```
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Self {
        // Prometheus itself asks for the versions one by one.
        let has_version = |preference: &Preference<'_>, known: &str| {
            let version = preference.param("version");
            version.is_none_or(|version| version == known)
        };
        let (mut open, mut text) = (0, 0);
        for preference in preferences(headers, ACCEPT) {
            let weight = preference.weight;
            if preference.is("application/openmetrics-text") && has_version(&preference, "1.0.0") {
                open = open.max(weight);
            } else if preference.is("text/plain") && has_version(&preference, "0.0.4") {
                text = text.max(weight);
            }
        }
        // Patterns such as `*/*` are asking for nothing in particular, and that is the plain text.
        if open > 0 && open >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The media type, for the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

/// Whether a client takes gzip, which it says with the header `Accept-Encoding`.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    // What is named counts before the pattern, wherever it stands.
    let weight = |name: &str| {
        preferences(headers, ACCEPT_ENCODING)
            .find(|preference| preference.is(name))
            .map(|preference| preference.weight)
    };
    weight("gzip")
        .or_else(|| weight("*"))
        .is_some_and(|weight| weight > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        [(name, HeaderValue::from_static(value))]
            .into_iter()
            .collect()
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let cases = [
            ("*/*", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "Application/OpenMetrics-Text;version=1.0.0",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            (
                "application/openmetrics-text;q=0.4,text/plain;q=0.5",
                Format::Text,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
            ),
        ];
        for (accept, expected) in cases {
            let headers = headers(ACCEPT, accept);
            assert_eq!(Format::accepted(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let cases = [
            ("gzip", true),
            ("br, GZIP;q=0.1", true),
            ("*", true),
            ("*;q=0.5, gzip;q=0", false),
            ("identity", false),
            ("", false),
        ];
        for (encoding, expected) in cases {
            let headers = headers(ACCEPT_ENCODING, encoding);
            assert_eq!(accepts_gzip(&headers), expected, "{encoding}");
        }
    }
}
