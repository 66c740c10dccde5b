//! Which names of files a path may ask for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The longest name of a file or a folder, in bytes, on the file systems there are.
const LONGEST: usize = 255;

/// A path without its percent-encoding, as the application would see it. What is no text is
/// replaced by U+FFFD, which no [servable](is_servable) name has.
pub(super) fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        percent_decode_str(path).decode_utf8_lossy()
    } else {
        Cow::Borrowed(path)
    }
}

/// Whether a decoded path below a mount can be that of a file which is to be served.
///
/// Not so are hidden files, the way up, folders, and what means a path on other systems.
pub(super) fn is_servable(name: &str) -> bool {
    !name.contains(|c: char| c.is_control() || matches!(c, '\\' | char::REPLACEMENT_CHARACTER))
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.len() <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_served_under_any_usual_name() {
        for name in [
            "a.css",
            "css/base.0123456789ab.css",
            "LICENSE",
            "a..b/c...d",
            "trailing.",
            "with space.txt",
            "größe/日本語.png",
            "c:d",
            "~user",
            "a+b&c=d;e@f",
            "100%25.txt",
        ] {
            assert!(is_servable(name), "{name:?}");
        }
        assert!(is_servable(&"a".repeat(LONGEST)));
    }

    #[test]
    fn there_is_no_way_out_and_nothing_hidden() {
        for path in [
            "",
            "/",
            ".",
            "..",
            "../settings.py",
            "css/../../settings.py",
            "css/..",
            "%2e%2e/settings.py",
            "%2E%2E%2Fsettings.py",
            "css%2f..%2f..%2fsettings.py",
            "..%5csettings.py",
            "..\\settings.py",
            "C:\\Windows\\win.ini",
            "/etc/passwd",
            "css//base.css",
            "css/",
            "css/%2e/base.css",
            ".env",
            "%2eenv",
            ".git/config",
            "css/.hidden/base.css",
            "base.css%00.png",
            "base.css%0d%0aX: y",
            "%ff.css",
            "%c0%ae%c0%ae/settings.py",
        ] {
            assert!(!is_servable(&decoded(path)), "{path:?}");
        }
        assert!(!is_servable(&"a".repeat(LONGEST + 1)));
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decoded("%252e%252e/a"), "%2e%2e/a");
        assert_eq!(decoded("gr%C3%B6%C3%9Fe"), "größe");
    }
}
