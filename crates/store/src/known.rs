//! Which challenges have a claim: asked on every request, so apart from the log's queue.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

/// Shards, so that readers seldom meet the one writer.
const SHARDS: usize = 16;

/// The ids of all claims that are kept. One writer (the state, before a claim is answered), any
/// number of readers.
#[derive(Default)]
pub(crate) struct Known {
    shards: [RwLock<HashSet<Arc<str>>>; SHARDS],
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

    /// Ids are base64url of a MAC: any byte of them spreads well. The sum also spreads ids that
    /// tests number.
    fn shard(&self, id: &str) -> &RwLock<HashSet<Arc<str>>> {
        let sum = id
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_add(byte.into()));
        &self.shards[sum % SHARDS]
    }
}
