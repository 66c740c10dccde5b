//! The registered checks, which come and go while they are asked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::{runtime::Handle, time::Instant};

use super::{
    Check, CheckConfig, CheckPolicy, CheckReport, Probe, Selection,
    slot::{Background, Slot},
};
use crate::{
    registry::{AlreadyRegistered, Kind, RegisteredCheck},
    traffic::Traffic,
};

/// The checks of a process, to which others can be added, and from which they can be removed, at any time.
///
/// Clones share the same checks. To find one by its name takes the same time however many there are.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use hurricane_core::{CheckPolicy, CheckResult, CheckRunner, Probe, Traffic, check_fn};
/// use tokio::runtime::Handle;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runner = CheckRunner::new(&[], CheckPolicy::default(), Arc::new(Traffic::new()), Handle::current());
/// let checks = runner.checks().clone();
/// checks.add(check_fn("tenant 7", || async { CheckResult::pass() }), Probe::Readiness)?;
/// assert!(checks.ask("tenant 7").await.is_some());
/// assert!(checks.remove("tenant 7"));
/// assert!(checks.names().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Checks {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: RwLock<Catalog>,
    policy: CheckPolicy,
    traffic: Arc<Traffic>,
    handle: Handle,
}

#[derive(Default)]
struct Catalog {
    /// Counts registrations, for their order.
    added: u64,
    by_name: HashMap<Arc<str>, Entry>,
    by_probe: [BTreeMap<u64, Arc<Slot>>; Probe::ALL.len()],
}

struct Entry {
    number: u64,
    slot: Arc<Slot>,
    /// Ends the runs in the background when the entry is dropped.
    _background: Option<Background>,
}

/// Checks that were picked to be asked.
pub(super) struct Picked {
    slots: Vec<Arc<Slot>>,
    pub(super) excluded: Vec<String>,
    pub(super) unknown: Vec<String>,
}

// === impl Checks ===

impl Checks {
    pub(super) fn new(
        registered: &[RegisteredCheck],
        policy: CheckPolicy,
        traffic: Arc<Traffic>,
        handle: Handle,
    ) -> Self {
        let checks = Self {
            inner: Arc::new(Inner {
                catalog: RwLock::default(),
                policy,
                traffic,
                handle,
            }),
        };
        for check in registered {
            // The registry has seen to it that no name comes twice.
            let _ = checks.insert(Arc::clone(&check.check), check.config.clone());
        }
        checks
    }

    /// Adds a check; one in the background begins to run.
    ///
    /// # Errors
    ///
    /// There is a check of that name.
    pub fn add(
        &self,
        check: impl Check,
        config: impl Into<CheckConfig>,
    ) -> Result<(), AlreadyRegistered> {
        self.insert(Arc::new(check), config.into())
    }

    /// Removes a check; returns whether there was one of that name.
    ///
    /// In the background it is not run again, and a run that is going on is broken off. A run that a probe waits for is
    /// left to its end.
    pub fn remove(&self, name: &str) -> bool {
        let removed = {
            let mut catalog = self
                .inner
                .catalog
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let removed = catalog.by_name.remove(name);
            if let Some(entry) = &removed {
                for probe in entry.slot.config.probes() {
                    catalog.by_probe[*probe as usize].remove(&entry.number);
                }
            }
            removed
        };
        // Dropped outside of the lock: what a check holds may take its time to go.
        removed.is_some()
    }

    /// The names of all checks, in the order they were added.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.inner.read(|catalog| {
            let mut named: Vec<_> = catalog
                .by_name
                .iter()
                .map(|(name, entry)| (entry.number, name))
                .collect();
            named.sort_unstable();
            named
                .into_iter()
                .map(|(_, name)| String::from(&**name))
                .collect()
        })
    }

    /// Whether there is a check of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.inner
            .read(|catalog| catalog.by_name.contains_key(name))
    }

    /// Asks one check, as a probe does; none if there is no check of that name.
    pub async fn ask(&self, name: &str) -> Option<CheckReport> {
        let slot = self.inner.find(name)?;
        self.run(vec![slot]).await.pop()
    }

    /// What a check last found, without a run; none if there is no check of that name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<CheckReport> {
        let slot = self.inner.find(name)?;
        Some(slot.report(Instant::now(), &self.inner.policy))
    }

    pub(super) fn policy(&self) -> &CheckPolicy {
        &self.inner.policy
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Asks what was picked, all at the same time.
    pub(super) async fn ask_all(&self, picked: Picked) -> Vec<CheckReport> {
        self.run(picked.slots).await
    }

    /// Picks every check that a probe asks.
    pub(super) fn pick_all(&self) -> Picked {
        self.inner.read(|catalog| {
            let slots = catalog.by_name.values().map(|entry| &entry.slot);
            let asked = slots.filter(|slot| !slot.config.probes().is_empty());
            Picked::these(asked.cloned().collect())
        })
    }

    /// Picks the selected checks of a probe; looks at no others where they are named.
    ///
    /// A selection comes from whoever asks, and may be long: nothing is compared with everything.
    pub(super) fn pick(&self, probe: Probe, selection: &Selection) -> Picked {
        self.inner.read(|catalog| {
            let named = |name: &str| {
                let entry = catalog.by_name.get(name);
                entry.filter(|entry| entry.slot.config.probes().contains(&probe))
            };
            let mut picked = Picked::these(Vec::new());
            let mut excluded = BTreeSet::new();
            let mut unknown = BTreeSet::new();
            for name in &selection.exclude {
                match named(name) {
                    Some(entry) if excluded.insert(entry.number) => {
                        picked.excluded.push(name.clone());
                    }
                    None if unknown.insert(name) => picked.unknown.push(name.clone()),
                    Some(_) | None => {}
                }
            }
            if selection.only.is_empty() {
                let tags: HashSet<_> = selection.tags.iter().map(|tag| &**tag).collect();
                let tagged = |slot: &Slot| {
                    tags.is_empty() || slot.config.tags.iter().any(|tag| tags.contains(&**tag))
                };
                let slots = catalog.by_probe[probe as usize].iter();
                let wanted =
                    slots.filter(|(number, slot)| !excluded.contains(number) && tagged(slot));
                picked.slots = wanted.map(|(_, slot)| Arc::clone(slot)).collect();
                return picked;
            }
            let mut chosen = BTreeMap::new();
            for name in &selection.only {
                match named(name) {
                    Some(entry) if !excluded.contains(&entry.number) => {
                        chosen.insert(entry.number, Arc::clone(&entry.slot));
                    }
                    None if unknown.insert(name) => picked.unknown.push(name.clone()),
                    Some(_) | None => {}
                }
            }
            picked.slots = chosen.into_values().collect();
            picked
        })
    }

    async fn run(&self, slots: Vec<Arc<Slot>>) -> Vec<CheckReport> {
        let Inner {
            policy,
            traffic,
            handle,
            ..
        } = &*self.inner;
        let now = Instant::now();
        let busy = traffic.is_busy();
        // All runs are started before the first is waited for, so that they share the time.
        let joined: Vec<_> = slots
            .iter()
            .map(|slot| slot.join(now, busy, policy, handle))
            .collect();
        let mut reports = Vec::with_capacity(joined.len());
        for run in joined {
            reports.push(run.report(policy).await);
        }
        reports
    }

    fn insert(&self, check: Arc<dyn Check>, config: CheckConfig) -> Result<(), AlreadyRegistered> {
        let Inner { policy, handle, .. } = &*self.inner;
        let slot = Arc::new(Slot::new(check, config, policy));
        let mut catalog = self
            .inner
            .catalog
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if catalog.by_name.contains_key(&slot.name) {
            return Err(AlreadyRegistered {
                kind: Kind::Check,
                name: String::from(&*slot.name),
            });
        }
        catalog.added += 1;
        let number = catalog.added;
        for probe in slot.config.probes() {
            catalog.by_probe[*probe as usize].insert(number, Arc::clone(&slot));
        }
        let entry = Entry {
            number,
            _background: slot.start(handle),
            slot: Arc::clone(&slot),
        };
        catalog.by_name.insert(Arc::clone(&slot.name), entry);
        Ok(())
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.read(|catalog| {
            let slots = catalog.by_name.values().map(|entry| &entry.slot);
            f.debug_list().entries(slots).finish()
        })
    }
}

// === impl Inner ===

impl Inner {
    fn read<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, name: &str) -> Option<Arc<Slot>> {
        self.read(|catalog| Some(Arc::clone(&catalog.by_name.get(name)?.slot)))
    }
}

// === impl Picked ===

impl Picked {
    fn these(slots: Vec<Arc<Slot>>) -> Self {
        Self {
            slots,
            excluded: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
