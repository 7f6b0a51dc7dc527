//! Applying events, and freeing what is gone.

use std::sync::Arc;

use stiver_core::Timestamp;
use stiver_wal::Inconsistent;

use super::{Entry, State};
use crate::{
    claim::{Claim, StoredResponse},
    command::NewClaim,
    event::{Change, Event},
    limits::FREED_PER_EVENT_MAX,
    rules,
};

impl State {
    pub(super) fn apply_event(
        &mut self,
        now: Timestamp,
        event: &Event,
    ) -> Result<(), Inconsistent> {
        self.free_some(now);
        self.channels.free_some(now);
        match event {
            Event::Claimed(new) => self.claimed(now, new),
            Event::Changed {
                challenge_id,
                change,
            } => self.changed(now, challenge_id, change),
            Event::Configured(limits) => {
                self.limits = *limits;
                self.bound_responses(now);
                self.free_leases(now);
                self.channels.stop_service(now)
            }
            Event::Channel(event) => self.channels.evolve(now, event),
        }
    }

    /// Ends every lease: the log was closed, and whoever worked on a claim is gone with it.
    fn free_leases(&mut self, now: Timestamp) {
        for id in self.unfinished.values() {
            if let Some(entry) = self.claims.get_mut(id) {
                entry.claim.lease_until = entry.claim.lease_until.min(now);
            }
        }
    }

    fn claimed(&mut self, now: Timestamp, new: &NewClaim) -> Result<(), Inconsistent> {
        self.free_in_the_way(now, new);
        let id: Arc<str> = new.challenge_id.as_str().into();
        let entry = Entry {
            claim: rules::open(new, now),
            replay_keys: new.replay_keys.clone(),
            number: self.take_number(),
            response: None,
        };
        self.insert(id, entry)
    }

    /// Frees the claims that are gone but still hold what a new claim needs.
    fn free_in_the_way(&mut self, now: Timestamp, new: &NewClaim) {
        let by_id = self
            .claims
            .get_key_value(new.challenge_id.as_str())
            .map(|(id, _)| id);
        let by_key = new
            .replay_keys
            .iter()
            .filter_map(|key| self.replay_keys.get(key));
        let by_call = new
            .idempotency_key_hash
            .and_then(|key| self.idempotency_keys.get(&key));
        let held: Vec<Arc<str>> = by_id
            .into_iter()
            .chain(by_key)
            .chain(by_call)
            .cloned()
            .collect();
        for id in held {
            let gone = self
                .claims
                .get(&id)
                .is_some_and(|it| rules::is_gone(&it.claim, now));
            if gone {
                self.remove(&id);
            }
        }
    }

    fn changed(&mut self, now: Timestamp, id: &str, change: &Change) -> Result<(), Inconsistent> {
        let missing = || Inconsistent(format!("a change of claim {id}, which is not there"));
        let entry = self.claims.get(id).ok_or_else(missing)?;
        let next = rules::apply(&entry.claim, change, now).map_err(|rules::Illegal| {
            let state = entry.claim.state.name();
            Inconsistent(format!(
                "a change of claim {id} that is not legal when {state}"
            ))
        })?;
        let has_response = next.state.response().is_some();
        let (id, mut entry) = self.take(id).ok_or_else(missing)?;
        entry.claim = next;
        if has_response && entry.response.is_none() {
            entry.response = Some(self.take_number());
        } else if !has_response {
            entry.response = None;
        }
        self.insert(id, entry)?;
        self.bound_responses(now);
        Ok(())
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// Puts a claim into every index. An error means that something of it is held already.
    pub(super) fn insert(&mut self, id: Arc<str>, entry: Entry) -> Result<(), Inconsistent> {
        let claim = &entry.claim;
        let held = |what: &str| Err(Inconsistent(format!("claim {id}: its {what} is held")));
        if self.claims.contains_key(&id) {
            return held("challenge");
        }
        if entry
            .replay_keys
            .iter()
            .any(|key| self.replay_keys.contains_key(key))
        {
            return held("replay key");
        }
        if let Some(key) = idempotency_key(claim)
            && self.idempotency_keys.insert(key, id.clone()).is_some()
        {
            return held("idempotency key");
        }
        for key in &entry.replay_keys {
            self.replay_keys.insert(*key, id.clone());
        }
        if claim.state.is_terminal() {
            self.retained
                .insert((claim.retain_until, entry.number, id.clone()));
        } else {
            self.unfinished.insert(entry.number, id.clone());
        }
        if let (Some(number), Some(response)) = (entry.response, response(claim)) {
            self.responses.insert(number, id.clone());
            self.expiring.insert((response.expires_at, number));
            self.responses_bytes = self.responses_bytes.saturating_add(response.weight());
        }
        self.claims_bytes = self.claims_bytes.saturating_add(entry.weight());
        self.counts[claim.state.index()] += 1;
        self.known.insert(id.clone());
        self.claims.insert(id, entry);
        Ok(())
    }

    /// Drops a claim and all it holds.
    fn remove(&mut self, id: &str) {
        if self.take(id).is_some() {
            self.known.remove(id);
        }
    }

    /// Takes a claim out of every index but the known ones, to change it or to drop it.
    fn take(&mut self, id: &str) -> Option<(Arc<str>, Entry)> {
        let (id, entry) = self.claims.remove_entry(id)?;
        let claim = &entry.claim;
        for key in &entry.replay_keys {
            self.replay_keys.remove(key);
        }
        if let Some(key) = idempotency_key(claim) {
            self.idempotency_keys.remove(&key);
        }
        self.unfinished.remove(&entry.number);
        self.retained
            .remove(&(claim.retain_until, entry.number, id.clone()));
        if let (Some(number), Some(response)) = (entry.response, response(claim)) {
            self.forget_response(number, response.expires_at, response.weight());
        }
        self.claims_bytes = self.claims_bytes.saturating_sub(entry.weight());
        let count = &mut self.counts[claim.state.index()];
        *count = count.saturating_sub(1);
        Some((id, entry))
    }

    fn forget_response(&mut self, number: u64, expires_at: Timestamp, weight: u64) {
        self.responses.remove(&number);
        self.expiring.remove(&(expires_at, number));
        self.responses_bytes = self.responses_bytes.saturating_sub(weight);
    }

    /// Frees the memory of some of what is gone.
    fn free_some(&mut self, now: Timestamp) {
        for _ in 0..FREED_PER_EVENT_MAX {
            let Some((until, _, id)) = self.retained.first() else {
                break;
            };
            if *until > now {
                break;
            }
            let id = id.clone();
            self.remove(&id);
        }
        for _ in 0..FREED_PER_EVENT_MAX {
            if !self.drop_expired_response(now) {
                break;
            }
        }
    }

    /// Drops responses, those that are gone first, then the oldest, until the limit holds.
    fn bound_responses(&mut self, now: Timestamp) {
        while self.responses_bytes > self.limits.responses_bytes_max {
            if self.drop_expired_response(now) {
                continue;
            }
            let Some((&oldest, _)) = self.responses.first_key_value() else {
                break;
            };
            self.drop_response(oldest);
        }
    }

    /// Drops the response that is gone longest, if any is.
    fn drop_expired_response(&mut self, now: Timestamp) -> bool {
        match self.expiring.first() {
            Some(&(expires_at, number)) if expires_at <= now => {
                self.drop_response(number);
                true
            }
            _ => false,
        }
    }

    fn drop_response(&mut self, number: u64) {
        let id = self.responses.get(&number).cloned();
        let Some(entry) = id.and_then(|id| self.claims.get_mut(&id)) else {
            return;
        };
        entry.response = None;
        let slot = entry.claim.state.response_mut();
        if let Some(response) = slot.and_then(Option::take) {
            self.forget_response(number, response.expires_at, response.weight());
        }
    }
}

/// The Idempotency-Key that a claim binds now.
pub(super) fn idempotency_key(claim: &Claim) -> Option<[u8; 32]> {
    claim
        .idempotency_key_hash
        .filter(|_| claim.state.binds_idempotency_key())
}

/// The response that a claim holds.
pub(super) fn response(claim: &Claim) -> Option<&Arc<StoredResponse>> {
    claim.state.response()
}
