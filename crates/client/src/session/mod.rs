//! Sessions, as a payer has them: a deposit in a channel, then a voucher for each use.
//!
//! ```text
//!  intended ──► opening ──► open ──► closing ──► closed
//!      │           │          │ ▲       │          ▲
//!      ▼           ▼          ▼ │       ▼          │ the payee may close at any time
//!  abandoned     void      top-ups   forcing ──► forced ──► withdrawing ──► withdrawn
//! ```
//!
//! What always holds, whatever a server says:
//!
//! - What is signed is durable in the journal before the voucher leaves, and never goes down.
//! - It is at most what this side itself agreed to pay, request by request, and the policy's
//!   window beyond that; at most the deposit; at most the session's limit. The journal's own rules
//!   see to that ([`SessionMachine`]), not only the code that asks it.
//! - A server's figures (a snapshot, `requiredCumulative`, a receipt) are compared with the
//!   journal, and raise nothing.
//! - What is set aside counts as spent from the moment that its opening is signed until the channel
//!   ends, for a payee that does not answer keeps it out of reach.
mod journal;
pub(crate) mod lease;
mod machine;
pub(crate) mod meter;
pub(crate) mod policy;
mod record;
pub mod sse;
mod wire;

pub use journal::{
    LaneSessions, MemorySessions, SessionJournal, SessionJournalError, session_history,
};
pub use lease::SessionParts;
pub use machine::{
    FINAL_SESSIONS_KEPT, IN_FLIGHT_MAX, LIVE_SESSIONS_MAX, LiveSession, SessionCommand,
    SessionEvent, SessionMachine, SessionRefusal, SessionReply,
};
pub use meter::OwnMeter;
pub use policy::{ChannelPlan, OverLimit, SessionLimits, VoucherKind};
pub use record::{
    Bounds, ChannelRecord, Session, SessionId, SessionIdError, SessionSecrets, SessionState,
    SessionStep, SessionTerms, Told,
};

#[cfg(test)]
mod tests;
