//! Tests of the log as its users see it, on a simulated and a real disk.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what test helpers did not expect shall end the test"
)]

mod crash;
mod damage;
mod engine;
mod format;
mod history;
mod process;
mod tally;
