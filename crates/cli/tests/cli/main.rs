//! The command itself, as a process: what it prints, what it writes, how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]

mod common;

mod about;
mod books;
mod get;
mod get_allowed;
mod get_away;
mod get_output;
mod get_refused;
mod get_sent;
mod get_socket;
mod get_without_wallet;
mod hostile;
mod inspect;
mod look;
mod mint;
mod operate;
mod payments;
mod serve;
mod sessions;
mod status;
mod wallet;
mod wallet_history;
mod wallet_keyring;
mod wallet_keys;
