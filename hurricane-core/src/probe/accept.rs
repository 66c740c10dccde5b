//! Choosing the form of an answer by what the client accepts.

use http::{HeaderMap, header::ACCEPT};

/// The forms an answer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/plain`
    Text,
    /// `application/json`
    Json,
    /// `application/health+json`
    HealthJson,
}

/// How a form fits to what the client accepts.
#[derive(Clone, Copy)]
struct Fit {
    /// In thousandths; 0 is "not this".
    quality: u16,
    /// 2 for the type itself, 1 for `application/*`, 0 for `*/*`.
    specificity: u8,
    /// Which of the ranges it was.
    place: usize,
}

// === impl Form ===

impl Form {
    /// All of them, the first being the one for clients that do not mind.
    const ALL: [Self; 3] = [Self::Text, Self::Json, Self::HealthJson];

    /// The form that the client likes best; of those that it likes the same, the one that it names more exactly, and
    /// then the one that it names first.
    ///
    /// A client that accepts none of them is given text: whether the process is well must not hang on a header.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let mut fits = [None::<Fit>; 3];
        for (place, range) in ranges(headers).enumerate() {
            let Some((name, quality)) = parse(range) else {
                continue;
            };
            for (form, fit) in Self::ALL.iter().zip(&mut fits) {
                // The most exact range that covers a form decides about it, wherever it stands.
                if let Some(specificity) = form.covered_by(name)
                    && fit.is_none_or(|fit| specificity > fit.specificity)
                {
                    *fit = Some(Fit {
                        quality,
                        specificity,
                        place,
                    });
                }
            }
        }
        let mut best = (Self::Text, None::<Fit>);
        for (form, fit) in Self::ALL.into_iter().zip(fits) {
            if let Some(fit) = fit.filter(|fit| fit.quality > 0)
                && best.1.is_none_or(|other| fit.is_better_than(other))
            {
                best = (form, Some(fit));
            }
        }
        best.0
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain"),
            Self::Json => ("application", "json"),
            Self::HealthJson => ("application", "health+json"),
        }
    }

    /// How exactly a range such as `application/*` names this form; none if it does not.
    fn covered_by(self, range: &str) -> Option<u8> {
        let (main, sub) = range.split_once('/')?;
        let (own_main, own_sub) = self.name();
        match (main, sub) {
            ("*", "*") => Some(0),
            (main, "*") if main.eq_ignore_ascii_case(own_main) => Some(1),
            (main, sub)
                if main.eq_ignore_ascii_case(own_main) && sub.eq_ignore_ascii_case(own_sub) =>
            {
                Some(2)
            }
            _ => None,
        }
    }
}

// === impl Fit ===

impl Fit {
    fn is_better_than(self, other: Self) -> bool {
        let rank = |fit: Self| (fit.quality, fit.specificity);
        rank(self) > rank(other) || (rank(self) == rank(other) && self.place < other.place)
    }
}

/// The media ranges of all `Accept` headers.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

/// A range and its quality; none if it cannot be understood. Other parameters do not matter here.
fn parse(range: &str) -> Option<(&str, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    for part in parts {
        if let Some((key, value)) = part.split_once('=')
            && key.trim().eq_ignore_ascii_case("q")
        {
            return Some((name, quality(value.trim())?));
        }
    }
    Some((name, 1000))
}

/// `0`, `0.5`, `1.000`, in thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{rest:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepted(values: &[&'static str]) -> Form {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        Form::accepted(&headers)
    }

    #[test]
    fn the_best_liked_form_is_taken() {
        for (accept, form) in [
            ("*/*", Form::Text),
            ("", Form::Text),
            ("text/*", Form::Text),
            ("application/json", Form::Json),
            ("Application/JSON; charset=utf-8", Form::Json),
            ("application/health+json", Form::HealthJson),
            ("application/*", Form::Json),
            ("application/json, text/plain, */*", Form::Json),
            ("text/plain, application/json", Form::Text),
            (
                "application/health+json, application/json",
                Form::HealthJson,
            ),
            (
                "application/json;q=0.5, application/health+json;q=0.9",
                Form::HealthJson,
            ),
            ("*/*;q=0.8, application/json;q=0.7", Form::Text),
            ("*/*, application/json", Form::Json),
            (
                "*/*, text/plain;q=0, application/json;q=0",
                Form::HealthJson,
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Form::Text,
            ),
            ("text/html, application/health+json;q=0.9", Form::HealthJson),
        ] {
            assert_eq!(accepted(&[accept]), form, "{accept}");
        }
        assert_eq!(
            accepted(&["text/plain;q=0.1", "application/json;q=0.2"]),
            Form::Json,
            "several headers are one list"
        );
    }

    #[test]
    fn what_nobody_can_give_or_understand_is_text() {
        for accept in [
            "image/png",
            "text/plain;q=0, image/png",
            "application/json;q=0",
            "application/json;q=2",
            "application/json;q=0.0001",
            "application/json;q=x",
            "json",
            ";;,,/,q=1",
        ] {
            assert_eq!(accepted(&[accept]), Form::Text, "{accept}");
        }
    }
}
