//! The gate on a simulated machine: every refusal and every way on, driven without HTTP types;
//! and its tower layer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]

mod changes;
mod chaos;
mod common;
mod concurrency;
mod disconnects;
mod events;
mod give_back;
mod http_layer;
mod idempotency;
mod power;
mod recovery;
mod refunds;
mod refusals;
mod resume;
mod settle_after;
