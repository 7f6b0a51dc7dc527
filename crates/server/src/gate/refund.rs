//! When delivery is given up: the payment goes back, or is kept.

use std::sync::Arc;

use stiver_method::{
    artefact::{Artefact, Lookup, Refusal, RefusalKind, Settled},
    payee::{PayeeCharge, RefundError},
};
use stiver_store::{Advance, ClaimState, StoredResponse};

use super::{Gate, journal::Hold, payment, settle::Fate};
use crate::{
    error::GateError,
    events::Event,
    record::{self, Details, Refund},
    route::OnFailure,
};

/// The receipt of a payment that was kept without a delivery: there is none to show.
pub(super) const KEPT: &str = "";

/// Why a payment goes back, for the payer's statement.
const REASON: &str = "delivery failed";
/// The same, when what was delivered is given back and the refund has to be prepared again.
const REASON_AGAIN: &str = "given back";

/// How far a refund has come.
pub(super) enum GaveBack {
    /// The money went back.
    Refunded,
    /// The rail refuses it for good: the delivery before it stands.
    Stands(Refusal),
    /// The rail refuses it for good, and nothing was delivered: the payment is kept.
    Kept(Refusal),
    /// Nobody knows, or the rail refuses for now.
    Open,
}

/// What the rail says of a refund.
pub(super) enum Word {
    /// Money went back.
    Done(Box<Settled>),
    /// Never by this artefact.
    Never(Refusal),
    /// Refused for a reason that may pass: the payee's account is short, or frozen.
    NotNow(Refusal),
    /// Nobody can tell.
    Unknown,
}

/// Another artefact in the place of one that has lapsed.
enum Anew {
    Prepared(Artefact),
    /// The signer is away.
    Later,
    /// The method has no other.
    None,
}

impl Gate {
    /// Ends a payment whose delivery will not be tried again. The error is the answer to send.
    pub(crate) async fn give_up(
        &self,
        hold: Hold,
        method: &Arc<dyn PayeeCharge>,
        details: &Details,
        settled: &Settled,
    ) -> GateError {
        let ended = match details.on_failure {
            OnFailure::Keep => self.keep(hold, details, settled).await,
            OnFailure::Retry | OnFailure::Refund => {
                self.refund_undelivered(hold, method, details, settled)
                    .await
            }
        };
        ended.unwrap_or_else(|error| error)
    }

    /// Gives the payment back, where the method can; else keeps it.
    async fn refund_undelivered(
        &self,
        mut hold: Hold,
        method: &Arc<dyn PayeeCharge>,
        details: &Details,
        settled: &Settled,
    ) -> Result<GateError, GateError> {
        let artefact = match self.prepare_whole(&hold, method, settled, REASON).await {
            Ok(artefact) => artefact,
            Err(error @ (RefundError::Unsupported | RefundError::Refused(_))) => {
                tracing::warn!(method = %method.name(), %error, "no refund: the payment is kept");
                return self.keep(hold, details, settled).await;
            }
            Err(error) => {
                tracing::warn!(method = %method.name(), %error, "the refund is tried again later");
                hold.release().await;
                return Ok(GateError::DeliveryRefunding);
            }
        };
        let refund = Refund {
            artefact,
            delivered: None,
        };
        let record = refund.encode();
        hold.advance(Advance::Refund { artefact: record }).await?;
        Ok(match self.go_on_refunding(hold, None).await? {
            GaveBack::Refunded => GateError::DeliveryRefunded,
            GaveBack::Kept(_) | GaveBack::Stands(_) => GateError::DeliveryKept,
            GaveBack::Open => GateError::DeliveryRefunding,
        })
    }

    async fn prepare_whole(
        &self,
        hold: &Hold,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
        reason: &str,
    ) -> Result<Artefact, RefundError> {
        let key = hold.claim.attempt;
        self.prepare_refund(key, method, settled, &settled.amount, reason)
            .await
    }

    /// Executes the one refund of a claim in `Refunding`. One that has lapsed is prepared again,
    /// under the same key, so that the rail makes at most one of them. One that the rail refuses
    /// for good ends there: what was delivered stands again, with `response` when there still is
    /// one; what was not is kept.
    pub(super) async fn go_on_refunding(
        &self,
        mut hold: Hold,
        response: Option<&Arc<StoredResponse>>,
    ) -> Result<GaveBack, GateError> {
        let ClaimState::Refunding {
            artefact,
            settlement,
        } = &hold.claim.state
        else {
            return Err(GateError::JournalOutOfStep);
        };
        let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
        let refund = Refund::decode(artefact).map_err(GateError::Record)?;
        let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        let mut word = self.word_on(&method, &refund.artefact).await;
        if matches!(word, Word::Never(_)) {
            match self.refund_anew(&mut hold, &method, &settled).await? {
                Anew::Prepared(next) => word = self.word_on(&method, &next).await,
                Anew::Later => word = Word::Unknown,
                Anew::None => {}
            }
        }
        match word {
            Word::Done(refund) => {
                let record = record::encode_settled(&refund).into();
                hold.advance(Advance::Refunded { refund: record }).await?;
                self.tell(|| Event::Refunded(payment(&hold.claim, &details, &refund.amount)));
                tracing::info!(
                    challenge_id = %hold.claim.challenge_id,
                    amount = %refund.amount,
                    "refunded"
                );
                Ok(GaveBack::Refunded)
            }
            Word::Never(refusal) | Word::NotNow(refusal) if refund.delivered.is_some() => {
                let receipt = refund.delivered.unwrap_or_default();
                let response = response.cloned();
                hold.advance(Advance::Delivered { receipt, response })
                    .await?;
                Ok(GaveBack::Stands(refusal))
            }
            Word::Never(refusal) => {
                tracing::error!(
                    challenge_id = %hold.claim.challenge_id,
                    reason = %refusal.detail,
                    "the rail refuses the refund for good"
                );
                self.keep(hold, &details, &settled).await?;
                Ok(GaveBack::Kept(refusal))
            }
            Word::NotNow(refusal) => {
                tracing::error!(
                    challenge_id = %hold.claim.challenge_id,
                    reason = %refusal.detail,
                    "a refund was refused: it is tried again until the rail takes it"
                );
                hold.release().await;
                Ok(GaveBack::Open)
            }
            Word::Unknown => {
                hold.release().await;
                Ok(GaveBack::Open)
            }
        }
    }

    /// Executes a refund, and asks what a refusal of it is worth.
    pub(super) async fn word_on(&self, method: &Arc<dyn PayeeCharge>, artefact: &Artefact) -> Word {
        let refusal = match self.execute(method, artefact).await {
            Fate::Done(refund) => return Word::Done(refund),
            Fate::Unknown => return Word::Unknown,
            Fate::Never(refusal) => refusal,
        };
        // Its word on this artefact, besides that on the attempt: an earlier one may have landed.
        match self.in_time(method.lookup(artefact)).await {
            Some(Ok(Lookup::Done(refund))) => Word::Done(refund),
            Some(Ok(Lookup::Never(refusal))) => Word::Never(refusal),
            // It has not landed, and could as far as the rail can tell.
            Some(Ok(Lookup::Pending)) => match refusal.kind {
                RefusalKind::Invalid => Word::Never(refusal),
                RefusalKind::Insufficient | RefusalKind::Denied => Word::NotNow(refusal),
                _ => Word::Unknown,
            },
            Some(Err(_)) | None => Word::Unknown,
        }
    }

    /// Puts another refund artefact in the place of one that the rail will never execute.
    async fn refund_anew(
        &self,
        hold: &mut Hold,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
    ) -> Result<Anew, GateError> {
        let ClaimState::Refunding {
            artefact: lapsed, ..
        } = &hold.claim.state
        else {
            return Err(GateError::JournalOutOfStep);
        };
        let lapsed = Refund::decode(lapsed).map_err(GateError::Record)?;
        let reason = match lapsed.delivered {
            Some(_) => REASON_AGAIN,
            None => REASON,
        };
        let artefact = match self.prepare_whole(hold, method, settled, reason).await {
            Ok(artefact) => artefact,
            Err(error) => {
                tracing::warn!(method = %method.name(), %error, "no other refund was prepared");
                return Ok(match error {
                    RefundError::Unsupported | RefundError::Refused(_) => Anew::None,
                    RefundError::Sign(_) | _ => Anew::Later,
                });
            }
        };
        if artefact.bytes == lapsed.artefact.bytes {
            return Ok(Anew::None);
        }
        let next = Refund {
            artefact,
            delivered: lapsed.delivered,
        };
        let record = next.encode();
        hold.advance(Advance::Refund { artefact: record }).await?;
        Ok(Anew::Prepared(next.artefact))
    }

    /// Keeps the payment. It counts as delivered, with [`KEPT`] for its receipt: nobody is asked
    /// to pay again by the same credential.
    async fn keep(
        &self,
        mut hold: Hold,
        details: &Details,
        settled: &Settled,
    ) -> Result<GateError, GateError> {
        if matches!(hold.claim.state, ClaimState::Settled { .. }) {
            hold.advance(Advance::Deliver).await?;
        }
        let kept = Advance::Delivered {
            receipt: KEPT.into(),
            response: None,
        };
        hold.advance(kept).await?;
        self.tell(|| Event::Kept(payment(&hold.claim, details, &settled.amount)));
        tracing::warn!(challenge_id = %hold.claim.challenge_id, "given up: the payment is kept");
        Ok(GateError::DeliveryKept)
    }
}
