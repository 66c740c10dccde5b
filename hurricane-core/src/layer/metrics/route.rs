//! Which of the application's routes a request matched.

use std::{fmt, sync::Arc};

use http::Extensions;

/// The pattern of the route that a request matched, told by a service that knows it.
///
/// axum's routers tell theirs by themselves. Any other service puts it into the extensions of its response, or
/// something before it into those of the request. It is to be a pattern, not a path: there should be few of them.
///
/// # Examples
///
/// ```
/// use hurricane_core::layer::Route;
///
/// let mut response = http::Response::new("a user");
/// response.extensions_mut().insert(Route::new("/users/{id}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route(Arc<str>);

// === impl Route ===

impl Route {
    /// A route with this pattern.
    pub fn new(pattern: impl Into<Arc<str>>) -> Self {
        Self(pattern.into())
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The route that is told by the extensions of a request or a response.
pub(super) fn of(extensions: &Extensions) -> Option<&str> {
    extensions
        .get()
        .map(Route::as_str)
        .or_else(|| matched_path(extensions))
}

#[cfg(feature = "server")]
fn matched_path(extensions: &Extensions) -> Option<&str> {
    extensions
        .get::<axum::extract::MatchedPath>()
        .map(axum::extract::MatchedPath::as_str)
}

#[cfg(not(feature = "server"))]
fn matched_path(_: &Extensions) -> Option<&str> {
    None
}
