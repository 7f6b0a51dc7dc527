//! When delivery is given up: the payment goes back, or is kept.

use std::sync::Arc;

use stiver_method::{
    artefact::{Artefact, Settled},
    payee::{PayeeCharge, RefundError},
};
use stiver_store::{Advance, ClaimState, Delivery, SecretBytes};

use super::{Gate, journal::Hold, payment, settle::Fate};
use crate::{
    error::GateError,
    events::Event,
    record::{self, Details},
    route::OnFailure,
};

/// The receipt of a payment that was kept without a delivery: there is none to show.
pub(super) const KEPT: &str = "";

/// Why a payment goes back, for the payer's statement.
const REASON: &str = "delivery failed";

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
        let artefact = match self.prepare_whole(&hold, method, settled).await {
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
        let record = record::encode_artefact(&artefact).into();
        hold.advance(Advance::Refund { artefact: record }).await?;
        Ok(match self.go_on_refunding(hold, None).await? {
            GateError::Refunded => GateError::DeliveryRefunded,
            _ => GateError::DeliveryRefunding,
        })
    }

    async fn prepare_whole(
        &self,
        hold: &Hold,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
    ) -> Result<Artefact, RefundError> {
        let key = hold.claim.attempt;
        self.prepare_refund(key, method, settled, &settled.amount, REASON)
            .await
    }

    /// Executes the one refund of a claim in `Refunding`. One that has lapsed is prepared again,
    /// under the same key, so that the rail makes at most one of them. The error says how far it
    /// came. `delivered` stands again when the rail refuses the refund for good.
    pub(super) async fn go_on_refunding(
        &self,
        mut hold: Hold,
        delivered: Option<&Delivery>,
    ) -> Result<GateError, GateError> {
        let ClaimState::Refunding {
            artefact,
            settlement,
        } = &hold.claim.state
        else {
            return Err(GateError::JournalOutOfStep);
        };
        let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
        let artefact = record::decode_artefact(artefact).map_err(GateError::Record)?;
        let details = Details::decode(&hold.claim.details).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        let mut fate = self.execute(&method, &artefact).await;
        if matches!(fate, Fate::Never(_)) {
            // Its own word on this artefact, besides that of the attempt.
            fate = self.look_up(&method, &artefact).await;
        }
        if matches!(fate, Fate::Never(_))
            && let Some(next) = self.refund_anew(&mut hold, &method, &settled).await?
        {
            fate = self.execute(&method, &next).await;
        }
        match fate {
            Fate::Done(refund) => {
                let refund_record = record::encode_settled(&refund).into();
                hold.advance(Advance::Refunded {
                    refund: refund_record,
                })
                .await?;
                self.tell(|| Event::Refunded(payment(&hold.claim, &details, &refund.amount)));
                tracing::info!(
                    challenge_id = %hold.claim.challenge_id,
                    amount = %refund.amount,
                    "refunded"
                );
                Ok(GateError::Refunded)
            }
            Fate::Never(refusal) => {
                if let Some(Delivery {
                    receipt, response, ..
                }) = delivered.cloned()
                {
                    hold.advance(Advance::Delivered { receipt, response })
                        .await?;
                    return Ok(GateError::Refused(refusal));
                }
                tracing::error!(
                    challenge_id = %hold.claim.challenge_id,
                    reason = %refusal.detail,
                    "a refund was refused: it stays open until the operator settles it"
                );
                hold.release().await;
                Ok(GateError::Refunding)
            }
            Fate::Unknown => {
                hold.release().await;
                Ok(GateError::Refunding)
            }
        }
    }

    /// Puts another refund artefact in the place of one that the rail will never execute. `None`
    /// when the method has no other just now.
    async fn refund_anew(
        &self,
        hold: &mut Hold,
        method: &Arc<dyn PayeeCharge>,
        settled: &Settled,
    ) -> Result<Option<Artefact>, GateError> {
        let artefact = match self.prepare_whole(hold, method, settled).await {
            Ok(artefact) => artefact,
            Err(error) => {
                tracing::warn!(method = %method.name(), %error, "no other refund was prepared");
                return Ok(None);
            }
        };
        let record: SecretBytes = record::encode_artefact(&artefact).into();
        let lapsed = match &hold.claim.state {
            ClaimState::Refunding { artefact, .. } => artefact,
            _ => return Err(GateError::JournalOutOfStep),
        };
        if *lapsed == record {
            return Ok(None);
        }
        hold.advance(Advance::Refund { artefact: record }).await?;
        Ok(Some(artefact))
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
