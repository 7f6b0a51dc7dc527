//! What can go wrong, for those who open a log and those who use it.

use std::{io, path::PathBuf, sync::Arc};

use stiver_core::Timestamp;

use crate::machine::Inconsistent;

/// Why a log could not be opened or read. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder is in use by another process.
    #[error("{} is in use by another process", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {} {}", doing, path.display())]
    Io {
        /// What was tried, such as `read`.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds what was never written there. What was acknowledged may be damaged: restore the
    /// file from a copy; nothing is cut by itself.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: Damage,
    },
    /// A file of the log of another machine.
    #[error("{} is the log of a {found:?}, not of a {expected:?}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it is of.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// Written by another version of this software.
    #[error(
        "{} has version {found} of the {subject}; this build reads version {expected}",
        file.display()
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// `log format`, or the machine's name.
        subject: &'static str,
        /// The file's version.
        found: u32,
        /// This build's.
        expected: u32,
    },
    /// There are segments, but no snapshot to start from.
    #[error("{} holds no snapshot: restore snapshot-*.snap from a copy", folder.display())]
    NoSnapshot {
        /// The folder.
        folder: PathBuf,
    },
    /// The segment that must follow is not there.
    #[error(
        "{} lacks the segment that holds event {sequence}: restore segment-*.log from a copy",
        folder.display()
    )]
    NoSegment {
        /// The folder.
        folder: PathBuf,
        /// The first event that is missing.
        sequence: u64,
    },
    /// The wall clock is so far ahead of the last event that it must be wrong.
    #[error(
        "the clock says {}, but the last event is of {}: set the clock",
        clock.to_rfc3339(),
        logged.to_rfc3339()
    )]
    ClockAhead {
        /// The wall clock.
        clock: Timestamp,
        /// The time of the last event.
        logged: Timestamp,
    },
    /// Files are intact, but the machine cannot follow them.
    #[error("the {machine} cannot follow its log at event {sequence}")]
    Inconsistent {
        /// The machine's name.
        machine: &'static str,
        /// The event, or the last one of the snapshot.
        sequence: u64,
        /// What the machine said.
        #[source]
        source: Inconsistent,
    },
}

impl OpenError {
    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Too short for a header, or it does not begin with the mark of its kind.
    #[error("no file header")]
    NoHeader,
    /// The header's checksum does not match.
    #[error("the file header's checksum does not match")]
    HeaderChecksum,
    /// The file's name and its header give different sequence numbers.
    #[error("the header says {header}, the file's name {name}")]
    Misnamed {
        /// By the header.
        header: u64,
        /// By the name.
        name: u64,
    },
    /// Of another log of the same machine.
    #[error("it belongs to another log")]
    OtherLog,
    /// Longer than anything this format writes.
    #[error("the file is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The file ends where a frame or the space after it should be.
    #[error("the file ends too early")]
    Truncated,
    /// A frame's checksum does not match, and no sector of it is missing: no torn write looks so.
    #[error("the frame's checksum does not match")]
    FrameChecksum,
    /// A damaged frame with intact or other data after it.
    #[error("the frame is damaged, and at byte {next} data follows")]
    DamagedBefore {
        /// Where the data begins.
        next: u64,
    },
    /// A segment that is not the last one does not end with its last frame.
    #[error("the frame is damaged, and another segment follows")]
    DamagedInside,
    /// A frame or a segment does not continue the sequence.
    #[error("event {expected} should be here, event {found} is")]
    Sequence {
        /// What should follow.
        expected: u64,
        /// What does.
        found: u64,
    },
    /// The hash of the frame before does not match: something was changed, added or cut out.
    #[error("the hash of what came before does not match")]
    Chain,
    /// Time goes backwards.
    #[error("it is older than the frame before")]
    Time,
    /// A frame with a valid checksum that does not hold what it says.
    #[error("the frame's records do not fit in it")]
    Records,
    /// The log ends before an event that a snapshot holds.
    #[error("the log ends with event {last}, but a snapshot holds event {snapshot}")]
    EndsBeforeSnapshot {
        /// The last event of the log.
        last: u64,
        /// The last event of the snapshot.
        snapshot: u64,
    },
    /// A snapshot's length or hash does not match.
    #[error("the snapshot's hash does not match")]
    SnapshotHash,
}

/// Why a command has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine was closed before the command was accepted: nothing happened.
    #[error("the log is closed")]
    Closed,
    /// The command's event is too large to be written: nothing happened.
    #[error("an event of {bytes} bytes is larger than {max}")]
    EventTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit, [`crate::EVENT_BYTES_MAX`].
        max: usize,
    },
    /// Disk failed or the machine found itself inconsistent: whether the event is durable is
    /// unknown until the log is opened again.
    #[error("the log has failed: {0}")]
    Failed(Arc<str>),
}
