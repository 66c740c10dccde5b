//! The paths of the probes, compared as they are: no patterns.

/// What can be asked of the probe server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One of the probes.
    Probe(crate::Probe),
    /// The metrics.
    Metrics,
}

/// The paths of all endpoints in their normal form: one slash in front, none at the end, no blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    paths: Vec<(String, Endpoint)>,
    /// Names that Kubernetes' own servers use, as far as nothing else was given them.
    aliases: Vec<(&'static str, Endpoint)>,
}

/// Two endpoints were given the same path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {path} is given to more than one of the probes and metrics")]
pub struct PathError {
    /// The path in its normal form.
    pub path: String,
}

/// The paths that the servers of Kubernetes itself have.
const ALIASES: [(&str, Endpoint); 3] = [
    ("/livez", Endpoint::Probe(crate::Probe::Liveness)),
    ("/readyz", Endpoint::Probe(crate::Probe::Readiness)),
    ("/healthz", Endpoint::Probe(crate::Probe::Liveness)),
];

// === impl Paths ===

impl Paths {
    pub(super) fn new(
        startup: &str,
        readiness: &str,
        liveness: &str,
        metrics: Option<&str>,
    ) -> Result<Self, PathError> {
        let given = [
            (Some(startup), Endpoint::Probe(crate::Probe::Startup)),
            (Some(readiness), Endpoint::Probe(crate::Probe::Readiness)),
            (Some(liveness), Endpoint::Probe(crate::Probe::Liveness)),
            (metrics, Endpoint::Metrics),
        ];
        let mut paths: Vec<(String, Endpoint)> = Vec::new();
        for (path, endpoint) in given {
            let Some(path) = path.map(normalize) else {
                continue;
            };
            if paths.iter().any(|(other, _)| *other == path) {
                return Err(PathError { path });
            }
            paths.push((path, endpoint));
        }
        Ok(Self {
            paths,
            aliases: Vec::new(),
        })
    }

    /// Adds the aliases, but for those that are the path of something already.
    pub(super) fn with_aliases(mut self) -> Self {
        let is_free = |alias: &str| self.paths.iter().all(|(path, _)| path != alias);
        self.aliases = ALIASES
            .into_iter()
            .filter(|(alias, _)| is_free(alias))
            .collect();
        self
    }

    /// The endpoint at a request's path, which may have one slash more at its end.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Endpoint> {
        let mut paths = self.paths.iter();
        paths
            .find(|(known, _)| is_at(known, path))
            .map(|(_, endpoint)| *endpoint)
    }

    /// The endpoint that has this path for an [alias](super::ProbeConfig::aliases).
    #[must_use]
    pub fn find_alias(&self, path: &str) -> Option<Endpoint> {
        let mut aliases = self.aliases.iter();
        aliases
            .find(|(known, _)| is_at(known, path))
            .map(|(_, endpoint)| *endpoint)
    }

    /// The probe and the name of one of its checks, where a path has the name behind the path of the probe or an alias
    /// of it; the name stands as it is in the path.
    pub(super) fn find_check<'a>(&self, path: &'a str) -> Option<(crate::Probe, &'a str)> {
        let aliases = self.aliases.iter().copied();
        let paths = self
            .paths
            .iter()
            .map(|(path, endpoint)| (&**path, *endpoint));
        let below = paths.chain(aliases).filter_map(|(known, endpoint)| {
            let name = path.strip_prefix(known)?.strip_prefix('/')?;
            let name = name.strip_suffix('/').unwrap_or(name);
            match endpoint {
                Endpoint::Probe(probe) if !name.is_empty() => Some((probe, name)),
                Endpoint::Probe(_) | Endpoint::Metrics => None,
            }
        });
        // One path may lie below another: the longer one is meant.
        below.min_by_key(|(_, name)| name.len())
    }

    /// The path of an endpoint, where it has one.
    #[must_use]
    pub fn path(&self, endpoint: Endpoint) -> Option<&str> {
        self.paths
            .iter()
            .find(|(_, known)| *known == endpoint)
            .map(|(path, _)| &**path)
    }
}

fn is_at(known: &str, path: &str) -> bool {
    known == path || path.strip_suffix('/') == Some(known)
}

fn normalize(path: &str) -> String {
    let bare: String = path.chars().filter(|c| !c.is_whitespace()).collect();
    format!("/{}", bare.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probe;

    fn liveness_at(liveness: &str) -> Paths {
        Paths::new("/startup", "/ready", liveness, None).unwrap()
    }

    #[test]
    fn a_trailing_slash_is_optional_both_ways() {
        let alive = Some(Endpoint::Probe(Probe::Liveness));
        for given in ["/alive", "alive", "//alive/", "/ali ve"] {
            let paths = liveness_at(given);
            assert_eq!(paths.find("/alive"), alive, "{given}");
            assert_eq!(paths.find("/alive/"), alive, "{given}");
            assert_eq!(paths.find("/alive//"), None, "{given}");
            assert_eq!(paths.find("/alive/x"), None, "{given}");
        }
    }

    #[test]
    fn a_path_is_no_pattern() {
        let paths = liveness_at("/s.t/{x}/*");
        assert!(paths.find("/s.t/{x}/*").is_some());
        assert_eq!(paths.find("/sXt/{x}/*"), None);
    }

    #[test]
    fn the_root_is_a_path_like_others() {
        assert!(liveness_at("").find("/").is_some());
    }

    #[test]
    fn aliases_give_way_to_what_was_configured() {
        let liveness = Some(Endpoint::Probe(Probe::Liveness));
        let none = liveness_at("/alive");
        assert_eq!(none.find_alias("/livez"), None);
        let aliases = none.with_aliases();
        assert_eq!(aliases.find("/livez"), None);
        assert_eq!(aliases.find_alias("/livez"), liveness);
        assert_eq!(aliases.find_alias("/healthz/"), liveness);
        assert_eq!(aliases.find_alias("/alive"), None);
        let taken = Paths::new("/healthz", "/livez", "/alive", None).unwrap();
        let taken = taken.with_aliases();
        assert_eq!(taken.find_alias("/livez"), None);
        assert_eq!(taken.find_alias("/healthz"), None);
        assert_eq!(
            taken.find_alias("/readyz"),
            Some(Endpoint::Probe(Probe::Readiness))
        );
    }

    #[test]
    fn the_name_of_a_check_follows_the_path() {
        let paths = Paths::new("/", "/alive/deep", "/alive", Some("/metrics")).unwrap();
        let paths = paths.with_aliases();
        for (path, expected) in [
            ("/alive/db", Some((Probe::Liveness, "db"))),
            ("/alive/db/", Some((Probe::Liveness, "db"))),
            (
                "/alive/main%20runtime",
                Some((Probe::Liveness, "main%20runtime")),
            ),
            ("/alive/deep/a/b", Some((Probe::Readiness, "a/b"))),
            ("/alive/deeper", Some((Probe::Liveness, "deeper"))),
            ("/readyz/db", Some((Probe::Readiness, "db"))),
            ("/alive/", None),
            ("/alive//", None),
            ("/alivex", None),
            ("/metrics/x", None),
            ("/db", None),
        ] {
            assert_eq!(paths.find_check(path), expected, "{path}");
        }
    }

    #[test]
    fn two_endpoints_cannot_share_a_path() {
        let error = Paths::new("/startup", "/alive", "alive/", Some("/metrics")).unwrap_err();
        assert_eq!(error.path, "/alive");
    }
}
