//! Files of a folder, and of no other: what tower-http's `ServeDir` reads from.
//!
//! Everything here but reading a body asks the file system at once and blocks; see
//! [`answer`](super::answer) for where it runs.

use std::{
    fs::{self, File as StdFile},
    future::{Ready, ready},
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2},
    io::Errno,
};
use tokio::{
    fs::File as TokioFile,
    io::{AsyncRead, AsyncSeek, ReadBuf},
};
use tower_http::services::fs::{Backend, File, Metadata};

/// A file up to this size (bytes) is read when it is opened.
const SMALL: u64 = 128 * 1024;

/// How much of a larger one is read at a time (bytes).
const BLOCK: usize = 128 * 1024;

/// How a file is opened: one that is no regular file must not make us wait, or become our terminal.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The files of a folder, by their names in it.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    root: Arc<Path>,
    wanted: Wanted,
}

/// What of a file is going to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Only its size and its age.
    About,
    /// That, and maybe a part of its content.
    Part,
    /// All of it.
    All,
}

/// What a file is.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    size: u64,
    modified: Option<SystemTime>,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Opened {
    about: About,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Small enough to have been read.
    Read(Cursor<Vec<u8>>),
    /// Not read yet; none while it is changing into the next.
    Unread(Option<StdFile>),
    /// Being read, block by block, in the runtime's pool.
    Reading(TokioFile),
}

// === impl Disk ===

impl Disk {
    pub(super) fn new(root: Arc<Path>, wanted: Wanted) -> Self {
        Self { root, wanted }
    }

    fn find(&self, name: &Path) -> io::Result<(StdFile, About)> {
        let found = beneath(&self.root, name).and_then(|file| {
            let about = file.metadata()?;
            if !about.is_file() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let about = About {
                size: about.len(),
                modified: about.modified().ok(),
            };
            Ok((file, about))
        });
        // Of a file that may not be read no one is to know more than of one that is not there.
        found.map_err(|error| match Errno::from_io_error(&error) {
            Some(
                Errno::ACCESS
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NOENT
                | Errno::NOTDIR
                | Errno::NXIO
                | Errno::PERM
                | Errno::XDEV,
            ) => io::ErrorKind::NotFound.into(),
            _ => error,
        })
    }
}

impl Backend for Disk {
    type File = Opened;
    type Metadata = About;
    type OpenFuture = Ready<io::Result<Opened>>;
    type MetadataFuture = Ready<io::Result<About>>;

    fn open(&self, name: PathBuf) -> Self::OpenFuture {
        let whole = self.wanted == Wanted::All;
        ready(
            self.find(&name)
                .and_then(|(file, about)| Opened::new(file, about, whole)),
        )
    }

    fn metadata(&self, name: PathBuf) -> Self::MetadataFuture {
        ready(match self.wanted {
            Wanted::About => self.find(&name).map(|(_, about)| about),
            // The question is whether it is a folder, of which opening it tells too.
            Wanted::Part | Wanted::All => Err(io::ErrorKind::NotFound.into()),
        })
    }
}

// === impl About ===

impl Metadata for About {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.size
    }
}

// === impl Opened ===

impl Opened {
    fn new(file: StdFile, mut about: About, whole: bool) -> io::Result<Self> {
        let content = if whole && about.size <= SMALL {
            let mut data = Vec::with_capacity(about.size as usize);
            file.take(about.size).read_to_end(&mut data)?;
            // It may have become shorter in the meantime.
            about.size = data.len() as u64;
            Content::Read(Cursor::new(data))
        } else {
            Content::Unread(Some(file))
        };
        Ok(Self { about, content })
    }
}

impl File for Opened {
    type Metadata = About;
    type MetadataFuture<'a> = Ready<io::Result<About>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.about))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.content {
                Content::Read(data) => return Pin::new(data).poll_read(cx, buffer),
                Content::Reading(file) => return Pin::new(file).poll_read(cx, buffer),
                Content::Unread(file) => {
                    let file = file.take().expect("it changes right here");
                    let mut file = TokioFile::from_std(file);
                    file.set_max_buf_size(BLOCK);
                    self.content = Content::Reading(file);
                }
            }
        }
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        match &mut self.content {
            Content::Read(data) => data.seek(position).map(drop),
            Content::Unread(Some(file)) => file.seek(position).map(drop),
            Content::Unread(None) => Ok(()),
            Content::Reading(file) => Pin::new(file).start_seek(position),
        }
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(match &mut self.content {
            Content::Read(data) => Ok(data.position()),
            Content::Unread(Some(file)) => file.stream_position(),
            Content::Unread(None) => Ok(0),
            Content::Reading(file) => return Pin::new(file).poll_complete(cx),
        })
    }
}

/// Opens a file that lies in a folder, and not elsewhere by way of a link. The folder itself may be
/// a link, and may come, go and change.
fn beneath(root: &Path, name: &Path) -> io::Result<StdFile> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(root, folder, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&folder, name, FLAGS, Mode::empty(), resolve) {
        Ok(file) => Ok(file.into()),
        // A link leads out, or is absolute and may lead in again; the kernel lost track since
        // something was renamed; or it does not know the call, or a sandbox refuses it.
        Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => resolved(root, name),
        Err(error) => Err(error.into()),
    }
}

/// The same, by first looking where the links lead.
fn resolved(root: &Path, name: &Path) -> io::Result<StdFile> {
    let root = fs::canonicalize(root)?;
    let path = fs::canonicalize(root.join(name))?;
    if !path.starts_with(&root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(openat(CWD, &path, FLAGS | OFlags::NOFOLLOW, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder `root` with things in it, beside what is not to be seen.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("css")).unwrap();
        fs::write(root.join("css/base.css"), "body {}").unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::create_dir(folder.path().join("root-2")).unwrap();
        fs::write(folder.path().join("root-2/near"), "near").unwrap();
        folder
    }

    fn read(open: io::Result<StdFile>) -> io::Result<String> {
        io::read_to_string(open?)
    }

    /// By either way; they have to agree on whether it may be read.
    fn both(root: &Path, name: &str) -> Option<String> {
        let first = read(beneath(root, Path::new(name))).ok();
        let second = read(resolved(root, Path::new(name))).ok();
        assert_eq!(first, second, "{name}");
        first
    }

    #[test]
    fn links_lead_within_the_folder_but_not_out() {
        let folder = folder();
        let root = folder.path().join("root");
        let link = |to: &Path, name: &str| symlink(to, root.join(name)).unwrap();
        link(Path::new("css/base.css"), "inside");
        link(Path::new("css"), "folder");
        link(&root.join("css/base.css"), "absolute-inside");
        link(Path::new("../secret"), "outside");
        link(Path::new("../root-2"), "sibling");
        link(&folder.path().join("secret"), "absolute-outside");
        link(Path::new("/"), "top");
        link(Path::new("loop"), "loop");
        link(Path::new("nothing"), "dangling");
        let style = Some("body {}".to_owned());
        for name in [
            "css/base.css",
            "inside",
            "folder/base.css",
            "absolute-inside",
        ] {
            assert_eq!(both(&root, name), style, "{name}");
        }
        for name in [
            "outside",
            "sibling/near",
            "absolute-outside",
            "top/etc/passwd",
            "loop",
            "dangling",
            "../secret",
            "css/../../secret",
        ] {
            assert_eq!(both(&root, name), None, "{name}");
        }
    }

    #[test]
    fn the_folder_itself_may_be_a_link() {
        let folder = folder();
        let root = folder.path().join("current");
        symlink("root", &root).unwrap();
        assert_eq!(both(&root, "css/base.css"), Some("body {}".to_owned()));
        symlink("../../secret", folder.path().join("root/css/up")).unwrap();
        assert_eq!(both(&root, "css/up"), None);
    }

    #[test]
    fn only_regular_files_are_found() {
        let folder = folder();
        let root = folder.path().join("root");
        rustix::fs::mkfifoat(CWD, root.join("pipe"), Mode::RUSR).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket"));
        let disk = Disk::new(root.as_path().into(), Wanted::All);
        for name in ["pipe", "socket", "css", "css/base.css/more", "nothing"] {
            let error = disk.find(Path::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{name}");
        }
        let long = "a".repeat(300);
        let error = disk.find(Path::new(&long)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        drop(socket);
    }
}
