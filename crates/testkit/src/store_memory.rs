//! A second implementation of the store's contract, written to be read: no log, no indexes, one
//! list.
//!
//! Nothing of the embedded store is used but the types of the contract, so that one suite can check
//! both against each other. It is slow and unruly on purpose: each command waits a while before it
//! is carried out and another while before it is answered, so that commands overtake each other as
//! they may over a network. It can lose commands and answers too, by script.

mod model;

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use stiver_env::{BoxFuture, Clock};
use stiver_store::{Command, Limits, Reply, Store, StoreError};

use self::model::Model;
use crate::entropy::Random;

/// Most times that a command or an answer lets others go first.
const YIELDS_MAX: u64 = 8;

/// A store in memory. Clones are the same store.
///
/// The memory that claims take is not counted: of [`Limits`] it keeps all but `claims_bytes_max`.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    model: Model,
    random: Random,
    faults: VecDeque<Fault>,
}

/// What befalls one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is never carried out, and the caller hears that there is no answer.
    LosesCommand,
    /// It is carried out, and the caller hears that there is no answer.
    LosesAnswer,
}

impl MemoryStore {
    /// An empty store. The same seed gives the same delays.
    pub fn new(clock: Arc<dyn Clock>, limits: Limits, seed: u64) -> Self {
        let inner = Inner {
            model: Model::new(limits.bounded()),
            random: Random::new(seed),
            faults: VecDeque::new(),
        };
        Self {
            clock,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// What befalls the coming commands, in the order in which they are carried out.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("the store is sound, because nobody panics while holding the lock")
    }

    fn run(&self, command: Command) -> Result<Reply, StoreError> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let fault = inner.faults.pop_front().unwrap_or(Fault::None);
        if fault == Fault::LosesCommand {
            return Err(StoreError("the command was lost".to_owned()));
        }
        let reply = inner.model.run(now, command);
        if fault == Fault::LosesAnswer {
            return Err(StoreError("the answer was lost".to_owned()));
        }
        Ok(reply)
    }

    /// Lets others go first, a number of times that the seed tells.
    async fn dawdle(&self) {
        let mut left = self.lock().random.below(YIELDS_MAX);
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Store for MemoryStore {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            self.dawdle().await;
            let reply = self.run(command);
            self.dawdle().await;
            reply
        })
    }

    fn might_know(&self, challenge_id: &str) -> bool {
        self.lock().model.holds(challenge_id)
    }
}
