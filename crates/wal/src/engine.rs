//! A running machine, as its users hold it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use stiver_core::Timestamp;
use stiver_env::{BoxFuture, Env, disk::Disk};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    config::{BATCH_COMMANDS_MAX, Config},
    error::{EngineError, OpenError},
    health::{Counted, Health},
    history::Reading,
    machine::Machine,
    recover::{self, Recovery},
    time::LogClock,
    writer::{Message, Writer},
};

/// A running machine. Cheap to clone.
///
/// When the last clone is dropped the writer ends after what it has accepted, as if killed: without
/// a snapshot. [`Engine::close`] is the polite way.
///
/// # Examples
///
/// ```
/// use stiver_core::Timestamp;
/// use stiver_wal::{Config, Engine, Inconsistent, Machine};
///
/// struct Counter(u64);
///
/// impl Machine for Counter {
///     const NAME: &'static str = "counter";
///     const VERSION: u32 = 1;
///     type Command = u64;
///     type Event = u64;
///     type Reply = u64;
///     fn decide(&self, _: Timestamp, add: u64) -> (u64, Option<u64>) {
///         (self.0 + add, (add > 0).then_some(add))
///     }
///     fn evolve(&mut self, _: Timestamp, add: &u64) -> Result<(), Inconsistent> {
///         self.0 += add;
///         Ok(())
///     }
///     fn encode_event(add: &u64, into: &mut Vec<u8>) {
///         into.extend_from_slice(&add.to_le_bytes());
///     }
///     fn decode_event(bytes: &[u8]) -> Result<u64, Inconsistent> {
///         let bytes = bytes.try_into().map_err(|_| Inconsistent("not 8 bytes".to_owned()))?;
///         Ok(u64::from_le_bytes(bytes))
///     }
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_le_bytes().to_vec()
///     }
///     fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
///         Self::decode_event(bytes).map(Self)
///     }
///     fn check(&self) -> Result<(), Inconsistent> {
///         Ok(())
///     }
/// }
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let env = stiver_env::native::env();
/// pollster::block_on(async {
///     let counter = Engine::open(Config::new(folder), &env, || Counter(0)).unwrap();
///     assert_eq!(counter.submit(3).await.unwrap(), 3);
///     counter.close().await.unwrap();
///
///     let counter = Engine::open(Config::new(folder), &env, || Counter(0)).unwrap();
///     assert_eq!(counter.submit(4).await.unwrap(), 7);
/// });
/// ```
pub struct Engine<M: Machine> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Machine> {
    sender: mpsc::Sender<Message<M>>,
    status: Arc<Status>,
    outcome: watch::Receiver<Option<Result<(), EngineError>>>,
    recovery: Recovery,
    config: Config,
    disk: Arc<dyn Disk>,
}

/// The failure of an engine whose writer is not there any more.
const WRITER_GONE: &str = "the writer has stopped";

/// What the writer lets the others know at any time.
#[derive(Default)]
pub(crate) struct Status {
    durable: AtomicU64,
    failure: OnceLock<Arc<str>>,
    pub(crate) writes: Counted,
}

impl Status {
    /// The last event that is durable.
    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, sequence: u64) {
        self.durable.store(sequence, Ordering::Release);
    }

    /// The first failure is the one that is reported.
    pub(crate) fn fail(&self, reason: &str) -> EngineError {
        EngineError::Failed(self.failure.get_or_init(|| reason.into()).clone())
    }
}

impl<M: Machine> Inner<M> {
    /// Why nothing is accepted any more.
    fn refusal(&self) -> EngineError {
        // A writer that ends without an outcome has panicked, or was never started.
        let gone = self.outcome.borrow().is_none() && self.outcome.has_changed().is_err();
        match self.status.failure.get() {
            Some(reason) => EngineError::Failed(reason.clone()),
            None if gone => self.status.fail(WRITER_GONE),
            None => EngineError::Closed,
        }
    }
}

impl<M: Machine> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<M: Machine> Engine<M> {
    /// Locks the folder, replays (or starts from `genesis` when the folder is empty), cuts a torn
    /// tail, checks the machine, and starts its writer. Blocks on disk; needs no runtime.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Nothing on disk was changed then, but for a new folder or its first files.
    pub fn open(config: Config, env: &Env, genesis: impl FnOnce() -> M) -> Result<Self, OpenError> {
        let opened = recover::open(&config, env, genesis)?;
        let status = Arc::new(Status::default());
        let position = opened.log.position();
        status.set_durable(position.sequence);
        let (sender, inbox) = mpsc::channel(config.queue_max.max(1));
        let (outcome_sender, outcome) = watch::channel(None);
        let clock = LogClock::start(env.clock.clone(), position.time, config.time_jump_max_ms);
        let writer = Writer {
            machine: opened.machine,
            log: opened.log,
            clock,
            inbox,
            status: status.clone(),
            outcome: outcome_sender,
            lock: opened.lock,
        };
        env.spawner
            .spawn_blocking_task(&format!("wal-{}", M::NAME), Box::pin(writer.run()));
        Ok(Self {
            inner: Arc::new(Inner {
                sender,
                status,
                outcome,
                recovery: opened.recovery,
                config,
                disk: env.disk.clone(),
            }),
        })
    }

    /// Submits a command; resolves when its event is durable (or when nothing changed and all
    /// before it is durable). Nothing happens before the first poll. Dropping the future after that
    /// does not take the command back. Waits while [`Config::queue_max`] commands are waiting.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; each variant says whether the command may have had an effect.
    pub fn submit(&self, command: M::Command) -> BoxFuture<'static, Result<M::Reply, EngineError>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let message = Message::Command(command, reply);
            if inner.sender.send(message).await.is_err() {
                return Err(inner.refusal());
            }
            match answer.await {
                Ok(answer) => answer,
                // Only a writer that panicked drops a command without an answer.
                Err(_) => Err(inner.status.fail(WRITER_GONE)),
            }
        })
    }

    /// Submits commands together: they are decided in this order, and those that fit into one batch
    /// are made durable by one sync. Each has an answer of its own, as [`Engine::submit`] gives it.
    pub fn submit_all(
        &self,
        commands: Vec<M::Command>,
    ) -> BoxFuture<'static, Vec<Result<M::Reply, EngineError>>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let mut replies = Vec::with_capacity(commands.len());
            let mut batches = Vec::new();
            let mut commands = commands.into_iter().peekable();
            while commands.peek().is_some() {
                let batch = commands.by_ref().take(BATCH_COMMANDS_MAX);
                let (several, answers): (Vec<_>, Vec<_>) = batch
                    .map(|command| {
                        let (reply, answer) = oneshot::channel();
                        ((command, reply), answer)
                    })
                    .unzip();
                let sent = inner.sender.send(Message::Several(several)).await;
                batches.push((sent.is_ok(), answers));
            }
            for (sent, answers) in batches {
                for answer in answers {
                    replies.push(match answer.await {
                        Ok(answer) => answer,
                        // Only a writer that panicked drops a command without an answer.
                        Err(_) if sent => Err(inner.status.fail(WRITER_GONE)),
                        Err(_) => Err(inner.refusal()),
                    });
                }
            }
            replies
        })
    }

    /// Refuses further commands, finishes those accepted, syncs, takes a snapshot, frees the lock.
    /// May be called again, and from several places: each call waits for the end.
    ///
    /// # Errors
    ///
    /// When the engine had failed, or fails now.
    pub fn close(&self) -> BoxFuture<'static, Result<(), EngineError>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            // Refused when it is closed already; then only the outcome is waited for.
            let _ = inner.sender.send(Message::Close).await;
            let mut outcome = inner.outcome.clone();
            let ended = outcome.wait_for(Option::is_some).await;
            match ended.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                _ => Err(inner.status.fail(WRITER_GONE)),
            }
        })
    }

    /// What opening has found and done.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// The number of the last durable event, 0 before the first.
    pub fn durable(&self) -> u64 {
        self.inner.status.durable()
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        // A writer that is gone without a word has failed: say so.
        let inner = &self.inner;
        let gone = inner.outcome.borrow().is_none() && inner.outcome.has_changed().is_err();
        if gone {
            inner.status.fail(WRITER_GONE);
        }
        Health {
            failure: inner.status.failure.get().cloned(),
            durable: inner.status.durable(),
            writes: inner.status.writes.read(),
        }
    }

    /// Reads every event that is durable now from disk, oldest first, calling
    /// `visit(sequence, at, event)` until it returns false. Blocks on disk, not on the writer.
    ///
    /// # Errors
    ///
    /// As [`crate::history`]; also when segments are removed meanwhile
    /// ([`crate::Retention::Prune`]).
    pub fn history(
        &self,
        visit: &mut dyn FnMut(u64, Timestamp, M::Event) -> bool,
    ) -> Result<(), OpenError> {
        let durable = self.durable();
        let (disk, folder) = (self.inner.disk.as_ref(), self.inner.config.folder.as_path());
        let mut stopped = false;
        let reading = Reading::running(disk, folder)?;
        let last = reading.events::<M>(disk, folder, &mut |sequence, at, event| {
            stopped = sequence > durable || !visit(sequence, at, event);
            !stopped
        })?;
        if stopped || last >= durable {
            return Ok(());
        }
        Err(OpenError::NoSegment {
            folder: folder.to_owned(),
            sequence: last.saturating_add(1),
        })
    }
}
