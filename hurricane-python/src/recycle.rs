//! Workers that are replaced although they work: since they have done enough, or grown too large.

use std::{
    fmt, fs,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    gateway::Gateway,
    slot::SlotId,
    worker::{Begun, Worker},
};

/// How often it is looked at what a worker has done and how large it is.
const LOOK: Duration = Duration::from_millis(250);

const MIB: f64 = (1 << 20) as f64;

/// When a worker that works is replaced. By default never.
///
/// Its replacement is ready before it is given no more requests, and it finishes those that it
/// has. Of several workers one is replaced at a time.
#[derive(Clone, Debug, Default)]
pub struct RecycleConfig {
    /// After so many requests.
    pub max_requests: Option<u64>,
    /// After up to so many more, so that workers that started together are not replaced together.
    pub jitter: u64,
    /// When it holds more memory than this (bytes, resident set).
    pub max_memory: Option<u64>,
}

/// Why a worker that works is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Worn {
    /// It has answered so many requests.
    Requests(u64),
    /// It holds so much memory, and may hold so much.
    Memory { used: u64, allowed: u64 },
    /// Somebody wants new workers.
    Asked,
}

/// What a worker has done and how large it is, for whoever does not have the worker itself.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
    gateway: Gateway,
    slots: Vec<SlotId>,
    /// Where its event loop counts.
    lane: Option<(Arc<Begun>, usize)>,
}

// === impl RecycleConfig ===

impl RecycleConfig {
    /// Waits until a worker has reached its limits; for ever where there are none.
    pub(crate) async fn worn(&self, meter: &Meter) -> Worn {
        if self.max_requests.is_none() && self.max_memory.is_none() {
            return std::future::pending().await;
        }
        let jitter = match self.jitter {
            0 => 0,
            // Hashers are seeded at random.
            jitter => RandomState::new().hash_one(0) % jitter.saturating_add(1),
        };
        let limit = self.max_requests.map(|limit| limit.saturating_add(jitter));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let served = meter.served();
            if limit.is_some_and(|limit| served >= limit) {
                return Worn::Requests(served);
            }
            if let (Some(allowed), Some(used)) = (self.max_memory, meter.memory())
                && used > allowed
            {
                return Worn::Memory { used, allowed };
            }
        }
    }
}

// === impl Worn ===

impl fmt::Display for Worn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Requests(count) => write!(f, "It has answered {count} requests"),
            Self::Memory { used, allowed } => write!(
                f,
                "Memory (rss) usage is too high. Restarting. Current memory usage is {:.2}MB; Maximum memory allowed is {}MB",
                used as f64 / MIB,
                allowed as f64 / MIB,
            ),
            Self::Asked => f.write_str("New workers are asked for"),
        }
    }
}

// === impl Meter ===

impl Meter {
    pub(crate) fn of(worker: &Worker, gateway: &Gateway) -> Self {
        Self {
            pid: worker.pid(),
            gateway: gateway.clone(),
            slots: worker.slots.clone(),
            lane: worker
                .lane
                .as_ref()
                .map(|(link, _)| (Arc::clone(&link.begun), link.index)),
        }
    }

    fn served(&self) -> u64 {
        let lane = self
            .lane
            .as_ref()
            .and_then(|(begun, index)| begun.read(*index));
        // The count of an event loop comes round again after 2³² requests.
        let lane = u64::from(lane.unwrap_or_default().cast_unsigned());
        lane + self.gateway.served(&self.slots)
    }

    /// The resident set, in bytes.
    fn memory(&self) -> Option<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid?)).ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why() {
        let memory = Worn::Memory {
            used: (200 << 20) + (1 << 19),
            allowed: 200 << 20,
        };
        assert_eq!(
            memory.to_string(),
            "Memory (rss) usage is too high. Restarting. Current memory usage is 200.50MB; Maximum memory allowed is 200MB"
        );
        assert_eq!(Worn::Requests(7).to_string(), "It has answered 7 requests");
    }
}
