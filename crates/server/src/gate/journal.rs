//! Holding a claim: every step of the journal goes through here, and a claim that is dropped half
//! way is released, so that the same credential can go on.

use stiver_store::{Advance, Claim, Command, Reply, StoreError};

use super::Gate;
use crate::{error::GateError, limits::LEASE_MS};

/// A claim that this gate works on.
pub(crate) struct Hold {
    pub(crate) gate: Gate,
    pub(crate) claim: Box<Claim>,
    ticket: u64,
    open: bool,
}

impl Hold {
    /// Takes hold of a claim that the store has just given to this gate.
    pub(crate) fn new(gate: &Gate, claim: Box<Claim>) -> Self {
        let ticket = gate.keep_lease(&claim.challenge_id, claim.epoch);
        Self {
            gate: gate.clone(),
            claim,
            ticket,
            open: true,
        }
    }

    /// Moves the claim on, durably.
    ///
    /// A store that gives no answer is asked once more: the step may have been carried out.
    pub(crate) async fn advance(&mut self, to: Advance) -> Result<(), GateError> {
        let frees = matches!(to, Advance::DeliveryFailed | Advance::Release);
        let epoch = self.claim.epoch;
        let command = Command::Advance {
            challenge_id: self.claim.challenge_id.clone(),
            epoch,
            to: to.clone(),
        };
        // A repeated step is answered as the first one was: a lost answer loses nothing.
        let reply = self
            .gate
            .ask(command)
            .await
            .map_err(GateError::JournalLost)?;
        match reply {
            Reply::Advanced(claim) => {
                self.claim = claim;
                if frees || self.claim.state.is_terminal() {
                    self.close();
                }
                Ok(())
            }
            Reply::Fenced => {
                self.close();
                Err(GateError::InProgress)
            }
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// Gives the claim back, state unchanged. Best effort: else its lease ends by itself.
    pub(crate) async fn release(mut self) {
        if self.open && self.advance(Advance::Release).await.is_err() {
            self.close();
        }
    }

    fn close(&mut self) {
        self.open = false;
        self.gate.inner.leases.end(self.ticket);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.close();
        let store = std::sync::Arc::clone(&self.gate.inner.store);
        let command = Command::Advance {
            challenge_id: self.claim.challenge_id.clone(),
            epoch: self.claim.epoch,
            to: Advance::Release,
        };
        self.gate.inner.env.spawner.spawn(Box::pin(async move {
            if let Err(error) = store.submit(command).await {
                tracing::warn!(%error, "a dropped claim was not released; its lease will end");
            }
        }));
    }
}

impl Gate {
    /// Asks the store; an unanswered question is asked once more.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, StoreError> {
        match self.inner.store.submit(command.clone()).await {
            Ok(reply) => Ok(reply),
            Err(_) => self.inner.store.submit(command).await,
        }
    }

    /// Reads a claim.
    pub(crate) async fn find(&self, challenge_id: &str) -> Result<Option<Box<Claim>>, StoreError> {
        if !self.inner.store.might_know(challenge_id) {
            return Ok(None);
        }
        let command = Command::Get {
            challenge_id: challenge_id.to_owned(),
        };
        Ok(match self.ask(command).await? {
            Reply::Found(claim) => Some(claim),
            _ => None,
        })
    }

    /// Takes a claim over. `Err` holds the claim when somebody works on it, this gate too, or
    /// when it is terminal; `None` when it is gone.
    pub(crate) async fn take_over(
        &self,
        challenge_id: &str,
    ) -> Result<Result<Hold, Option<Box<Claim>>>, GateError> {
        if self.inner.leases.holds(challenge_id) {
            // A clock that stepped forward may have ended the lease of our own live work.
            let found = self.find(challenge_id).await;
            return found.map(Err).map_err(GateError::JournalLost);
        }
        let owner = self.next_owner();
        let command = Command::TakeOver {
            challenge_id: challenge_id.to_owned(),
            owner,
            lease_ms: LEASE_MS,
        };
        match self.ask(command).await.map_err(GateError::JournalLost)? {
            Reply::Won(claim) => Ok(Ok(Hold::new(self, claim))),
            // This very take-over, whose first answer was lost: nobody else has its number.
            Reply::Refused(claim) if claim.owner == owner && !claim.state.is_terminal() => {
                Ok(Ok(Hold::new(self, claim)))
            }
            Reply::Refused(claim) => Ok(Err(Some(claim))),
            Reply::Absent => Ok(Err(None)),
            _ => Err(GateError::JournalOutOfStep),
        }
    }
}
