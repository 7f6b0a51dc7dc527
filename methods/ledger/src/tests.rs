//! A payer and a payee over one ledger, and what either might be sent.

mod charge;
mod embedded;
mod hostile;
mod payer;
mod refund;
pub(crate) mod setup;
mod submit;
mod vectors;
