//! The contract, rule by rule, over one list of claims.
#![expect(
    clippy::panic,
    reason = "a command that the model lacks is a gap in the tests"
)]

use std::sync::Arc;

use stiver_core::Timestamp;
use stiver_store::{
    Advance, Claim, ClaimState, Command, Delivery, LEASE_MS_MAX, Limits, NewClaim, Reply,
    StoredResponse, TERMINAL_RETAIN_MS, UNFINISHED_MAX, limits,
};

/// Every claim, oldest first.
pub(super) struct Model {
    limits: Limits,
    records: Vec<Record>,
    deliveries: u64,
}

struct Record {
    claim: Claim,
    replay_keys: Vec<[u8; 32]>,
    /// When its response was first kept, counted over all claims.
    kept: u64,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: Vec::new(),
            deliveries: 0,
        }
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.records.iter().any(|it| it.claim.challenge_id == id)
    }

    pub(super) fn run(&mut self, now: Timestamp, command: Command) -> Reply {
        self.forget(now);
        match command {
            Command::Claim(new) => self.claim(now, new),
            Command::Advance {
                challenge_id,
                epoch,
                to,
            } => self.advance(now, &challenge_id, epoch, to),
            Command::TakeOver {
                challenge_id,
                owner,
                lease_ms,
            } => {
                let Some(record) = self.find(&challenge_id) else {
                    return Reply::Absent;
                };
                let claim = &mut record.claim;
                if claim.state.is_terminal() || now < claim.lease_until {
                    return Reply::Refused(Box::new(claim.clone()));
                }
                claim.owner = owner;
                claim.epoch += 1;
                claim.lease_until = lease(now, lease_ms);
                Reply::Won(Box::new(claim.clone()))
            }
            Command::Renew {
                challenge_id,
                epoch,
                lease_ms,
            } => {
                let Some(record) = self.find(&challenge_id) else {
                    return Reply::Absent;
                };
                let claim = &mut record.claim;
                if claim.epoch != epoch {
                    return Reply::Fenced;
                }
                if claim.state.is_terminal() {
                    return Reply::Refused(Box::new(claim.clone()));
                }
                claim.lease_until = claim.lease_until.max(lease(now, lease_ms));
                Reply::Advanced(Box::new(claim.clone()))
            }
            Command::Get { challenge_id } => match self.find(&challenge_id) {
                Some(record) => Reply::Found(Box::new(record.claim.clone())),
                None => Reply::Absent,
            },
            Command::Unfinished { after, limit } => self.unfinished(now, after, limit),
            Command::List { after, limit } => self.list(after, limit),
            Command::Count => self.count(),
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// Drops what is kept no longer.
    fn forget(&mut self, now: Timestamp) {
        self.records
            .retain(|it| !it.claim.state.is_terminal() || now < it.claim.retain_until);
        for record in &mut self.records {
            if let Some(slot) = response_slot(&mut record.claim.state)
                && slot.as_ref().is_some_and(|it| it.expires_at <= now)
            {
                *slot = None;
            }
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Record> {
        self.records
            .iter_mut()
            .find(|it| it.claim.challenge_id == id)
    }

    fn claim(&mut self, now: Timestamp, mut new: NewClaim) -> Reply {
        new.replay_keys.sort_unstable();
        new.replay_keys.dedup();
        if let Some(reply) = too_large(&new) {
            return reply;
        }
        if let Some(record) = self.find(&new.challenge_id) {
            let claim = Box::new(record.claim.clone());
            let ours = claim.attempt == new.attempt
                && claim.owner == new.owner
                && claim.credential_hash == new.credential_hash;
            return if ours && claim.epoch == 1 {
                Reply::Won(claim)
            } else {
                Reply::Exists(claim)
            };
        }
        if let Some(reply) = self.bound_by_key(&new) {
            return reply;
        }
        let is_used = |key: &[u8; 32]| self.records.iter().any(|it| it.replay_keys.contains(key));
        if new.replay_keys.iter().any(is_used) {
            return Reply::ReplayKeyUsed;
        }
        if self.records.len() >= self.limits.claims_max {
            return Reply::Full;
        }
        let claim = Claim {
            challenge_id: new.challenge_id,
            credential_hash: new.credential_hash,
            request_hash: new.request_hash,
            idempotency_key_hash: new.idempotency_key_hash,
            details: new.details,
            state: match new.handler_first {
                false => ClaimState::Settling {
                    artefact: new.artefact,
                },
                true => ClaimState::Serving {
                    artefact: new.artefact,
                },
            },
            owner: new.owner,
            lease_until: lease(now, new.lease_ms),
            epoch: 1,
            attempt: new.attempt,
            created_at: now,
            retain_until: new.retain_until,
            deliveries_started: u32::from(new.handler_first),
        };
        self.records.push(Record {
            claim: claim.clone(),
            replay_keys: new.replay_keys,
            kept: 0,
        });
        Reply::Won(Box::new(claim))
    }

    /// What the Idempotency-Key of a new claim comes to, when a claim binds it.
    fn bound_by_key(&self, new: &NewClaim) -> Option<Reply> {
        let key = new.idempotency_key_hash?;
        let bound = self.records.iter().map(|it| &it.claim).find(|claim| {
            let freed = matches!(claim.state.name(), "failed" | "refunded");
            claim.idempotency_key_hash == Some(key) && !freed
        })?;
        Some(if bound.request_hash == new.request_hash {
            Reply::IdempotencyHit(Box::new(bound.clone()))
        } else {
            Reply::IdempotencyConflict
        })
    }

    fn advance(&mut self, now: Timestamp, id: &str, epoch: u64, to: Advance) -> Reply {
        if let Some(reply) = too_large_advance(&to) {
            return reply;
        }
        let largest = self
            .limits
            .response_bytes_max
            .min(self.limits.responses_bytes_max);
        let deliveries = self.deliveries + 1;
        let Some(record) = self.find(id) else {
            return Reply::Absent;
        };
        let claim = &mut record.claim;
        if claim.epoch != epoch {
            return Reply::Fenced;
        }
        let was_terminal = claim.state.is_terminal();
        if to == Advance::Release {
            if !was_terminal && claim.lease_until > now {
                claim.lease_until = now;
            }
            return Reply::Advanced(Box::new(claim.clone()));
        }
        if has_happened(claim, &to) {
            return Reply::Advanced(Box::new(claim.clone()));
        }
        let failed = to == Advance::DeliveryFailed;
        let keep = |response: Arc<StoredResponse>| {
            (response.weight() <= largest && response.expires_at > now).then_some(response)
        };
        let Some(state) = next(claim.state.clone(), to, keep) else {
            return Reply::Refused(Box::new(claim.clone()));
        };
        let had_response = matches!(response_slot(&mut claim.state), Some(Some(_)));
        let ran_already = matches!(claim.state, ClaimState::Capturing { .. });
        claim.state = state;
        if !had_response && matches!(response_slot(&mut claim.state), Some(Some(_))) {
            record.kept = deliveries;
        }
        match &claim.state {
            ClaimState::Delivering { .. } if !ran_already => claim.deliveries_started += 1,
            ClaimState::Serving { .. } => claim.deliveries_started += 1,
            ClaimState::Settled { .. } | ClaimState::Authorised { .. }
                if failed && claim.lease_until > now =>
            {
                claim.lease_until = now;
            }
            ClaimState::Delivered(delivery) => {
                if let Some(response) = &delivery.response {
                    claim.retain_until = claim.retain_until.max(response.expires_at);
                }
            }
            _ => {}
        }
        if was_terminal && !claim.state.is_terminal() && claim.lease_until > now {
            claim.lease_until = now;
        }
        if claim.state.is_terminal() && !was_terminal {
            let least = now.plus_millis(TERMINAL_RETAIN_MS);
            claim.retain_until = claim.retain_until.max(least);
        }
        let reply = Reply::Advanced(Box::new(claim.clone()));
        self.deliveries = deliveries;
        self.bound_responses();
        reply
    }

    /// Drops the responses that were kept first until the rest fit.
    fn bound_responses(&mut self) {
        loop {
            let mut kept: Vec<&mut Record> = self.records.iter_mut().collect();
            kept.retain_mut(|it| matches!(response_slot(&mut it.claim.state), Some(Some(_))));
            let weights = kept.iter().map(|it| {
                let response = it.claim.state.response();
                response.map_or(0, |it| it.weight())
            });
            if weights.sum::<u64>() <= self.limits.responses_bytes_max {
                return;
            }
            let oldest = kept.into_iter().min_by_key(|it| it.kept);
            if let Some(slot) = oldest.and_then(|it| response_slot(&mut it.claim.state)) {
                *slot = None;
            }
        }
    }

    fn unfinished(&self, now: Timestamp, after: Option<String>, limit: usize) -> Reply {
        let place = |id| {
            self.records
                .iter()
                .position(|it| it.claim.challenge_id == id)
        };
        let first = after.and_then(place).map_or(0, |place| place + 1);
        let claims = self.records.iter().skip(first).map(|it| &it.claim);
        let ended = claims.filter(|it| !it.state.is_terminal() && it.lease_until <= now);
        Reply::Claims(ended.take(limit.min(UNFINISHED_MAX)).cloned().collect())
    }

    fn list(&self, after: Option<String>, limit: usize) -> Reply {
        let (mut ended, mut open): (Vec<&Claim>, Vec<&Claim>) = self
            .records
            .iter()
            .map(|it| &it.claim)
            .partition(|it| it.state.is_terminal());
        ended.sort_by_key(|it| it.retain_until);
        ended.reverse();
        open.reverse();
        open.extend(ended);
        let place = |id| open.iter().position(|it| it.challenge_id == id);
        let first = after.and_then(place).map_or(0, |place| place + 1);
        let claims = open.into_iter().skip(first);
        Reply::Claims(claims.take(limit.min(UNFINISHED_MAX)).cloned().collect())
    }

    fn count(&self) -> Reply {
        let count = |name: &'static str| {
            let in_state = self
                .records
                .iter()
                .filter(|it| it.claim.state.name() == name);
            (
                name,
                u64::try_from(in_state.count()).expect("a count fits 64 bits"),
            )
        };
        Reply::Counts(ClaimState::NAMES.into_iter().map(count).collect())
    }
}

/// The refusal of a new claim that has too large a part.
fn too_large(new: &NewClaim) -> Option<Reply> {
    let sizes = [
        (
            "challenge id",
            new.challenge_id.len(),
            limits::CHALLENGE_ID_BYTES_MAX,
        ),
        (
            "replay keys",
            new.replay_keys.len(),
            limits::REPLAY_KEYS_MAX,
        ),
        ("details", new.details.len(), limits::DETAILS_BYTES_MAX),
        ("artefact", new.artefact.len(), limits::ARTEFACT_BYTES_MAX),
    ];
    for (part, size, limit) in sizes {
        if size > limit {
            return Some(Reply::TooLarge { part, limit });
        }
    }
    None
}

/// The refusal of an advance that has too large a part.
fn too_large_advance(to: &Advance) -> Option<Reply> {
    let (part, size, limit) = match to {
        Advance::Settled { settlement, .. } => {
            ("settlement", settlement.len(), limits::RECORD_BYTES_MAX)
        }
        Advance::Failed { refusal } => ("refusal", refusal.len(), limits::RECORD_BYTES_MAX),
        Advance::Delivered { receipt, .. } => ("receipt", receipt.len(), limits::RECEIPT_BYTES_MAX),
        Advance::Refund { artefact } => ("artefact", artefact.len(), limits::ARTEFACT_BYTES_MAX),
        Advance::Refunded { refund } => ("refund", refund.len(), limits::RECORD_BYTES_MAX),
        Advance::Captured { settlement, .. } if settlement.len() > limits::RECORD_BYTES_MAX => {
            ("settlement", settlement.len(), limits::RECORD_BYTES_MAX)
        }
        Advance::Captured { receipt, .. } => ("receipt", receipt.len(), limits::RECEIPT_BYTES_MAX),
        _ => ("", 0, 0),
    };
    if size > limit {
        return Some(Reply::TooLarge { part, limit });
    }
    None
}

/// True when the claim is where the advance leads.
fn has_happened(claim: &Claim, to: &Advance) -> bool {
    match &claim.state {
        ClaimState::Settling { .. } => false,
        ClaimState::Settled { settlement } => match to {
            Advance::Settled {
                settlement: told,
                deliver,
            } => !deliver && told == settlement,
            Advance::DeliveryFailed => claim.deliveries_started > 0,
            _ => false,
        },
        ClaimState::Delivering { settlement } => match to {
            Advance::Settled {
                settlement: told,
                deliver,
            } => *deliver && told == settlement,
            Advance::Deliver => true,
            _ => false,
        },
        ClaimState::Delivered(delivery) => match to {
            Advance::Delivered { receipt, .. } => *receipt == delivery.receipt,
            Advance::Captured {
                settlement,
                receipt,
                ..
            } => *receipt == delivery.receipt && *settlement == delivery.settlement,
            _ => false,
        },
        ClaimState::Authorised { .. } => *to == Advance::DeliveryFailed,
        ClaimState::Serving { .. } => *to == Advance::Deliver,
        ClaimState::Capturing { .. } => matches!(to, Advance::Capture { .. }),
        ClaimState::Failed { refusal } => {
            matches!(to, Advance::Failed { refusal: told } if told == refusal)
        }
        ClaimState::Refunding { artefact, .. } => {
            matches!(to, Advance::Refund { artefact: told } if told == artefact)
        }
        ClaimState::Refunded { refund, .. } => {
            matches!(to, Advance::Refunded { refund: told } if told == refund)
        }
        ClaimState::Disputed(_) => *to == Advance::Disputed,
        ClaimState::Reversed(_) => *to == Advance::Reversed,
        other => panic!("the model does not know {other:?}"),
    }
}

/// The diagram of the contract, arrow by arrow.
fn next(
    state: ClaimState,
    to: Advance,
    keep: impl FnOnce(Arc<StoredResponse>) -> Option<Arc<StoredResponse>>,
) -> Option<ClaimState> {
    match (state, to) {
        (
            ClaimState::Settling { .. } | ClaimState::Capturing { .. },
            Advance::Settled {
                settlement,
                deliver,
            },
        ) => Some(match deliver {
            true => ClaimState::Delivering { settlement },
            false => ClaimState::Settled { settlement },
        }),
        (
            ClaimState::Settling { .. }
            | ClaimState::Authorised { .. }
            | ClaimState::Serving { .. }
            | ClaimState::Capturing { .. },
            Advance::Failed { refusal },
        ) => Some(ClaimState::Failed { refusal }),
        (
            state @ (ClaimState::Authorised { .. }
            | ClaimState::Serving { .. }
            | ClaimState::Capturing { .. }),
            to,
        ) => next_before_settlement(state, to, keep),
        (ClaimState::Settled { settlement }, Advance::Deliver) => {
            Some(ClaimState::Delivering { settlement })
        }
        (ClaimState::Settled { settlement }, Advance::Refund { artefact })
        | (ClaimState::Delivering { settlement }, Advance::Refund { artefact })
        | (ClaimState::Refunding { settlement, .. }, Advance::Refund { artefact }) => {
            Some(ClaimState::Refunding {
                settlement,
                artefact,
            })
        }
        (ClaimState::Delivered(delivery), Advance::Refund { artefact }) => {
            Some(ClaimState::Refunding {
                settlement: delivery.settlement,
                artefact,
            })
        }
        (ClaimState::Delivering { settlement }, Advance::DeliveryFailed) => {
            Some(ClaimState::Settled { settlement })
        }
        (
            ClaimState::Delivering { settlement } | ClaimState::Refunding { settlement, .. },
            Advance::Delivered { receipt, response },
        ) => Some(ClaimState::Delivered(Delivery {
            settlement,
            receipt,
            response: response.and_then(keep),
        })),
        (ClaimState::Refunding { settlement, .. }, Advance::Refunded { refund }) => {
            Some(ClaimState::Refunded { settlement, refund })
        }
        (ClaimState::Delivered(delivery), Advance::Disputed) => {
            Some(ClaimState::Disputed(delivery))
        }
        (ClaimState::Disputed(mut delivery), Advance::Reversed) => {
            delivery.response = None;
            Some(ClaimState::Reversed(delivery))
        }
        _ => None,
    }
}

/// The arrows of a claim whose handler runs first, up to its settlement.
fn next_before_settlement(
    state: ClaimState,
    to: Advance,
    keep: impl FnOnce(Arc<StoredResponse>) -> Option<Arc<StoredResponse>>,
) -> Option<ClaimState> {
    match (state, to) {
        (ClaimState::Authorised { artefact }, Advance::Deliver) => {
            Some(ClaimState::Serving { artefact })
        }
        (ClaimState::Serving { artefact }, Advance::DeliveryFailed) => {
            Some(ClaimState::Authorised { artefact })
        }
        (ClaimState::Serving { artefact }, Advance::Capture { response }) => {
            Some(ClaimState::Capturing {
                artefact,
                response: response.and_then(keep),
            })
        }
        (
            ClaimState::Capturing { .. },
            Advance::Captured {
                settlement,
                receipt,
                response,
            },
        ) => Some(ClaimState::Delivered(Delivery {
            settlement,
            receipt,
            response: response.and_then(keep),
        })),
        _ => None,
    }
}

/// Where a claim keeps its response.
fn response_slot(state: &mut ClaimState) -> Option<&mut Option<Arc<StoredResponse>>> {
    match state {
        ClaimState::Delivered(it) | ClaimState::Disputed(it) | ClaimState::Reversed(it) => {
            Some(&mut it.response)
        }
        ClaimState::Capturing { response, .. } => Some(response),
        _ => None,
    }
}

fn lease(now: Timestamp, lease_ms: u64) -> Timestamp {
    now.plus_millis(lease_ms.min(LEASE_MS_MAX))
}
