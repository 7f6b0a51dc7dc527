//! Leases of claims at work. One task renews them all; it ends when there are none.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use stiver_store::{Command, Reply};

use super::{Gate, Inner};
use crate::limits::{LEASE_MS, LEASE_RENEW_MS};

/// The claims that this gate works on, and whether the renewing task runs.
#[derive(Default)]
pub(crate) struct Leases(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    held: HashMap<u64, Held>,
    /// How often each challenge is among them: once, but for a lease that was lost.
    ids: HashMap<String, usize>,
    renewing: bool,
}

#[derive(Clone)]
struct Held {
    challenge_id: String,
    epoch: u64,
    /// False until the first round: most work ends before its lease needs renewing.
    lasting: bool,
}

impl State {
    fn insert(&mut self, challenge_id: &str, epoch: u64) -> u64 {
        let ticket = self.next;
        self.next = ticket.wrapping_add(1);
        *self.ids.entry(challenge_id.to_owned()).or_default() += 1;
        self.held.insert(
            ticket,
            Held {
                challenge_id: challenge_id.to_owned(),
                epoch,
                lasting: false,
            },
        );
        ticket
    }

    fn remove(&mut self, ticket: u64) {
        let Some(held) = self.held.remove(&ticket) else {
            return;
        };
        if let Some(times) = self.ids.get_mut(&held.challenge_id) {
            *times -= 1;
            if *times == 0 {
                self.ids.remove(&held.challenge_id);
            }
        }
    }
}

impl Leases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are kept.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// True when this gate works on a claim, whatever the clock says of its lease.
    pub(crate) fn holds(&self, challenge_id: &str) -> bool {
        self.state().ids.contains_key(challenge_id)
    }

    /// Stops renewing one lease.
    pub(crate) fn end(&self, ticket: u64) {
        self.state().remove(ticket);
    }
}

impl Gate {
    /// Keeps renewing the lease of this claim until [`Leases::end`].
    pub(crate) fn keep_lease(&self, challenge_id: &str, epoch: u64) -> u64 {
        let mut state = self.inner.leases.state();
        let ticket = state.insert(challenge_id, epoch);
        self.start_renewing(state);
        ticket
    }

    fn start_renewing(&self, mut state: MutexGuard<'_, State>) {
        let start = !std::mem::replace(&mut state.renewing, true);
        drop(state);
        if start {
            let gate = std::sync::Arc::downgrade(&self.inner);
            self.inner.env.spawner.spawn(Box::pin(renew(gate)));
        }
    }
}

async fn renew(gate: Weak<Inner>) {
    loop {
        let pause = match gate.upgrade() {
            Some(inner) => inner.env.clock.sleep(Duration::from_millis(LEASE_RENEW_MS)),
            None => return,
        };
        pause.await;
        let Some(inner) = gate.upgrade() else { return };
        let held: Vec<(u64, Held)> = {
            let mut state = inner.leases.state();
            if state.held.is_empty() {
                state.renewing = false;
                return;
            }
            let lasting = state.held.iter().filter(|(_, held)| held.lasting);
            let lasting = lasting
                .map(|(ticket, held)| (*ticket, held.clone()))
                .collect();
            state.held.values_mut().for_each(|held| held.lasting = true);
            lasting
        };
        join_all(
            held.iter()
                .map(|(ticket, held)| renew_one(&inner, *ticket, held)),
        )
        .await;
    }
}

async fn renew_one(inner: &Inner, ticket: u64, held: &Held) {
    let command = Command::Renew {
        challenge_id: held.challenge_id.clone(),
        epoch: held.epoch,
        lease_ms: LEASE_MS,
    };
    match inner.store.submit(command).await {
        // A lost lease shows at the next step of the journal, which is fenced.
        Ok(Reply::Fenced | Reply::Absent) => inner.leases.end(ticket),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "a lease was not renewed"),
    }
}
