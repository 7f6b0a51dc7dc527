//! How an engine keeps its log, and the limits that are not a matter of choice.

use std::path::PathBuf;

/// The largest event, in bytes: 16 MiB. A larger one is refused before anything changes.
pub const EVENT_BYTES_MAX: usize = 16 << 20;
/// A batch takes no further command once its events fill this many bytes: 1 MiB.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Commands in one batch at most.
pub const BATCH_COMMANDS_MAX: usize = 1024;
/// The smallest segment, in bytes: 4 KiB. [`Config::segment_bytes`] is raised to it.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// The largest segment, in bytes: 1 GiB. [`Config::segment_bytes`] is lowered to it.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The largest snapshot, in bytes: 4 GiB. A machine that outgrows it needs another store.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// Space is reserved for a segment in steps of this many bytes: 4 MiB.
pub const ALLOCATE_BYTES: u64 = 4 << 20;
/// At start, the wall clock may be ahead of the last event by at most this many milliseconds: ten
/// years. Further ahead, the clock is taken to be wrong and the log is not opened.
pub const START_JUMP_MAX_MS: u64 = 3_653 * 24 * 60 * 60 * 1000;

/// How an engine keeps its log.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds the log, and nothing else. Made when absent. Locked while open.
    pub folder: PathBuf,
    /// A segment is closed and a snapshot taken after this many bytes of frames.
    pub segment_bytes: u64,
    /// Keep segments that a snapshot has made unnecessary (an audit trail), or remove them.
    pub retention: Retention,
    /// Commands waiting at most; beyond it `submit` waits.
    pub queue_max: usize,
    /// How far log time may gain on the machine's own monotonic clock at once, in milliseconds,
    /// while running. See [time](crate#time).
    pub time_jump_max_ms: u64,
}

/// What becomes of segments that are older than the newest snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Keep all: the history can be read with [`crate::history`].
    Keep,
    /// Remove all but the newest snapshot, the one before it, and what follows that one.
    Prune,
}

impl Config {
    /// Defaults for a folder: 64 MiB segments, keep, 4,096 waiting, jumps of one day.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            retention: Retention::Keep,
            queue_max: 4096,
            time_jump_max_ms: 24 * 60 * 60 * 1000,
        }
    }
}
