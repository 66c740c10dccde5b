//! Values counted in buckets, without a lock.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How many values fell below each of some bounds, and what they add up to.
///
/// Counting one takes two atomic additions and no lock, and never any memory. Clones count together.
///
/// # Examples
///
/// ```
/// use hurricane_core::metric::Distribution;
///
/// let sizes = Distribution::new([10.0, 100.0]);
/// sizes.observe(7.0);
/// sizes.observe(70.0);
/// assert_eq!((sizes.count(), sizes.sum()), (2, 77.0));
/// ```
#[derive(Clone)]
pub struct Distribution {
    inner: Arc<Inner>,
}

struct Inner {
    /// Upper bounds, each included in its bucket, in order and finite.
    bounds: Box<[f64]>,
    /// One more than there are bounds: the last is for what is above them all. Not cumulative.
    buckets: Box<[AtomicU64]>,
    /// The bits of a floating point number.
    sum: AtomicU64,
}

// === impl Distribution ===

impl Distribution {
    /// Begins with no value, and a bucket up to each of the bounds.
    ///
    /// Bounds need not be in order; those that are no finite number are left out.
    #[must_use]
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Self {
        let mut bounds: Vec<f64> = bounds
            .into_iter()
            .filter(|bound| bound.is_finite())
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        Self {
            inner: Arc::new(Inner {
                buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
                bounds: bounds.into(),
                sum: AtomicU64::new(0.0_f64.to_bits()),
            }),
        }
    }

    /// Counts a value; what is not a number is left out.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        // Bounds are few, and most values are small: from the front is faster than halving.
        let bounds = &self.inner.bounds;
        let index = bounds
            .iter()
            .position(|bound| value <= *bound)
            .unwrap_or(bounds.len());
        self.inner.buckets[index].fetch_add(1, Relaxed);
        // Never fails: the closure always has a new value.
        let _ = self.inner.sum.fetch_update(Relaxed, Relaxed, |sum| {
            Some((f64::from_bits(sum) + value).to_bits())
        });
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inner
            .buckets
            .iter()
            .map(|bucket| bucket.load(Relaxed))
            .sum()
    }

    /// What the values add up to.
    #[must_use]
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.inner.sum.load(Relaxed))
    }

    /// The bounds, in order.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.inner.bounds
    }

    /// How many values there are up to each bound; the last number counts all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        let mut total = 0;
        self.inner.buckets.iter().map(move |bucket| {
            total += bucket.load(Relaxed);
            total
        })
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("bounds", &self.inner.bounds)
            .field("count", &self.count())
            .field("sum", &self.sum())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let distribution = Distribution::new([10.0, 1.0, f64::INFINITY, 1.0]);
        assert_eq!(distribution.bounds(), [1.0, 10.0]);
        for value in [0.5, 1.0, 1.5, 10.0, 11.0, f64::NAN] {
            distribution.observe(value);
        }
        assert_eq!(distribution.cumulative().collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!((distribution.count(), distribution.sum()), (5, 24.0));
    }

    #[test]
    fn threads_lose_nothing() {
        let distribution = Distribution::new([1.0]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| distribution.observe(0.5)));
            }
        });
        assert_eq!((distribution.count(), distribution.sum()), (4_000, 2_000.0));
    }
}
