//! The rules of one claim: which change is legal, and what it makes of the claim. Pure.

use std::sync::Arc;

use stiver_core::Timestamp;

use crate::{
    claim::{Claim, ClaimState, Delivery, StoredResponse},
    command::{Advance, NewClaim},
    event::Change,
    limits::{
        ARTEFACT_BYTES_MAX, CHALLENGE_ID_BYTES_MAX, DETAILS_BYTES_MAX, LEASE_MS_MAX, Limits,
        RECEIPT_BYTES_MAX, RECORD_BYTES_MAX, REPLAY_KEYS_MAX, TERMINAL_RETAIN_MS,
    },
};

/// The epoch of a claim that nobody has taken over.
pub(crate) const FIRST_EPOCH: u64 = 1;

/// A part that is larger than its limit.
pub(crate) struct TooLarge {
    pub(crate) part: &'static str,
    pub(crate) limit: usize,
}

/// A change that is not legal from the claim's state.
pub(crate) struct Illegal;

/// What an [`Advance`] comes to.
pub(crate) enum Step {
    /// The claim is there already.
    Already,
    /// A change to be logged.
    Change(Change),
}

/// A new claim, made at `now`.
pub(crate) fn open(new: &NewClaim, now: Timestamp) -> Claim {
    Claim {
        challenge_id: new.challenge_id.clone(),
        credential_hash: new.credential_hash,
        request_hash: new.request_hash,
        idempotency_key_hash: new.idempotency_key_hash,
        details: new.details.clone(),
        state: first_state(new),
        owner: new.owner,
        lease_until: lease(now, new.lease_ms),
        epoch: FIRST_EPOCH,
        attempt: new.attempt,
        created_at: now,
        retain_until: new.retain_until,
        deliveries_started: u32::from(new.handler_first),
    }
}

fn first_state(new: &NewClaim) -> ClaimState {
    let artefact = new.artefact.clone();
    if new.handler_first {
        ClaimState::Serving { artefact }
    } else {
        ClaimState::Settling { artefact }
    }
}

/// Compares a new claim with the limits of its parts.
pub(crate) fn check_new(new: &NewClaim) -> Result<(), TooLarge> {
    at_most(
        "challenge id",
        new.challenge_id.len(),
        CHALLENGE_ID_BYTES_MAX,
    )?;
    at_most("replay keys", new.replay_keys.len(), REPLAY_KEYS_MAX)?;
    at_most("details", new.details.len(), DETAILS_BYTES_MAX)?;
    at_most("artefact", new.artefact.len(), ARTEFACT_BYTES_MAX)
}

/// Compares an advance with the limits of its parts. A response is not judged here.
pub(crate) fn check_advance(to: &Advance) -> Result<(), TooLarge> {
    match to {
        Advance::Settled { settlement, .. } => {
            at_most("settlement", settlement.len(), RECORD_BYTES_MAX)
        }
        Advance::Failed { refusal } => at_most("refusal", refusal.len(), RECORD_BYTES_MAX),
        Advance::Delivered { receipt, .. } => at_most("receipt", receipt.len(), RECEIPT_BYTES_MAX),
        Advance::Captured {
            settlement,
            receipt,
            ..
        } => {
            at_most("settlement", settlement.len(), RECORD_BYTES_MAX)?;
            at_most("receipt", receipt.len(), RECEIPT_BYTES_MAX)
        }
        Advance::Refund { artefact } => at_most("artefact", artefact.len(), ARTEFACT_BYTES_MAX),
        Advance::Refunded { refund } => at_most("refund", refund.len(), RECORD_BYTES_MAX),
        Advance::Deliver
        | Advance::Capture { .. }
        | Advance::DeliveryFailed
        | Advance::Release
        | Advance::Disputed
        | Advance::Reversed => Ok(()),
    }
}

fn at_most(part: &'static str, size: usize, limit: usize) -> Result<(), TooLarge> {
    if size > limit {
        Err(TooLarge { part, limit })
    } else {
        Ok(())
    }
}

/// What an advance comes to from where the claim is. Whether it is legal, [`apply`] tells.
pub(crate) fn plan(claim: &Claim, to: Advance, limits: &Limits, now: Timestamp) -> Step {
    if is_there(claim, &to, now) {
        return Step::Already;
    }
    let largest = limits.response_bytes_max.min(limits.responses_bytes_max);
    let fits = |it: &Arc<StoredResponse>| it.weight() <= largest && now < it.expires_at;
    Step::Change(match to {
        Advance::Settled {
            settlement,
            deliver,
        } => Change::Settled {
            settlement,
            deliver,
        },
        Advance::Failed { refusal } => Change::Failed { refusal },
        Advance::Deliver => Change::Deliver,
        Advance::Delivered { receipt, response } => {
            let response = response.filter(fits);
            Change::Delivered { receipt, response }
        }
        Advance::Capture { response } => Change::Capture {
            response: response.filter(fits),
        },
        Advance::Captured {
            settlement,
            receipt,
            response,
        } => Change::Captured {
            settlement,
            receipt,
            response: response.filter(fits),
        },
        Advance::DeliveryFailed => Change::DeliveryFailed,
        Advance::Refund { artefact } => Change::Refund { artefact },
        Advance::Refunded { refund } => Change::Refunded { refund },
        Advance::Release => Change::Released,
        Advance::Disputed => Change::Disputed,
        Advance::Reversed => Change::Reversed,
    })
}

/// True when the claim is where the advance leads, with the same bytes.
fn is_there(claim: &Claim, to: &Advance, now: Timestamp) -> bool {
    match (to, &claim.state) {
        (
            Advance::Settled {
                settlement,
                deliver: false,
            },
            ClaimState::Settled { settlement: kept },
        )
        | (
            Advance::Settled {
                settlement,
                deliver: true,
            },
            ClaimState::Delivering { settlement: kept },
        ) => settlement == kept,
        (Advance::Failed { refusal }, ClaimState::Failed { refusal: kept }) => refusal == kept,
        (Advance::Deliver, ClaimState::Delivering { .. } | ClaimState::Serving { .. })
        | (Advance::Capture { .. }, ClaimState::Capturing { .. })
        | (Advance::DeliveryFailed, ClaimState::Authorised { .. })
        | (Advance::Disputed, ClaimState::Disputed(_))
        | (Advance::Reversed, ClaimState::Reversed(_)) => true,
        (Advance::Delivered { receipt, .. }, ClaimState::Delivered(kept)) => {
            *receipt == kept.receipt
        }
        (
            Advance::Captured {
                settlement,
                receipt,
                ..
            },
            ClaimState::Delivered(kept),
        ) => *receipt == kept.receipt && *settlement == kept.settlement,
        // Only after a handler was started: before that, nothing can have failed.
        (Advance::DeliveryFailed, ClaimState::Settled { .. }) => claim.deliveries_started > 0,
        (Advance::Refund { artefact }, ClaimState::Refunding { artefact: kept, .. }) => {
            artefact == kept
        }
        (Advance::Refunded { refund }, ClaimState::Refunded { refund: kept, .. }) => refund == kept,
        (Advance::Release, state) => state.is_terminal() || claim.lease_ended(now),
        _ => false,
    }
}

/// Applies a change that happened at `now`.
pub(crate) fn apply(claim: &Claim, change: &Change, now: Timestamp) -> Result<Claim, Illegal> {
    let mut next = claim.clone();
    match change {
        Change::Released => next.lease_until = now.min(claim.lease_until),
        Change::Renewed { lease_ms } if !claim.state.is_terminal() => {
            next.lease_until = lease(now, *lease_ms).max(claim.lease_until);
        }
        Change::TakenOver { owner, lease_ms }
            if claim.lease_ended(now) && !claim.state.is_terminal() =>
        {
            next.owner = *owner;
            next.lease_until = lease(now, *lease_ms);
            next.epoch = claim.epoch.checked_add(1).ok_or(Illegal)?;
        }
        change => {
            next.state = next_state(&claim.state, change)?;
            // A run that ended in `Capturing` was counted when it began.
            let runs = match next.state {
                ClaimState::Delivering { .. } => {
                    !matches!(claim.state, ClaimState::Capturing { .. })
                }
                ClaimState::Serving { .. } => true,
                _ => false,
            };
            if runs {
                next.deliveries_started = claim.deliveries_started.saturating_add(1);
            }
            if matches!(change, Change::DeliveryFailed) {
                next.lease_until = now.min(claim.lease_until);
            }
            if next.state.is_terminal() && !claim.state.is_terminal() {
                next.retain_until = retained(&next, now);
            }
            if claim.state.is_terminal() && !next.state.is_terminal() {
                // There is work again, and nobody has taken it yet.
                next.lease_until = now.min(claim.lease_until);
            }
        }
    }
    Ok(next)
}

/// The transitions of a claim whose handler runs first, up to its settlement.
fn next_before_settlement(state: &ClaimState, change: &Change) -> Option<ClaimState> {
    Some(match (state, change) {
        (ClaimState::Authorised { artefact }, Change::Deliver) => ClaimState::Serving {
            artefact: artefact.clone(),
        },
        (ClaimState::Serving { artefact }, Change::DeliveryFailed) => ClaimState::Authorised {
            artefact: artefact.clone(),
        },
        (ClaimState::Serving { artefact }, Change::Capture { response }) => ClaimState::Capturing {
            artefact: artefact.clone(),
            response: response.clone(),
        },
        (
            ClaimState::Capturing { .. },
            Change::Captured {
                settlement,
                receipt,
                response,
            },
        ) => ClaimState::Delivered(Delivery {
            settlement: settlement.clone(),
            receipt: receipt.clone(),
            response: response.clone(),
        }),
        _ => return None,
    })
}

/// The transitions of [`ClaimState`], and no others.
fn next_state(state: &ClaimState, change: &Change) -> Result<ClaimState, Illegal> {
    if let Some(next) = next_before_settlement(state, change) {
        return Ok(next);
    }
    Ok(match (state, change) {
        (
            ClaimState::Settling { .. } | ClaimState::Capturing { .. },
            Change::Settled {
                settlement,
                deliver,
            },
        ) => {
            let settlement = settlement.clone();
            if *deliver {
                ClaimState::Delivering { settlement }
            } else {
                ClaimState::Settled { settlement }
            }
        }
        (
            ClaimState::Settling { .. }
            | ClaimState::Authorised { .. }
            | ClaimState::Serving { .. }
            | ClaimState::Capturing { .. },
            Change::Failed { refusal },
        ) => ClaimState::Failed {
            refusal: refusal.clone(),
        },
        (ClaimState::Settled { settlement }, Change::Deliver) => ClaimState::Delivering {
            settlement: settlement.clone(),
        },
        (
            ClaimState::Delivering { settlement } | ClaimState::Refunding { settlement, .. },
            Change::Delivered { receipt, response },
        ) => ClaimState::Delivered(Delivery {
            settlement: settlement.clone(),
            receipt: receipt.clone(),
            response: response.clone(),
        }),
        (ClaimState::Delivering { settlement }, Change::DeliveryFailed) => ClaimState::Settled {
            settlement: settlement.clone(),
        },
        (
            ClaimState::Settled { settlement }
            | ClaimState::Delivering { settlement }
            | ClaimState::Refunding { settlement, .. },
            Change::Refund { artefact },
        ) => ClaimState::Refunding {
            settlement: settlement.clone(),
            artefact: artefact.clone(),
        },
        (ClaimState::Delivered(delivery), Change::Refund { artefact }) => ClaimState::Refunding {
            settlement: delivery.settlement.clone(),
            artefact: artefact.clone(),
        },
        (ClaimState::Refunding { settlement, .. }, Change::Refunded { refund }) => {
            ClaimState::Refunded {
                settlement: settlement.clone(),
                refund: refund.clone(),
            }
        }
        (ClaimState::Delivered(delivery), Change::Disputed) => {
            ClaimState::Disputed(delivery.clone())
        }
        (ClaimState::Disputed(delivery), Change::Reversed) => ClaimState::Reversed(Delivery {
            response: None,
            ..delivery.clone()
        }),
        _ => return Err(Illegal),
    })
}

/// How long a claim that has just become terminal is kept: long enough to be asked about, and as
/// long as its response.
fn retained(claim: &Claim, now: Timestamp) -> Timestamp {
    let response = claim.state.delivery().and_then(|it| it.response.as_ref());
    let least = now.plus_millis(TERMINAL_RETAIN_MS);
    let least = response.map_or(least, |it| it.expires_at.max(least));
    claim.retain_until.max(least)
}

/// The claim as it is to be seen at `now`: without a response that has expired.
pub(crate) fn seen(claim: &Claim, now: Timestamp) -> Box<Claim> {
    let mut seen = claim.clone();
    if let Some(response) = seen.state.response_mut() {
        *response = response.take().filter(|it| now < it.expires_at);
    }
    Box::new(seen)
}

/// True from the instant on at which a claim is not kept any more.
pub(crate) fn is_gone(claim: &Claim, now: Timestamp) -> bool {
    claim.state.is_terminal() && now >= claim.retain_until
}

/// True when this very attempt made the claim, and nobody else has had it since.
pub(crate) fn was_won_by(claim: &Claim, new: &NewClaim) -> bool {
    claim.attempt == new.attempt
        && claim.credential_hash == new.credential_hash
        && claim.owner == new.owner
        && claim.epoch == FIRST_EPOCH
}

/// Replay keys without duplicates, in the order given.
pub(crate) fn distinct(keys: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    let mut kept = Vec::with_capacity(keys.len());
    for key in keys {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}

/// Memory that a claim takes, bytes; its stored response is counted apart.
pub(crate) fn weight(claim: &Claim, replay_keys: usize) -> u64 {
    let bytes = |it: &Arc<[u8]>| it.len();
    let state = match &claim.state {
        ClaimState::Settling { artefact }
        | ClaimState::Authorised { artefact }
        | ClaimState::Serving { artefact }
        | ClaimState::Capturing { artefact, .. } => artefact.len(),
        ClaimState::Settled { settlement } | ClaimState::Delivering { settlement } => {
            bytes(settlement)
        }
        ClaimState::Failed { refusal } => bytes(refusal),
        ClaimState::Refunding {
            settlement,
            artefact,
        } => bytes(settlement) + artefact.len(),
        ClaimState::Refunded { settlement, refund } => bytes(settlement) + bytes(refund),
        ClaimState::Delivered(it) | ClaimState::Disputed(it) | ClaimState::Reversed(it) => {
            bytes(&it.settlement) + it.receipt.len()
        }
    };
    let ids = claim.challenge_id.len() * 2 + replay_keys * REPLAY_KEY_BYTES;
    u64::try_from(CLAIM_OVERHEAD_BYTES + ids + claim.details.len() + state).unwrap_or(u64::MAX)
}

/// Memory counted for a claim besides its bytes, with its places in the indexes, bytes.
const CLAIM_OVERHEAD_BYTES: usize = 640;
/// Memory counted for a replay key with its place in the index, bytes.
const REPLAY_KEY_BYTES: usize = 96;

/// When a lease taken at `now` ends.
fn lease(now: Timestamp, lease_ms: u64) -> Timestamp {
    now.plus_millis(lease_ms.min(LEASE_MS_MAX))
}
