//! The server's durable truth: claims, the delivery journal and idempotent responses.
//!
//! Commands are plain data, each one conditional write that the store evaluates, answered in one
//! round trip and durable before it is answered.
#![forbid(unsafe_code)]

pub mod claim;
pub mod command;
mod embedded;
pub mod event;
mod known;
pub mod limits;
mod rules;
pub mod state;

use std::sync::Arc;

use stiver_env::BoxFuture;

pub use claim::{Claim, ClaimState, Delivery, SecretBytes, StoredResponse};
pub use command::{Advance, Command, NewClaim, Reply};
pub use embedded::{EmbeddedOpenError, EmbeddedStore};
pub use limits::{LEASE_MS_MAX, Limits, TERMINAL_RETAIN_MS, UNFINISHED_MAX};

/// A store.
pub trait Store: Send + Sync {
    /// Submits one command.
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;
    /// False only when no claim for this challenge is kept here: a cheap way to skip a look-up.
    /// Never decides anything by itself: [`Command::Claim`] does.
    fn might_know(&self, challenge_id: &str) -> bool {
        let _ = challenge_id;
        true
    }
}

impl<T: Store + ?Sized> Store for Arc<T> {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        (**self).submit(command)
    }
    fn might_know(&self, challenge_id: &str) -> bool {
        (**self).might_know(challenge_id)
    }
}

/// The store has no answer. The command may or may not have been carried out: the same command with
/// the same attempt id may be submitted again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store has no answer: {0}")]
pub struct StoreError(pub String);
