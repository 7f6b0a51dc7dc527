//! Codecs and rules of the `Payment` HTTP authentication scheme.
//!
//! Everything here is synchronous and total on hostile input. There is no I/O, no clock and no
//! randomness: time and entropy are arguments, so the crate runs on a microcontroller, in a
//! browser and under a simulator unchanged.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod accept;
pub mod amount;
pub mod base64url;
pub mod binding;
pub mod challenge;
pub mod credential;
pub mod did;
pub mod digest;
mod header;
pub mod json;
pub mod language;
pub mod limits;
pub mod name;
pub mod opaque;
pub mod problem;
pub mod receipt;
mod scan;
pub mod socket;
pub mod time;
pub mod untrusted;

pub use amount::{Amount, Currency};
pub use challenge::Challenge;
pub use credential::Credential;
pub use problem::Problem;
pub use receipt::Receipt;
pub use time::Timestamp;
