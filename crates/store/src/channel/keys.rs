//! Idempotency-Keys of spends: what was taken under one key is not taken again.

use std::collections::{HashMap, VecDeque};

use stiver_channel::ChannelId;
use stiver_core::Timestamp;

use super::SpendKey;
use crate::limits::{FREED_PER_EVENT_MAX, SPEND_KEY_RETAIN_MS, SPEND_KEYS_MAX};

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) channel: ChannelId,
    pub(crate) request: [u8; 32],
    pub(crate) until: Timestamp,
    /// Something is reserved under it, and not spent yet.
    pub(crate) pending: bool,
}

/// All keys. From its `until` on a key is gone; it is freed later. Beyond [`SPEND_KEYS_MAX`] the
/// oldest goes.
#[derive(Default)]
pub(crate) struct Keys {
    known: HashMap<[u8; 32], Keyed>,
    /// In the order in which they were bound. A key that was freed and bound again stands here
    /// twice, with two times.
    order: VecDeque<(Timestamp, [u8; 32])>,
}

impl Keys {
    pub(crate) fn get(&self, key: &[u8; 32], now: Timestamp) -> Option<Keyed> {
        self.known.get(key).copied().filter(|it| now < it.until)
    }

    pub(crate) fn bind(&mut self, id: ChannelId, key: SpendKey, pending: bool, now: Timestamp) {
        let until = now.plus_millis(SPEND_KEY_RETAIN_MS);
        self.insert(
            key.key,
            Keyed {
                channel: id,
                request: key.request,
                until,
                pending,
            },
        );
    }

    pub(crate) fn insert(&mut self, key: [u8; 32], keyed: Keyed) {
        self.known.insert(key, keyed);
        self.order.push_back((keyed.until, key));
        while self.known.len() > SPEND_KEYS_MAX && self.drop_oldest() {}
    }

    /// What was reserved under the key was spent, or not.
    pub(crate) fn conclude(&mut self, key: &[u8; 32], spent: bool) {
        match self.known.get_mut(key) {
            Some(keyed) if spent => keyed.pending = false,
            Some(keyed) if keyed.pending => {
                self.known.remove(key);
            }
            _ => {}
        }
    }

    /// Nothing is reserved any more.
    pub(crate) fn free_pending(&mut self) {
        self.known.retain(|_, keyed| !keyed.pending);
    }

    pub(crate) fn any_pending(&self) -> bool {
        self.known.values().any(|keyed| keyed.pending)
    }

    pub(crate) fn free_some(&mut self, now: Timestamp) {
        for _ in 0..FREED_PER_EVENT_MAX {
            match self.order.front() {
                Some((until, _)) if *until <= now => self.drop_oldest(),
                _ => return,
            };
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((until, key)) = self.order.pop_front() else {
            return false;
        };
        if self.known.get(&key).is_some_and(|it| it.until == until) {
            self.known.remove(&key);
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Those that are known, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Keyed)> {
        let standing = self.order.iter().filter_map(|(until, key)| {
            let (key, keyed) = self.known.get_key_value(key)?;
            (keyed.until == *until).then_some((key, keyed))
        });
        let mut last = None;
        // Bound twice in one instant, a key stands here twice in a row at worst.
        standing.filter(move |(key, _)| last.replace(**key) != Some(**key))
    }
}
