//! Simulated time, faulty disks and hostile rails for tests.
#![forbid(unsafe_code)]

pub mod certificates;
pub mod disk;
pub mod entropy;
pub mod escrow;
pub mod fixtures;
pub mod rail;
pub mod simulation;
pub mod spawn;
pub mod store_memory;
pub mod store_suite;
pub mod time;
