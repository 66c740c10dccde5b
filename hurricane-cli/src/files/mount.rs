//! The folders that are served, each under a path.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;
use hurricane_core::layer::Route;

use super::{
    hashed::Hashed,
    name::{decoded, is_servable},
};

/// What is kept for ever. A year is what HTTP calls so.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// All folders that are served.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// The paths below which the application is mounted, of which a proxy may have cut one off.
    root_paths: Vec<String>,
    /// Those with longer paths first.
    mounts: Vec<Arc<Mount>>,
}

/// A folder, and the path under which its files are served.
#[derive(Debug)]
pub(super) struct Mount {
    /// Within the application, percent-decoded, with a slash at either end.
    prefix: String,
    /// What the metrics call it.
    pub(super) route: Route,
    /// None is a folder without files.
    pub(super) root: Option<Arc<Path>>,
    pub(super) kind: Kind,
    /// How long a file may be kept.
    max_age: HeaderValue,
}

/// What sort of files it has.
#[derive(Debug)]
pub(super) enum Kind {
    /// What comes with the application: there may be compressed files beside the others, and
    /// files with a hash in their name.
    Static(Hashed),
    /// What users have uploaded, of which nothing is known.
    Media,
}

/// A file that is asked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) mount: Arc<Mount>,
    /// Its name in the folder; none if it cannot be that of a file.
    pub(super) name: Option<String>,
}

/// Two folders have the same path.
#[derive(Debug, thiserror::Error)]
#[error("two folders cannot be served under one path, {0}")]
pub(super) struct Taken(String);

// === impl Mounts ===

impl Mounts {
    /// None yet, of an application that is mounted under these paths, if they are not empty.
    pub(super) fn new<'a>(root_paths: impl IntoIterator<Item = &'a str>) -> Self {
        let root_paths = root_paths.into_iter().filter(|path| !path.is_empty());
        Self {
            root_paths: root_paths.map(str::to_owned).collect(),
            mounts: Vec::new(),
        }
    }

    /// The path within the application of a URL's path; none if that is all of the application.
    pub(super) fn prefix(&self, url: &str) -> Option<String> {
        let url = decoded(url);
        let inner = self.inner(&url).trim_matches('/');
        (!inner.is_empty()).then(|| format!("/{inner}/"))
    }

    /// Serves a folder. Its path is a [`prefix`](Self::prefix).
    pub(super) fn add(
        &mut self,
        prefix: String,
        root: Option<PathBuf>,
        kind: Kind,
        max_age: Duration,
    ) -> Result<(), Taken> {
        if self.mounts.iter().any(|mount| mount.prefix == prefix) {
            return Err(Taken(prefix));
        }
        let max_age = format!("public, max-age={}", max_age.as_secs());
        self.mounts.push(Arc::new(Mount {
            route: Route::new(prefix.as_str()),
            prefix,
            root: root.map(Arc::from),
            kind,
            max_age: HeaderValue::try_from(max_age).expect("a number is a header's value"),
        }));
        self.mounts
            .sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        Ok(())
    }

    /// The file that a path asks for; none if it is the application's.
    pub(super) fn find(&self, path: &str) -> Option<Found> {
        if self.mounts.is_empty() {
            return None;
        }
        let path = decoded(path);
        let path = self.inner(&path);
        self.mounts.iter().find_map(|mount| {
            let name = path.strip_prefix(mount.prefix.as_str())?;
            Some(Found {
                mount: Arc::clone(mount),
                name: is_servable(name).then(|| name.to_owned()),
            })
        })
    }

    /// The path without the application's own.
    fn inner<'a>(&self, path: &'a str) -> &'a str {
        let mut inner = self.root_paths.iter().filter_map(|root| {
            path.strip_prefix(root.as_str())
                .filter(|rest| rest.starts_with('/'))
        });
        inner.next().unwrap_or(path)
    }
}

// === impl Mount ===

impl Mount {
    /// How long a file may be kept.
    pub(super) fn cache_control(&self, name: &str) -> HeaderValue {
        match &self.kind {
            Kind::Static(hashed) if hashed.contains(name) => FOR_EVER,
            Kind::Static(_) | Kind::Media => self.max_age.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(root_path: &str, urls: &[&str]) -> Mounts {
        let mut mounts = Mounts::new([root_path]);
        for url in urls {
            let prefix = mounts.prefix(url).unwrap();
            mounts
                .add(prefix, None, Kind::Media, Duration::from_secs(60))
                .unwrap();
        }
        mounts
    }

    /// The mount and the name in it, as text.
    fn find(mounts: &Mounts, path: &str) -> Option<String> {
        mounts
            .find(path)
            .map(|found| format!("{} {}", found.mount.prefix, found.name.unwrap_or_default()))
    }

    #[test]
    fn what_lies_below_a_mount_is_a_file() {
        let mounts = mounts("", &["/static/", "media/", "/static/admin"]);
        for (path, expected) in [
            ("/static/a/b.css", Some("/static/ a/b.css")),
            ("/st%61tic/a.css", Some("/static/ a.css")),
            ("/static/admin/a.css", Some("/static/admin/ a.css")),
            (
                "/static/administration/a.css",
                Some("/static/ administration/a.css"),
            ),
            ("/media/gr%C3%B6%C3%9Fe.png", Some("/media/ größe.png")),
            ("/static/", Some("/static/ ")),
            ("/static/../a.css", Some("/static/ ")),
            ("/static", None),
            ("/statics/a.css", None),
            ("/", None),
            ("/shop/static/a.css", None),
        ] {
            assert_eq!(find(&mounts, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_root_path_may_stand_before_the_path_and_the_url_or_not() {
        for url in ["/static/", "/shop/static/", "/shop/static"] {
            let mounts = mounts("/shop", &[url]);
            for path in ["/static/a.css", "/shop/static/a.css"] {
                let found = find(&mounts, path);
                assert_eq!(found.as_deref(), Some("/static/ a.css"), "{url} {path}");
            }
            assert_eq!(find(&mounts, "/shopping/static/a.css"), None);
        }
    }

    #[test]
    fn the_whole_application_is_no_mount() {
        let mounts = Mounts::new(["/shop"]);
        for url in ["", "/", "/shop/", "//"] {
            assert_eq!(mounts.prefix(url), None, "{url:?}");
        }
    }

    #[test]
    fn a_path_is_taken_once() {
        let mut mounts = mounts("", &["/static/"]);
        let again = mounts.add("/static/".to_owned(), None, Kind::Media, Duration::ZERO);
        assert!(again.unwrap_err().to_string().ends_with("/static/"));
    }
}
