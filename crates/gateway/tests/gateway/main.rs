//! The whole gateway on loopback: real sockets, real logs on disk, a real API behind it, and a
//! payer that makes its credentials by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

mod charge;
mod cors;
mod cut;
mod delivery;
mod discovery;
mod forward;
mod ledger_endpoint;
mod life;
mod limits;
mod logs;
mod metered;
mod observe;
mod pricing;
mod refunds;
mod reload;
mod secrets;
mod sessions;
mod slow_top_up;
mod sockets;
mod streams;
mod tls;
mod upgrade;
mod uploads;
mod upstreams;
mod usage;
