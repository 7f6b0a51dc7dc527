//! Sessions at the gate: channels are funded once, vouchers pay for what is served and for nothing
//! else, and what was earned is captured exactly.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

mod chaos;
mod common;
mod fractions;
mod funding;
mod http_layer;
mod keys;
mod metered;
mod refusals;
mod reported;
mod serving;
mod settling;
