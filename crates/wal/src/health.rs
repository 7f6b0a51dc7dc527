//! How an engine is doing, for its operator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the classes of [`WriteTimes`], microseconds.
pub const WRITE_TIME_BOUNDS_US: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
];
/// Classes of [`WriteTimes`]: one for each bound, and one above.
const CLASSES: usize = WRITE_TIME_BOUNDS_US.len() + 1;

/// How an engine is doing. Asking costs a few loads and waits for nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Why it has stopped for good, when it has.
    pub failure: Option<Arc<str>>,
    /// The number of the last durable event, 0 before the first.
    pub durable: u64,
    /// How long batches took to become durable.
    pub writes: WriteTimes,
}

/// How long batches took to become durable: writing and syncing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteTimes {
    /// All together.
    pub total: Duration,
    /// How many batches took at most each of [`WRITE_TIME_BOUNDS_US`] and more than the bound
    /// before; the last class holds those above every bound.
    pub classes: [u64; CLASSES],
}

impl WriteTimes {
    /// How many batches were written since the start.
    pub fn batches(&self) -> u64 {
        self.classes
            .iter()
            .fold(0, |sum, class| sum.saturating_add(*class))
    }
}

/// The same, while it is counted.
#[derive(Default)]
pub(crate) struct Counted {
    total_us: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

impl Counted {
    pub(crate) fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = WRITE_TIME_BOUNDS_US.partition_point(|bound| *bound < us);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> WriteTimes {
        let mut times = WriteTimes {
            total: Duration::from_micros(self.total_us.load(Ordering::Relaxed)),
            ..WriteTimes::default()
        };
        for (read, counted) in times.classes.iter_mut().zip(&self.classes) {
            *read = counted.load(Ordering::Relaxed);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_falls_into_the_class_of_its_time() {
        let counted = Counted::default();
        for us in [0, 100, 101, 1_000_000, 1_000_001] {
            counted.add(Duration::from_micros(us));
        }
        let times = counted.read();
        assert_eq!(times.batches(), 5);
        assert_eq!((times.classes[0], times.classes[1]), (2, 1));
        assert_eq!((times.classes[11], times.classes[12]), (1, 1));
        assert_eq!(times.total, Duration::from_micros(2_000_202));
    }
}
