//! What a store can be asked: plain data.

use std::sync::Arc;

use stiver_core::Timestamp;

use crate::claim::{Claim, StoredResponse};

/// One conditional write, or a question.
#[derive(Clone)]
#[non_exhaustive]
pub enum Command {
    /// Claims a challenge and all replay keys, atomically: one winner.
    Claim(NewClaim),
    /// Moves a claim on.
    Advance {
        /// Which.
        challenge_id: String,
        /// The caller's epoch.
        epoch: u64,
        /// To what.
        to: Advance,
    },
    /// Takes a claim over when its lease has ended (or was released) and it is not terminal.
    TakeOver {
        /// Which.
        challenge_id: String,
        /// The new owner.
        owner: u64,
        /// The new lease, milliseconds from the store's now.
        lease_ms: u64,
    },
    /// Extends the caller's lease.
    Renew {
        /// Which.
        challenge_id: String,
        /// The caller's epoch.
        epoch: u64,
        /// Milliseconds from the store's now.
        lease_ms: u64,
    },
    /// Reads a claim.
    Get {
        /// Which.
        challenge_id: String,
    },
    /// Lists claims that are not terminal and whose lease has ended, oldest first.
    Unfinished {
        /// At most so many.
        limit: usize,
    },
    /// Counts by state.
    Count,
}

/// A claim to be made.
#[derive(Clone)]
pub struct NewClaim {
    /// See [`Claim`].
    pub challenge_id: String,
    /// See [`Claim`].
    pub credential_hash: [u8; 32],
    /// See [`Claim`].
    pub request_hash: [u8; 32],
    /// See [`Claim`].
    pub idempotency_key_hash: Option<[u8; 32]>,
    /// SHA-256 of (method name, replay key), each.
    pub replay_keys: Vec<[u8; 32]>,
    /// See [`Claim`].
    pub details: Arc<[u8]>,
    /// The artefact that settling will execute: the claim begins in `Settling`.
    pub artefact: Arc<[u8]>,
    /// See [`Claim`].
    pub owner: u64,
    /// The lease, milliseconds from the store's now.
    pub lease_ms: u64,
    /// See [`Claim`].
    pub attempt: [u8; 16],
    /// See [`Claim`].
    pub retain_until: Timestamp,
}

/// Where to move a claim.
#[derive(Clone)]
#[non_exhaustive]
pub enum Advance {
    /// `Settling → Settled`, or straight on to `Delivering` when `deliver`.
    Settled {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// Start the handler in the same write.
        deliver: bool,
    },
    /// `Settling → Failed`.
    Failed {
        /// Why.
        refusal: Arc<[u8]>,
    },
    /// `Settled → Delivering`.
    Deliver,
    /// `Delivering → Delivered`.
    Delivered {
        /// The receipt's header value.
        receipt: Arc<str>,
        /// The response to keep, if any.
        response: Option<Arc<StoredResponse>>,
    },
    /// `Delivering → Settled`: the handler failed before anything was delivered. Frees the lease.
    DeliveryFailed,
    /// `Settled | Delivering → Refunding`.
    Refund {
        /// The refund's artefact.
        artefact: Arc<[u8]>,
    },
    /// `Refunding → Refunded`.
    Refunded {
        /// The refund's settlement.
        refund: Arc<[u8]>,
    },
    /// Frees the lease, state unchanged: somebody else, or the same credential again, may go on.
    Release,
}

/// What a store answers.
#[derive(Clone)]
#[non_exhaustive]
pub enum Reply {
    /// [`Command::Claim`], [`Command::TakeOver`]: it is yours.
    Won(Box<Claim>),
    /// [`Command::Claim`]: this challenge has a claim (perhaps the caller's own, told by credential hash).
    Exists(Box<Claim>),
    /// [`Command::Claim`]: another challenge's claim holds one of the replay keys.
    ReplayKeyUsed,
    /// [`Command::Claim`]: the store is at its limit of claims.
    Full,
    /// [`Command::Advance`], [`Command::Renew`]: done.
    Advanced(Box<Claim>),
    /// [`Command::Advance`], [`Command::Renew`]: the epoch is not the claim's any more.
    Fenced,
    /// [`Command::Advance`]: not from this state; [`Command::TakeOver`]: terminal, or its lease has not ended.
    Refused(Box<Claim>),
    /// [`Command::Get`]
    Found(Box<Claim>),
    /// No such claim.
    Absent,
    /// [`Command::Unfinished`]
    Claims(Vec<Claim>),
    /// [`Command::Count`]: state name and number.
    Counts(Vec<(&'static str, u64)>),
}
