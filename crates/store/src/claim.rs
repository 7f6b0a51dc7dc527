//! What is kept of one credential.
//!
//! ```text
//!            ┌───────► Failed
//!            │
//!  (claim) ► Settling ─────► Settled ──────► Delivering ──────► Delivered ► Disputed ► Reversed
//!                            │     ▲ handler      │
//!                            │     │ failed       │
//!                            │     └──────────────┤
//!                            ▼                    │
//!                        Refunding ◄──────────────┘
//!                            │  ▲
//!                            │  └─ another artefact, once the former can be executed no more
//!                            └───────► Refunded
//! ```
//!
//! A claim whose handler runs before its payment is settled begins in `Serving`:
//!
//! ```text
//!            ┌──────────────┬────────────────┬───────► Failed
//!            │              │                │
//!  (claim) ► Serving ─────────────────► Capturing ───────────────────────► Delivered
//!            │     ▲        │                │
//!    handler │     │ again  │                └► Settled, Delivering: the response was not kept
//!     failed └► Authorised ─┘
//! ```
//!
//! In `Serving` and `Authorised` the artefact was never executed: nothing has moved.
//!
//! `Failed`, `Delivered`, `Refunded`, `Disputed` and `Reversed` are terminal: nothing is left for
//! the server to do. A claim that is not terminal is never dropped. A terminal one is gone from its
//! `retain_until` on, with its replay keys.

use std::{fmt, ops::Deref, sync::Arc};

use stiver_core::Timestamp;
use zeroize::Zeroizing;

/// Bytes that move money: wiped from memory when the last holder lets go. Cheap to clone. `Debug`
/// prints the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<Zeroizing<Vec<u8>>>);

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl Deref for SecretBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

/// One credential that won its challenge, and how far its payment and delivery have come.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The challenge it answers: the claim's key.
    pub challenge_id: String,
    /// SHA-256 of the credential as it stood on the wire.
    pub credential_hash: [u8; 32],
    /// SHA-256 over HTTP method, normalised target and body digest.
    pub request_hash: [u8; 32],
    /// SHA-256 over realm, *proven* payer and Idempotency-Key, when one was sent: see
    /// [`NewClaim::idempotency_key_hash`](crate::NewClaim::idempotency_key_hash).
    pub idempotency_key_hash: Option<[u8; 32]>,
    /// The server's own record of terms, payer, payee and resource: bytes the store does not read.
    pub details: Arc<[u8]>,
    /// How far it is.
    pub state: ClaimState,
    /// Who works on it: a number drawn by each server instance at its start.
    pub owner: u64,
    /// Until when the owner's work is left alone, by the store's clock.
    pub lease_until: Timestamp,
    /// Fencing epoch: raised by every take-over; an [`crate::Advance`] with an older one is
    /// refused.
    pub epoch: u64,
    /// The id of the attempt that created it, so that an ambiguous commit can be asked about.
    pub attempt: [u8; 16],
    /// When it was created.
    pub created_at: Timestamp,
    /// Until when it is kept when it is terminal: not before the method's proof can no longer be
    /// replayed. Put off when it ends late: see [`TERMINAL_RETAIN_MS`](crate::TERMINAL_RETAIN_MS).
    pub retain_until: Timestamp,
    /// How many times the handler was started.
    pub deliveries_started: u32,
}

/// How far a claim is. `settlement`, `artefact`, `refusal` and `receipt` are the server's bytes.
/// `Debug` prints the name only.
///
/// `Settling → Settled → Delivering → Delivered`, with `Settling → Delivering` (both steps in one
/// write), `Settling → Failed`, `Delivering → Settled` (the handler failed and may run again),
/// `Settled → Refunding → Refunded`, `Delivering → Refunding`, `Delivered → Refunding` (the payee
/// gives it back), `Refunding → Refunding` (the artefact has lapsed and another was prepared),
/// `Refunding → Delivered` (the rail refused the payee's refund: the delivery stands), and
/// `Delivered → Disputed → Reversed`. For a claim whose handler runs first: `Serving → Capturing →
/// Delivered` (settlement and delivery in one write), `Serving → Authorised → Serving` (the handler
/// failed and runs again), `Capturing → Settled` and `Capturing → Delivering` (there is no response
/// to deliver), and `Failed` from each of the three. No other transition exists.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimState {
    /// The artefact may have been executed.
    Settling {
        /// What is executed. Let go when the state is left, and never written again.
        artefact: SecretBytes,
    },
    /// Money has moved; nothing is delivered.
    Settled {
        /// The settlement.
        settlement: Arc<[u8]>,
    },
    /// The handler was started.
    Delivering {
        /// The settlement.
        settlement: Arc<[u8]>,
    },
    /// Delivered, durably before the first byte left.
    Delivered(Delivery),
    /// The rail refused: nothing moved and never will by this credential.
    Failed {
        /// Why.
        refusal: Arc<[u8]>,
    },
    /// A refund may have been executed.
    Refunding {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// The one refund artefact of this payment that can still be executed. Let go when the
        /// state is left.
        artefact: SecretBytes,
    },
    /// Given back.
    Refunded {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// The refund's own settlement.
        refund: Arc<[u8]>,
    },
    /// Contested by the payer or the rail.
    Disputed(Delivery),
    /// Taken back by the rail (chargeback, reorganisation).
    Reversed(Delivery),
    /// The handler runs before settlement, and none runs now. Nothing was executed.
    Authorised {
        /// What settling will execute.
        artefact: SecretBytes,
    },
    /// The handler was started before settlement. Nothing was executed.
    Serving {
        /// What settling will execute.
        artefact: SecretBytes,
    },
    /// The handler has answered, and the artefact may have been executed.
    Capturing {
        /// What is executed. Let go when the state is left, and never written again.
        artefact: SecretBytes,
        /// The response that waits for the settlement, when it fits.
        response: Option<Arc<StoredResponse>>,
    },
}

impl Claim {
    /// True when the lease has ended or was freed: anybody may take it over.
    pub fn lease_ended(&self, now: Timestamp) -> bool {
        now >= self.lease_until
    }
}

impl fmt::Debug for Claim {
    /// Prints no bytes of details, proofs or responses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("challenge_id", &self.challenge_id)
            .field("state", &self.state)
            .field("owner", &self.owner)
            .field("lease_until", &self.lease_until)
            .field("epoch", &self.epoch)
            .field("created_at", &self.created_at)
            .field("retain_until", &self.retain_until)
            .field("deliveries_started", &self.deliveries_started)
            .finish_non_exhaustive()
    }
}

impl ClaimState {
    /// Every state's name, in the order of [`Reply::Counts`](crate::Reply::Counts).
    pub const NAMES: [&str; 12] = [
        "settling",
        "settled",
        "delivering",
        "delivered",
        "failed",
        "refunding",
        "refunded",
        "disputed",
        "reversed",
        "authorised",
        "serving",
        "capturing",
    ];

    /// The name, one of [`ClaimState::NAMES`].
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// True when nothing is left for the server to do.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Settling { .. }
            | Self::Settled { .. }
            | Self::Delivering { .. }
            | Self::Refunding { .. }
            | Self::Authorised { .. }
            | Self::Serving { .. }
            | Self::Capturing { .. } => false,
            Self::Delivered(_)
            | Self::Failed { .. }
            | Self::Refunded { .. }
            | Self::Disputed(_)
            | Self::Reversed(_) => true,
        }
    }

    /// True when an Idempotency-Key stays bound to the claim: not when nothing was paid, or what
    /// was paid was given back, since the same call may then be paid anew.
    pub fn binds_idempotency_key(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::Refunded { .. })
    }

    /// The delivery, when there was one.
    pub fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Delivered(delivery) | Self::Disputed(delivery) | Self::Reversed(delivery) => {
                Some(delivery)
            }
            _ => None,
        }
    }

    /// The response that is kept: of a delivery, or of one that waits for its settlement.
    pub fn response(&self) -> Option<&Arc<StoredResponse>> {
        match self {
            Self::Delivered(it) | Self::Disputed(it) | Self::Reversed(it) => it.response.as_ref(),
            Self::Capturing { response, .. } => response.as_ref(),
            _ => None,
        }
    }

    /// Where a response is kept, in the states that may have one.
    pub(crate) fn response_mut(&mut self) -> Option<&mut Option<Arc<StoredResponse>>> {
        match self {
            Self::Delivered(it) | Self::Disputed(it) | Self::Reversed(it) => Some(&mut it.response),
            Self::Capturing { response, .. } => Some(response),
            _ => None,
        }
    }

    /// The position in [`ClaimState::NAMES`].
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Settling { .. } => 0,
            Self::Settled { .. } => 1,
            Self::Delivering { .. } => 2,
            Self::Delivered(_) => 3,
            Self::Failed { .. } => 4,
            Self::Refunding { .. } => 5,
            Self::Refunded { .. } => 6,
            Self::Disputed(_) => 7,
            Self::Reversed(_) => 8,
            Self::Authorised { .. } => 9,
            Self::Serving { .. } => 10,
            Self::Capturing { .. } => 11,
        }
    }
}

impl fmt::Debug for ClaimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A finished delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The settlement.
    pub settlement: Arc<[u8]>,
    /// The `Payment-Receipt` value, repeated byte for byte.
    pub receipt: Arc<str>,
    /// The response, when it is to be repeated and fits.
    pub response: Option<Arc<StoredResponse>>,
}

/// A response kept for repetition.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// Status.
    pub status: u16,
    /// Header fields in order, as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// When it is dropped: gone from this instant on.
    pub expires_at: Timestamp,
}

impl StoredResponse {
    /// What it counts for in the limits: body, header names and values, and a little for each.
    pub fn weight(&self) -> u64 {
        let fields = self.headers.iter().fold(0, |sum: usize, (name, value)| {
            sum.saturating_add(name.len())
                .saturating_add(value.len())
                .saturating_add(FIELD_OVERHEAD_BYTES)
        });
        u64::try_from(self.body.len().saturating_add(fields)).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for StoredResponse {
    /// Prints no header and no body: they may hold what was paid for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StoredResponse({}, {} bytes)",
            self.status,
            self.body.len()
        )
    }
}

/// Memory counted for one header field besides its text, bytes.
const FIELD_OVERHEAD_BYTES: usize = 48;
