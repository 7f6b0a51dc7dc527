//! Which challenges have a claim: asked on every request, so apart from the log's queue.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Claims in memory, also those that are gone and not yet freed.
    pub claims: u64,
    /// Their memory, bytes: bounded by [`Limits::claims_bytes_max`](crate::Limits).
    pub claims_bytes: u64,
    /// Memory of stored responses, bytes: bounded by
    /// [`Limits::responses_bytes_max`](crate::Limits).
    pub responses_bytes: u64,
}

/// Shards, so that readers seldom meet the one writer.
const SHARDS: usize = 16;

/// The ids of all claims that are kept. One writer (the state, before a claim is answered), any
/// number of readers.
#[derive(Default)]
pub(crate) struct Known {
    shards: [RwLock<HashSet<Arc<str>>>; SHARDS],
    claims: AtomicU64,
    claims_bytes: AtomicU64,
    responses_bytes: AtomicU64,
}

impl Known {
    pub(crate) fn contains(&self, id: &str) -> bool {
        let shard = self.shard(id).read();
        shard.unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    pub(crate) fn insert(&self, id: Arc<str>) {
        let shard = self.shard(&id).write();
        shard.unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(crate) fn remove(&self, id: &str) {
        let shard = self.shard(id).write();
        shard.unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Lets everybody know how much is held.
    pub(crate) fn publish(&self, usage: Usage) {
        self.claims.store(usage.claims, Ordering::Relaxed);
        self.claims_bytes
            .store(usage.claims_bytes, Ordering::Relaxed);
        self.responses_bytes
            .store(usage.responses_bytes, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            claims: self.claims.load(Ordering::Relaxed),
            claims_bytes: self.claims_bytes.load(Ordering::Relaxed),
            responses_bytes: self.responses_bytes.load(Ordering::Relaxed),
        }
    }

    /// Ids are base64url of a MAC: any byte of them spreads well. The sum also spreads ids that
    /// tests number.
    fn shard(&self, id: &str) -> &RwLock<HashSet<Arc<str>>> {
        let sum = id
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_add(byte.into()));
        &self.shards[sum % SHARDS]
    }
}
