//! What is kept of one credential.

use std::sync::Arc;

use stiver_core::Timestamp;

/// One credential that won its challenge, and how far its payment and delivery have come.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The challenge it answers: the claim's key.
    pub challenge_id: String,
    /// SHA-256 of the credential as it stood on the wire.
    pub credential_hash: [u8; 32],
    /// SHA-256 over HTTP method, normalised target and body digest.
    pub request_hash: [u8; 32],
    /// SHA-256 of the Idempotency-Key, when one was sent.
    pub idempotency_key_hash: Option<[u8; 32]>,
    /// The server's own record of terms, payer, payee and resource: bytes the store does not read.
    pub details: Arc<[u8]>,
    /// How far it is.
    pub state: ClaimState,
    /// Who works on it: a number drawn by each server instance at its start.
    pub owner: u64,
    /// Until when the owner's work is left alone, by the store's clock.
    pub lease_until: Timestamp,
    /// Fencing epoch: raised by every take-over; an [`crate::Advance`] with an older one is refused.
    pub epoch: u64,
    /// The id of the attempt that created it, so that an ambiguous commit can be asked about.
    pub attempt: [u8; 16],
    /// When it was created.
    pub created_at: Timestamp,
    /// Until when it is kept: not before the method's proof can no longer be replayed.
    pub retain_until: Timestamp,
    /// How many times the handler was started.
    pub deliveries_started: u32,
}

/// How far a claim is. `settlement`, `artefact`, `refusal` and `receipt` are the server's bytes.
///
/// `Settling → Settled → Delivering → Delivered`, with `Settling → Failed`, `Delivering → Settled` (the handler failed and
/// may run again), `Settled → Refunding → Refunded`, `Delivering → Refunding`, and `Delivered → Disputed → Reversed`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimState {
    /// The artefact may have been executed.
    Settling {
        /// What is executed. Wiped from memory and never written again once terminal.
        artefact: Arc<[u8]>,
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
        /// The one refund artefact of this payment.
        artefact: Arc<[u8]>,
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
    /// When it is dropped.
    pub expires_at: Timestamp,
}
