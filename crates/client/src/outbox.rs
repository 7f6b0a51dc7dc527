//! The payer's journal: every paid call, each step durable before the next is taken.
//!
//! ```text
//!            ┌──► abandoned        (declined, expired or crashed: nothing was signed)
//!  challenged ──► authorised ──► sent ──► unread ──► paid
//!      ▲                          │ ├───► unknown ─┐  (replayed: the same credential again)
//!      │                          │ └◄─────────────┘
//!      └──────── refused ◄────────┘
//!
//!  authorised, sent, refused, unknown, unread ──► settled   the rail says that money moved
//!                                             └─► void      it says that none moved or will
//! ```
//!
//! A call that meets no challenge leaves no trace. A refusal is no end: what was signed counts as
//! spent until the rail says otherwise. `unread` is paid: the success came, and its body has not
//! been read to the end. It is fetched again with the same credential, and whatever is met on the
//! way, it stays `unread` until it is read or the server no longer has it (`settled`).
//!
//! `paid`, `settled`, `void` and `abandoned` are final; the secrets of a final call (request,
//! artefacts, credential) are wiped, and its amounts and receipt stay in the history.
//!
//! [`LaneOutbox`] is the durable one, [`MemoryOutbox`] forgets when it is dropped.

mod entry;
mod history;
mod lanes;
mod machine;
mod memory;
pub(crate) mod seal;
mod wire;

use std::path::PathBuf;

use stiver_env::BoxFuture;
use zeroize::Zeroizing;

pub use entry::{
    CallId, CallIdError, Entry, Resource, State, Step, StoredCall, StoredRequest, Terms,
};
pub use history::{HistoryFilter, Totals, history, totals};
pub use lanes::LaneOutbox;
pub use machine::{Change, Command, Event, LIVE_CALLS_MAX, Live, OutboxMachine, Reply, StepError};
pub use memory::MemoryOutbox;
pub use seal::{KeyName, SealError, Sealed};

use seal::{Keys, Kind};
pub(crate) use wire::{decode_artefact, encode_artefact};

/// Keeps the steps of paid calls. The seam between the client and where its journal lies.
pub trait Outbox: Send + Sync {
    /// Records one step; resolves when it is durable.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Step`] when the step may not follow: nothing was recorded. Any other error:
    /// it may or may not have been recorded, and the next step must not be taken.
    fn record(&self, call: CallId, step: Step) -> BoxFuture<'_, Result<(), OutboxError>>;
    /// Every call that is not final and is not held by another process, oldest first.
    fn open_calls(&self) -> BoxFuture<'_, Result<Vec<Entry>, OutboxError>>;
    /// Everything kept of a call that is not final.
    fn stored(&self, call: CallId) -> BoxFuture<'_, Result<Option<StoredCall>, OutboxError>>;
    /// Finishes: nothing can be recorded afterwards. The secrets of final calls are wiped at the
    /// latest now; where a program ends without it, at the next opening.
    fn close(&self) -> BoxFuture<'_, Result<(), OutboxError>>;
}

/// Why the outbox has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The step may not follow.
    #[error("the step was refused")]
    Step(#[source] StepError),
    /// The log could not be opened.
    #[error("the log {} could not be opened", folder.display())]
    Open {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: stiver_wal::OpenError,
    },
    /// The log failed.
    #[error("the log failed")]
    Log(#[source] stiver_wal::EngineError),
    /// A file or folder of the outbox.
    #[error("{} could not be used", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of sealing keys is damaged.
    #[error(
        "{} is damaged; without it open calls cannot be replayed, only looked up",
        path.display()
    )]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: seal::KeysFileError,
    },
    /// A call's secrets could not be sealed or opened.
    #[error("the stored secrets of call {call} could not be used")]
    Seal {
        /// Which call.
        call: CallId,
        /// Why.
        #[source]
        source: SealError,
    },
    /// What was stored of a call makes no sense.
    #[error("what is stored of call {call} cannot be read")]
    Stored {
        /// Which call.
        call: CallId,
        /// Why.
        #[source]
        source: stiver_wal::Inconsistent,
    },
    /// Every lane is held by another process.
    #[error(
        "{} other processes use the outbox {} already: wait for one to end",
        crate::limits::LANES_MAX,
        folder.display()
    )]
    Busy {
        /// The outbox.
        folder: PathBuf,
    },
    /// The engine answered a question that was not asked: a fault of ours.
    #[error("the outbox answered something else than it was asked")]
    Confused,
}

/// Seals what is secret of a step.
fn seal_step(keys: &mut Keys, call: CallId, step: Step) -> Result<Change, SealError> {
    Ok(match step {
        Step::Begun {
            resource,
            terms,
            request,
            challenge,
        } => {
            let plain = wire::encode_request(&request, &challenge);
            Change::Begun {
                resource,
                terms,
                secret: keys.seal(call, Kind::Request, &plain)?,
            }
        }
        Step::Rechallenged { terms, challenge } => Change::Rechallenged {
            terms,
            secret: keys.seal(call, Kind::Challenge, challenge.as_bytes())?,
        },
        Step::Authorised { artefact } => {
            let plain = encode_artefact(&artefact);
            Change::Authorised {
                secret: keys.seal(call, Kind::Artefact, &plain)?,
            }
        }
        Step::Sent { credential } => Change::Sent {
            secret: keys.seal(call, Kind::Credential, credential.as_bytes())?,
        },
        Step::Refused { note } => Change::Refused { note },
        Step::Unknown { note } => Change::Unknown { note },
        Step::Unread {
            receipt,
            reference,
            note,
        } => Change::Unread {
            receipt,
            reference,
            note,
        },
        Step::Paid {
            receipt,
            reference,
            note,
        } => Change::Paid {
            receipt,
            reference,
            note,
        },
        Step::Settled { reference } => Change::Settled { reference },
        Step::Void { note } => Change::Void { note },
        Step::Abandoned { note } => Change::Abandoned { note },
    })
}

/// Opens what is sealed of a call.
fn open_live(keys: &Keys, live: Live) -> Result<StoredCall, OutboxError> {
    let call = live.entry.id;
    let open = |kind, sealed: &Sealed| {
        keys.open(call, kind, sealed)
            .map_err(|source| OutboxError::Seal { call, source })
    };
    let stored = |source| OutboxError::Stored { call, source };
    let text = |bytes: Zeroizing<Vec<u8>>| {
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| stored(stiver_wal::Inconsistent(error.to_string())))?;
        Ok::<_, OutboxError>(Zeroizing::new(text.to_owned()))
    };
    let (request, first) =
        wire::decode_request(&open(Kind::Request, &live.request)?).map_err(stored)?;
    let challenge = match &live.rechallenge {
        Some(sealed) => text(open(Kind::Challenge, sealed)?)?.to_string(),
        None => first,
    };
    let artefacts = live
        .artefacts
        .iter()
        .map(|sealed| decode_artefact(&open(Kind::Artefact, sealed)?).map_err(stored))
        .collect::<Result<_, _>>()?;
    let credential = match &live.credential {
        Some(sealed) => Some(text(open(Kind::Credential, sealed)?)?),
        None => None,
    };
    Ok(StoredCall {
        entry: live.entry,
        request,
        challenge,
        artefacts,
        credential,
    })
}

#[cfg(test)]
mod tests;
