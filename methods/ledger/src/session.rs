//! The `session` intent: a deposit on the ledger, then a voucher for each use.
//!
//! The wire protocol is `docs/spec/ledger-session.md`. A payee uses [`LedgerSessionPayee`], a payer
//! [`LedgerSessionPayer`]. The channel is a hold on the ledger, named by the hash of the order that
//! opened it; the ledger itself verifies the voucher that a payee captures by.

mod asked;
mod payee;
mod payer;
mod payload;
mod receipt;
mod record;
mod signers;
mod terms;
#[cfg(test)]
mod tests;
pub mod wire;

pub use self::{
    payee::{LedgerSessionPayee, LedgerSessionPayeeConfig},
    payer::{LedgerSessionPayer, LedgerSessionPayerConfig},
    receipt::verify_session_receipt,
    wire::Scheme,
};

/// The grace that a payee asks for unless configured, seconds: 15 minutes.
pub const GRACE_SECONDS_DEFAULT: u64 = 900;
/// The longest grace that a payer agrees to unless configured, seconds: one day.
pub const GRACE_SECONDS_ACCEPTED_DEFAULT: u64 = 24 * 3600;
/// How long the order of a capture is valid, milliseconds: 12 hours. Prepared again under the same
/// key it has the same nonce, so that at most one of the two lands.
pub const CAPTURE_LIFETIME_MS: u64 = 12 * 3_600_000;
