//! What a store can be asked: plain data.

use std::{fmt, sync::Arc};

use stiver_core::Timestamp;

use crate::claim::{Claim, SecretBytes, StoredResponse};

/// One conditional write, or a question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Claims a challenge and all replay keys, atomically: one winner.
    ///
    /// Answered by the first that is true: [`Reply::TooLarge`]; [`Reply::Won`] when this attempt
    /// has won before and nobody took over since; [`Reply::Exists`]; [`Reply::IdempotencyHit`] or
    /// [`Reply::IdempotencyConflict`]; [`Reply::ReplayKeyUsed`]; [`Reply::Full`]; [`Reply::Won`].
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
    /// Takes a claim over when its lease has ended (or was released) and it is not terminal. Raises
    /// the epoch.
    TakeOver {
        /// Which.
        challenge_id: String,
        /// The new owner.
        owner: u64,
        /// The new lease, milliseconds from the store's now.
        lease_ms: u64,
    },
    /// Extends the caller's lease; never shortens it.
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
    /// Lists claims that are not terminal and whose lease has ended, oldest first: page by page,
    /// since claims that have to wait must not hide younger ones.
    Unfinished {
        /// Only claims made after this one: the last challenge id of the page before. From the
        /// oldest on when `None`, or when that claim is gone.
        after: Option<String>,
        /// At most so many, and at most [`UNFINISHED_MAX`](crate::UNFINISHED_MAX).
        limit: usize,
    },
    /// Lists every claim, page by page, for an operator to look at: first those that are not
    /// terminal, newest first; then terminal ones, those first that are kept longest. A claim that
    /// moves on between two pages may be on both, or on neither.
    List {
        /// Only what comes after this claim: the last challenge id of the page before. From the
        /// beginning when `None`, or when that claim is gone.
        after: Option<String>,
        /// At most so many, and at most [`UNFINISHED_MAX`](crate::UNFINISHED_MAX).
        limit: usize,
    },
    /// Counts by state, in the order of [`ClaimState::NAMES`](crate::ClaimState::NAMES).
    Count,
}

/// A claim to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// See [`Claim`].
    pub challenge_id: String,
    /// See [`Claim`].
    pub credential_hash: [u8; 32],
    /// See [`Claim`].
    pub request_hash: [u8; 32],
    /// SHA-256 over realm, payer and Idempotency-Key, when one was sent. It binds the key to
    /// `request_hash` for as long as the claim is kept.
    ///
    /// The payer must be the one *proven* by the method, never a claimed `source`: whoever presents
    /// the same hash is handed the earlier claim, and with it the stored response. Without a proven
    /// payer, hash the credential itself in its place, or send none.
    pub idempotency_key_hash: Option<[u8; 32]>,
    /// SHA-256 of (method name, replay key), each.
    pub replay_keys: Vec<[u8; 32]>,
    /// See [`Claim`].
    pub details: Arc<[u8]>,
    /// The artefact that settling will execute: the claim begins in `Settling`.
    pub artefact: SecretBytes,
    /// The handler runs before the artefact is executed: the claim begins in `Serving` instead,
    /// with one delivery started.
    pub handler_first: bool,
    /// See [`Claim`].
    pub owner: u64,
    /// The lease, milliseconds from the store's now.
    pub lease_ms: u64,
    /// See [`Claim`].
    pub attempt: [u8; 16],
    /// See [`Claim`].
    pub retain_until: Timestamp,
}

impl fmt::Debug for NewClaim {
    /// Prints no bytes of proofs or details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewClaim")
            .field("challenge_id", &self.challenge_id)
            .field("replay_keys", &self.replay_keys.len())
            .field("owner", &self.owner)
            .field("lease_ms", &self.lease_ms)
            .field("retain_until", &self.retain_until)
            .finish_non_exhaustive()
    }
}

/// Where to move a claim. Submitted again by the same epoch when it is there already, it is
/// answered [`Reply::Advanced`] and changes nothing, so an unanswered one may be repeated.
///
/// An epoch belongs to one worker: two tasks that share one would both be told that they advanced.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advance {
    /// `Settling → Settled`, or straight on to `Delivering` when `deliver`. From `Capturing` too,
    /// where `Delivering` means the handler that has run already, whose response is not kept.
    Settled {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// Start the handler in the same write.
        deliver: bool,
    },
    /// `Settling | Authorised | Serving | Capturing → Failed`.
    Failed {
        /// Why.
        refusal: Arc<[u8]>,
    },
    /// `Settled → Delivering`, or `Authorised → Serving`.
    Deliver,
    /// `Delivering → Delivered`.
    Delivered {
        /// The receipt's header value.
        receipt: Arc<str>,
        /// The response to keep, if any.
        response: Option<Arc<StoredResponse>>,
    },
    /// `Serving → Capturing`: the handler has answered, and the artefact is about to be executed.
    Capture {
        /// The response that waits for the settlement, if it is to be kept.
        response: Option<Arc<StoredResponse>>,
    },
    /// `Capturing → Delivered`: money has moved, and the response may leave.
    Captured {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// The receipt's header value.
        receipt: Arc<str>,
        /// The response to keep, if any.
        response: Option<Arc<StoredResponse>>,
    },
    /// `Delivering → Settled`, or `Serving → Authorised`: the handler failed before anything was
    /// delivered. Frees the lease.
    DeliveryFailed,
    /// `Settled | Delivering | Delivered → Refunding`, or `Refunding → Refunding` with another
    /// artefact. The latter only when the rail will never execute the former one.
    Refund {
        /// The refund's artefact.
        artefact: SecretBytes,
    },
    /// `Refunding → Refunded`.
    Refunded {
        /// The refund's settlement.
        refund: Arc<[u8]>,
    },
    /// Frees the lease, state unchanged: somebody else, or the same credential again, may go on.
    Release,
    /// `Delivered → Disputed`.
    Disputed,
    /// `Disputed → Reversed`. A stored response is dropped: it is not paid for any more.
    Reversed,
}

impl Advance {
    /// The name, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Settled { deliver: false, .. } => "settled",
            Self::Settled { deliver: true, .. } => "settled and deliver",
            Self::Failed { .. } => "failed",
            Self::Deliver => "deliver",
            Self::Delivered { .. } => "delivered",
            Self::Capture { .. } => "capture",
            Self::Captured { .. } => "captured",
            Self::DeliveryFailed => "delivery failed",
            Self::Refund { .. } => "refund",
            Self::Refunded { .. } => "refunded",
            Self::Release => "release",
            Self::Disputed => "disputed",
            Self::Reversed => "reversed",
        }
    }
}

impl fmt::Debug for Advance {
    /// Prints the name only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// [`Command::Claim`], [`Command::TakeOver`]: it is yours.
    Won(Box<Claim>),
    /// [`Command::Claim`]: this challenge has a claim (perhaps the caller's own, told by credential
    /// hash).
    Exists(Box<Claim>),
    /// [`Command::Claim`]: the Idempotency-Key is bound to this earlier claim, over another
    /// challenge but the same request. Nothing was claimed and nothing is to be charged.
    IdempotencyHit(Box<Claim>),
    /// [`Command::Claim`]: the Idempotency-Key is bound to another request.
    IdempotencyConflict,
    /// [`Command::Claim`]: another challenge's claim holds one of the replay keys.
    ReplayKeyUsed,
    /// [`Command::Claim`]: the store is at its limit of claims, or of their bytes.
    Full,
    /// [`Command::Claim`], [`Command::Advance`]: a part is larger than its limit. Nothing changed.
    TooLarge {
        /// Which part.
        part: &'static str,
        /// The limit: bytes, or for replay keys their number.
        limit: usize,
    },
    /// [`Command::Advance`], [`Command::Renew`]: done.
    Advanced(Box<Claim>),
    /// [`Command::Advance`], [`Command::Renew`]: the epoch is not the claim's any more.
    Fenced,
    /// [`Command::Advance`]: not from this state; [`Command::Renew`]: terminal;
    /// [`Command::TakeOver`]: terminal, or its lease has not ended.
    Refused(Box<Claim>),
    /// [`Command::Get`]
    Found(Box<Claim>),
    /// No such claim.
    Absent,
    /// [`Command::Unfinished`], [`Command::List`]
    Claims(Vec<Claim>),
    /// [`Command::Count`]: state name and number.
    Counts(Vec<(&'static str, u64)>),
}
