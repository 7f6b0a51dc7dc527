//! One log with the keys that seal what is secret in it, held by one process at a time.
//!
//! Several processes may pay from one wallet at once: each holds a lane of its own, a log that no
//! other process writes meanwhile. The first free lane is taken, so programs that run one after the
//! other share one. Nobody waits for anybody.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use stiver_env::Env;
use stiver_wal::{Config, Engine, Machine, OpenError, Retention};
use zeroize::Zeroizing;

use crate::{
    limits,
    outbox::{
        KeyName, OutboxError,
        seal::{Keys, KeysFileError},
    },
};

/// Longest file of sealing keys, bytes.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// A lane of a folder: `lane-0`, `lane-1`, ... and beside each the file of its sealing keys.
pub(crate) struct Lane<M: Machine> {
    pub(crate) number: u32,
    pub(crate) engine: Engine<M>,
    pub(crate) keys: Mutex<Keys>,
    keys_path: PathBuf,
    env: Env,
}

impl<M: Machine> Lane<M> {
    /// Opens a lane; `None` when another process holds it. [`Lane::keep_needed_keys`] must follow
    /// before anything is sealed.
    pub(crate) fn open(
        folder: &Path,
        number: u32,
        env: &Env,
        genesis: impl FnOnce() -> M,
    ) -> Result<Option<Self>, OutboxError> {
        let outer = folder;
        let folder = lane_folder(outer, number);
        env.disk
            .create_folder(&folder)
            .map_err(|source| disk(&folder, source))?;
        let config = Config {
            segment_bytes: limits::SEGMENT_BYTES,
            retention: Retention::Keep,
            ..Config::new(&folder)
        };
        let engine = match Engine::open(config, env, genesis) {
            Ok(engine) => engine,
            Err(OpenError::Locked { .. }) => return Ok(None),
            Err(source) => return Err(OutboxError::Open { folder, source }),
        };
        let lane = Self {
            number,
            engine,
            keys: Mutex::new(fresh_keys(env)),
            keys_path: outer.join(format!("lane-{number}.keys")),
            env: env.clone(),
        };
        lane.load_keys()?;
        Ok(Some(lane))
    }

    /// Reads the keys that earlier openings left. The lane is locked: nobody else changes them.
    fn load_keys(&self) -> Result<(), OutboxError> {
        let path = &self.keys_path;
        let damaged = |source| OutboxError::Keys {
            path: path.clone(),
            source,
        };
        let bytes = match self.env.disk.read(path, KEYS_BYTES_MAX) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(disk(path, source)),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged(KeysFileError))?;
        lock(&self.keys).adopt_file(text).map_err(damaged)
    }

    /// Drops the keys that nothing open needs, and makes the rest durable before any is used.
    pub(crate) fn keep_needed_keys(&self, needed: &[KeyName]) -> Result<(), OutboxError> {
        let text = {
            let mut keys = lock(&self.keys);
            keys.keep_only(|name| needed.contains(&name));
            keys.to_file()
        };
        self.env
            .disk
            .write_atomic(&self.keys_path, text.as_bytes(), true)
            .map_err(|source| disk(&self.keys_path, source))
    }

    /// True when so much was sealed under one key that a fresh one should be taken.
    pub(crate) fn keys_are_worn(&self) -> bool {
        lock(&self.keys).seals() >= limits::SEALS_PER_KEY_MAX
    }

    /// Takes a fresh key. [`Lane::keep_needed_keys`] must follow before anything is sealed.
    pub(crate) fn rotate_keys(&self) {
        lock(&self.keys).rotate(self.env.random(), Zeroizing::new(self.env.random()));
    }

    /// Takes a snapshot and frees the lock. [`Lane::rotate_keys`] and [`Lane::keep_needed_keys`]
    /// come before, to wipe what is final.
    pub(crate) async fn close(&self) -> Result<(), OutboxError> {
        self.engine.close().await.map_err(OutboxError::Log)
    }
}

/// The numbers of the lanes in a folder, ascending.
pub(crate) fn lane_numbers(folder: &Path, env: &Env) -> Result<Vec<u32>, OutboxError> {
    let mut numbers = Vec::new();
    for number in 0..limits::LANES_MAX {
        match env.disk.list(&lane_folder(folder, number)) {
            Ok(_) => numbers.push(number),
            // Lanes are made in order and never removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(source) => return Err(disk(&lane_folder(folder, number), source)),
        }
    }
    Ok(numbers)
}

pub(crate) fn lane_folder(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("lane-{number}"))
}

fn fresh_keys(env: &Env) -> Keys {
    Keys::new(env.random(), Zeroizing::new(env.random()))
}

pub(crate) fn disk(path: &Path, source: io::Error) -> OutboxError {
    OutboxError::Disk {
        path: path.to_owned(),
        source,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
