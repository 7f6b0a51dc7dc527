//! What the journal says of each payment, for an operator to look at.

use stiver_core::{Amount, Timestamp};
use stiver_method::artefact::Settled;
use stiver_store::{Claim, ClaimState, Command, Reply, StoreError};

use super::{Gate, refund::KEPT};
use crate::{
    limits::PAYMENTS_PAGE_MAX,
    record::{self, Details},
};

/// One payment, as the journal knows it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PaymentRecord {
    /// The challenge that it answers: its id here.
    pub challenge_id: String,
    /// How far it is, as [`ClaimState::name`] says it.
    pub state: &'static str,
    /// True when it counts as delivered and nothing was: the money was kept.
    pub kept: bool,
    /// The payment method.
    pub method: String,
    /// What was asked.
    pub amount: Amount,
    /// Who is paid, in the method's form.
    pub payee: String,
    /// Who pays, where the method can prove it.
    pub payer: Option<String>,
    /// What was asked for: HTTP method and path. Without a query, which may hold a secret.
    pub resource: String,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// Until when the journal keeps it, once there is nothing left to do.
    pub kept_until: Option<Timestamp>,
    /// How many times the handler was started.
    pub deliveries_started: u32,
    /// The settlement, once money has moved.
    pub settled: Option<Moved>,
    /// The whole refund, once it was made.
    pub refunded: Option<Moved>,
    /// Why the rail refused it.
    pub refusal: Option<String>,
}

/// A page of payments.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PaymentsPage {
    /// The payments. Fewer than were asked for where the journal holds something else between them:
    /// channels that were opened, records that cannot be read.
    pub payments: Vec<PaymentRecord>,
    /// What the next page comes after; `None` when this is the last.
    pub next: Option<String>,
}

/// A movement of money, as the rail told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The rail's id of it.
    pub reference: String,
    /// When.
    pub at: Timestamp,
    /// How much.
    pub amount: Amount,
}

impl From<Settled> for Moved {
    fn from(settled: Settled) -> Self {
        Self {
            reference: settled.reference,
            at: settled.at,
            amount: settled.amount,
        }
    }
}

impl Gate {
    /// A page of what the journal knows: first payments with work left, newest first, then those
    /// that have ended, latest first. `after` is the `next` of the page before; `limit` is at most
    /// [`PAYMENTS_PAGE_MAX`]. Records that cannot be read are passed over: recovery tells of them.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not list its claims.
    pub async fn payments(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PaymentsPage, StoreError> {
        let limit = limit.min(PAYMENTS_PAGE_MAX);
        let command = Command::List {
            after: after.map(str::to_owned),
            limit,
        };
        let Reply::Claims(claims) = self.ask(command).await? else {
            return Err(StoreError("the list of claims was not given".to_owned()));
        };
        let last = claims.last().filter(|_| claims.len() >= limit);
        Ok(PaymentsPage {
            payments: claims.iter().filter_map(payment_record).collect(),
            next: last.map(|claim| claim.challenge_id.clone()),
        })
    }

    /// What the journal knows of the payment that answers a challenge. `None` when there is none,
    /// when it was let go, or when it cannot be read.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn payment(&self, challenge_id: &str) -> Result<Option<PaymentRecord>, StoreError> {
        let found = self.find(challenge_id).await?;
        Ok(found.and_then(|claim| payment_record(&claim)))
    }
}

fn payment_record(claim: &Claim) -> Option<PaymentRecord> {
    let details = Details::decode(&claim.details).ok()?;
    let moved = |bytes: &[u8]| record::decode_settled(bytes).ok().map(Moved::from);
    let (mut settled, mut refunded, mut refusal, mut kept) = (None, None, None, false);
    match &claim.state {
        ClaimState::Settled { settlement }
        | ClaimState::Delivering { settlement }
        | ClaimState::Refunding { settlement, .. } => settled = moved(settlement),
        ClaimState::Refunded { settlement, refund } => {
            settled = moved(settlement);
            refunded = moved(refund);
        }
        ClaimState::Delivered(delivery)
        | ClaimState::Disputed(delivery)
        | ClaimState::Reversed(delivery) => {
            settled = moved(&delivery.settlement);
            kept = *delivery.receipt == *KEPT && delivery.response.is_none();
        }
        ClaimState::Failed { refusal: why } if record::is_voided(why) => {
            refusal = Some("the handler failed before anything was taken".to_owned());
        }
        ClaimState::Failed { refusal: why } => {
            refusal = record::decode_refusal(why).ok().map(|it| it.detail);
        }
        _ => {}
    }
    let path = details.resource.split('?').next();
    let resource = path.unwrap_or_default().to_owned();
    Some(PaymentRecord {
        challenge_id: claim.challenge_id.clone(),
        state: claim.state.name(),
        kept,
        method: details.method,
        amount: details.amount,
        payee: details.payee,
        payer: details.payer,
        resource,
        claimed_at: claim.created_at,
        kept_until: claim.state.is_terminal().then_some(claim.retain_until),
        deliveries_started: claim.deliveries_started,
        settled,
        refunded,
        refusal,
    })
}
