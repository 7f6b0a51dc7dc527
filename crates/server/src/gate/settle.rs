//! The claim, and settlement.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use stiver_core::Credential;
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, Refusal, Settled},
    payee::PayeeCharge,
};
use stiver_store::{Advance, Claim, ClaimState, Command, NewClaim, Reply};

use tracing::Instrument as _;

use super::{Gate, admit::Asked, check::Checked, journal::Hold, payment};
use crate::{
    SPANS,
    error::GateError,
    events::{By, Event},
    grant::Grant,
    hash,
    limits::{LEASE_MS, RAIL_MS_MAX},
    outcome::Outcome,
    record::{self, Details},
};

/// Who won a challenge.
pub(super) enum Claimed {
    /// This request.
    Won(Hold),
    /// An earlier or a rival one, for the same challenge.
    Known(Box<Claim>),
    /// An earlier one of the same proven payer, for the same request under the same
    /// Idempotency-Key. Nothing is charged for this one.
    SameKey(Box<Claim>),
}

/// What is known of an artefact after asking.
pub(crate) enum Fate {
    /// It moved money.
    Done(Box<Settled>),
    /// It never will.
    Never(Refusal),
    /// Nobody can tell.
    Unknown,
}

impl Gate {
    /// Claims the challenge and every replay key, durably.
    pub(super) async fn claim(
        &self,
        asked: &Asked,
        credential: &Credential,
        checked: &Checked,
    ) -> Result<Claimed, GateError> {
        let name = checked.method.name().as_str().as_bytes();
        let keys = checked.plan.replay_keys.iter();
        let mut attempt = [0; 16];
        self.inner.env.entropy.fill(&mut attempt);
        let command = Command::Claim(NewClaim {
            challenge_id: credential.challenge.id.as_str().to_owned(),
            credential_hash: asked.credential_hash,
            request_hash: asked.request_hash,
            idempotency_key_hash: asked.key.map(|key| {
                let payer = checked.plan.payer.as_deref();
                let (credential, others) = (&asked.credential_hash, &asked.others_hash);
                key.bind(&self.inner.realm, payer, credential, others)
            }),
            replay_keys: keys
                .map(|key| hash::of("stiver replay key", &[name, key]))
                .collect(),
            details: checked.details.encode().into(),
            artefact: record::encode_artefact(&checked.plan.artefact).into(),
            handler_first: checked.handler_first,
            owner: self.next_owner(),
            lease_ms: LEASE_MS,
            attempt,
            retain_until: checked.retain_until,
        });
        // Asked twice under one attempt id: an answer that was lost does not lose the claim. When
        // no answer comes at all, the claim may stand, and recovery may find its payment.
        match self.ask(command).await.map_err(GateError::JournalLost)? {
            Reply::Won(claim) => {
                let details = &checked.details;
                self.tell(|| Event::Claimed(payment(&claim, details, &details.amount)));
                Ok(Claimed::Won(Hold::new(self, claim)))
            }
            Reply::Exists(claim) => Ok(Claimed::Known(claim)),
            Reply::IdempotencyHit(claim) => Ok(Claimed::SameKey(claim)),
            Reply::IdempotencyConflict => Err(GateError::IdempotencyConflict),
            Reply::ReplayKeyUsed => Err(GateError::ProofUsed),
            Reply::TooLarge { part, limit } => Err(GateError::TooLarge { part, limit }),
            Reply::Full => Err(GateError::Busy),
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// Settles a claim that stands in `Settling`, and starts its delivery in the same write.
    ///
    /// `fresh` says that the artefact was never executed; else its fate is looked up first.
    pub(super) async fn settle_and_grant(
        &self,
        mut hold: Hold,
        fresh: bool,
    ) -> Result<Outcome, GateError> {
        let ClaimState::Settling { artefact } = &hold.claim.state else {
            return Err(GateError::JournalOutOfStep);
        };
        let artefact = record::decode_artefact(artefact).map_err(GateError::Record)?;
        let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        let begun = self.inner.env.clock.monotonic();
        let by = if fresh { By::Request } else { By::Resume };
        let span =
            tracing::trace_span!(target: SPANS, "settle", stiver.payment.method = %details.method);
        let ask_the_rail = async {
            if fresh {
                return self.execute(&method, &artefact).await;
            }
            match self.look_up(&method, &artefact).await {
                Fate::Unknown => self.execute(&method, &artefact).await,
                known => known,
            }
        };
        let fate = ask_the_rail.instrument(span).await;
        match fate {
            Fate::Done(settled) => {
                let deliver = as_asked(&settled, &details);
                let settlement = record::encode_settled(&settled).into();
                hold.advance(Advance::Settled {
                    settlement,
                    deliver,
                })
                .await?;
                self.tell_settled(&hold.claim, &details, &settled, (by, begun));
                if !deliver {
                    hold.release().await;
                    return Err(GateError::SettlementDiffers);
                }
                tracing::info!(
                    challenge_id = %hold.claim.challenge_id,
                    method = %details.method,
                    amount = %settled.amount,
                    "settled"
                );
                Ok(Outcome::Serve(Box::new(Grant::new(
                    hold, method, details, *settled,
                ))))
            }
            Fate::Never(refusal) => {
                let record = record::encode_refusal(&refusal).into();
                hold.advance(Advance::Failed { refusal: record }).await?;
                self.tell(|| Event::Failed {
                    payment: payment(&hold.claim, &details, &details.amount),
                    by,
                });
                Err(GateError::Refused(refusal))
            }
            Fate::Unknown => {
                self.tell(|| Event::Unknown(payment(&hold.claim, &details, &details.amount)));
                hold.release().await;
                Err(GateError::OutcomeUnknown)
            }
        }
    }

    /// Tells that money moved, as was found out since `begun`.
    pub(super) fn tell_settled(
        &self,
        claim: &Claim,
        details: &Details,
        settled: &Settled,
        (by, begun): (By, Duration),
    ) {
        self.tell(|| Event::Settled {
            payment: payment(claim, details, &settled.amount),
            by,
            latency: self.inner.env.clock.monotonic().saturating_sub(begun),
        });
    }

    /// Executes an artefact, and asks what became of it when the rail does not say.
    pub(crate) async fn execute(&self, method: &Arc<dyn PayeeCharge>, artefact: &Artefact) -> Fate {
        match self.in_time(method.execute(artefact)).await {
            Some(Ok(settled)) => Fate::Done(Box::new(settled)),
            Some(Err(ExecuteError::Refused(refusal))) => Fate::Never(refusal),
            Some(Err(ExecuteError::Unknown(reason))) => {
                tracing::warn!(method = %method.name(), %reason, "settlement outcome unknown");
                self.look_up(method, artefact).await
            }
            None => {
                tracing::warn!(method = %method.name(), "settlement took too long");
                self.look_up(method, artefact).await
            }
        }
    }

    /// What became of an artefact.
    pub(super) async fn look_up(&self, method: &Arc<dyn PayeeCharge>, artefact: &Artefact) -> Fate {
        match self.in_time(method.lookup(artefact)).await {
            Some(Ok(Lookup::Done(settled))) => Fate::Done(settled),
            Some(Ok(Lookup::Never(refusal))) => Fate::Never(refusal),
            Some(Ok(Lookup::Pending)) | None => Fate::Unknown,
            Some(Err(error)) => {
                tracing::warn!(method = %method.name(), %error, "look-up failed");
                Fate::Unknown
            }
        }
    }

    /// The answer of a rail, unless it takes longer than [`RAIL_MS_MAX`].
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = T> + Send + Unpin,
    ) -> Option<T> {
        let end = self
            .inner
            .env
            .clock
            .sleep(Duration::from_millis(RAIL_MS_MAX));
        match select(call, end).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(((), _)) => None,
        }
    }
}

/// True when a settlement is what was asked for: at least the amount, to the payee.
pub(super) fn as_asked(settled: &Settled, details: &Details) -> bool {
    let enough = settled
        .amount
        .compare(&details.amount)
        .is_ok_and(std::cmp::Ordering::is_ge);
    if !enough || settled.payee != details.payee {
        tracing::error!(
            method = %details.method,
            asked = %details.amount,
            settled = %settled.amount,
            same_payee = settled.payee == details.payee,
            "the rail settled something else than was asked"
        );
        return false;
    }
    true
}
