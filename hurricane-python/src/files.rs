//! Where a Django project has its static and media files, as its worker tells; see `files.py`.

use std::path::PathBuf;

use crate::frame::marshal::{DecodeError, Reader};

/// Where a Django project has its files, and under which URLs they are to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectFiles {
    /// The path under which the project is mounted, which its URLs may begin with; it has no
    /// slash at its end.
    pub script_name: String,
    /// The static files, if they were asked for.
    pub of_static: Option<StaticFiles>,
    /// The media files, if they were asked for.
    pub of_media: Option<MediaFiles>,
}

/// The settings for static files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticFiles {
    /// `STATIC_URL`.
    pub url: Option<String>,
    /// `STATIC_ROOT`; empty where it is not set.
    pub root: PathBuf,
    /// Whether Django's finders serve the files in place of the server: `DEBUG` is on, and
    /// `django.contrib.staticfiles` is installed.
    pub finders: bool,
}

/// The settings for media files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaFiles {
    /// `MEDIA_URL`.
    pub url: Option<String>,
    /// `MEDIA_ROOT`; empty where it is not set.
    pub root: PathBuf,
}

// === impl ProjectFiles ===

impl ProjectFiles {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if reader.none() {
            return Ok(None);
        }
        Ok(Some(Self {
            script_name: reader.fields(3)?.string()?,
            of_static: StaticFiles::read(reader)?,
            of_media: MediaFiles::read(reader)?,
        }))
    }
}

// === impl StaticFiles ===

impl StaticFiles {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if reader.none() {
            return Ok(None);
        }
        Ok(Some(Self {
            url: url(reader.fields(3)?)?,
            root: reader.string()?.into(),
            finders: reader.bool()?,
        }))
    }
}

// === impl MediaFiles ===

impl MediaFiles {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if reader.none() {
            return Ok(None);
        }
        Ok(Some(Self {
            url: url(reader.fields(2)?)?,
            root: reader.string()?.into(),
        }))
    }
}

fn url(reader: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
    if reader.none() {
        return Ok(None);
    }
    reader.string().map(Some)
}
