//! nginx and haproxy in front of the gateway: whatever gets through them is charged or refused,
//! never delivered unpaid, and no answer about payment is kept or changed on its way.
//!
//! The real programs run, from the Debian packages `nginx-light` and `haproxy`. A program that is
//! not there is a failure, and says what to install.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../gateway/common/mod.rs"]
#[expect(dead_code, reason = "these tests need only a part of it")]
mod common;

mod attacks;
mod front;
mod http2;
mod payment;
