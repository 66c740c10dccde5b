//! From the options, and what a Django project says of itself, to what is served.

use std::path::Path;

use hurricane_python::{MediaFiles, ProjectFiles, StaticFiles};
use tracing::{info, warn};

use super::{
    hashed::Hashed,
    mount::{Kind, Mounts},
};
use crate::{args::files::FilesArgs, exit::Usage};

// === impl Mounts ===

impl Mounts {
    /// Puts together what is to be served, and says so in the log.
    pub(crate) fn of(
        args: &FilesArgs,
        root_path: &str,
        project: Option<&ProjectFiles>,
    ) -> Result<Self, Usage> {
        let script_name = project.map_or("", |project| project.script_name.as_str());
        let mut mounts = Self::new([root_path, script_name]);
        for (given, option) in [(args.of_static, "--static"), (args.of_media, "--media")] {
            if given && project.is_none() {
                return Err(Usage(format!(
                    "{option}: the application is no Django project; --static-dir serves a folder for any application"
                )));
            }
        }
        if let Some(found) = project.and_then(|project| project.of_static.as_ref()) {
            mounts.add_static(found, args)?;
        }
        if let Some(found) = project.and_then(|project| project.of_media.as_ref()) {
            mounts.add_media(found, args)?;
        }
        for folder in args.static_dir.iter().flat_map(|folders| &folders.0) {
            let (url, path) = (&folder.url, folder.path.display());
            info!("Serving files under {url} from {path}");
            let Some(prefix) = mounts.prefix(url) else {
                return Err(Usage(format!(
                    "--static-dir: {url} is all of the application: give a path below it"
                )));
            };
            if !folder.path.is_dir() {
                warn!("There is no folder {path} yet: requests below {url} are answered 404");
            }
            let kind = Kind::Static(Hashed::of(&folder.path));
            mounts.mount(prefix, Some(&folder.path), kind, args)?;
        }
        Ok(mounts)
    }

    fn add_static(&mut self, found: &StaticFiles, args: &FilesArgs) -> Result<(), Usage> {
        let root = &found.root;
        let url = found.url.as_deref().unwrap_or("<STATIC_URL not set>");
        let shown = if root.as_os_str().is_empty() {
            "<STATIC_ROOT not set>".into()
        } else {
            root.to_string_lossy()
        };
        info!("Serving static files under {url} from {shown}");
        if found.finders {
            // Django's finders have more than is in STATIC_ROOT, and look again each time.
            return Ok(());
        }
        let Some(prefix) = self.usable("--static", "STATIC_URL", found.url.as_deref()) else {
            return Ok(());
        };
        if root.as_os_str().is_empty() {
            warn!("STATIC_ROOT is not set: requests below {url} are answered 404");
            return self.mount(prefix, None, Kind::Static(Hashed::ByName), args);
        }
        if !root.is_dir() {
            warn!(
                "There is no folder {shown}, which collectstatic makes: requests below {url} are answered 404"
            );
        }
        let kind = Kind::Static(Hashed::of(root));
        self.mount(prefix, Some(root), kind, args)
    }

    fn add_media(&mut self, found: &MediaFiles, args: &FilesArgs) -> Result<(), Usage> {
        let root = &found.root;
        let url = found.url.as_deref().unwrap_or("<MEDIA_URL not set>");
        info!("Serving media files under {url} from {}", root.display());
        if root.as_os_str().is_empty() {
            warn!(
                "MEDIA_ROOT is not set: no media files are served, not those of the working directory"
            );
            return Ok(());
        }
        let Some(prefix) = self.usable("--media", "MEDIA_URL", found.url.as_deref()) else {
            return Ok(());
        };
        // The folder may be made with the first upload.
        self.mount(prefix, Some(root), Kind::Media, args)
    }

    /// The path of a URL from the settings, if it is a path below that of the application.
    fn usable(&self, option: &str, setting: &str, url: Option<&str>) -> Option<String> {
        let Some(url) = url else {
            warn!("{option} has no effect: {setting} is not set");
            return None;
        };
        if url.contains("://") || url.starts_with("//") {
            warn!(
                "{option} has no effect: {setting} is {url}, which is another server's; if that one fetches the files \
                 from here, --static-dir serves them"
            );
            return None;
        }
        let prefix = self.prefix(url);
        if prefix.is_none() {
            warn!("{option} has no effect: {setting} is {url}, which is all of the application");
        }
        prefix
    }

    fn mount(
        &mut self,
        prefix: String,
        root: Option<&Path>,
        kind: Kind,
        args: &FilesArgs,
    ) -> Result<(), Usage> {
        let root = root.map(Path::to_owned);
        self.add(prefix, root, kind, args.static_max_age)
            .map_err(|error| Usage(error.to_string()))
    }
}
