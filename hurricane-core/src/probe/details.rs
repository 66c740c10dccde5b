//! How much the probes tell of what checks found.

/// How much the probes tell of what checks found.
///
/// Names and statuses of checks are always told. What is withheld is what a check says in its own words, which may name
/// hosts, users or files; in its place the answer says `reason withheld`. The causes of an error are never told, unless
/// a check writes them into its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Details {
    /// The body of a failed probe is the message of the check that failed.
    #[default]
    Always,
    /// Messages are told with `?verbose` and in JSON only.
    OnRequest,
    /// Messages are never told.
    Never,
}

/// What stands where a message would.
pub(super) const WITHHELD: &str = "reason withheld";

// === impl Details ===

impl Details {
    /// The message, or what stands in its place; `asked` is whether the client asked for more than the outcome.
    pub(super) fn reveal(self, message: &str, asked: bool) -> &str {
        match self {
            Self::Always => message,
            Self::OnRequest if asked => message,
            Self::OnRequest | Self::Never if message.is_empty() => message,
            Self::OnRequest | Self::Never => WITHHELD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_to_those_who_may_know() {
        use Details::{Always, Never, OnRequest};

        for (details, asked, told) in [
            (Always, false, "db-7 is down"),
            (Always, true, "db-7 is down"),
            (OnRequest, false, WITHHELD),
            (OnRequest, true, "db-7 is down"),
            (Never, false, WITHHELD),
            (Never, true, WITHHELD),
        ] {
            assert_eq!(details.reveal("db-7 is down", asked), told, "{details:?}");
            assert_eq!(details.reveal("", asked), "", "{details:?}");
        }
    }
}
