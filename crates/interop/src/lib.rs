//! What the runs against other implementations found, as a document.
//!
//! The runs themselves are `tests/slow_interop`; the programs they run against are in `interop/`.
#![forbid(unsafe_code)]

pub mod matrix;
