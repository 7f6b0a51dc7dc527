//! An embedded double-entry ledger: pure state, and its log. Knows nothing of HTTP.
#![forbid(unsafe_code)]

mod cbor;
mod effect;
mod event;
mod history;
pub mod id;
pub mod key;
mod ledger;
pub mod limits;
mod machine;
pub mod order;
pub mod receipt;
pub mod refusal;
mod rows;
mod state;
#[cfg(test)]
mod tests;
pub mod text;
pub mod view;
pub mod voucher;

pub use cbor::CborError;
pub use event::Event;
pub use ledger::{
    CheckReport, CurrencyConfig, ExecuteFailure, LOG_FOLDER, Ledger, LedgerConfig, LedgerError,
};
pub use machine::{LedgerMachine, MachineCommand, MachineReply};
