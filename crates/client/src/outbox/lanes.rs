//! The durable outbox. Several processes may pay from one wallet at once: each holds a lane of its
//! own, a log that no other process writes meanwhile. The first free lane is taken, so programs
//! that run one after the other share one. Nobody waits for anybody.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use stiver_env::{BoxFuture, Env};
use stiver_wal::{Config, Engine, OpenError, Retention};
use zeroize::Zeroizing;

use super::{
    CallId, Change, Command, Entry, Event, Live, Outbox, OutboxError, OutboxMachine, Reply, Step,
    StoredCall, open_live, seal::Keys, seal_step,
};
use crate::limits;

/// Longest file of sealing keys, bytes.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// The journal in a folder, over [`stiver_wal`].
///
/// The folder holds `lane-0`, `lane-1`, ... and beside each the file of its sealing keys.
pub struct LaneOutbox {
    folder: PathBuf,
    env: Env,
    home: Arc<Lane>,
    adopted: Mutex<Vec<(Arc<Lane>, Vec<CallId>)>>,
}

struct Lane {
    number: u32,
    engine: Engine<OutboxMachine>,
    keys: Mutex<Keys>,
    keys_path: PathBuf,
    env: Env,
}

impl LaneOutbox {
    /// Opens the outbox in a folder, which is made when absent, and takes a free lane.
    /// Blocks on disk.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Busy`] when [`limits::LANES_MAX`] other processes use it; any other error
    /// names the file.
    pub async fn open(folder: &Path, env: &Env) -> Result<Self, OutboxError> {
        env.disk
            .create_folder(folder)
            .map_err(|source| disk(folder, source))?;
        for number in 0..limits::LANES_MAX {
            if let Some(lane) = Lane::open(folder, number, env).await? {
                return Ok(Self {
                    folder: folder.to_owned(),
                    env: env.clone(),
                    home: Arc::new(lane),
                    adopted: Mutex::new(Vec::new()),
                });
            }
        }
        Err(OutboxError::Busy {
            folder: folder.to_owned(),
        })
    }

    /// The lane that holds a call: an adopted one, else our own.
    fn lane_of(&self, call: CallId) -> Arc<Lane> {
        let adopted = lock(&self.adopted);
        adopted
            .iter()
            .find(|(_, calls)| calls.contains(&call))
            .map_or_else(|| self.home.clone(), |(lane, _)| lane.clone())
    }

    /// Takes over the lanes that no living process holds and that have open calls.
    async fn adopt(&self) -> Result<(), OutboxError> {
        for number in lane_numbers(&self.folder, &self.env)? {
            let held = number == self.home.number
                || lock(&self.adopted)
                    .iter()
                    .any(|(lane, _)| lane.number == number);
            if held {
                continue;
            }
            let Some(lane) = Lane::open(&self.folder, number, &self.env).await? else {
                continue;
            };
            let calls: Vec<CallId> = lane.live().await?.iter().map(|l| l.entry.id).collect();
            if calls.is_empty() {
                lane.close().await?;
            } else {
                lock(&self.adopted).push((Arc::new(lane), calls));
            }
        }
        Ok(())
    }

    async fn find(&self, call: CallId) -> Result<Option<StoredCall>, OutboxError> {
        let lane = self.lane_of(call);
        let found = lane.calls(Command::Find(call)).await?;
        let Some(live) = found.into_iter().next() else {
            return Ok(None);
        };
        open_live(&lock(&lane.keys), live).map(Some)
    }
}

impl Outbox for LaneOutbox {
    fn record(&self, call: CallId, step: Step) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(async move { self.lane_of(call).record(call, step).await })
    }

    fn open_calls(&self) -> BoxFuture<'_, Result<Vec<Entry>, OutboxError>> {
        Box::pin(async move {
            self.adopt().await?;
            let adopted: Vec<Arc<Lane>> = lock(&self.adopted)
                .iter()
                .map(|(lane, _)| lane.clone())
                .collect();
            let mut entries = Vec::new();
            for lane in adopted.iter().chain([&self.home]) {
                entries.extend(lane.live().await?.into_iter().map(|live| live.entry));
            }
            entries.sort_by_key(|entry| (entry.begun_at, entry.id));
            Ok(entries)
        })
    }

    fn stored(&self, call: CallId) -> BoxFuture<'_, Result<Option<StoredCall>, OutboxError>> {
        Box::pin(async move {
            if let Some(found) = self.find(call).await? {
                return Ok(Some(found));
            }
            self.adopt().await?;
            self.find(call).await
        })
    }

    /// Closes the lanes it holds: takes snapshots, drops the sealing keys that nothing needs, and
    /// frees the locks.
    fn close(&self) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(async move {
            let adopted = std::mem::take(&mut *lock(&self.adopted));
            for lane in adopted.iter().map(|(lane, _)| lane).chain([&self.home]) {
                lane.close().await?;
            }
            Ok(())
        })
    }
}

impl Lane {
    /// Opens a lane; `None` when another process holds it.
    async fn open(outbox: &Path, number: u32, env: &Env) -> Result<Option<Self>, OutboxError> {
        let folder = lane_folder(outbox, number);
        env.disk
            .create_folder(&folder)
            .map_err(|source| disk(&folder, source))?;
        let config = Config {
            segment_bytes: limits::SEGMENT_BYTES,
            retention: Retention::Keep,
            ..Config::new(&folder)
        };
        let engine = match Engine::open(config, env, OutboxMachine::default) {
            Ok(engine) => engine,
            Err(OpenError::Locked { .. }) => return Ok(None),
            Err(source) => return Err(OutboxError::Open { folder, source }),
        };
        let lane = Self {
            number,
            engine,
            keys: Mutex::new(fresh_keys(env)),
            keys_path: outbox.join(format!("lane-{number}.keys")),
            env: env.clone(),
        };
        lane.load_keys()?;
        lane.keep_needed_keys().await?;
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
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged(super::seal::KeysFileError))?;
        lock(&self.keys).adopt_file(text).map_err(damaged)
    }

    /// Drops the keys that no open call needs, and makes the rest durable before any is used.
    async fn keep_needed_keys(&self) -> Result<(), OutboxError> {
        let live = self.live().await?;
        let needed: Vec<_> = live
            .iter()
            .flat_map(Live::sealed)
            .filter_map(super::Sealed::key_name)
            .collect();
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

    async fn record(&self, call: CallId, step: Step) -> Result<(), OutboxError> {
        if matches!(step, Step::Begun { .. }) {
            self.rotate_keys().await?;
        }
        let change = seal_step(&mut lock(&self.keys), call, step)
            .map_err(|source| OutboxError::Seal { call, source })?;
        self.submit(call, change).await
    }

    /// A process that runs for long takes a fresh key now and then, so that the old one can go.
    async fn rotate_keys(&self) -> Result<(), OutboxError> {
        {
            let mut keys = lock(&self.keys);
            if keys.seals() < limits::SEALS_PER_KEY_MAX {
                return Ok(());
            }
            keys.rotate(self.env.random(), Zeroizing::new(self.env.random()));
        }
        self.keep_needed_keys().await
    }

    async fn submit(&self, call: CallId, change: Change) -> Result<(), OutboxError> {
        let event = Event { id: call, change };
        let reply = self.engine.submit(Command::Record(Box::new(event))).await;
        match reply.map_err(OutboxError::Log)? {
            Reply::Recorded => Ok(()),
            Reply::Rejected(why) => Err(OutboxError::Step(why)),
            Reply::Calls(_) => Err(OutboxError::Confused),
        }
    }

    async fn live(&self) -> Result<Vec<Live>, OutboxError> {
        self.calls(Command::Live).await
    }

    async fn calls(&self, command: Command) -> Result<Vec<Live>, OutboxError> {
        let reply = self.engine.submit(command).await;
        match reply.map_err(OutboxError::Log)? {
            Reply::Calls(calls) => Ok(calls),
            Reply::Recorded | Reply::Rejected(_) => Err(OutboxError::Confused),
        }
    }

    async fn close(&self) -> Result<(), OutboxError> {
        lock(&self.keys).rotate(self.env.random(), Zeroizing::new(self.env.random()));
        self.keep_needed_keys().await?;
        self.engine.close().await.map_err(OutboxError::Log)
    }
}

/// The numbers of the lanes in an outbox, ascending.
pub(super) fn lane_numbers(folder: &Path, env: &Env) -> Result<Vec<u32>, OutboxError> {
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

pub(super) fn lane_folder(outbox: &Path, number: u32) -> PathBuf {
    outbox.join(format!("lane-{number}"))
}

fn fresh_keys(env: &Env) -> Keys {
    Keys::new(env.random(), Zeroizing::new(env.random()))
}

fn disk(path: &Path, source: io::Error) -> OutboxError {
    OutboxError::Disk {
        path: path.to_owned(),
        source,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
