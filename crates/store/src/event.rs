//! What happened: the facts that the log keeps.

use std::sync::Arc;

use crate::{
    channel::ChannelEvent,
    claim::{SecretBytes, StoredResponse},
    command::NewClaim,
    limits::Limits,
};

/// One fact. Instants in it are relative to the time under which the log keeps it.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A challenge was claimed. The replay keys hold no duplicates.
    Claimed(Box<NewClaim>),
    /// A claim changed.
    Changed {
        /// Which.
        challenge_id: String,
        /// How.
        change: Change,
    },
    /// The log was opened, with these limits. Every lease has ended: only one process has the log
    /// open, so whoever worked on a claim before is gone.
    /// Nothing is being served in any channel either: reservations are free again.
    Configured(Limits),
    /// Something happened to a channel.
    Channel(ChannelEvent),
}

/// How one claim changed.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Money has moved.
    Settled {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// The handler was started too.
        deliver: bool,
    },
    /// The rail refused.
    Failed {
        /// Why.
        refusal: Arc<[u8]>,
    },
    /// The handler was started.
    Deliver,
    /// The handler finished.
    Delivered {
        /// The receipt's header value.
        receipt: Arc<str>,
        /// The response, when it is kept.
        response: Option<Arc<StoredResponse>>,
    },
    /// The handler has answered, before settlement.
    Capture {
        /// The response, when it is kept.
        response: Option<Arc<StoredResponse>>,
    },
    /// Money has moved after the handler, and the response may leave.
    Captured {
        /// The settlement.
        settlement: Arc<[u8]>,
        /// The receipt's header value.
        receipt: Arc<str>,
        /// The response, when it is kept.
        response: Option<Arc<StoredResponse>>,
    },
    /// The handler failed.
    DeliveryFailed,
    /// A refund was decided.
    Refund {
        /// Its artefact.
        artefact: SecretBytes,
    },
    /// The refund is done.
    Refunded {
        /// Its settlement.
        refund: Arc<[u8]>,
    },
    /// The lease was freed.
    Released,
    /// The lease was extended.
    Renewed {
        /// Milliseconds from when it happened.
        lease_ms: u64,
    },
    /// The lease went to another owner, and the epoch rose by one.
    TakenOver {
        /// The owner.
        owner: u64,
        /// Milliseconds from when it happened.
        lease_ms: u64,
    },
    /// The payment was contested.
    Disputed,
    /// The payment was taken back.
    Reversed,
}
