//! Which files have a hash of their content in their name, so that they never change.

use std::{collections::HashSet, fs, path::Path};

use serde_json::Value;

/// How many digits Django's `ManifestStaticFilesStorage` puts between a name and its extension.
const DIGITS: usize = 12;

/// Tells the files of a folder that never change from the others.
#[derive(Debug)]
pub(super) enum Hashed {
    /// They are listed in the manifest that `collectstatic` wrote.
    Listed(HashSet<String>),
    /// There is no manifest: they are known by their names.
    ByName,
}

// === impl Hashed ===

impl Hashed {
    /// Looks for Django's manifest in the folder of the static files.
    pub(super) fn of(root: &Path) -> Self {
        let manifest = fs::read(root.join("staticfiles.json")).ok();
        match manifest.and_then(|text| read(&text)) {
            Some(names) => Self::Listed(names),
            None => Self::ByName,
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Listed(names) => names.contains(name),
            Self::ByName => has_hash(name),
        }
    }
}

/// The hashed names of a manifest: `{"paths": {"base.css": "base.0123456789ab.css"}}`. A file that
/// was left as it is stands there under its own name.
fn read(text: &[u8]) -> Option<HashSet<String>> {
    let manifest: Value = serde_json::from_slice(text).ok()?;
    let paths = manifest.get("paths")?.as_object()?;
    let hashed = paths.iter().filter_map(|(name, hashed)| {
        let hashed = hashed.as_str()?;
        (hashed != name).then(|| hashed.to_owned())
    });
    Some(hashed.collect())
}

/// `name.0123456789ab.ext` or `name.0123456789ab`, with a letter at least: digits alone are
/// rather a time.
fn has_hash(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let mut parts = file.split('.').rev();
    let last = parts.next();
    let before = parts.next();
    let (hash, first) = match (last, before, parts.next()) {
        (Some(_), Some(hash), Some(first)) if is_hash(hash) => (hash, first),
        (Some(hash), Some(first), _) => (hash, first),
        _ => return false,
    };
    is_hash(hash) && !first.is_empty()
}

fn is_hash(part: &str) -> bool {
    part.len() == DIGITS
        && part
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_known_by_the_name() {
        for name in [
            "base.0123456789ab.css",
            "css/base.min.0123456789ab.css",
            "LICENSE.0123456789ab",
        ] {
            assert!(has_hash(name), "{name}");
        }
        for name in [
            "base.css",
            "0123456789ab.css",
            "0123456789ab",
            "base.0123456789AB.css",
            "base.0123456789abc.css",
            "base.202611210751.css",
            "base.0123456789ab.min.css",
            "base.0123456789ab/plain.css",
            "",
        ] {
            assert!(!has_hash(name), "{name}");
        }
    }

    #[test]
    fn a_manifest_has_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Hashed::of(folder.path()).contains("old.0123456789ab.css"));
        let manifest = r#"{"paths": {"a.css": "a.bbbbbbbbbbbb.css", "as-is.css": "as-is.css"}, "version": "1.1"}"#;
        fs::write(folder.path().join("staticfiles.json"), manifest).unwrap();
        let hashed = Hashed::of(folder.path());
        assert!(hashed.contains("a.bbbbbbbbbbbb.css"));
        assert!(!hashed.contains("as-is.css"));
        assert!(!hashed.contains("old.0123456789ab.css"));
        fs::write(folder.path().join("staticfiles.json"), "no JSON").unwrap();
        assert!(Hashed::of(folder.path()).contains("old.0123456789ab.css"));
    }
}
