//! Holding a claim: every step of the journal goes through here, and a claim that is dropped half
//! way is released, so that the same credential can go on.

use stiver_store::{Advance, Claim, ClaimState, Command, Reply, StoreError};

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
        let store = &self.gate.inner.store;
        let reply = match store.submit(command.clone()).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "the journal gave no answer, asking again");
                match store
                    .submit(command)
                    .await
                    .map_err(GateError::JournalLost)?
                {
                    Reply::Refused(claim) if claim.epoch == epoch && reached(&to, &claim.state) => {
                        Reply::Advanced(claim)
                    }
                    reply => reply,
                }
            }
        };
        match reply {
            Reply::Advanced(claim) => {
                self.claim = claim;
                if frees || is_terminal(&self.claim.state) {
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

    /// Takes a claim over. `Err` holds the claim when somebody else works on it, or when it is
    /// terminal; `None` when it is gone.
    pub(crate) async fn take_over(
        &self,
        challenge_id: &str,
    ) -> Result<Result<Hold, Option<Box<Claim>>>, GateError> {
        let command = Command::TakeOver {
            challenge_id: challenge_id.to_owned(),
            owner: self.inner.owner,
            lease_ms: LEASE_MS,
        };
        match self.ask(command).await.map_err(GateError::JournalLost)? {
            Reply::Won(claim) => Ok(Ok(Hold::new(self, claim))),
            Reply::Refused(claim) => Ok(Err(Some(claim))),
            Reply::Absent => Ok(Err(None)),
            _ => Err(GateError::JournalOutOfStep),
        }
    }
}

/// True when nothing more is to be done for a claim by itself.
pub(crate) fn is_terminal(state: &ClaimState) -> bool {
    matches!(
        state,
        ClaimState::Delivered(_)
            | ClaimState::Failed { .. }
            | ClaimState::Refunded { .. }
            | ClaimState::Disputed(_)
            | ClaimState::Reversed(_)
    )
}

/// True when a claim stands where this step leads. Asked only of a claim whose epoch is the
/// caller's: nobody else has moved it.
fn reached(to: &Advance, state: &ClaimState) -> bool {
    match (to, state) {
        (
            Advance::Settled {
                settlement,
                deliver: false,
            },
            ClaimState::Settled { settlement: at },
        )
        | (
            Advance::Settled {
                settlement,
                deliver: true,
            },
            ClaimState::Delivering { settlement: at },
        ) => settlement == at,
        (Advance::Failed { refusal }, ClaimState::Failed { refusal: at }) => refusal == at,
        (Advance::Delivered { receipt, .. }, ClaimState::Delivered(at)) => *receipt == at.receipt,
        (Advance::Refund { artefact }, ClaimState::Refunding { artefact: at, .. }) => {
            artefact == at
        }
        (Advance::Refunded { refund }, ClaimState::Refunded { refund: at, .. }) => refund == at,
        (Advance::Deliver, ClaimState::Delivering { .. })
        | (Advance::DeliveryFailed, ClaimState::Settled { .. }) => true,
        _ => false,
    }
}
