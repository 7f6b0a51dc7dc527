//! Refunds that the payee asks for: by a library call, for what was delivered or is stuck.

use std::sync::Arc;

use stiver_core::{Amount, Timestamp};
use stiver_method::{
    artefact::{Artefact, RefusalKind, Settled},
    payee::{PayeeCharge, RefundError, RefundRequest},
};
use stiver_store::{Advance, Claim, ClaimState, Command, Reply, StoredResponse};

use super::{
    Gate,
    journal::Hold,
    refund::{GaveBack, Word},
    settle::Fate,
};
use crate::{
    error::GateError,
    hash::{named_refund_key, part_refund_key},
    limits::{PART_REFUND_HOUR_MS, PART_REFUND_HOURS_MAX},
    record::{self, Details, Funding, Refund},
};

/// What became of a refund that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefundOutcome {
    /// The money went back.
    Refunded {
        /// How much.
        amount: Amount,
        /// The rail's id of the movement.
        reference: String,
    },
    /// It is under way, and nobody knows yet: [`Gate::recover`] goes on with a whole refund; ask
    /// again, in the same words, for a part.
    Pending,
}

/// Why nothing was given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefundFailure {
    /// No payment answers this challenge, or it is too long ago: the journal has let it go.
    #[error("no payment of the challenge {challenge_id} is known any more")]
    NoSuchPayment {
        /// The challenge.
        challenge_id: String,
    },
    /// The challenge opened a channel or raised its deposit. What was not spent of it goes back
    /// when the channel is closed.
    #[error(
        "the challenge funded a channel: what is not spent of it goes back when the channel closes"
    )]
    Channel,
    /// No money of it can be given back in this state.
    #[error("a payment that is {state} cannot be refunded")]
    State {
        /// The claim's state, as [`ClaimState::name`] says it.
        state: &'static str,
    },
    /// It is being settled or delivered just now. Ask again later.
    #[error("the payment is being settled or delivered: ask again later")]
    Busy,
    /// More than was paid, nothing, or another currency.
    #[error("a refund is of the payment's currency, and more than nothing and at most {paid}")]
    Amount {
        /// What was paid.
        paid: Amount,
    },
    /// The method does not give it back.
    #[error("the method prepared no refund")]
    Method(#[source] RefundError),
    /// The key names another refund of this payment: of another amount, or for another reason.
    #[error("the key was used for another refund of this payment: the amount or the reason differ")]
    KeyUsed,
    /// The rail refuses for good.
    #[error("the rail refused the refund: {0}")]
    Refused(String),
    /// The journal, or a record in it.
    #[error("the journal did not take the refund: ask again")]
    Gate(#[source] GateError),
}

/// A part to be given back.
#[derive(Clone, Copy)]
struct Part<'a> {
    settled: &'a Settled,
    amount: &'a Amount,
    reason: &'a str,
    key: [u8; 16],
}

impl Part<'_> {
    /// Its artefact in an hour since the epoch: the same bytes for the whole of it.
    async fn prepare(
        &self,
        method: &Arc<dyn PayeeCharge>,
        hour: u64,
    ) -> Result<Artefact, RefundError> {
        let request = RefundRequest {
            settled: self.settled,
            amount: self.amount,
            reason: self.reason,
            key: self.key,
            now: Timestamp::from_millis(hour.saturating_mul(PART_REFUND_HOUR_MS)),
        };
        method.prepare_refund(request).await
    }
}

impl From<GateError> for RefundFailure {
    fn from(error: GateError) -> Self {
        Self::Gate(error)
    }
}

impl Gate {
    /// Gives a payment back: the whole of it, or with `amount` a part. `reason` is for the payer's
    /// statement.
    ///
    /// A whole refund is in the journal before the rail hears of it, under the payment's own key:
    /// asked for twice, from two instances or after a crash, it is made once, and
    /// [`Gate::recover`] finishes it. The answer that was paid for is not repeated afterwards. One
    /// that the rail refuses, as it does after a refund of a part, leaves the payment delivered:
    /// give the rest back as a part. A payment that was not delivered is kept when the rail refuses
    /// for good.
    ///
    /// A part is for what was delivered. It is not in the journal: on the rail it goes by `key`,
    /// or, when there is none, by the payment, the amount and the reason. So the same key, or the
    /// same words, are the same refund, and others another. The rail bounds their sum.
    ///
    /// # Errors
    /// [`RefundFailure`]. After [`RefundFailure::Gate`] the refund may have been made: ask again.
    pub async fn refund(
        &self,
        challenge_id: &str,
        amount: Option<&Amount>,
        reason: &str,
        key: Option<&str>,
    ) -> Result<RefundOutcome, RefundFailure> {
        let found = self
            .find(challenge_id)
            .await
            .map_err(GateError::JournalLost)?;
        let claim = found.ok_or_else(|| RefundFailure::NoSuchPayment {
            challenge_id: challenge_id.to_owned(),
        })?;
        if Funding::is(&claim.details) {
            return Err(RefundFailure::Channel);
        }
        let settlement = match &claim.state {
            ClaimState::Settled { settlement }
            | ClaimState::Delivering { settlement }
            | ClaimState::Refunding { settlement, .. } => settlement,
            ClaimState::Delivered(delivery) => &delivery.settlement,
            ClaimState::Refunded { refund, .. } => return refunded(refund),
            state => {
                let state = state.name();
                return Err(RefundFailure::State { state });
            }
        };
        let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
        let details = Details::decode(&claim.details).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        match amount {
            Some(part) if *part != settled.amount => {
                let key = match key {
                    Some(key) => named_refund_key(&claim.attempt, key),
                    None => part_refund_key(&claim.attempt, part, reason),
                };
                let part = Part {
                    settled: &settled,
                    amount: part,
                    reason,
                    key,
                };
                self.refund_part(&claim, &method, part).await
            }
            _ => self.refund_whole(&claim, &method, &settled, reason).await,
        }
    }

    async fn refund_whole(
        &self,
        claim: &Claim,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
        reason: &str,
    ) -> Result<RefundOutcome, RefundFailure> {
        let delivered = match &claim.state {
            ClaimState::Delivered(delivery) => Some(delivery),
            ClaimState::Refunding { .. } => None,
            // Its handler may be at work: only whoever holds the claim may decide.
            _ => return self.refund_stuck(claim, method, settled, reason).await,
        };
        if let Some(delivery) = delivered {
            let artefact = self
                .prepare_refund(claim.attempt, method, settled, &settled.amount, reason)
                .await
                .map_err(RefundFailure::Method)?;
            let refund = Refund {
                artefact,
                delivered: Some(Arc::clone(&delivery.receipt)),
            };
            let command = Command::Advance {
                challenge_id: claim.challenge_id.clone(),
                epoch: claim.epoch,
                to: Advance::Refund {
                    artefact: refund.encode(),
                },
            };
            match self.ask(command).await.map_err(GateError::JournalLost)? {
                Reply::Advanced(_) => {}
                Reply::Fenced => return Err(RefundFailure::Busy),
                _ => return Err(GateError::JournalOutOfStep.into()),
            }
        }
        let response = delivered.and_then(|delivery| delivery.response.as_ref());
        self.finish_refund(&claim.challenge_id, response).await
    }

    /// A payment that was settled and is not delivered.
    async fn refund_stuck(
        &self,
        claim: &Claim,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
        reason: &str,
    ) -> Result<RefundOutcome, RefundFailure> {
        let Ok(mut hold) = self.take_over(&claim.challenge_id).await? else {
            return Err(RefundFailure::Busy);
        };
        let prepared = self
            .prepare_refund(claim.attempt, method, settled, &settled.amount, reason)
            .await;
        let artefact = match prepared {
            Ok(artefact) => artefact,
            Err(error) => {
                hold.release().await;
                return Err(RefundFailure::Method(error));
            }
        };
        let refund = Refund {
            artefact,
            delivered: None,
        };
        let artefact = refund.encode();
        hold.advance(Advance::Refund { artefact }).await?;
        self.execute_refund(hold, None).await
    }

    /// Executes the refund that the journal holds. `response` is repeated again when the rail
    /// refuses the refund for good, as after a refund of a part.
    async fn finish_refund(
        &self,
        challenge_id: &str,
        response: Option<&Arc<StoredResponse>>,
    ) -> Result<RefundOutcome, RefundFailure> {
        match self.take_over(challenge_id).await? {
            Ok(hold) => self.execute_refund(hold, response).await,
            Err(_) => self.told(challenge_id).await,
        }
    }

    async fn execute_refund(
        &self,
        hold: Hold,
        response: Option<&Arc<StoredResponse>>,
    ) -> Result<RefundOutcome, RefundFailure> {
        let challenge_id = hold.claim.challenge_id.clone();
        match self.go_on_refunding(hold, response).await? {
            GaveBack::Stands(refusal) | GaveBack::Kept(refusal) => {
                Err(RefundFailure::Refused(refusal.detail))
            }
            GaveBack::Refunded | GaveBack::Open => self.told(&challenge_id).await,
        }
    }

    /// What the journal says of it now.
    async fn told(&self, challenge_id: &str) -> Result<RefundOutcome, RefundFailure> {
        let found = self
            .find(challenge_id)
            .await
            .map_err(GateError::JournalLost)?;
        match found.map(|claim| claim.state) {
            Some(ClaimState::Refunded { refund, .. }) => refunded(&refund),
            _ => Ok(RefundOutcome::Pending),
        }
    }

    async fn refund_part(
        &self,
        claim: &Claim,
        method: &Arc<dyn PayeeCharge>,
        part: Part<'_>,
    ) -> Result<RefundOutcome, RefundFailure> {
        let settled = part.settled;
        let state = claim.state.name();
        if !matches!(claim.state, ClaimState::Delivered(_)) {
            return Err(RefundFailure::State { state });
        }
        let more = settled.amount.checked_sub(part.amount).is_err();
        if more || part.amount.is_zero() {
            let paid = settled.amount.clone();
            return Err(RefundFailure::Amount { paid });
        }
        let hour = self.now().as_millis() / PART_REFUND_HOUR_MS;
        let artefact = part
            .prepare(method, hour)
            .await
            .map_err(RefundFailure::Method)?;
        match self.word_on(method, &artefact).await {
            Word::Done(refund) => {
                let Settled {
                    amount, reference, ..
                } = *refund;
                Ok(RefundOutcome::Refunded { amount, reference })
            }
            Word::Never(refusal) if refusal.kind == RefusalKind::AlreadyUsed => {
                let first = claim.created_at.as_millis() / PART_REFUND_HOUR_MS;
                let first = first.max(hour.saturating_sub(PART_REFUND_HOURS_MAX));
                self.made_before(method, part, (first..hour).rev()).await
            }
            Word::Never(refusal) | Word::NotNow(refusal) => {
                Err(RefundFailure::Refused(refusal.detail))
            }
            Word::Unknown => Ok(RefundOutcome::Pending),
        }
    }

    /// The same refund of a part, asked for in an earlier hour.
    async fn made_before(
        &self,
        method: &Arc<dyn PayeeCharge>,
        part: Part<'_>,
        hours: impl Iterator<Item = u64>,
    ) -> Result<RefundOutcome, RefundFailure> {
        for hour in hours {
            let artefact = part
                .prepare(method, hour)
                .await
                .map_err(RefundFailure::Method)?;
            match self.look_up(method, &artefact).await {
                Fate::Done(refund) => {
                    let Settled {
                        amount, reference, ..
                    } = *refund;
                    return Ok(RefundOutcome::Refunded { amount, reference });
                }
                Fate::Never(_) => {}
                Fate::Unknown => return Ok(RefundOutcome::Pending),
            }
        }
        Err(RefundFailure::KeyUsed)
    }

    pub(super) async fn prepare_refund(
        &self,
        key: [u8; 16],
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
        amount: &Amount,
        reason: &str,
    ) -> Result<Artefact, RefundError> {
        let now = self.now();
        let request = RefundRequest {
            settled,
            amount,
            reason,
            key,
            now,
        };
        method.prepare_refund(request).await
    }
}

fn refunded(refund: &[u8]) -> Result<RefundOutcome, RefundFailure> {
    let refund = record::decode_settled(refund).map_err(GateError::Record)?;
    Ok(RefundOutcome::Refunded {
        amount: refund.amount,
        reference: refund.reference,
    })
}
