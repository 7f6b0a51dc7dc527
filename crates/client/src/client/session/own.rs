//! What this side knows by itself: its own measure, its limits of prices, and requests that nobody
//! can tell of any more.

use stiver_core::Timestamp;

use super::Work;
use crate::{
    CallError, SessionFailure,
    session::{
        SessionStep,
        meter::{Delivered, measured},
    },
};

impl Work {
    /// Before anything is signed: `cost` is what the request costs, where that is known.
    pub(super) async fn make_ready(&mut self, cost: Option<u128>) -> Result<(), CallError> {
        self.allow_prices()?;
        self.allow_request(cost.unwrap_or(0))?;
        match cost {
            None => self.write_off().await,
            Some(_) => Ok(()),
        }
    }

    /// What the request has cost so far by this side's own measure; `None` where it cannot tell.
    pub(super) fn measured(&self, got: Delivered, now: Timestamp) -> Option<u128> {
        let meter = self.sessions.own_meter.as_ref();
        let own = |unit: &str| meter?.thousandths(&self.outgoing.uri, unit);
        measured(&self.offer.view.prices, got, now, own)
    }

    /// Ends earlier requests of the channel whose outcome nobody knows, such as those of a program
    /// that was killed: nobody else has the channel, so none of them goes on. They may have cost
    /// all that is signed, and count so from now on. Else their payee could not be paid for what it
    /// served and this side never wrote down, and would be refused as one that counts too much.
    async fn write_off(&mut self) -> Result<(), CallError> {
        while let Some(session) = &self.lease.session {
            let mut unknown = session.in_flight.iter();
            let Some((request, own)) = unknown.find(|(request, _)| **request != self.id) else {
                break;
            };
            let others = session.agreed.saturating_sub(*own);
            let step = SessionStep::Answered {
                request: *request,
                told: None,
                charged: Some(session.signed.saturating_sub(others)),
                note: Some("its outcome is not known: all that was signed counts".to_owned()),
            };
            self.record(step).await?;
        }
        Ok(())
    }

    /// Whether the request may be paid for at these prices.
    fn allow_prices(&self) -> Result<(), CallError> {
        let allowed = self
            .sessions
            .parts
            .limits
            .allows_prices(&self.offer.view.prices);
        allowed.map_err(|over| self.failed(SessionFailure::OverLimit(over)))
    }
}
