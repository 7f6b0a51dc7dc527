//! Buckets by key: a bounded number of them, in shards.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Limit, Rate, Source, bucket::Bucket};

/// Shards of the table, so that requests seldom wait for each other.
pub const SHARDS: usize = 32;
/// How many buckets are looked at for one to forget, when the table is full.
const EVICTION_STEPS: usize = 8;

/// Names a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    source: Source,
    limit: Limit,
    number: u32,
}

impl Key {
    pub(super) fn new(source: Source, limit: Limit, number: u32) -> Self {
        Self {
            source,
            limit,
            number,
        }
    }
}

/// The buckets of all sources.
pub struct Sources {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    buckets: HashMap<Key, Bucket>,
    /// The keys of `buckets`, each once, in the order in which they are looked at.
    order: VecDeque<Key>,
    max: usize,
    /// What newcomers share while no bucket can be forgotten, by kind of limit.
    overflow: [Bucket; Limit::ALL.len()],
}

impl Sources {
    /// At most about `max` buckets, and at least one in each shard.
    pub fn new(max: usize) -> Self {
        let max = max.div_ceil(SHARDS).max(1);
        let shard = || {
            Mutex::new(Shard {
                buckets: HashMap::new(),
                order: VecDeque::new(),
                max,
                overflow: [Bucket::default(); Limit::ALL.len()],
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// How many buckets are remembered.
    pub fn len(&self) -> usize {
        let lengths = self.shards.iter().map(|shard| lock(shard).buckets.len());
        lengths.sum()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a token of a bucket, or tells how long until there is one.
    pub(super) fn take(&self, now: Duration, key: Key, rate: Rate) -> Result<(), Duration> {
        self.shard(key).bucket(now, key).take(now, rate)
    }

    /// Whether a bucket holds a token. Remembers nothing.
    pub(super) fn look(&self, now: Duration, key: Key, rate: Rate) -> Result<(), Duration> {
        let shard = self.shard(key);
        let bucket = shard.buckets.get(&key).copied().unwrap_or_default();
        bucket.look(now, rate)
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let count = u64::try_from(SHARDS).unwrap_or(u64::MAX);
        let index = usize::try_from(hash % count).unwrap_or(0);
        lock(&self.shards[index])
    }
}

impl Shard {
    /// The bucket of a key; while the shard is full of buckets that matter, the one that newcomers
    /// share.
    fn bucket(&mut self, now: Duration, key: Key) -> &mut Bucket {
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.max {
            self.forget_one(now);
        }
        let full = self.buckets.len() >= self.max;
        match self.buckets.entry(key) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(_) if full => {
                let kind = Limit::ALL.iter().position(|limit| *limit == key.limit);
                &mut self.overflow[kind.unwrap_or(0)]
            }
            Entry::Vacant(free) => {
                self.order.push_back(key);
                free.insert(Bucket::default())
            }
        }
    }

    /// Forgets one bucket that is full again, if a few looks find one.
    fn forget_one(&mut self, now: Duration) {
        for _ in 0..EVICTION_STEPS {
            let Some(key) = self.order.pop_front() else {
                return;
            };
            if self.buckets.get(&key).is_none_or(|it| it.is_full(now)) {
                self.buckets.remove(&key);
                return;
            }
            self.order.push_back(key);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
