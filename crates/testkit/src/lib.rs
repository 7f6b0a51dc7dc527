//! Simulated time, faulty disks and hostile rails for tests.
#![forbid(unsafe_code)]

pub mod fixtures;
pub mod rail;
