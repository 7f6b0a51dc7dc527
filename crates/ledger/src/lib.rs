//! An embedded double-entry ledger: pure state, and its log. Knows nothing of HTTP.
#![forbid(unsafe_code)]
