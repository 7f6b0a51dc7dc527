//! Idempotency-Keys of spends: what was taken under one key is not taken again, and a small answer
//! is kept to be told again.
//!
//! A key is remembered for [`SPEND_KEY_RETAIN_MS`]. Where there is no room, a channel's own oldest
//! key goes first, and none goes before [`SPEND_KEY_SURE_MS`]: until then a new one is refused.
//! Answers may go earlier, without their keys: a channel's own oldest first, and when all of them
//! take too much, the oldest of the channel that holds most.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use stiver_channel::{Channel, ChannelId};
use stiver_core::Timestamp;
use stiver_wal::Inconsistent;

use super::{Carried, KeptAnswer, SpendAnswer, SpendKey};
use crate::limits::{
    CHANNEL_ANSWERS_BYTES_MAX, CHANNEL_KEYS_MAX, FREED_PER_EVENT_MAX, SPEND_ANSWER_BYTES_MAX,
    SPEND_ANSWERS_BYTES_MAX, SPEND_KEY_RETAIN_MS, SPEND_KEY_SURE_MS, SPEND_KEYS_FEW,
    SPEND_KEYS_MAX, SPEND_KEYS_RESERVED_DIVISOR,
};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) channel: ChannelId,
    pub(crate) request: [u8; 32],
    pub(crate) until: Timestamp,
    /// Something is reserved under it, and not spent yet.
    pub(crate) pending: bool,
    /// How often the handler was run again without a charge.
    pub(crate) runs: u32,
    pub(crate) kept: Option<Box<KeptAnswer>>,
}

impl Keyed {
    fn weight(&self) -> u64 {
        self.kept.as_ref().map_or(0, |it| it.answer.weight())
    }

    /// From when on it may be forgotten for the sake of others. `None` while something is reserved
    /// under it.
    fn sure_until(&self) -> Option<u64> {
        let early = SPEND_KEY_RETAIN_MS - SPEND_KEY_SURE_MS;
        (!self.pending).then(|| self.until.as_millis().saturating_sub(early))
    }
}

/// All keys. From its `until` on a key is gone; it is freed later.
#[derive(Default)]
pub(crate) struct Keys {
    known: HashMap<[u8; 32], Place>,
    shares: HashMap<ChannelId, Share>,
    /// Channels by when their oldest key is gone.
    oldest: BTreeSet<(Timestamp, ChannelId)>,
    /// Channels by the memory of their answers, for those that have any.
    heaviest: BTreeSet<(u64, ChannelId)>,
    /// Memory of all answers, bytes.
    bytes: u64,
    /// The next number for a key.
    next: u64,
}

/// A key and its place in its channel's share.
struct Place {
    keyed: Keyed,
    number: u64,
}

/// What one channel holds.
#[derive(Default)]
struct Share {
    /// Keys by number: in the order in which they were bound.
    order: BTreeMap<u64, ([u8; 32], Timestamp)>,
    /// The numbers of keys with an answer.
    answered: BTreeSet<u64>,
    /// Memory of the answers, bytes.
    bytes: u64,
}

impl Share {
    fn first(&self) -> Option<Timestamp> {
        self.order.first_key_value().map(|(_, (_, until))| *until)
    }
}

impl Keys {
    pub(crate) fn get(&self, key: &[u8; 32], now: Timestamp) -> Option<&Keyed> {
        let keyed = &self.known.get(key)?.keyed;
        (now < keyed.until).then_some(keyed)
    }

    /// How long a channel has to wait until it may bind another key, milliseconds. `None` when it
    /// need not.
    pub(crate) fn wait(&self, id: &ChannelId, now: Timestamp) -> Option<u64> {
        if !self.is_full(id) || self.room(id, now).is_some() {
            return None;
        }
        let own = self.shares.get(id).and_then(|share| self.front(share));
        let first = self.oldest.first().and_then(|(_, id)| self.shares.get(id));
        let others = first.and_then(|share| self.front(share));
        let sure = [own, others].into_iter().flatten();
        let sure = sure.filter_map(|(_, keyed)| keyed.sure_until()).min();
        let wait = sure.map_or(SPEND_KEY_SURE_MS, |it| {
            it.saturating_sub(now.as_millis()).max(1)
        });
        Some(wait.min(SPEND_KEY_SURE_MS))
    }

    /// Whether a channel holds as many keys as it may. The last part of the whole is for channels
    /// that hold few.
    fn is_full(&self, id: &ChannelId) -> bool {
        let held = self.shares.get(id).map_or(0, |share| share.order.len());
        let most = match held < SPEND_KEYS_FEW {
            true => SPEND_KEYS_MAX,
            false => SPEND_KEYS_MAX - SPEND_KEYS_MAX / SPEND_KEYS_RESERVED_DIVISOR,
        };
        held >= CHANNEL_KEYS_MAX || self.known.len() >= most
    }

    /// The oldest key of a share.
    fn front(&self, share: &Share) -> Option<([u8; 32], &Keyed)> {
        let (_, (key, _)) = share.order.first_key_value()?;
        Some((*key, &self.known.get(key)?.keyed))
    }

    /// A key that may go for another one of this channel: its own oldest, or the oldest of all when
    /// it is not its own share that is full.
    fn room(&self, id: &ChannelId, now: Timestamp) -> Option<[u8; 32]> {
        let may_go = |share: &Share| {
            let (key, keyed) = self.front(share)?;
            let sure = keyed.sure_until()?;
            (sure <= now.as_millis()).then_some(key)
        };
        let own = self.shares.get(id);
        if let Some(key) = own.and_then(may_go) {
            return Some(key);
        }
        if own.is_some_and(|share| share.order.len() >= CHANNEL_KEYS_MAX) {
            return None;
        }
        let (_, other) = self.oldest.first()?;
        self.shares.get(other).and_then(may_go)
    }

    pub(crate) fn bind(&mut self, id: ChannelId, key: SpendKey, pending: bool, now: Timestamp) {
        if self.is_full(&id)
            && let Some(key) = self.room(&id, now)
        {
            self.remove(&key);
        }
        let keyed = Keyed {
            channel: id,
            request: key.request,
            until: now.plus_millis(SPEND_KEY_RETAIN_MS),
            pending,
            runs: 0,
            kept: None,
        };
        self.insert(key.key, keyed);
    }

    pub(crate) fn insert(&mut self, key: [u8; 32], keyed: Keyed) {
        self.remove(&key);
        let number = self.next;
        self.next = number.saturating_add(1);
        let (until, weight) = (keyed.until, keyed.weight());
        self.edit(keyed.channel, |share| {
            share.order.insert(number, (key, until));
            if weight > 0 {
                share.answered.insert(number);
            }
            share.bytes = share.bytes.saturating_add(weight);
        });
        self.known.insert(key, Place { keyed, number });
    }

    fn remove(&mut self, key: &[u8; 32]) {
        let Some(Place { keyed, number }) = self.known.remove(key) else {
            return;
        };
        self.edit(keyed.channel, |share| {
            share.order.remove(&number);
            share.answered.remove(&number);
            share.bytes = share.bytes.saturating_sub(keyed.weight());
        });
    }

    /// Changes a share and its places in the sums.
    fn edit(&mut self, id: ChannelId, change: impl FnOnce(&mut Share)) {
        let share = self.shares.entry(id).or_default();
        let (first, bytes) = (share.first(), share.bytes);
        change(share);
        let now = (share.first(), share.bytes);
        if share.order.is_empty() {
            self.shares.remove(&id);
        }
        if now.0 != first {
            first.map(|it| self.oldest.remove(&(it, id)));
            now.0.map(|it| self.oldest.insert((it, id)));
        }
        if now.1 != bytes {
            self.heaviest.remove(&(bytes, id));
            if now.1 > 0 {
                self.heaviest.insert((now.1, id));
            }
            self.bytes = self.bytes.saturating_sub(bytes).saturating_add(now.1);
        }
    }

    /// What was reserved under the key was spent, or not.
    pub(crate) fn conclude(&mut self, key: &[u8; 32], spent: bool) {
        match self.known.get_mut(key) {
            Some(it) if spent => it.keyed.pending = false,
            Some(it) if it.keyed.pending => self.remove(key),
            _ => {}
        }
    }

    /// The handler runs once more under the key.
    pub(crate) fn run_again(&mut self, key: &[u8; 32]) {
        if let Some(it) = self.known.get_mut(key) {
            it.keyed.runs = it.keyed.runs.saturating_add(1);
        }
    }

    /// Whether an answer may be kept under this key of this channel.
    pub(crate) fn takes_answer(
        &self,
        key: &[u8; 32],
        id: &ChannelId,
        answer: &SpendAnswer,
        now: Timestamp,
    ) -> bool {
        let fits = answer.weight() <= SPEND_ANSWER_BYTES_MAX;
        let bound = self.get(key, now).is_some_and(|it| it.channel == *id);
        fits && bound && now < answer.response.expires_at
    }

    /// Keeps what was answered under the key, with the channel as it is now; lets go what has no
    /// room any more.
    pub(crate) fn answered(
        &mut self,
        key: &[u8; 32],
        answer: &Arc<SpendAnswer>,
        (channel, carried): (&Channel, Carried),
    ) {
        let Some(it) = self.known.get_mut(key) else {
            return;
        };
        let (id, number, before) = (it.keyed.channel, it.number, it.keyed.weight());
        it.keyed.kept = Some(Box::new(KeptAnswer {
            answer: Arc::clone(answer),
            accepted: channel.figures().accepted,
            spent: channel.figures().spent,
            carried,
        }));
        self.edit(id, |share| {
            share.answered.insert(number);
            let others = share.bytes.saturating_sub(before);
            share.bytes = others.saturating_add(answer.weight());
        });
        while self.share_bytes(&id) > CHANNEL_ANSWERS_BYTES_MAX && self.drop_answer(id) {}
        while self.bytes > SPEND_ANSWERS_BYTES_MAX {
            let Some(&(_, heaviest)) = self.heaviest.last() else {
                return;
            };
            if !self.drop_answer(heaviest) {
                return;
            }
        }
    }

    fn share_bytes(&self, id: &ChannelId) -> u64 {
        self.shares.get(id).map_or(0, |share| share.bytes)
    }

    /// Lets go the oldest answer of a channel.
    fn drop_answer(&mut self, id: ChannelId) -> bool {
        let share = self.shares.get(&id);
        let oldest = share.and_then(|share| {
            let number = *share.answered.first()?;
            Some((number, share.order.get(&number)?.0))
        });
        let Some((number, key)) = oldest else {
            return false;
        };
        let weight = self.known.get_mut(&key).map_or(0, |it| {
            let weight = it.keyed.weight();
            it.keyed.kept = None;
            weight
        });
        self.edit(id, |share| {
            share.answered.remove(&number);
            share.bytes = share.bytes.saturating_sub(weight);
        });
        true
    }

    /// Nothing is reserved any more.
    pub(crate) fn free_pending(&mut self) {
        let known = self.known.iter();
        let pending = known.filter(|(_, it)| it.keyed.pending);
        let pending: Vec<[u8; 32]> = pending.map(|(key, _)| *key).collect();
        for key in pending {
            self.remove(&key);
        }
    }

    pub(crate) fn any_pending(&self) -> bool {
        self.known.values().any(|it| it.keyed.pending)
    }

    pub(crate) fn free_some(&mut self, now: Timestamp) {
        for _ in 0..FREED_PER_EVENT_MAX {
            let gone = match self.oldest.first() {
                Some((until, id)) if *until <= now => self.shares.get(id),
                _ => return,
            };
            let gone = gone.and_then(|share| share.order.first_key_value());
            let Some((_, &(key, _))) = gone else { return };
            self.remove(&key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Memory of all answers, bytes.
    pub(crate) fn answers_bytes(&self) -> u64 {
        self.bytes
    }

    /// Those that are known: channel by channel, the oldest of each first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Keyed)> {
        let mut channels: Vec<_> = self.shares.iter().collect();
        channels.sort_unstable_by_key(|(id, _)| **id);
        let shares = channels.into_iter().map(|(_, share)| share);
        let keys = shares.flat_map(|share| share.order.values());
        keys.filter_map(|(key, _)| Some((key, &self.known.get(key)?.keyed)))
    }

    /// Every invariant, recomputed.
    pub(crate) fn check(&self) -> Result<(), Inconsistent> {
        let wrong = |what: &str| Err(Inconsistent(format!("the keys of spends: {what}")));
        let (mut keys, mut bytes) = (0, 0_u64);
        for (id, share) in &self.shares {
            let mut held = 0_u64;
            for (number, (key, until)) in &share.order {
                let known = self.known.get(key);
                let Some(it) = known.filter(|it| it.number == *number) else {
                    return wrong("one is in a share and not known");
                };
                if it.keyed.channel != *id || it.keyed.until != *until {
                    return wrong("one is in the wrong share");
                }
                if share.answered.contains(number) != it.keyed.kept.is_some() {
                    return wrong("an answer is not counted");
                }
                held = held.saturating_add(it.keyed.weight());
            }
            let first = share.first().map(|it| (it, *id));
            if held != share.bytes || !first.is_some_and(|it| self.oldest.contains(&it)) {
                return wrong("a share is counted wrongly");
            }
            if (held > 0) != self.heaviest.contains(&(held, *id)) {
                return wrong("a share's answers are in the wrong place");
            }
            keys += share.order.len();
            bytes = bytes.saturating_add(held);
        }
        let answering = self.heaviest.len() <= self.shares.len();
        let places = self.oldest.len() == self.shares.len() && answering;
        if keys != self.known.len() || bytes != self.bytes || !places {
            return wrong("the sums are wrong");
        }
        Ok(())
    }
}
