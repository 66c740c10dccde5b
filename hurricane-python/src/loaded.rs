//! What the application was loaded from, as its workers tell; see `loaded.py`.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use crate::frame::marshal::{DecodeError, Reader};

/// What the application was loaded from, as far as its workers have told.
///
/// It only grows: what was imported once counts, whether the worker that did is still there or not.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The files of the modules, and those that a failure to import them came from.
    pub files: BTreeSet<PathBuf>,
    /// Folders of templates.
    pub templates: BTreeSet<PathBuf>,
    /// Whether the latest worker could not load the application. What it lacks may be a file that
    /// is not there yet.
    pub is_broken: bool,
}

// === impl Loaded ===

impl Loaded {
    /// Adds what a worker tells.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        paths(reader.fields(2)?, &mut self.files)?;
        paths(reader, &mut self.templates)
    }
}

fn paths(reader: &mut Reader<'_>, paths: &mut BTreeSet<PathBuf>) -> Result<(), DecodeError> {
    for _ in 0..reader.sequence()? {
        paths.insert(OsStr::from_bytes(reader.bytes()?).into());
    }
    Ok(())
}
