//! Methods as the values of a label.

use http::Method;

/// All values; everything else is the last one, so that clients cannot make up series.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "_OTHER",
];

/// A method, or that it is none of the standard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MethodIndex(u8);

// === impl MethodIndex ===

impl MethodIndex {
    /// How many there are.
    pub(super) const COUNT: usize = METHODS.len();

    pub(super) fn of(method: &Method) -> Self {
        // Compared by the enum's tag, not as text, for all but the last.
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::PATCH => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => 9,
        })
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn name(self) -> &'static str {
        METHODS[self.index()]
    }
}
