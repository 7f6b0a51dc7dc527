//! Finishing what a crash or a lost client left behind.
//!
//! - `Settling`: it asks the rail. It executes an artefact only once the rail could not accept it
//!   any more, to have its definite word: nobody is charged behind a client that went away.
//! - `Serving`, `Authorised`: nothing, while the same credential may still run the handler. After
//!   that they are over, and nothing was taken.
//! - `Capturing`: as `Settling`; what was paid is delivered to the journal when it keeps the
//!   response.
//! - `Settled`, `Delivering`: nothing, while the same credential may still run the handler. After
//!   that the route's policy: refund or keep.
//! - `Refunding`: it executes the one refund again, and prepares it again when the rail says that
//!   it never will be. When the rail refuses that too, it stays where it was: delivered, or kept.
//!
//! A claim whose lease has not ended, or that this gate works on, is never touched.

use std::time::Duration;

use stiver_store::{Advance, Claim, ClaimState, Command, Reply, StoreError};

use super::{
    Gate,
    admit::log,
    capture::Capture,
    journal::Hold,
    payment,
    refund::GaveBack,
    settle::{Fate, as_asked},
};
use crate::{
    error::GateError,
    events::{By, Event},
    limits::RECOVERY_BATCH_MAX,
    record::{self, Details, Funding},
};

/// What one recovery pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Unfinished claims looked at.
    pub seen: usize,
    /// Payments found to have moved money.
    pub settled: usize,
    /// Payments found never to move money.
    pub failed: usize,
    /// Payments given back.
    pub refunded: usize,
    /// Payments kept: without a delivery, or because the rail refuses for good to give them back.
    pub kept: usize,
    /// Claims left for their client, for the rail, or for another instance; refunds that the rail
    /// has not confirmed are among them.
    pub left: usize,
    /// Claims that could not be read or moved on; the log says why.
    pub errors: usize,
}

impl Gate {
    /// One pass over the unfinished claims whose lease has ended. Run it at the start, and then
    /// from time to time: see [`Gate::keep_recovering`].
    ///
    /// # Errors
    /// [`StoreError`] when the store does not list its claims.
    pub async fn recover(&self) -> Result<Recovered, StoreError> {
        let mut done = Recovered::default();
        let mut after = None;
        // Page by page: claims that have to wait must not hide younger ones.
        loop {
            let command = Command::Unfinished {
                after: after.take(),
                limit: RECOVERY_BATCH_MAX,
            };
            let Reply::Claims(claims) = self.ask(command).await? else {
                return Err(StoreError(
                    "the list of unfinished claims was not given".to_owned(),
                ));
            };
            for claim in &claims {
                done.seen += 1;
                if let Err(error) = self.recover_one(claim, &mut done).await {
                    log(&error);
                    done.errors += 1;
                }
            }
            match claims.last() {
                Some(last) if claims.len() >= RECOVERY_BATCH_MAX => {
                    after = Some(last.challenge_id.clone());
                }
                _ => break,
            }
        }
        if done.seen > 0 {
            tracing::info!(?done, "recovery pass");
        }
        Ok(done)
    }

    /// Recovers again and again, with this pause between passes. Never returns: spawn it.
    pub async fn keep_recovering(&self, pause: Duration) {
        loop {
            if let Err(error) = self.recover().await {
                tracing::warn!(%error, "recovery pass failed");
            }
            self.inner.env.clock.sleep(pause).await;
        }
    }

    async fn recover_one(&self, claim: &Claim, done: &mut Recovered) -> Result<(), GateError> {
        if Funding::is(&claim.details) {
            return self.recover_funding(claim, done).await;
        }
        let details = Details::decode(&claim.details).map_err(GateError::Record)?;
        let waits = match &claim.state {
            ClaimState::Settled { settlement } | ClaimState::Delivering { settlement } => {
                let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
                as_asked(&settled, &details) && self.may_run(claim, &details)
            }
            ClaimState::Authorised { .. } | ClaimState::Serving { .. } => {
                self.may_run(claim, &details)
            }
            _ => false,
        };
        if waits {
            done.left += 1;
            return Ok(());
        }
        let Ok(hold) = self.take_over(&claim.challenge_id).await? else {
            done.left += 1;
            return Ok(());
        };
        match &hold.claim.state {
            ClaimState::Settling { .. } => self.recover_settling(hold, &details, done).await,
            ClaimState::Settled { .. } | ClaimState::Delivering { .. } => {
                self.recover_settled(hold, &details, done).await
            }
            ClaimState::Authorised { .. } | ClaimState::Serving { .. } => {
                self.void(hold, &details).await?;
                done.failed += 1;
                Ok(())
            }
            ClaimState::Capturing { .. } => self.recover_capturing(hold, &details, done).await,
            ClaimState::Refunding { .. } => {
                match self.go_on_refunding(hold, None).await? {
                    GaveBack::Refunded => done.refunded += 1,
                    GaveBack::Kept(_) | GaveBack::Stands(_) => done.kept += 1,
                    GaveBack::Open => done.left += 1,
                }
                Ok(())
            }
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// A channel's funding: its claim says all that is needed to end it.
    async fn recover_funding(&self, claim: &Claim, done: &mut Recovered) -> Result<(), GateError> {
        let Ok(hold) = self.take_over(&claim.challenge_id).await? else {
            done.left += 1;
            return Ok(());
        };
        match self.execute_funding(hold, false).await {
            Ok(()) => done.settled += 1,
            Err(GateError::Refused(_)) => done.failed += 1,
            Err(GateError::OutcomeUnknown) => done.left += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn recover_settling(
        &self,
        mut hold: Hold,
        details: &Details,
        done: &mut Recovered,
    ) -> Result<(), GateError> {
        let ClaimState::Settling { artefact } = &hold.claim.state else {
            return Err(GateError::JournalOutOfStep);
        };
        let artefact = record::decode_artefact(artefact).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        let begun = self.inner.env.clock.monotonic();
        let mut fate = self.look_up(&method, &artefact).await;
        if matches!(fate, Fate::Unknown) && self.now() >= details.replayable_until {
            fate = self.execute(&method, &artefact).await;
        }
        match fate {
            Fate::Done(settled) => {
                let settlement = record::encode_settled(&settled).into();
                hold.advance(Advance::Settled {
                    settlement,
                    deliver: false,
                })
                .await?;
                done.settled += 1;
                self.tell_settled(&hold.claim, details, &settled, (By::Recovery, begun));
                let good = as_asked(&settled, details);
                if good && self.may_run(&hold.claim, details) {
                    hold.release().await;
                    return Ok(());
                }
                self.recover_settled(hold, details, done).await
            }
            Fate::Never(refusal) => {
                let refusal = record::encode_refusal(&refusal).into();
                hold.advance(Advance::Failed { refusal }).await?;
                done.failed += 1;
                self.tell(|| Event::Failed {
                    payment: payment(&hold.claim, details, &details.amount),
                    by: By::Recovery,
                });
                Ok(())
            }
            Fate::Unknown => {
                hold.release().await;
                done.left += 1;
                Ok(())
            }
        }
    }

    async fn recover_capturing(
        &self,
        hold: Hold,
        details: &Details,
        done: &mut Recovered,
    ) -> Result<(), GateError> {
        let capturing = self.capturing(hold)?;
        let begun = self.inner.env.clock.monotonic();
        let mut fate = self.look_up(&capturing.method, &capturing.artefact).await;
        if matches!(fate, Fate::Unknown) && self.now() >= details.replayable_until {
            fate = self.execute(&capturing.method, &capturing.artefact).await;
        }
        let response = capturing.response.clone();
        match self
            .captured(capturing, fate, response, (By::Recovery, begun))
            .await
        {
            Ok(Capture::Delivered(_)) => done.settled += 1,
            Ok(Capture::Lost(hold)) => {
                done.settled += 1;
                if self.may_run(&hold.claim, details) {
                    hold.release().await;
                } else {
                    self.recover_settled(hold, details, done).await?;
                }
            }
            Err(GateError::Refused(_)) => done.failed += 1,
            Err(GateError::OutcomeUnknown | GateError::SettlementDiffers) => done.left += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn recover_settled(
        &self,
        hold: Hold,
        details: &Details,
        done: &mut Recovered,
    ) -> Result<(), GateError> {
        let (ClaimState::Settled { settlement } | ClaimState::Delivering { settlement }) =
            &hold.claim.state
        else {
            return Err(GateError::JournalOutOfStep);
        };
        let settled = record::decode_settled(settlement).map_err(GateError::Record)?;
        let method = self.method(&details.method).map_err(GateError::Record)?;
        match self.give_up(hold, &method, details, &settled).await {
            GateError::DeliveryRefunded => done.refunded += 1,
            GateError::DeliveryRefunding => done.left += 1,
            GateError::DeliveryKept => done.kept += 1,
            error => return Err(error),
        }
        Ok(())
    }
}
