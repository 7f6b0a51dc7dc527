//! An outbox that forgets when it is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stiver_env::{BoxFuture, Clock};
use stiver_wal::Machine;
use zeroize::Zeroizing;

use super::{
    CallId, Command, Entry, Event, Outbox, OutboxError, OutboxMachine, Reply, State, Step,
    StoredCall, open_live,
    seal::{Keys, SealError},
    seal_step,
};

/// The same journal in memory: for tests, and for programs that accept to forget, at a crash, what
/// they were paying for. Follows the same rules as [`super::LaneOutbox`].
pub struct MemoryOutbox {
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

struct Inside {
    machine: OutboxMachine,
    keys: Keys,
    finished: Vec<Entry>,
}

impl MemoryOutbox {
    /// An empty one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            inside: Mutex::new(Inside {
                machine: OutboxMachine::default(),
                // Nothing leaves memory: sealing only keeps the two outboxes alike.
                keys: Keys::new([0; 8], Zeroizing::new([0; 32])),
                finished: Vec::new(),
            }),
        }
    }

    /// Every call, oldest first.
    pub fn history(&self) -> Vec<Entry> {
        let inside = self.inside();
        let live = inside.machine.live().map(|live| live.entry.clone());
        let mut entries: Vec<Entry> = inside.finished.iter().cloned().chain(live).collect();
        entries.sort_by_key(|entry| (entry.begun_at, entry.id));
        entries
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_now(&self, call: CallId, step: Step) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let mut inside = self.inside();
        let change = seal_step(&mut inside.keys, call, step)
            .map_err(|source: SealError| OutboxError::Seal { call, source })?;
        let before = inside.machine.live().find(|live| live.entry.id == call);
        let before = before.map(|live| live.entry.clone());
        let event = Event { id: call, change };
        let (reply, event) = inside.machine.decide(now, Command::Record(Box::new(event)));
        match (reply, event) {
            (Reply::Recorded, Some(event)) => {
                if let (Some(mut entry), true) = (before, event.change.state().is_final()) {
                    event.change.apply(now, &mut entry);
                    inside.finished.push(entry);
                }
                inside
                    .machine
                    .evolve(now, &event)
                    .map_err(|source| OutboxError::Stored { call, source })
            }
            (Reply::Rejected(why), _) => Err(OutboxError::Step(why)),
            _ => Err(OutboxError::Confused),
        }
    }

    fn stored_now(&self, call: CallId) -> Result<Option<StoredCall>, OutboxError> {
        let inside = self.inside();
        let live = inside.machine.live().find(|live| live.entry.id == call);
        live.cloned()
            .map(|live| open_live(&inside.keys, live))
            .transpose()
    }

    /// The state of one call, whatever it is.
    pub fn state(&self, call: CallId) -> Option<State> {
        let entries = self.history();
        let found = entries.into_iter().find(|entry| entry.id == call);
        found.map(|entry| entry.state)
    }
}

impl Outbox for MemoryOutbox {
    fn record(&self, call: CallId, step: Step) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(std::future::ready(self.record_now(call, step)))
    }

    fn open_calls(&self) -> BoxFuture<'_, Result<Vec<Entry>, OutboxError>> {
        let mut entries = self.history();
        entries.retain(|entry| !entry.state.is_final());
        Box::pin(std::future::ready(Ok(entries)))
    }

    fn stored(&self, call: CallId) -> BoxFuture<'_, Result<Option<StoredCall>, OutboxError>> {
        Box::pin(std::future::ready(self.stored_now(call)))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
