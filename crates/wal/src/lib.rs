//! A small log for what is hot and worth money, and the state machines it keeps.
//!
//! [`Engine`] runs one [`Machine`]: commands come in from any task, are decided one after the other, their events are
//! written and synced together (group commit), and only then is anybody told. On start the newest snapshot and the
//! log after it are replayed. A frame holds a checksum and the hash of the frame before.
#![forbid(unsafe_code)]

use std::{path::PathBuf, sync::Arc};

use stiver_core::Timestamp;
use stiver_env::{BoxFuture, Env};

/// A state machine that decides commands and evolves by events. Deterministic: time comes with the command.
pub trait Machine: Send + Sized + 'static {
    /// What callers ask. Plain data.
    type Command: Send + 'static;
    /// What happened. Plain data; what the log stores.
    type Event: Send + 'static;
    /// What callers are told, once the event is durable.
    type Reply: Send + 'static;

    /// Decides a command against the state. No event: nothing changed and nothing is written.
    /// `now` never decreases from call to call, across restarts too, and jumps by at most the engine's limit.
    fn decide(&self, now: Timestamp, command: Self::Command) -> (Self::Reply, Option<Self::Event>);
    /// Applies an event that was decided here or read from the log. An error means that the log and the state disagree:
    /// the engine stops and serves nothing.
    fn evolve(&mut self, now: Timestamp, event: &Self::Event) -> Result<(), Inconsistent>;
    /// Writes an event for the log.
    fn encode_event(event: &Self::Event, into: &mut Vec<u8>);
    /// Reads an event from the log.
    fn decode_event(bytes: &[u8]) -> Result<Self::Event, Inconsistent>;
    /// Writes the whole state.
    fn snapshot(&self) -> Vec<u8>;
    /// Reads a whole state, and checks its invariants.
    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent>;
    /// Checks every invariant of the state. Runs after start-up replay.
    fn check(&self) -> Result<(), Inconsistent>;
}

/// The log and the state disagree, or an invariant is broken: refuse to go on with wrong money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistent(pub String);

/// How an engine keeps its log.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds the log. Locked while open.
    pub folder: PathBuf,
    /// A segment is closed and a snapshot taken after this many bytes of frames.
    pub segment_bytes: u64,
    /// Keep segments that a snapshot has made unnecessary (an audit trail), or remove them.
    pub retention: Retention,
    /// Commands waiting at most; beyond it `submit` waits.
    pub queue_max: usize,
}

/// What becomes of segments that are older than the newest snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Keep all: the history can be read with [`history`].
    Keep,
    /// Remove all but the newest snapshot, the one before it, and what follows that one.
    Prune,
}

impl Config {
    /// Defaults for a folder: 64 MiB segments, keep, 4,096 waiting.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            retention: Retention::Keep,
            queue_max: 4096,
        }
    }
}

/// A running machine. Cheap to clone.
pub struct Engine<M: Machine> {
    _todo: Arc<std::marker::PhantomData<fn(M)>>,
}

impl<M: Machine> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self {
            _todo: self._todo.clone(),
        }
    }
}

impl<M: Machine> Engine<M> {
    /// Locks the folder, replays (or starts from `genesis` when the folder is empty), cuts a torn tail, checks the
    /// machine, and starts its writer. Blocks on disk.
    pub fn open(config: Config, env: &Env, genesis: impl FnOnce() -> M) -> Result<Self, OpenError> {
        todo!()
    }
    /// Submits a command; resolves when its event is durable (or when nothing changed and all before it is durable).
    pub fn submit(&self, command: M::Command) -> BoxFuture<'static, Result<M::Reply, EngineError>> {
        todo!()
    }
    /// Refuses further commands, finishes those accepted, syncs, takes a snapshot, frees the lock.
    pub fn close(&self) -> BoxFuture<'static, Result<(), EngineError>> {
        todo!()
    }
}

/// Reads every event of a closed or running log from disk, oldest first, calling `visit(sequence, at, event)` until it
/// returns false. Reads what was durable when it began.
pub fn history<M: Machine>(
    folder: &std::path::Path,
    env: &Env,
    visit: &mut dyn FnMut(u64, Timestamp, M::Event) -> bool,
) -> Result<(), OpenError> {
    todo!()
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder is in use by another process.
    #[error("{} is in use by another process", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// Placeholder: the implementer adds corrupt frames (file, offset, what), I/O with path, inconsistent machine.
    #[error("inconsistent")]
    Inconsistent(#[source] Inconsistent),
}

/// Why a command has no answer. Its event may or may not be durable: an engine that failed must be opened again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine was closed before the command was accepted: nothing happened.
    #[error("the log is closed")]
    Closed,
    /// Disk failed or the machine found itself inconsistent: whether the event is durable is unknown until the log is opened again.
    #[error("the log has failed: {0}")]
    Failed(Arc<str>),
}
