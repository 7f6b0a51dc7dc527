//! Settlement after the handler: what is left to do once it has answered, and when it never did.

use std::{sync::Arc, time::Duration};

use stiver_core::digest::BodyDigest;
use stiver_method::{artefact::Artefact, payee::PayeeCharge};
use stiver_store::{Advance, Claim, ClaimState, StoredResponse};

use super::{Gate, Place, journal::Hold, payment, settle::Fate, settle::as_asked};
use crate::{
    error::GateError,
    events::{By, Event},
    grant::Grant,
    limits::UNSETTLED_MAX,
    receipt,
    record::{self, Details},
};

/// What became of a claim in `Capturing` whose payment was settled.
pub(crate) enum Capture {
    /// It is delivered, durably.
    Delivered(Box<Claim>),
    /// Money moved, and there is no response: the claim stands in `Delivering`, as after a run that
    /// was lost.
    Lost(Hold),
}

/// What becomes of a claim that is not settled and whose handler does not run.
pub(super) enum Unsettled {
    /// The handler runs.
    Runs(Box<Grant>),
    /// The lost run is closed: look again.
    Again(Hold),
}

/// A claim in `Capturing`, read.
pub(crate) struct Capturing {
    pub(crate) hold: Hold,
    pub(crate) method: Arc<dyn PayeeCharge>,
    pub(crate) details: Details,
    pub(crate) artefact: Artefact,
    /// The response that the store kept.
    pub(crate) response: Option<Arc<StoredResponse>>,
}

impl Gate {
    /// Goes on with a claim in `Authorised` or `Serving`: the handler runs again, or the claim is
    /// over.
    pub(super) async fn go_on_unsettled(&self, mut hold: Hold) -> Result<Unsettled, GateError> {
        let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
        if !self.may_run(&hold.claim, &details) {
            return Err(self.void(hold, &details).await?);
        }
        if matches!(hold.claim.state, ClaimState::Authorised { .. }) {
            let method = self.method(&details.method).map_err(GateError::Record)?;
            let Some(place) = self.unsettled_place() else {
                hold.release().await;
                return Err(GateError::Busy);
            };
            hold.advance(Advance::Deliver).await?;
            let grant = Grant::unsettled(hold, method, details, place)?;
            return Ok(Unsettled::Runs(Box::new(grant)));
        }
        // Closing the lost run frees the claim: whoever takes it next looks at it anew.
        hold.advance(Advance::DeliveryFailed).await?;
        let taken = self.take_over(&hold.claim.challenge_id).await?;
        taken
            .map(Unsettled::Again)
            .map_err(|_| GateError::InProgress)
    }

    /// A place for a handler that runs before its payment is settled.
    pub(super) fn unsettled_place(&self) -> Option<Place> {
        self.inner.unsettled.take(UNSETTLED_MAX)
    }

    /// Ends a claim that was never settled, durably. The error is what its credential is told from
    /// then on.
    pub(crate) async fn void(
        &self,
        mut hold: Hold,
        details: &Details,
    ) -> Result<GateError, GateError> {
        let refusal = record::encode_voided().into();
        hold.advance(Advance::Failed { refusal }).await?;
        self.tell(|| Event::Voided(payment(&hold.claim, details, &details.amount)));
        tracing::info!(challenge_id = %hold.claim.challenge_id, "over: nothing was taken");
        Ok(GateError::Voided)
    }

    /// Reads a claim in `Capturing`.
    pub(crate) fn capturing(&self, hold: Hold) -> Result<Capturing, GateError> {
        let ClaimState::Capturing { artefact, response } = &hold.claim.state else {
            return Err(GateError::JournalOutOfStep);
        };
        let artefact = record::decode_artefact(artefact).map_err(GateError::Record)?;
        let response = response.clone();
        let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        Ok(Capturing {
            hold,
            method,
            details,
            artefact,
            response,
        })
    }

    /// Goes on with a claim in `Capturing` whose artefact may have been executed. It is executed
    /// here only for something: a response that is kept, or another run.
    pub(super) async fn go_on_capturing(&self, hold: Hold) -> Result<Capture, GateError> {
        let capturing = self.capturing(hold)?;
        let begun = self.inner.env.clock.monotonic();
        let now = self.now();
        let response = capturing.response.clone();
        let response = response.filter(|it| it.expires_at > now);
        let earns =
            response.is_some() || self.may_run_again(&capturing.hold.claim, &capturing.details);
        let fate = match self.look_up(&capturing.method, &capturing.artefact).await {
            Fate::Unknown if earns => self.execute(&capturing.method, &capturing.artefact).await,
            known => known,
        };
        self.captured(capturing, fate, response, (By::Resume, begun))
            .await
    }

    /// Moves a claim in `Capturing` on by what became of its artefact. `response` is the one that
    /// stays for repetition, and what a later claimant is given; without one the run counts as
    /// lost.
    pub(crate) async fn captured(
        &self,
        capturing: Capturing,
        fate: Fate,
        response: Option<Arc<StoredResponse>>,
        by: (By, Duration),
    ) -> Result<Capture, GateError> {
        let digest = response.as_ref().map(|it| BodyDigest::of(&it.body));
        let delivery = response.map(|response| Delivery {
            status: response.status,
            digest,
            response: Some(response),
        });
        self.capture_ended(capturing, fate, delivery, by)
            .await
            .map(|(capture, _)| capture)
    }

    /// [`Gate::captured`] with a response at hand, which may be too large to keep. Gives the
    /// receipt too.
    pub(crate) async fn capture_ended(
        &self,
        capturing: Capturing,
        fate: Fate,
        delivery: Option<Delivery>,
        (by, begun): (By, Duration),
    ) -> Result<(Capture, Arc<str>), GateError> {
        let Capturing {
            mut hold,
            method,
            details,
            ..
        } = capturing;
        let settled = match fate {
            Fate::Done(settled) => settled,
            Fate::Never(refusal) => {
                let record = record::encode_refusal(&refusal).into();
                hold.advance(Advance::Failed { refusal: record }).await?;
                self.tell(|| Event::Failed {
                    payment: payment(&hold.claim, &details, &details.amount),
                    by,
                });
                return Err(GateError::Refused(refusal));
            }
            Fate::Unknown => {
                if by != By::Recovery {
                    self.tell(|| Event::Unknown(payment(&hold.claim, &details, &details.amount)));
                }
                hold.release().await;
                return Err(GateError::OutcomeUnknown);
            }
        };
        let settlement: Arc<[u8]> = record::encode_settled(&settled).into();
        let as_asked = as_asked(&settled, &details);
        let Some(delivery) = delivery.filter(|_| as_asked) else {
            let to = Advance::Settled {
                settlement,
                deliver: as_asked,
            };
            hold.advance(to).await?;
            self.tell_settled(&hold.claim, &details, &settled, (by, begun));
            if as_asked {
                return Ok((Capture::Lost(hold), Arc::default()));
            }
            hold.release().await;
            return Err(GateError::SettlementDiffers);
        };
        let id = &hold.claim.challenge_id;
        let receipt = receipt::print(&method, &details, &settled, id, delivery.digest).await;
        let to = Advance::Captured {
            settlement,
            receipt: Arc::clone(&receipt),
            response: delivery.response,
        };
        hold.advance(to).await?;
        self.tell_settled(&hold.claim, &details, &settled, (by, begun));
        self.tell(|| Event::Delivered {
            payment: payment(&hold.claim, &details, &settled.amount),
            status: delivery.status,
            latency: self.inner.env.clock.monotonic().saturating_sub(begun),
        });
        tracing::info!(
            challenge_id = %hold.claim.challenge_id,
            method = %details.method,
            amount = %settled.amount,
            "settled and delivered"
        );
        Ok((Capture::Delivered(hold.claim.clone()), receipt))
    }
}

/// A response that may leave once its payment is settled.
pub(crate) struct Delivery {
    pub(crate) status: u16,
    pub(crate) digest: Option<BodyDigest>,
    /// What the journal keeps of it.
    pub(crate) response: Option<Arc<StoredResponse>>,
}
