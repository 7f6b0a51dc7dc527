//! The durable outbox: each process has a lane of its own. See [`crate::lane`].

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use stiver_env::{BoxFuture, Env};

use super::{
    CallId, Change, Command, Entry, Event, Live, Outbox, OutboxError, OutboxMachine, Reply, Step,
    StoredCall, open_live, seal_step,
};
use crate::{
    lane::{Lane, disk, lane_numbers, lock},
    limits,
};

/// The journal in a folder, over [`stiver_wal`].
///
/// The folder holds `lane-0`, `lane-1`, ... and beside each the file of its sealing keys.
pub struct LaneOutbox {
    folder: PathBuf,
    env: Env,
    home: Arc<Calls>,
    adopted: Mutex<Vec<(Arc<Calls>, Vec<CallId>)>>,
}

/// One lane of calls.
struct Calls(Lane<OutboxMachine>);

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
            if let Some(lane) = Calls::open(folder, number, env).await? {
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
    fn lane_of(&self, call: CallId) -> Arc<Calls> {
        let adopted = lock(&self.adopted);
        adopted
            .iter()
            .find(|(_, calls)| calls.contains(&call))
            .map_or_else(|| self.home.clone(), |(lane, _)| lane.clone())
    }

    /// Takes over the lanes that no living process holds and that have open calls.
    async fn adopt(&self) -> Result<(), OutboxError> {
        for number in lane_numbers(&self.folder, &self.env)? {
            let held = number == self.home.0.number
                || lock(&self.adopted)
                    .iter()
                    .any(|(lane, _)| lane.0.number == number);
            if held {
                continue;
            }
            let Some(lane) = Calls::open(&self.folder, number, &self.env).await? else {
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
        open_live(&lock(&lane.0.keys), live).map(Some)
    }
}

impl Outbox for LaneOutbox {
    fn record(&self, call: CallId, step: Step) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(async move { self.lane_of(call).record(call, step).await })
    }

    fn open_calls(&self) -> BoxFuture<'_, Result<Vec<Entry>, OutboxError>> {
        Box::pin(async move {
            self.adopt().await?;
            let adopted: Vec<Arc<Calls>> = lock(&self.adopted)
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

impl Calls {
    /// Opens a lane; `None` when another process holds it.
    async fn open(outbox: &Path, number: u32, env: &Env) -> Result<Option<Self>, OutboxError> {
        let Some(lane) = Lane::open(outbox, number, env, OutboxMachine::default)? else {
            return Ok(None);
        };
        let lane = Self(lane);
        lane.keep_needed_keys().await?;
        Ok(Some(lane))
    }

    async fn keep_needed_keys(&self) -> Result<(), OutboxError> {
        let live = self.live().await?;
        let needed: Vec<_> = live
            .iter()
            .flat_map(Live::sealed)
            .filter_map(super::Sealed::key_name)
            .collect();
        self.0.keep_needed_keys(&needed)
    }

    async fn record(&self, call: CallId, step: Step) -> Result<(), OutboxError> {
        // A process that runs for long takes a fresh key now and then, so that the old one can go.
        if matches!(step, Step::Begun { .. }) && self.0.keys_are_worn() {
            self.0.rotate_keys();
            self.keep_needed_keys().await?;
        }
        let change = seal_step(&mut lock(&self.0.keys), call, step)
            .map_err(|source| OutboxError::Seal { call, source })?;
        self.submit(call, change).await
    }

    async fn submit(&self, call: CallId, change: Change) -> Result<(), OutboxError> {
        let event = Event { id: call, change };
        let command = Command::Record(Box::new(event));
        let reply = self.0.engine.submit(command).await;
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
        let reply = self.0.engine.submit(command).await;
        match reply.map_err(OutboxError::Log)? {
            Reply::Calls(calls) => Ok(calls),
            Reply::Recorded | Reply::Rejected(_) => Err(OutboxError::Confused),
        }
    }

    async fn close(&self) -> Result<(), OutboxError> {
        self.0.rotate_keys();
        self.keep_needed_keys().await?;
        self.0.close().await
    }
}
