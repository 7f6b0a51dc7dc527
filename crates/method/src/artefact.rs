//! Signed bytes that move money when executed, and what the rail says became of them.

use std::fmt;

use stiver_core::{Amount, Timestamp, json::Value};
use zeroize::Zeroizing;

/// Bytes that move money when executed: journaled before, wiped when terminal. `Debug` prints no
/// bytes.
#[derive(Clone)]
pub struct Artefact {
    /// The rail's key of the movement: executing two artefacts of one key moves money at most once.
    pub rail_key: Vec<u8>,
    /// The method's own bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Artefact({} bytes)", self.bytes.len())
    }
}

/// Money moved, as the rail tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The rail's id of the movement: the receipt's `reference`.
    pub reference: String,
    /// When, by the rail.
    pub at: Timestamp,
    /// How much.
    pub amount: Amount,
    /// Who paid, as proven by the rail, when it tells.
    pub payer: Option<String>,
    /// Who was paid.
    pub payee: String,
    /// Members the method adds to the receipt.
    pub receipt: Vec<(String, Value)>,
}

/// What the rail knows of an artefact.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It moved money.
    Done(Box<Settled>),
    /// It has not and never can: validity lapsed at finality, nonce spent elsewhere. Not a
    /// time-out.
    Never(Refusal),
    /// It may yet, or nobody can tell now.
    Pending,
}

/// A definite no: no money moved and none will by this artefact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What kind of no.
    pub kind: RefusalKind,
    /// What to tell the peer.
    pub detail: String,
}

/// Kinds of a definite no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The proof is wrong.
    Invalid,
    /// The payer lacks funds, or the amount is too low.
    Insufficient,
    /// The authorisation has expired.
    Expired,
    /// The payer may not: frozen, limited, not admitted.
    Denied,
    /// The proof was used for another payment.
    AlreadyUsed,
}

/// Why `execute` has no settlement to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The rail refused: nothing moved, nothing will.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// Nobody knows: `lookup` decides.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// The rail could not be asked. Nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rail could not be asked: {0}")]
pub struct RailUnavailable(pub String);
