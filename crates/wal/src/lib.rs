//! A small log for what is hot and worth money, and the state machines it keeps.
//!
//! [`Engine`] runs one [`Machine`]: commands come in from any task, are decided one after the
//! other, their events are written and synced together (group commit), and only then is anybody
//! told. On start the newest snapshot and the log after it are replayed.
//!
//! ```text
//! submit ──► queue ──► decide ─► evolve ─► frame ──► write, sync ──► answers
//! (any task)  (bounded)     └── one task, one batch at a time ──┘
//!
//! an engine:  open ──► running ──► closing ──► closed     (snapshot, lock freed)
//!                         └──► failed                     (disk error, inconsistent machine)
//! ```
//!
//! A batch is everything that waits, up to [`BATCH_COMMANDS_MAX`] commands and [`BATCH_BYTES_MAX`]
//! bytes. Commands see the state as the commands before them have left it, durable or not, but
//! nobody is told before all of it is durable. `docs/log-format.md` has every byte on disk, and
//! what opening does with torn and damaged files: it cuts what was never acknowledged, and refuses
//! to open when anything else is missing.
//!
//! # Costs
//!
//! | per | bytes written | system calls | syncs | hashing | allocations |
//! |---|---|---|---|---|---|
//! | event | its bytes + 4 | – | – | SHA-256 and CRC-32C over them, twice read | future, answer |
//! | batch with events | 72 to 79 | `pwrite`, `fdatasync` | 1 | 64 bytes | one of 64 bytes |
//! | batch without | 0 | 0 | 0 | – | – |
//! | 4 MiB of frames | 0 | `fallocate`, `fdatasync` | 1 | – | – |
//! | segment | 4 KiB, and the state | about 12 | 4 | the state | the state, twice |
//!
//! While the snapshot between two segments is written, nothing else is: a state of 100 MB stops
//! answers for as long as the disk needs for it. Opening reads one snapshot, and at most a segment
//! and a bit; memory is the state and a few MiB.
//!
//! # Time
//!
//! All commands of a batch are decided at one time, which is logged with their events. Log time
//! follows the wall clock under three rules:
//!
//! - It never decreases. While the wall clock is behind, log time stands still.
//! - While running, it may gain on the machine's monotonic clock by at most
//!   [`Config::time_jump_max_ms`] at once; what a jump uses of that allowance comes back at the
//!   rate of real time. A wall clock that jumps years ahead so moves log time by a day, and from
//!   then on at twice the speed of real time, until somebody sets the clock. Holds do not all
//!   expire at once.
//! - At start there is no monotonic reading to compare with: log time goes on at the wall clock, or
//!   at the last event when that is later. A wall clock that is more than [`START_JUMP_MAX_MS`]
//!   ahead of the last event is wrong, and the log is not opened ([`OpenError::ClockAhead`]).
#![forbid(unsafe_code)]

mod config;
mod engine;
mod error;
mod folder;
mod format;
mod health;
mod history;
mod log;
mod machine;
mod recover;
mod segment;
mod snapshot;
mod time;
mod walk;
mod writer;

pub use config::{
    ALLOCATE_BYTES, BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, Config, EVENT_BYTES_MAX, Retention,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SNAPSHOT_BYTES_MAX, START_JUMP_MAX_MS,
};
pub use engine::Engine;
pub use error::{Damage, EngineError, OpenError};
pub use health::{Health, WRITE_TIME_BOUNDS_US, WriteTimes};
pub use history::{Verified, history, verify};
pub use machine::{Inconsistent, Machine};
pub use recover::{Cut, Recovery};
