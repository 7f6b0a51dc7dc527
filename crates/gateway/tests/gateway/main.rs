//! The whole gateway on loopback: real sockets, real logs on disk, a real API behind it, and a
//! payer that makes its credentials by hand.
#![expect(clippy::panic, reason = "what tests share is a test too")]

mod common;

mod charge;
mod delivery;
mod forward;
mod ledger_endpoint;
mod life;
mod logs;
