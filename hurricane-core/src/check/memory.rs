//! How close the container is to its limit of memory.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use tokio::task;

use super::{Check, CheckResult, Status};

/// Looks at the memory of the process's cgroup, which in Kubernetes is its container.
///
/// What counts is what Kubernetes counts, the working set: all memory except for files that have not been used of late,
/// which the kernel gives back when it is needed. By default the check warns above 80 % of the limit and fails above 95 %.
/// Without a limit it passes. Both versions of cgroups are understood.
///
/// # Examples
///
/// ```
/// use hurricane_core::{MemoryCheck, Probe, Registry};
///
/// let mut registry = Registry::new();
/// // In time for the process to be drained, rather than killed by the kernel.
/// let memory = MemoryCheck::new("memory").warn_above_percent(70.0).fail_above_percent(90.0);
/// registry.add_check(memory, [Probe::Readiness])?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryCheck {
    name: Cow<'static, str>,
    /// None to find it out.
    cgroup: Option<PathBuf>,
    warn_percent: f64,
    fail_percent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    working_set: u64,
    limit: Option<u64>,
}

/// Where the files of one version of cgroups are, and what they are called.
struct Version {
    current: &'static str,
    limit: &'static str,
    inactive: &'static str,
}

const V2: Version = Version {
    current: "memory.current",
    limit: "memory.max",
    inactive: "inactive_file",
};

const V1: Version = Version {
    current: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    inactive: "total_inactive_file",
};

/// The first version of cgroups has no word for "no limit", but a number of pages near the end of what a long can hold.
const NO_LIMIT: u64 = 1 << 62;

// === impl MemoryCheck ===

impl MemoryCheck {
    /// A check of the cgroup that this process is in.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            cgroup: None,
            warn_percent: 80.0,
            fail_percent: 95.0,
        }
    }

    /// Looks at the files in this folder instead.
    #[must_use]
    pub fn cgroup(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cgroup = Some(folder.into());
        self
    }

    /// Warns above this share of the limit; 80 by default.
    #[must_use]
    pub fn warn_above_percent(mut self, percent: f64) -> Self {
        self.warn_percent = percent;
        self
    }

    /// Fails above this share of the limit; 95 by default.
    #[must_use]
    pub fn fail_above_percent(mut self, percent: f64) -> Self {
        self.fail_percent = percent;
        self
    }

    fn judge(&self, usage: Usage) -> CheckResult {
        let used = usage.working_set >> 20;
        let Some(limit) = usage.limit else {
            return CheckResult::pass_with(format!("{used} MiB are used, without a limit"));
        };
        // A limit of zero is crossed by the first byte.
        let percent = 100.0 * usage.working_set as f64 / limit.max(1) as f64;
        let status = if percent > self.fail_percent {
            Status::Fail
        } else if percent > self.warn_percent {
            Status::Warn
        } else {
            Status::Pass
        };
        let limit = limit >> 20;
        CheckResult::with(
            status,
            format!("{used} of {limit} MiB ({percent:.1} %) are used"),
        )
    }
}

#[async_trait]
impl Check for MemoryCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let cgroup = self.cgroup.clone();
        // The kernel may have to add up some numbers first.
        let looked = task::spawn_blocking(move || {
            let folders = cgroup.map_or_else(own_cgroups, |folder| vec![folder]);
            folders.iter().find_map(|folder| Usage::of(folder))
        });
        match looked.await {
            Ok(Some(Ok(usage))) => self.judge(usage),
            Ok(Some(Err(error))) => {
                CheckResult::warn(format!("the memory's cgroup cannot be read: {error}"))
            }
            Ok(None) => CheckResult::warn("there is no cgroup that counts memory"),
            // It happens while the runtime shuts down.
            Err(error) => CheckResult::warn(error.to_string()),
        }
    }
}

// === impl Usage ===

impl Usage {
    /// What the files in a folder say; none if it is no folder of a cgroup that counts memory.
    fn of(folder: &Path) -> Option<io::Result<Self>> {
        let version = [V2, V1]
            .into_iter()
            .find(|version| folder.join(version.current).exists())?;
        Some(Self::read(folder, &version))
    }

    fn read(folder: &Path, version: &Version) -> io::Result<Self> {
        let current = number(&fs::read_to_string(folder.join(version.current))?)?;
        let limit = match fs::read_to_string(folder.join(version.limit))?.trim() {
            "max" => None,
            limit => Some(number(limit)?).filter(|limit| *limit < NO_LIMIT),
        };
        let stat = fs::read_to_string(folder.join("memory.stat"))?;
        let inactive = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(name, _)| *name == version.inactive)
            .map_or(Ok(0), |(_, bytes)| number(bytes))?;
        Ok(Self {
            working_set: current.saturating_sub(inactive),
            limit,
        })
    }
}

/// The folders in which the process's cgroup may be found. In a container the first may not be there: then it is the
/// root of what can be seen.
fn own_cgroups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut folders = cgroups(&text, Path::new("/sys/fs/cgroup"));
    folders.dedup();
    folders
}

/// The same for the text of `/proc/self/cgroup` and what is mounted at `root`.
fn cgroups(text: &str, root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in text.lines() {
        // Number, controllers, path; the second version has no controllers here.
        let mut parts = line.splitn(3, ':').skip(1);
        let mount = match parts.next() {
            Some("") => root.to_owned(),
            Some(controllers) if controllers.split(',').any(|name| name == "memory") => {
                root.join("memory")
            }
            _ => continue,
        };
        let path = parts.next().unwrap_or_default().trim_start_matches('/');
        folders.push(mount.join(path));
        folders.push(mount);
    }
    folders
}

fn number(text: &str) -> io::Result<u64> {
    text.trim()
        .parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A cgroup of the second version.
    fn second(current: u64, limit: &str, inactive: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("memory.current", format!("{current}\n"));
        write("memory.max", format!("{limit}\n"));
        write(
            "memory.stat",
            format!("anon 1\ninactive_file {inactive}\nactive_file 3\n"),
        );
        folder
    }

    async fn found(folder: &tempfile::TempDir) -> CheckResult {
        MemoryCheck::new("memory")
            .cgroup(folder.path())
            .check()
            .await
    }

    #[tokio::test]
    async fn the_working_set_is_held_against_the_limit() {
        let limit = (1_000 * MIB).to_string();
        let folder = second(850 * MIB, &limit, 100 * MIB);
        let said = "750 of 1000 MiB (75.0 %) are used";
        assert_eq!(found(&folder).await, CheckResult::pass_with(said));
        let folder = second(900 * MIB, &limit, 0);
        let said = "900 of 1000 MiB (90.0 %) are used";
        assert_eq!(found(&folder).await, CheckResult::warn(said));
        let strict = MemoryCheck::new("memory")
            .cgroup(folder.path())
            .fail_above_percent(89.9);
        assert_eq!(strict.check().await, CheckResult::fail(said));
        let easy = MemoryCheck::new("memory")
            .cgroup(folder.path())
            .warn_above_percent(90.0);
        assert_eq!(easy.check().await, CheckResult::pass_with(said));
    }

    #[tokio::test]
    async fn without_a_limit_it_passes() {
        let folder = second(900 * MIB, "max", 0);
        let said = "900 MiB are used, without a limit";
        assert_eq!(found(&folder).await, CheckResult::pass_with(said));
    }

    #[tokio::test]
    async fn the_first_version_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.usage_in_bytes", "104857600\n");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        write(
            "memory.stat",
            "inactive_file 1\ntotal_inactive_file 52428800\n",
        );
        let said = "50 MiB are used, without a limit";
        assert_eq!(found(&folder).await, CheckResult::pass_with(said));
        write("memory.limit_in_bytes", "52428800\n");
        let said = "50 of 50 MiB (100.0 %) are used";
        assert_eq!(found(&folder).await, CheckResult::fail(said));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let said = "there is no cgroup that counts memory";
        assert_eq!(found(&folder).await, CheckResult::warn(said));
        let folder = second(1, "much", 0);
        let said = "the memory's cgroup cannot be read: invalid digit found in string";
        assert_eq!(found(&folder).await, CheckResult::warn(said));
    }

    #[test]
    fn the_own_cgroup_comes_before_the_root() {
        let root = Path::new("/cg");
        assert_eq!(
            cgroups("0::/kubepods/pod1\n", root),
            [root.join("kubepods/pod1"), root.to_owned()]
        );
        assert_eq!(
            cgroups("12:cpu,cpuacct:/x\n3:memory:/docker/1:2\n0::/\n", root),
            [
                root.join("memory/docker/1:2"),
                root.join("memory"),
                root.join(""),
                root.to_owned()
            ]
        );
        assert!(cgroups("", root).is_empty());
    }
}
