//! The store in this process: one writer, one log.

use std::path::PathBuf;

use stiver_env::{BoxFuture, Env};
use stiver_wal::{Config, Engine, EngineError, Health, OpenError, Retention};

use crate::{
    Store, StoreError, Usage,
    channel::{ChannelCommand, ChannelReader, ChannelReply, ChannelStore},
    command::{Command, Reply},
    limits::Limits,
    state::{Answer, KnownClaims, Request, State},
};

/// A store that keeps every claim in memory and every change in a log of its own. Cheap to clone.
///
/// It needs no other instance and no database: the process that holds the folder's lock is the only
/// writer.
///
/// # Examples
///
/// ```
/// use stiver_store::{Command, EmbeddedStore, Limits, Reply, Store};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let env = stiver_env::native::env();
/// pollster::block_on(async {
///     let config = EmbeddedStore::config(folder);
///     let store = EmbeddedStore::open(config, &env, Limits::default()).await.unwrap();
///     let challenge_id = "x".to_owned();
///     assert!(!store.might_know(&challenge_id));
///     let reply = store.submit(Command::Get { challenge_id }).await.unwrap();
///     assert_eq!(reply, Reply::Absent);
///     store.close().await.unwrap();
/// });
/// ```
#[derive(Clone)]
pub struct EmbeddedStore {
    engine: Engine<State>,
    known: KnownClaims,
}

impl EmbeddedStore {
    /// How the log of a store is kept by default: as [`Config::new`], but segments that a snapshot
    /// has made unnecessary are removed, since they hold artefacts of payments long settled.
    pub fn config(folder: impl Into<PathBuf>) -> Config {
        Config {
            retention: Retention::Prune,
            ..Config::new(folder)
        }
    }

    /// Opens the store's folder, or makes it. Blocks on disk while it replays; needs no runtime.
    ///
    /// # Errors
    ///
    /// [`EmbeddedOpenError::Log`] when the folder cannot be opened, [`EmbeddedOpenError::Limits`]
    /// when the limits could not be made durable.
    pub async fn open(
        config: Config,
        env: &Env,
        limits: Limits,
    ) -> Result<Self, EmbeddedOpenError> {
        let engine = Engine::open(config, env, || State::new(limits));
        let engine = engine.map_err(EmbeddedOpenError::Log)?;
        let answer = engine.submit(Request::Configure(limits)).await;
        match answer.map_err(EmbeddedOpenError::Limits)? {
            Answer::Configured(known) => Ok(Self { engine, known }),
            _ => unreachable!("a request to configure is answered as such"),
        }
    }

    /// How its log is doing.
    pub fn health(&self) -> Health {
        self.engine.health()
    }

    /// How much it holds. Waits for nobody.
    pub fn usage(&self) -> Usage {
        self.known.usage()
    }

    /// Refuses further commands, finishes those accepted, takes a snapshot and frees the folder.
    ///
    /// # Errors
    ///
    /// When the log has failed: what was answered is durable all the same.
    pub async fn close(&self) -> Result<(), EngineError> {
        self.engine.close().await
    }
}

impl Store for EmbeddedStore {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        let answer = self.engine.submit(Request::Store(command));
        Box::pin(async move {
            match answer.await {
                Ok(Answer::Store(reply)) => Ok(reply),
                Ok(_) => unreachable!("a command is answered as such"),
                Err(error) => Err(StoreError(error.to_string())),
            }
        })
    }

    /// Never false for a claim whose making was answered, nor for one found at start.
    fn might_know(&self, challenge_id: &str) -> bool {
        self.known.might_know(challenge_id)
    }
}

impl ChannelStore for EmbeddedStore {
    fn channel(&self, command: ChannelCommand) -> BoxFuture<'_, Result<ChannelReply, StoreError>> {
        let answer = self.engine.submit(Request::Channel(command));
        Box::pin(async move {
            match answer.await {
                Ok(Answer::Channel(reply)) => Ok(reply),
                Ok(_) => unreachable!("a command is answered as such"),
                Err(error) => Err(StoreError(error.to_string())),
            }
        })
    }

    fn channels(&self) -> &ChannelReader {
        self.known.channels()
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedOpenError {
    /// Its log.
    #[error("the log of the store could not be opened")]
    Log(#[source] OpenError),
    /// The limits could not be written.
    #[error("the limits of the store could not be made durable")]
    Limits(#[source] EngineError),
}
