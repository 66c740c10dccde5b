//! Which folders are watched, and which of the changes in them matter.
//!
//! Folders are watched and not files: an editor may put a new file in the place of the old one, and
//! packages have fewer folders than files.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use hurricane_python::Loaded;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use tokio::sync::mpsc;
use tracing::warn;

/// Something that happened to a file or a folder.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    /// Whether it may not be there any more.
    is_gone: bool,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// The application was loaded from it, or may be next time.
    Code,
    /// It is among the static files to be collected.
    Static,
}

/// The folders that are watched, and what for.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    /// Those that are watched, or cannot be.
    folders: HashMap<PathBuf, RecursiveMode>,
    /// Where modules may appear that could not be found.
    home: PathBuf,
    of_static: Vec<PathBuf>,
    /// What the application was loaded from, and what links among it lead to.
    files: BTreeSet<PathBuf>,
    templates: BTreeSet<PathBuf>,
    is_broken: bool,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(
        of_static: &[PathBuf],
        changes: mpsc::UnboundedSender<Change>,
    ) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            for change in event.into_iter().flat_map(changes_of) {
                // An error means that the runtime ends.
                let _ = changes.send(change);
            }
        })?;
        Ok(Self {
            watcher,
            folders: HashMap::new(),
            home: std::env::current_dir().map_err(notify::Error::io)?,
            of_static: of_static
                .iter()
                .filter_map(|path| std::path::absolute(path).ok())
                .collect(),
            files: BTreeSet::new(),
            templates: BTreeSet::new(),
            is_broken: false,
        })
    }

    /// Watches what the application is loaded from now, and what has come back.
    pub(super) fn follow(&mut self, loaded: &Loaded) {
        self.is_broken = loaded.is_broken;
        for file in &loaded.files {
            if self.files.insert(file.clone())
                && let Ok(real) = fs::canonicalize(file)
            {
                self.files.insert(real);
            }
        }
        self.templates.clone_from(&loaded.templates);
        let whole = self.templates.iter().chain(&self.of_static).cloned();
        for path in whole.collect::<Vec<_>>() {
            // Of a file, the folder: it may be replaced.
            let folder = if path.is_file() { path.parent() } else { None };
            match folder {
                Some(folder) => self.watch(folder, RecursiveMode::NonRecursive),
                None => self.watch(&path, RecursiveMode::Recursive),
            }
        }
        let folders: BTreeSet<_> = self.files.iter().filter_map(|file| file.parent()).collect();
        let folders: Vec<_> = folders.into_iter().map(Path::to_owned).collect();
        for folder in folders {
            self.watch(&folder, RecursiveMode::NonRecursive);
        }
        self.watch(&self.home.clone(), RecursiveMode::NonRecursive);
    }

    /// Whether the application could not be loaded the last time.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What a change is about, if it matters.
    pub(super) fn heed(&mut self, change: &Change) -> Option<Concern> {
        let path = change.path.as_path();
        if change.is_gone && self.folders.remove(path).is_some() {
            // What takes its place is another folder. An error means that it is watched no more.
            let _ = self.watcher.unwatch(path);
        }
        if self.files.contains(path) {
            return Some(Concern::Code);
        }
        if is_noise(path) {
            return None;
        }
        if self
            .of_static
            .iter()
            .any(|watched| path.starts_with(watched))
        {
            return Some(Concern::Static);
        }
        if self.templates.iter().any(|folder| path.starts_with(folder)) {
            return Some(Concern::Code);
        }
        if !self.is_broken {
            return None;
        }
        // What is missing may have come: a module, or a package, with a file that comes next.
        if path.is_dir() {
            self.watch(path, RecursiveMode::NonRecursive);
            return Some(Concern::Code);
        }
        path.extension()
            .is_some_and(|extension| extension == "py")
            .then_some(Concern::Code)
    }

    fn watch(&mut self, folder: &Path, mode: RecursiveMode) {
        // Once watched as a whole it stays so: for the watcher the last word counts.
        match self.folders.get(folder) {
            Some(RecursiveMode::Recursive) => return,
            Some(_) if mode == RecursiveMode::NonRecursive => return,
            _ => {}
        }
        match self.watcher.watch(folder, mode) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return,
            Err(error) => warn!("{} is not watched: {error}", folder.display()),
        }
        self.folders.insert(folder.to_owned(), mode);
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn changes_of(event: Event) -> impl Iterator<Item = Change> {
    let is_gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    // That a file was read changes nothing.
    let counts = !matches!(event.kind, EventKind::Access(_));
    let paths = event.paths.into_iter().filter(move |_| counts);
    paths.map(move |path| Change { path, is_gone })
}

/// What is no file of the application: hidden, or left by an editor or by Python.
fn is_noise(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '#'])
        || name == "__pycache__"
        || name == "4913"
        || name.ends_with(['~', '#'])
        || [".pyc", ".swp", ".swx", ".tmp"]
            .iter()
            .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_leave_is_noise() {
        for name in [
            ".a.py.swp",
            "a.py~",
            "#a.py#",
            "4913",
            "__pycache__",
            "a.pyc",
        ] {
            assert!(is_noise(&Path::new("/project").join(name)), "{name}");
        }
        for name in ["a.py", "a.html", "static"] {
            assert!(!is_noise(&Path::new("/project").join(name)), "{name}");
        }
    }
}
