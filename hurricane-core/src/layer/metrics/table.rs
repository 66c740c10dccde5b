//! A map from names to what is kept for them, read without a lock and never larger than it may be.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use metrics::{Counter, counter};

use crate::names;

/// What stands for all names that came when the table was full.
const OTHER: &str = "_other";

/// Keeps one thing for each name, up to a number of names; the others share one.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// Its hashes are quick to compute. Clients that find names with equal ones gain little: the table is bounded.
    known: ArcSwap<HashMap<Arc<str>, Arc<T>, RandomState>>,
    other: Arc<T>,
    most: usize,
    label: &'static str,
    overflow: OnceLock<Counter>,
}

// === impl Table ===

impl<T> Table<T> {
    /// Begins without names, which are the values of `label`.
    pub(super) fn new(label: &'static str, most: usize, new: impl Fn(&Arc<str>) -> T) -> Self {
        Self {
            known: ArcSwap::default(),
            other: Arc::new(new(&OTHER.into())),
            most,
            label,
            overflow: OnceLock::new(),
        }
    }

    /// What is kept for `name`, made by `new` if it is the first time.
    pub(super) fn get(&self, name: &str, new: impl Fn(&Arc<str>) -> T) -> Arc<T> {
        let known = self.known.load();
        if let Some(found) = known.get(name) {
            return Arc::clone(found);
        }
        if known.len() < self.most {
            drop(known);
            self.insert(name, new);
            if let Some(found) = self.known.load().get(name) {
                return Arc::clone(found);
            }
        }
        self.other()
    }

    /// What the names share that are too many.
    pub(super) fn other(&self) -> Arc<T> {
        self.overflow
            .get_or_init(|| counter!(names::OVERFLOW, "label" => self.label))
            .increment(1);
        Arc::clone(&self.other)
    }

    /// Puts a larger map in the place of the map, as happens once for each name. Out of line, as it is rare.
    #[cold]
    fn insert(&self, name: &str, new: impl Fn(&Arc<str>) -> T) {
        let name: Arc<str> = name.into();
        let kept = Arc::new(new(&name));
        self.known.rcu(|known| {
            let mut larger = HashMap::clone(known);
            // Others may have added names in the meantime, this one among them.
            if larger.len() < self.most {
                larger
                    .entry(Arc::clone(&name))
                    .or_insert_with(|| Arc::clone(&kept));
            }
            larger
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_larger_than_it_may_be() {
        let table = Table::new("name", 2, |name| name.to_string());
        let get = |name: &str| table.get(name, |name| name.to_string()).to_string();
        assert_eq!(
            ["a", "b", "c", "a", "d"].map(get),
            ["a", "b", "_other", "a", "_other"]
        );
        assert_eq!(table.known.load().len(), 2);
    }

    #[test]
    fn threads_get_the_same() {
        let table = Table::new("name", 100, |_| ());
        let names: Vec<_> = (0..100).map(|name| name.to_string()).collect();
        let all = || -> Vec<_> { names.iter().map(|name| table.get(name, |_| ())).collect() };
        let found: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(all)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for other in &found[1..] {
            let same = found[0].iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b));
            assert!(same, "a name has two things that are kept for it");
        }
    }
}
