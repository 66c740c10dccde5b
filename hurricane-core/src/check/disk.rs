//! How much room is left on a file system.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use rustix::fs::statvfs;
use tokio::{sync::Semaphore, task};

use super::{Check, CheckResult, Status};

/// Looks at the room that is left on a file system, and at its inodes.
///
/// By default it warns below 10 % and fails below 2 %, of bytes that this process may use or of inodes, whichever is
/// worse. A file system that does not answer, such as that of a server that is gone, holds up one thread at most: the
/// check fails until that has returned.
///
/// # Examples
///
/// ```
/// use hurricane_core::{CheckConfig, DiskCheck, Probe, Registry, Severity};
///
/// let mut registry = Registry::new();
/// let uploads = DiskCheck::new("uploads", "/var/uploads")
///     .warn_below_percent(20.0)
///     .fail_below_bytes(512 << 20);
/// registry.add_check(uploads, CheckConfig::from(Probe::Readiness).severity(Severity::Degraded))?;
/// # Ok::<_, hurricane_core::AlreadyRegistered>(())
/// ```
#[derive(Clone, Debug)]
pub struct DiskCheck {
    name: Cow<'static, str>,
    path: PathBuf,
    warn: Limit,
    fail: Limit,
    /// One permit, held by the thread that looks.
    looking: Arc<Semaphore>,
}

/// What should be left.
#[derive(Clone, Copy, Debug)]
struct Limit {
    percent: f64,
    bytes: u64,
}

/// What is left.
#[derive(Clone, Copy, Debug)]
struct Room {
    bytes: u64,
    percent: f64,
    /// None where there is no fixed number of inodes.
    inodes_percent: Option<f64>,
}

// === impl DiskCheck ===

impl DiskCheck {
    /// A check of the file system that `path` is on.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            warn: Limit {
                percent: 10.0,
                bytes: 0,
            },
            fail: Limit {
                percent: 2.0,
                bytes: 0,
            },
            looking: Arc::new(Semaphore::new(1)),
        }
    }

    /// Warns when less than this share is left; 10 by default.
    #[must_use]
    pub fn warn_below_percent(mut self, percent: f64) -> Self {
        self.warn.percent = percent;
        self
    }

    /// Warns when less than this is left.
    #[must_use]
    pub fn warn_below_bytes(mut self, bytes: u64) -> Self {
        self.warn.bytes = bytes;
        self
    }

    /// Fails when less than this share is left; 2 by default.
    #[must_use]
    pub fn fail_below_percent(mut self, percent: f64) -> Self {
        self.fail.percent = percent;
        self
    }

    /// Fails when less than this is left.
    #[must_use]
    pub fn fail_below_bytes(mut self, bytes: u64) -> Self {
        self.fail.bytes = bytes;
        self
    }

    fn judge(&self, room: Room) -> CheckResult {
        let status = if self.fail.is_crossed(room) {
            Status::Fail
        } else if self.warn.is_crossed(room) {
            Status::Warn
        } else {
            Status::Pass
        };
        let Room { bytes, percent, .. } = room;
        let mebibytes = bytes >> 20;
        let mut message = format!("{mebibytes} MiB ({percent:.1} %) are left");
        if let Some(inodes) = room.inodes_percent.filter(|inodes| *inodes < percent) {
            message.push_str(&format!(", {inodes:.1} % of the inodes"));
        }
        CheckResult::with(status, message)
    }
}

#[async_trait]
impl Check for DiskCheck {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> CheckResult {
        let Ok(permit) = Arc::clone(&self.looking).try_acquire_owned() else {
            return CheckResult::fail("the file system does not answer");
        };
        let path = self.path.clone();
        let looked = task::spawn_blocking(move || {
            let room = Room::of(&path);
            drop(permit);
            room
        });
        match looked.await {
            Ok(Ok(room)) => self.judge(room),
            Ok(Err(error)) => {
                let path = self.path.display();
                CheckResult::fail(format!("{path} cannot be looked at: {error}"))
            }
            // It happens while the runtime shuts down.
            Err(error) => CheckResult::fail(error.to_string()),
        }
    }
}

// === impl Limit ===

impl Limit {
    fn is_crossed(self, room: Room) -> bool {
        room.bytes < self.bytes
            || room.percent < self.percent
            || room
                .inodes_percent
                .is_some_and(|inodes| inodes < self.percent)
    }
}

// === impl Room ===

impl Room {
    fn of(path: &Path) -> io::Result<Self> {
        let stat = statvfs(path)?;
        // As `df` counts: what only root may use belongs to nobody.
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let used_inodes = stat.f_files.saturating_sub(stat.f_ffree);
        Ok(Self {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            percent: share(stat.f_bavail, used).unwrap_or(100.0),
            inodes_percent: share(stat.f_favail, used_inodes).filter(|_| stat.f_files > 0),
        })
    }
}

fn share(left: u64, used: u64) -> Option<f64> {
    let all = left.saturating_add(used);
    (all > 0).then(|| 100.0 * left as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_percent_and_inodes_each_have_their_limits() {
        let check = DiskCheck::new("disk", "/").fail_below_bytes(1 << 30);
        let room = |bytes, percent, inodes_percent| Room {
            bytes,
            percent,
            inodes_percent,
        };
        let told = |room| {
            let result = check.judge(room);
            (result.status, result.message.into_owned())
        };
        let told_as = |status, message: &str| (status, message.to_owned());
        assert_eq!(
            told(room(50 << 30, 50.0, Some(80.0))),
            told_as(Status::Pass, "51200 MiB (50.0 %) are left")
        );
        assert_eq!(told(room(50 << 30, 9.9, None)).0, Status::Warn);
        assert_eq!(told(room(50 << 30, 1.9, None)).0, Status::Fail);
        assert_eq!(told(room((1 << 30) - 1, 50.0, None)).0, Status::Fail);
        assert_eq!(
            told(room(50 << 30, 50.0, Some(0.5))),
            told_as(
                Status::Fail,
                "51200 MiB (50.0 %) are left, 0.5 % of the inodes"
            )
        );
    }

    #[tokio::test]
    async fn the_room_of_a_real_file_system_is_told() {
        let check = DiskCheck::new("disk", std::env::temp_dir())
            .warn_below_percent(0.0)
            .fail_below_percent(0.0);
        let result = check.check().await;
        assert_eq!(result.status, Status::Pass, "{result:?}");
        assert!(result.message.contains(" MiB ("), "{result:?}");
        let result = check.fail_below_bytes(u64::MAX).check().await;
        assert_eq!(result.status, Status::Fail, "{result:?}");
    }

    #[tokio::test]
    async fn a_path_that_is_not_there_fails() {
        let result = DiskCheck::new("disk", "/nowhere/at/all").check().await;
        assert_eq!(result.status, Status::Fail);
        assert!(
            result
                .message
                .starts_with("/nowhere/at/all cannot be looked at: No such file"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn while_one_look_hangs_there_is_no_second() {
        let check = DiskCheck::new("disk", "/");
        let permit = Arc::clone(&check.looking).try_acquire_owned().unwrap();
        let result = check.check().await;
        assert_eq!(result, CheckResult::fail("the file system does not answer"));
        drop(permit);
        assert_ne!(check.check().await, result);
    }
}
