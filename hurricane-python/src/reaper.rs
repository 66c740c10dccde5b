//! The duty of process 1: to wait for orphans.
//!
//! In a container the server is process 1, so whatever an application has started and left
//! behind becomes its child. A child that has ended stays in the process table, a zombie, until
//! its parent waits for it.

use std::{
    collections::HashSet,
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// The process ids of the workers, whose end is waited for elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own(Arc<Mutex<HashSet<u32>>>);

/// Keeps a process from being taken for an orphan.
#[derive(Debug)]
pub(crate) struct Claim {
    own: Own,
    pid: u32,
}

// === impl Own ===

impl Own {
    /// Claims a process that has just been started.
    pub(crate) fn claim(&self, pid: u32) -> Claim {
        self.lock().insert(pid);
        Claim {
            own: self.clone(),
            pid,
        }
    }

    /// Waits for orphans for as long as the process is process 1, and not at all when it is not.
    pub(crate) async fn reap_orphans(self) {
        if !getpid().is_init() {
            return;
        }
        let mut ended = match signal(SignalKind::child()) {
            Ok(ended) => ended,
            Err(error) => return tracing::warn!(%error, "orphans cannot be waited for"),
        };
        loop {
            if let Err(error) = self.reap() {
                tracing::warn!(%error, "failed to look for orphans");
            }
            if ended.recv().await.is_none() {
                return;
            }
        }
    }

    fn reap(&self) -> io::Result<()> {
        for pid in zombies()? {
            // Looked up for each, as the process table was read a moment ago.
            if !self.lock().contains(&pid)
                && let Some(id) = Pid::from_raw(pid.cast_signed())
                && matches!(waitpid(Some(id), WaitOptions::NOHANG), Ok(Some(_)))
            {
                tracing::debug!(pid, "Waited for an orphan");
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.own.lock().remove(&self.pid);
    }
}

/// Children that have ended, of which the process table tells.
fn zombies() -> io::Result<Vec<u32>> {
    let parent = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have gone since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if is_zombie_of(&stat, parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Reads a line of `/proc/PID/stat`: state and parent stand behind the name, which is in
/// parentheses and may hold anything.
fn is_zombie_of(stat: &str, parent: u32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_whitespace();
    fields.next() == Some("Z") && fields.next().and_then(|field| field.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_zombies_from_the_living_and_from_those_of_others() {
        assert!(is_zombie_of("7 (sleep) Z 1 7 7 0 -1", 1));
        assert!(is_zombie_of("7 (a) Z 2) Z 1 7 7 0 -1", 1));
        assert!(!is_zombie_of("7 (sleep) S 1 7 7 0 -1", 1));
        assert!(!is_zombie_of("7 (sleep) Z 2 7 7 0 -1", 1));
        assert!(!is_zombie_of("", 1));
    }

    #[test]
    fn a_claim_ends_when_it_is_dropped() {
        let own = Own::default();
        let claim = own.claim(7);
        assert!(own.lock().contains(&7));
        drop(claim);
        assert!(!own.lock().contains(&7));
    }
}
