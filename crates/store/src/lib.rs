//! The server's durable truth: claims, the delivery journal, idempotent responses, and channels of
//! sessions.
//!
//! Commands are plain data, each one conditional write that the store evaluates, answered in one
//! round trip and durable before it is answered. A [`Claim`] goes from the first sight of a
//! credential to its delivery; its states and transitions stand in [`claim`]. [`EmbeddedStore`]
//! keeps them in this process, over a log of its own. Payment channels are kept beside them, in the
//! same log: see [`channel`].
//!
//! # Examples
//!
//! A paid request, from the credential to the response:
//!
//! ```
//! use stiver_core::Timestamp;
//! use stiver_store::{Advance, Command, EmbeddedStore, Limits, NewClaim, Reply, Store};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! # pollster::block_on(async {
//! let env = stiver_env::native::env();
//! let store = EmbeddedStore::open(EmbeddedStore::config(folder), &env, Limits::default()).await?;
//!
//! // One winner among all who present this credential, or another that replays its proof.
//! let new = NewClaim {
//!     challenge_id: "qB3wErTyU7iOpAsD9fGhJk".to_owned(),
//!     credential_hash: [1; 32],
//!     request_hash: [2; 32],
//!     idempotency_key_hash: None,
//!     replay_keys: vec![[3; 32]],
//!     details: b"terms, payer, payee, resource"[..].into(),
//!     artefact: b"what moves the money"[..].into(),
//!     handler_first: false,
//!     owner: 42,
//!     lease_ms: 30_000,
//!     attempt: [4; 16],
//!     retain_until: Timestamp::from_millis(1_767_225_600_000),
//! };
//! let Reply::Won(claim) = store.submit(Command::Claim(new.clone())).await? else {
//!     panic!("the store is empty");
//! };
//! let rival = NewClaim { attempt: [5; 16], ..new };
//! assert!(matches!(store.submit(Command::Claim(rival)).await?, Reply::Exists(_)));
//!
//! // The rail has moved the money: durable before the handler runs.
//! let advance = |to| Command::Advance {
//!     challenge_id: claim.challenge_id.clone(),
//!     epoch: claim.epoch,
//!     to,
//! };
//! let settlement = b"what the rail said"[..].into();
//! store.submit(advance(Advance::Settled { settlement, deliver: true })).await?;
//!
//! // The handler is done: durable before the first byte of the response leaves.
//! let delivered = Advance::Delivered { receipt: "eyJz...".into(), response: None };
//! let Reply::Advanced(claim) = store.submit(advance(delivered)).await? else {
//!     panic!("nobody has taken the claim over");
//! };
//! assert_eq!(claim.state.name(), "delivered");
//! # store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod channel;
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

pub use channel::{
    Apply, Carried, ChannelCommand, ChannelReader, ChannelReply, ChannelSeen, ChannelStore,
    ChannelUsage, ChannelWork, Conclude, Glance, Keep, KeptAnswer, Left, NewChannel, Present,
    Presented, Settling, SpendAnswer, SpendKey, Take, Taken,
};
pub use claim::{Claim, ClaimState, Delivery, SecretBytes, StoredResponse};
pub use command::{Advance, Command, NewClaim, Reply};
pub use embedded::{EmbeddedOpenError, EmbeddedStore};
pub use known::Usage;
pub use limits::{LEASE_MS_MAX, Limits, TERMINAL_RETAIN_MS, UNFINISHED_MAX};

/// A store.
pub trait Store: Send + Sync {
    /// Submits one command. A future that is dropped before it is done leaves open whether the
    /// command is carried out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is no answer. Everything that the store decides is a [`Reply`].
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
