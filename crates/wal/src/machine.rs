//! What a state machine must do to be kept in a log.

use stiver_core::Timestamp;

/// A state machine that decides commands and evolves by events.
///
/// Deterministic: time comes with the command, and the same events from the same state give the
/// same state, on every machine and in every build of the same [`Machine::VERSION`].
pub trait Machine: Send + Sized + 'static {
    /// What the log is of, such as `ledger`: 1 to 32 bytes. Stands in every file, so that the log
    /// of one machine is never read as that of another.
    const NAME: &'static str;
    /// The version of the encodings of events and snapshots. A log of another version is refused.
    const VERSION: u32;

    /// What callers ask. Plain data.
    type Command: Send + 'static;
    /// What happened. Plain data; what the log stores.
    type Event: Send + 'static;
    /// What callers are told, once the event is durable.
    type Reply: Send + 'static;

    /// Decides a command against the state. No event: nothing changed and nothing is written.
    ///
    /// `now` never decreases from call to call and follows the wall clock by the rule in the
    /// [crate's documentation](crate#time). Across a restart it is never before the last event.
    fn decide(&self, now: Timestamp, command: Self::Command) -> (Self::Reply, Option<Self::Event>);

    /// Applies an event that was decided here or read from the log.
    ///
    /// # Errors
    ///
    /// When the log and the state disagree: the engine stops and serves nothing.
    fn evolve(&mut self, now: Timestamp, event: &Self::Event) -> Result<(), Inconsistent>;

    /// Appends the bytes of an event, at most [`crate::EVENT_BYTES_MAX`], to `into`.
    fn encode_event(event: &Self::Event, into: &mut Vec<u8>);

    /// Reads an event from the log.
    ///
    /// # Errors
    ///
    /// When the bytes are no event.
    fn decode_event(bytes: &[u8]) -> Result<Self::Event, Inconsistent>;

    /// Writes the whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Reads a whole state, and checks its invariants.
    ///
    /// # Errors
    ///
    /// When the bytes are no state, or one that cannot be.
    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent>;

    /// Checks every invariant of the state. Runs after start-up replay.
    ///
    /// # Errors
    ///
    /// The first invariant that is broken.
    fn check(&self) -> Result<(), Inconsistent>;
}

/// The log and the state disagree, or an invariant is broken: refuse to go on with wrong money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistent(pub String);
