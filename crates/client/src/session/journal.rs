//! Where the session journal lies: on disk, or in memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use stiver_core::Timestamp;
use stiver_env::{BoxFuture, Clock, Env};
use stiver_wal::Machine as _;
use zeroize::Zeroizing;

use super::{
    machine::{
        LiveSession, SessionCommand, SessionEvent, SessionMachine, SessionRefusal, SessionReply,
    },
    record::{ChannelRecord, Session, SessionId, SessionSecrets, SessionStep},
};
use crate::{
    lane::{Lane, disk, lane_folder, lane_numbers, lock},
    limits,
    outbox::{
        OutboxError, Sealed, decode_artefact, encode_artefact,
        seal::{Keys, Kind, SealError},
    },
};

/// Keeps the steps of channels. The seam between the client and where its journal lies.
pub trait SessionJournal: Send + Sync {
    /// Records one step; resolves when it is durable, with the channel as it is then.
    ///
    /// # Errors
    ///
    /// [`SessionJournalError::Refused`] when the step may not be: nothing was recorded. Any other
    /// error: it may or may not have been recorded, and the next step must not be taken.
    fn record(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: SessionSecrets,
    ) -> BoxFuture<'_, Result<Session, SessionJournalError>>;
    /// Every channel that is remembered and not held by another process, oldest first. Those that
    /// are not final are held by this process from now on.
    fn sessions(&self) -> BoxFuture<'_, Result<Vec<Session>, SessionJournalError>>;
    /// What is sealed of a channel that is not final.
    fn secrets(
        &self,
        id: SessionId,
    ) -> BoxFuture<'_, Result<Option<SessionSecrets>, SessionJournalError>>;
    /// Whether a channel is in the journal, also where another process holds it.
    fn knows<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<bool, SessionJournalError>> {
        Box::pin(async move {
            let sessions = self.sessions().await?;
            let mut channels = sessions.iter().filter_map(|it| it.channel.as_deref());
            Ok(channels.any(|known| known == channel))
        })
    }
    /// Finishes: nothing can be recorded afterwards. The secrets of final channels are wiped at
    /// the latest now.
    fn close(&self) -> BoxFuture<'_, Result<(), SessionJournalError>>;
}

/// Why the journal has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionJournalError {
    /// The step may not be.
    #[error("{0}")]
    Refused(SessionRefusal),
    /// A file, a folder, a log or a sealing key.
    #[error("the session journal failed")]
    Disk(#[source] OutboxError),
    /// A channel's secrets could not be sealed or opened.
    #[error("the stored secrets of session {id} could not be used")]
    Seal {
        /// Which.
        id: SessionId,
        /// Why.
        #[source]
        source: SealError,
    },
    /// What was stored of a channel makes no sense.
    #[error("what is stored of session {id} cannot be read")]
    Stored {
        /// Which.
        id: SessionId,
        /// Why.
        #[source]
        source: stiver_wal::Inconsistent,
    },
}

fn failed(error: OutboxError) -> SessionJournalError {
    SessionJournalError::Disk(error)
}

/// The journal in a folder, over [`stiver_wal`]: laid out and shared between processes as the
/// [`LaneOutbox`](crate::outbox::LaneOutbox) is. A channel is used by the process that holds its
/// lane, and by no other meanwhile: so its vouchers are in order.
pub struct LaneSessions {
    folder: PathBuf,
    env: Env,
    home: Arc<Sessions>,
    adopted: Mutex<Vec<(Arc<Sessions>, Vec<SessionId>)>>,
}

/// One lane of channels.
struct Sessions(Lane<SessionMachine>);

impl LaneSessions {
    /// Opens the journal in a folder, which is made when absent, and takes a free lane.
    /// Blocks on disk.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Busy`] when [`limits::LANES_MAX`] other processes use it; any other error
    /// names the file.
    pub async fn open(folder: &Path, env: &Env) -> Result<Self, SessionJournalError> {
        env.disk
            .create_folder(folder)
            .map_err(|source| failed(disk(folder, source)))?;
        for number in 0..limits::LANES_MAX {
            if let Some(lane) = Sessions::open(folder, number, env).await? {
                return Ok(Self {
                    folder: folder.to_owned(),
                    env: env.clone(),
                    home: Arc::new(lane),
                    adopted: Mutex::new(Vec::new()),
                });
            }
        }
        let folder = folder.to_owned();
        Err(failed(OutboxError::Busy { folder }))
    }

    fn lane_of(&self, id: SessionId) -> Arc<Sessions> {
        let adopted = lock(&self.adopted);
        adopted
            .iter()
            .find(|(_, ids)| ids.contains(&id))
            .map_or_else(|| self.home.clone(), |(lane, _)| lane.clone())
    }

    /// Takes over the lanes that no living process holds and that have open channels. Gives the
    /// final channels of the others.
    async fn adopt(&self) -> Result<Vec<Session>, SessionJournalError> {
        let mut ended = Vec::new();
        for number in lane_numbers(&self.folder, &self.env).map_err(failed)? {
            let held = number == self.home.0.number
                || lock(&self.adopted)
                    .iter()
                    .any(|(lane, _)| lane.0.number == number);
            if held {
                continue;
            }
            let Some(lane) = Sessions::open(&self.folder, number, &self.env).await? else {
                continue;
            };
            let all = lane.ask(SessionCommand::List).await?;
            let open = all.iter().filter(|live| !live.session.state.is_final());
            let open: Vec<SessionId> = open.map(|live| live.session.id).collect();
            if open.is_empty() {
                ended.extend(all.into_iter().map(|live| live.session));
                lane.close().await?;
            } else {
                lock(&self.adopted).push((Arc::new(lane), open));
            }
        }
        Ok(ended)
    }
}

impl SessionJournal for LaneSessions {
    fn record(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: SessionSecrets,
    ) -> BoxFuture<'_, Result<Session, SessionJournalError>> {
        Box::pin(async move { self.lane_of(id).record(id, step, &secrets).await })
    }

    fn sessions(&self) -> BoxFuture<'_, Result<Vec<Session>, SessionJournalError>> {
        Box::pin(async move {
            let mut sessions = self.adopt().await?;
            let adopted: Vec<Arc<Sessions>> = lock(&self.adopted)
                .iter()
                .map(|(lane, _)| lane.clone())
                .collect();
            for lane in adopted.iter().chain([&self.home]) {
                let all = lane.ask(SessionCommand::List).await?;
                sessions.extend(all.into_iter().map(|live| live.session));
            }
            sort(&mut sessions);
            Ok(sessions)
        })
    }

    fn secrets(
        &self,
        id: SessionId,
    ) -> BoxFuture<'_, Result<Option<SessionSecrets>, SessionJournalError>> {
        Box::pin(async move {
            let lane = self.lane_of(id);
            let found = lane.ask(SessionCommand::Find(id)).await?;
            let live = found.into_iter().next();
            let Some(live) = live.filter(|live| !live.session.state.is_final()) else {
                return Ok(None);
            };
            open_secrets(&lock(&lane.0.keys), &live).map(Some)
        })
    }

    fn knows<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<bool, SessionJournalError>> {
        Box::pin(async move {
            let sessions = session_history(&self.folder, &self.env)?;
            let mut channels = sessions.iter().filter_map(|it| it.channel.as_deref());
            Ok(channels.any(|known| known == channel))
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), SessionJournalError>> {
        Box::pin(async move {
            let adopted = std::mem::take(&mut *lock(&self.adopted));
            for lane in adopted.iter().map(|(lane, _)| lane).chain([&self.home]) {
                lane.close().await?;
            }
            Ok(())
        })
    }
}

impl Sessions {
    async fn open(
        folder: &Path,
        number: u32,
        env: &Env,
    ) -> Result<Option<Self>, SessionJournalError> {
        let lane = Lane::open(folder, number, env, SessionMachine::default).map_err(failed)?;
        let Some(lane) = lane.map(Self) else {
            return Ok(None);
        };
        lane.keep_needed_keys().await?;
        Ok(Some(lane))
    }

    async fn keep_needed_keys(&self) -> Result<(), SessionJournalError> {
        let all = self.ask(SessionCommand::List).await?;
        let needed: Vec<_> = all.iter().flat_map(LiveSession::keys).collect();
        self.0.keep_needed_keys(&needed).map_err(failed)
    }

    async fn record(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: &SessionSecrets,
    ) -> Result<Session, SessionJournalError> {
        if matches!(step, SessionStep::Intended { .. }) && self.0.keys_are_worn() {
            self.0.rotate_keys();
            self.keep_needed_keys().await?;
        }
        let event = seal_step(&mut lock(&self.0.keys), id, step, secrets)
            .map_err(|source| SessionJournalError::Seal { id, source })?;
        let reply = self.0.engine.submit(SessionCommand::Record(event)).await;
        recorded(reply.map_err(|error| failed(OutboxError::Log(error)))?)
    }

    async fn ask(&self, command: SessionCommand) -> Result<Vec<LiveSession>, SessionJournalError> {
        let reply = self.0.engine.submit(command).await;
        match reply.map_err(|error| failed(OutboxError::Log(error)))? {
            SessionReply::Sessions(sessions) => Ok(sessions),
            _ => Err(failed(OutboxError::Confused)),
        }
    }

    async fn close(&self) -> Result<(), SessionJournalError> {
        self.0.rotate_keys();
        self.keep_needed_keys().await?;
        self.0.close().await.map_err(failed)
    }
}

fn recorded(reply: SessionReply) -> Result<Session, SessionJournalError> {
    match reply {
        SessionReply::Recorded(session) => Ok(*session),
        SessionReply::Rejected(why) => Err(SessionJournalError::Refused(why)),
        SessionReply::Sessions(_) => Err(failed(OutboxError::Confused)),
    }
}

fn sort(sessions: &mut [Session]) {
    sessions.sort_by_key(|session| (session.begun_at, session.id));
}

/// Reads the channels of a journal's folder, oldest first. Takes no lock: other processes may be
/// paying meanwhile; what was durable when it began is told. Blocks on disk.
///
/// # Errors
///
/// A damaged log. A folder that is not there has no channels.
pub fn session_history(folder: &Path, env: &Env) -> Result<Vec<Session>, SessionJournalError> {
    let mut sessions = Vec::new();
    for number in lane_numbers(folder, env).map_err(failed)? {
        let lane = lane_folder(folder, number);
        let mut machine = SessionMachine::default();
        let mut broken = None;
        let mut visit = |_sequence: u64, at: Timestamp, event: SessionEvent| {
            let evolved = machine.evolve(at, &event);
            broken = evolved.err().map(|source| (event.id, source));
            broken.is_none()
        };
        stiver_wal::history::<SessionMachine>(&lane, env, &mut visit).map_err(|source| {
            failed(OutboxError::Open {
                folder: lane.clone(),
                source,
            })
        })?;
        if let Some((id, source)) = broken {
            return Err(SessionJournalError::Stored { id, source });
        }
        sessions.extend(machine.sessions().cloned());
    }
    sort(&mut sessions);
    Ok(sessions)
}

/// The same journal in memory: for tests, and for programs that accept to forget their channels at
/// a crash, and with them whatever is set aside in them until the rail gives it back.
pub struct MemorySessions {
    clock: Arc<dyn Clock>,
    inside: Mutex<(SessionMachine, Keys)>,
}

impl MemorySessions {
    /// An empty one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // Nothing leaves memory: sealing only keeps the two journals alike.
        let keys = Keys::new([0; 8], Zeroizing::new([0; 32]));
        Self {
            clock,
            inside: Mutex::new((SessionMachine::default(), keys)),
        }
    }

    /// Every channel, oldest first.
    pub fn all(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> = lock(&self.inside).0.sessions().cloned().collect();
        sort(&mut sessions);
        sessions
    }

    /// A step as the log would hold it.
    #[cfg(test)]
    pub(super) fn sealed(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: &SessionSecrets,
    ) -> Box<SessionEvent> {
        let keys = &mut lock(&self.inside).1;
        seal_step(keys, id, step, secrets).expect("small things are sealed")
    }

    fn record_now(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: &SessionSecrets,
    ) -> Result<Session, SessionJournalError> {
        let now = self.clock.now();
        let mut inside = lock(&self.inside);
        let (machine, keys) = &mut *inside;
        let event = seal_step(keys, id, step, secrets)
            .map_err(|source| SessionJournalError::Seal { id, source })?;
        let (reply, event) = machine.decide(now, SessionCommand::Record(event));
        let session = recorded(reply)?;
        if let Some(event) = event {
            let evolved = machine.evolve(now, &event);
            evolved.map_err(|source| SessionJournalError::Stored { id, source })?;
        }
        Ok(session)
    }
}

impl SessionJournal for MemorySessions {
    fn record(
        &self,
        id: SessionId,
        step: SessionStep,
        secrets: SessionSecrets,
    ) -> BoxFuture<'_, Result<Session, SessionJournalError>> {
        Box::pin(std::future::ready(self.record_now(id, step, &secrets)))
    }

    fn sessions(&self) -> BoxFuture<'_, Result<Vec<Session>, SessionJournalError>> {
        Box::pin(std::future::ready(Ok(self.all())))
    }

    fn secrets(
        &self,
        id: SessionId,
    ) -> BoxFuture<'_, Result<Option<SessionSecrets>, SessionJournalError>> {
        let inside = lock(&self.inside);
        let live = inside.0.live().find(|live| live.session.id == id);
        let opened = live.map(|live| open_secrets(&inside.1, live)).transpose();
        Box::pin(std::future::ready(opened))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), SessionJournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Seals what is secret of a step.
fn seal_step(
    keys: &mut Keys,
    id: SessionId,
    step: SessionStep,
    secrets: &SessionSecrets,
) -> Result<Box<SessionEvent>, SealError> {
    let record = secrets.record.as_ref();
    let record = record.map(|record| keys.seal(id.sealing(), Kind::Channel, &record.0));
    let record = record.transpose()?;
    let movement = secrets.movement.as_ref().map(encode_artefact);
    let movement = movement.map(|bytes| keys.seal(id.sealing(), Kind::Funding, &bytes));
    Ok(Box::new(SessionEvent {
        id,
        step,
        record,
        movement: movement.transpose()?,
    }))
}

/// Opens what is sealed of a channel.
fn open_secrets(keys: &Keys, live: &LiveSession) -> Result<SessionSecrets, SessionJournalError> {
    let id = live.session.id;
    let open = |kind, sealed: &Sealed| {
        keys.open(id.sealing(), kind, sealed)
            .map_err(|source| SessionJournalError::Seal { id, source })
    };
    let movement = live.movement.as_ref().map(|sealed| {
        let bytes = open(Kind::Funding, sealed)?;
        decode_artefact(&bytes).map_err(|source| SessionJournalError::Stored { id, source })
    });
    let record = live
        .record
        .as_ref()
        .map(|sealed| open(Kind::Channel, sealed));
    Ok(SessionSecrets {
        record: record.transpose()?.map(ChannelRecord),
        movement: movement.transpose()?,
    })
}
