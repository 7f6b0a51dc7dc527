//! The same credential again: every journal state has its way on.

use std::{sync::Arc, time::Duration};

use stiver_method::{artefact::Settled, payee::PayeeCharge};
use stiver_store::{Advance, Claim, ClaimState, Delivery};

use super::{
    Gate,
    admit::Asked,
    capture::{Capture, Unsettled},
    journal::Hold,
    refund::{GaveBack, KEPT},
    settle::as_asked,
};
use crate::{
    error::GateError,
    events::Event,
    grant::Grant,
    idempotency::IdempotencyKey,
    limits::{WAIT_MS_MAX, WAIT_STEP_MS, WAIT_STEP_MS_MAX, WAITING_MAX},
    outcome::{Outcome, Replay},
    record::{self, Details},
    route::OnFailure,
};

impl Gate {
    /// Goes on with a claim that exists, when it is the asker's.
    pub(super) async fn resume(
        &self,
        asked: &Asked,
        claim: Box<Claim>,
    ) -> Result<Outcome, GateError> {
        self.whose(asked, &claim)?;
        self.follow(claim).await
    }

    /// Goes on with the claim that the same proven payer made earlier for the same request under
    /// the same Idempotency-Key. It never asks for another payment: under this key it would be
    /// refused again.
    pub(super) async fn resume_by_key(&self, claim: Box<Claim>) -> Result<Outcome, GateError> {
        match self.follow(claim).await {
            // That payment is over and has freed the key: the next try claims it.
            Err(GateError::Refused(_) | GateError::Refunded | GateError::Voided) => {
                Err(GateError::InProgress)
            }
            Err(error) if error.meaning().challenge => Err(GateError::KeySpent),
            followed => followed,
        }
    }

    async fn follow(&self, mut claim: Box<Claim>) -> Result<Outcome, GateError> {
        let mut wait = Wait::new(self);
        loop {
            if claim.state.is_terminal() {
                return self.ended(&claim);
            }
            let id = claim.challenge_id.clone();
            match self.take_over(&id).await? {
                Ok(hold) => return self.go_on(hold).await,
                Err(None) => return Err(GateError::InProgress),
                Err(Some(now)) if now.state.is_terminal() => claim = now,
                Err(Some(_)) => {
                    wait.pause().await?;
                    let found = self.find(&id).await.map_err(GateError::JournalLost)?;
                    claim = found.ok_or(GateError::InProgress)?;
                }
            }
        }
    }

    /// What a finished claim answers.
    fn ended(&self, claim: &Claim) -> Result<Outcome, GateError> {
        match &claim.state {
            ClaimState::Delivered(delivery) => self.repeat(claim, delivery),
            ClaimState::Failed { refusal } if record::is_voided(refusal) => Err(GateError::Voided),
            ClaimState::Failed { refusal } => {
                let refusal = record::decode_refusal(refusal).map_err(GateError::Record)?;
                Err(GateError::Refused(refusal))
            }
            ClaimState::Refunded { .. } => Err(GateError::Refunded),
            ClaimState::Disputed(_) | ClaimState::Reversed(_) => Err(GateError::Disputed),
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    fn repeat(&self, claim: &Claim, delivery: &Delivery) -> Result<Outcome, GateError> {
        match &delivery.response {
            Some(response) if response.expires_at > self.now() => {
                self.tell(|| Event::Replayed {
                    challenge_id: claim.challenge_id.as_str().into(),
                });
                let succeeded = response.status < 400;
                Ok(Outcome::Replay(Replay {
                    response: Arc::clone(response),
                    receipt: succeeded.then(|| Arc::clone(&delivery.receipt)),
                }))
            }
            _ if *delivery.receipt == *KEPT => Err(GateError::DeliveryKept),
            _ => Err(GateError::Redeemed),
        }
    }

    /// Goes on with a claim that is now this gate's.
    async fn go_on(&self, mut hold: Hold) -> Result<Outcome, GateError> {
        loop {
            let (settlement, lost_run) = match &hold.claim.state {
                ClaimState::Settling { .. } => return self.settle_and_grant(hold, false).await,
                ClaimState::Refunding { .. } => {
                    return Err(match self.go_on_refunding(hold, None).await? {
                        GaveBack::Refunded => GateError::Refunded,
                        GaveBack::Stands(_) => GateError::Redeemed,
                        GaveBack::Kept(_) => GateError::DeliveryKept,
                        GaveBack::Open => GateError::Refunding,
                    });
                }
                ClaimState::Authorised { .. } | ClaimState::Serving { .. } => {
                    match self.go_on_unsettled(hold).await? {
                        Unsettled::Runs(grant) => return Ok(Outcome::Serve(grant)),
                        Unsettled::Again(next) => {
                            hold = next;
                            continue;
                        }
                    }
                }
                ClaimState::Capturing { .. } => match self.go_on_capturing(hold).await? {
                    Capture::Delivered(claim) => return self.ended(&claim),
                    Capture::Lost(next) => {
                        hold = next;
                        continue;
                    }
                },
                ClaimState::Settled { settlement } => (settlement, false),
                ClaimState::Delivering { settlement } => (settlement, true),
                _ => return Err(GateError::JournalOutOfStep),
            };
            let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
            let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
            let method = self.method(&details.method).map_err(GateError::Record)?;
            if !as_asked(&settled, &details) {
                hold.release().await;
                return Err(GateError::SettlementDiffers);
            }
            if !self.may_run(&hold.claim, &details) {
                return Err(self.give_up(hold, &method, &details, &settled).await);
            }
            if !lost_run {
                hold.advance(Advance::Deliver).await?;
                return Ok(Outcome::Serve(self.grant(hold, method, details, settled)));
            }
            // Closing the lost run frees the claim: whoever takes it next looks at it anew.
            hold.advance(Advance::DeliveryFailed).await?;
            let taken = self.take_over(&hold.claim.challenge_id).await?;
            hold = taken.map_err(|_| GateError::InProgress)?;
        }
    }

    fn grant(
        &self,
        hold: Hold,
        method: Arc<dyn PayeeCharge>,
        details: Details,
        settled: Settled,
    ) -> Box<Grant> {
        tracing::info!(
            challenge_id = %hold.claim.challenge_id,
            attempt = hold.claim.deliveries_started,
            "delivery started again"
        );
        Box::new(Grant::new(hold, method, details, settled))
    }

    /// Whether the asker is the one whose claim this is.
    pub(super) fn whose(&self, asked: &Asked, claim: &Claim) -> Result<(), GateError> {
        if claim.credential_hash != asked.credential_hash {
            return Err(GateError::ChallengeTaken);
        }
        let details = Details::decode(&claim.details).map_err(GateError::Record)?;
        // Other credentials do not matter here: this one is the proof, and a client may have
        // renewed its token since.
        let key = asked.key.map(IdempotencyKey::hash);
        let same_key = key.is_some() && key == details.key_hash;
        if claim.request_hash != asked.request_hash {
            let conflict = GateError::IdempotencyConflict;
            return Err(if same_key {
                conflict
            } else {
                GateError::RedeemedElsewhere
            });
        }
        match (key, details.key_hash) {
            (Some(_), Some(_)) if !same_key => Err(GateError::IdempotencyConflict),
            _ => Ok(()),
        }
    }

    /// Whether the handler may be started for a claim: see [`OnFailure`].
    pub(super) fn may_run(&self, claim: &Claim, details: &Details) -> bool {
        let now = self.now();
        let in_time = now < details.resume_until;
        let payable = match claim.state {
            // What the rail will not accept any more buys no run.
            ClaimState::Authorised { .. } | ClaimState::Serving { .. } => {
                now < details.replayable_until
            }
            _ => true,
        };
        let attempts = claim.deliveries_started < details.attempts_max;
        let repeats = match claim.state {
            // A run was lost: it may have had its effect.
            ClaimState::Delivering { .. } | ClaimState::Serving { .. } => {
                details.on_failure == OnFailure::Retry && details.repeatable
            }
            _ => claim.deliveries_started == 0 || details.on_failure == OnFailure::Retry,
        };
        in_time && payable && attempts && repeats
    }
}

impl Gate {
    /// Whether the handler may be started once more for a claim whose run was lost.
    pub(super) fn may_run_again(&self, claim: &Claim, details: &Details) -> bool {
        let retries = details.on_failure == OnFailure::Retry && details.repeatable;
        let attempts = claim.deliveries_started < details.attempts_max;
        retries && attempts && self.now() < details.resume_until
    }
}

/// A bounded wait for somebody else's work on the same claim.
struct Wait<'g> {
    gate: &'g Gate,
    place: Option<super::Place>,
    step_ms: u64,
    left_ms: u64,
}

impl<'g> Wait<'g> {
    fn new(gate: &'g Gate) -> Self {
        Self {
            gate,
            place: None,
            step_ms: WAIT_STEP_MS,
            left_ms: WAIT_MS_MAX,
        }
    }

    async fn pause(&mut self) -> Result<(), GateError> {
        if self.place.is_none() {
            self.place = self.gate.inner.waiting.take(WAITING_MAX);
        }
        if self.place.is_none() || self.left_ms == 0 {
            return Err(GateError::InProgress);
        }
        let step = self.step_ms.min(self.left_ms);
        self.gate
            .inner
            .env
            .clock
            .sleep(Duration::from_millis(step))
            .await;
        self.left_ms -= step;
        self.step_ms = (self.step_ms * 2).min(WAIT_STEP_MS_MAX);
        Ok(())
    }
}
