//! The `ledger` payment method: charges and sessions settled on a Stiver ledger.
//!
//! The wire protocol is `docs/spec/ledger-charge.md` and, for [`session`],
//! `docs/spec/ledger-session.md`. A payee uses [`LedgerPayee`] over an [`EmbeddedLedger`] (or
//! another [`LedgerApi`]); a payer uses [`LedgerPayer`]. [`query`] is how a payer asks a ledger
//! about its own money, [`submit`] how a payee elsewhere settles on it.
#![forbid(unsafe_code)]

pub mod api;
mod embedded;
mod payee;
mod payer;
pub mod query;
pub mod receipt;
mod refusal;
pub mod session;
pub mod sign;
pub mod submit;
mod terms;
#[cfg(test)]
mod tests;
pub mod wire;

pub use api::{ChannelLedger, LedgerApi, OrderQuery, SessionLedger};
pub use embedded::{EmbeddedError, EmbeddedLedger};
pub use payee::{LedgerPayee, LedgerPayeeConfig};
pub use payer::{LedgerPayer, LedgerPayerConfig};
pub use session::{
    LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer, LedgerSessionPayerConfig,
};

/// The method's name on the wire.
pub const METHOD: &str = "ledger";
/// How much longer than its challenge an order may be valid, milliseconds: one minute.
pub const ORDER_EXPIRY_TOLERANCE_MS: u64 = 60_000;
/// How long an order is valid that answers a challenge without expiry, milliseconds: 5 minutes.
pub const ORDER_LIFETIME_MS_DEFAULT: u64 = 5 * 60_000;
/// The longest that a payer's order is valid, whatever its challenge says, milliseconds: one hour.
pub const ORDER_LIFETIME_MS_MAX: u64 = 3_600_000;
/// How long a refund's order is valid, milliseconds: 12 hours. When the ledger could not be reached
/// for as long and says that the order lapsed, the refund is prepared again under the same key: the
/// new order has the same nonce, so that at most one of them lands.
pub const REFUND_LIFETIME_MS: u64 = 12 * 3_600_000;
