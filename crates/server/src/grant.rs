//! The right to run the handler once, for a payment that has settled or will be settled for it.

use std::{sync::Arc, time::Duration};

use stiver_core::{Timestamp, base64url, digest::BodyDigest};
use stiver_method::{artefact::Settled, payee::PayeeCharge};
use stiver_store::{Advance, ClaimState, StoredResponse};

use crate::{
    error::GateError,
    events::{By, Event, Payment},
    gate::{self, Place, capture::Capture, journal::Hold},
    hash,
    limits::{STORED_BODY_BYTES_MAX, STORED_HEADER_BYTES_MAX},
    outcome::{Paid, Refused},
    receipt,
    record::Details,
    route::OnFailure,
};

/// Header fields of a connection, or of the payment: never stored.
const NOT_STORED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "payment-receipt",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The right to run the handler once.
///
/// End it with [`Grant::complete`] before the first byte of the response leaves, or with
/// [`Grant::fail`]. Dropping it, as when the handler panics or the process stops, leaves the
/// payment in the journal as a lost run: the same credential goes on from there, or the payment is
/// given back when the run may not be repeated.
///
/// So the payer must not be able to drop it. Run the handler, up to and with the end of the grant,
/// where a client that goes away cannot cancel it: on a task of its own. Else a payer who hangs up
/// after the handler had its effect is given the payment back.
/// [`tower::PaymentLayer`](crate::tower::PaymentLayer) does so.
#[must_use = "a grant that is dropped counts as a run that was lost"]
pub struct Grant {
    hold: Hold,
    method: Arc<dyn PayeeCharge>,
    details: Details,
    /// `None` while the payment is not settled.
    settled: Option<Settled>,
    paid: Paid,
    /// When the handler could start, by the monotonic clock.
    begun: Duration,
    /// Taken while the handler runs for a payment that is not settled.
    place: Option<Place>,
}

/// How a handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayeeFailure {
    /// It never began: the upstream could not be reached. It can have had no effect.
    NotReached,
    /// It may have had its effect: a status of 500 or more, 408, 425 or 429, a time-out, a cut
    /// connection.
    MayHaveRun,
}

/// The head of a response, for the journal.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// The HTTP status, below 500. 408, 425 and 429 are no deliveries either: the payee could not
    /// serve what it was paid for.
    pub status: u16,
    /// The header fields in order: name in lower case, value as bytes.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// A delivery that is durable: the response may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The `Payment-Receipt` value to send; `None` for a response with status 400 or more.
    pub receipt: Option<Arc<str>>,
}

impl Grant {
    pub(crate) fn new(
        hold: Hold,
        method: Arc<dyn PayeeCharge>,
        details: Details,
        settled: Settled,
    ) -> Self {
        let paid = Paid {
            reference: Some(settled.reference.clone()),
            amount: settled.amount.clone(),
            payer: settled.payer.clone().or_else(|| details.payer.clone()),
            payee: settled.payee.clone(),
            ..paid(&hold, &details, &method)
        };
        Self::of(hold, method, details, Some(settled), paid)
    }

    /// A grant whose payment is settled when it completes.
    pub(crate) fn unsettled(
        hold: Hold,
        method: Arc<dyn PayeeCharge>,
        details: Details,
        place: Place,
    ) -> Result<Self, GateError> {
        if !matches!(hold.claim.state, ClaimState::Serving { .. }) {
            return Err(GateError::JournalOutOfStep);
        }
        let paid = paid(&hold, &details, &method);
        let mut grant = Self::of(hold, method, details, None, paid);
        grant.place = Some(place);
        Ok(grant)
    }

    fn of(
        hold: Hold,
        method: Arc<dyn PayeeCharge>,
        details: Details,
        settled: Option<Settled>,
        paid: Paid,
    ) -> Self {
        let begun = hold.gate.env().clock.monotonic();
        Self {
            hold,
            method,
            details,
            settled,
            paid,
            begun,
            place: None,
        }
    }

    /// What the handler may know of the payment.
    pub fn paid(&self) -> &Paid {
        &self.paid
    }

    /// True when the response is to be stored, or waits for its settlement: then read its body, up
    /// to [`STORED_BODY_BYTES_MAX`], and give it to [`Grant::complete`].
    pub fn wants_body(&self) -> bool {
        self.settled.is_none() || self.details.store_response_ms.is_some()
    }

    /// True when the payment is settled only as the grant completes: keep what is needed to call
    /// [`Gate::renew`](crate::Gate::renew).
    pub fn settles_after(&self) -> bool {
        self.settled.is_none()
    }

    /// Records the delivery, durably. Call it before the first byte of the response leaves; from
    /// then on the handler never runs again for this payment.
    ///
    /// Give the whole body when there is one to store or to sign into the receipt; `None` when it
    /// streams.
    ///
    /// With [`Settle::After`](crate::route::Settle::After) this is where the payment is settled. A
    /// status of 400 or more settles nothing: the response may leave, and the credential is over.
    ///
    /// # Errors
    /// A refusal to send in place of the response, when the journal gave no answer or another
    /// instance has taken the payment over. Settlement that follows the handler may be refused as
    /// well, with a 402 that carries no challenge: give it to [`Gate::renew`](crate::Gate::renew).
    pub async fn complete(
        self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<Delivered, Refused> {
        let gate = self.hold.gate.clone();
        let completed = match self.settled {
            Some(_) => self.record(head, body).await,
            None if head.status >= 400 => self.pass_on().await,
            None => self.settle(head, body).await,
        };
        completed.map_err(|error| {
            gate::log(&error);
            let refused = error.refused();
            gate.tell_refused(&refused);
            refused
        })
    }

    /// Records a response that is no delivery of a payment that was not settled.
    async fn pass_on(self) -> Result<Delivered, GateError> {
        let gate = self.hold.gate.clone();
        gate.void(self.hold, &self.details).await?;
        Ok(Delivered { receipt: None })
    }

    /// Settles what the handler has earned, and records the delivery.
    async fn settle(
        mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<Delivered, GateError> {
        let gate = self.hold.gate.clone();
        let begun = gate.env().clock.monotonic();
        let lifetime_ms = self.details.store_response_ms;
        let now = gate.now();
        let stays = body.and_then(|body| {
            let expires_at = now.plus_millis(lifetime_ms?);
            stored(head, body, expires_at)
        });
        // While the outcome is unknown it waits as long as the same credential may come again.
        let resume_until = self.details.resume_until;
        let waits = body.and_then(|body| stored(head, body, resume_until));
        self.hold
            .advance(Advance::Capture { response: waits })
            .await?;
        let capturing = gate.capturing(self.hold)?;
        let fate = gate.execute(&capturing.method, &capturing.artefact).await;
        let delivery = gate::capture::Delivery {
            status: head.status,
            digest: body.map(BodyDigest::of),
            response: stays,
        };
        let by = (By::Request, begun);
        match gate
            .capture_ended(capturing, fate, Some(delivery), by)
            .await?
        {
            (Capture::Delivered(_), receipt) => Ok(Delivered {
                receipt: Some(receipt),
            }),
            (Capture::Lost(_), _) => Err(GateError::JournalOutOfStep),
        }
    }

    async fn record(
        mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<Delivered, GateError> {
        let Self {
            method,
            details,
            settled,
            ..
        } = &self;
        let settled = settled.as_ref().ok_or(GateError::JournalOutOfStep)?;
        let digest = body.map(BodyDigest::of);
        let id = &self.hold.claim.challenge_id;
        let receipt = receipt::print(method, details, settled, id, digest).await;
        let response = body.and_then(|body| {
            let expires_at = self.hold.gate.now().plus_millis(details.store_response_ms?);
            stored(head, body, expires_at)
        });
        let to = Advance::Delivered {
            receipt: Arc::clone(&receipt),
            response,
        };
        self.hold.advance(to).await?;
        let gate = &self.hold.gate;
        gate.tell(|| Event::Delivered {
            payment: self.payment(),
            status: head.status,
            latency: gate.env().clock.monotonic().saturating_sub(self.begun),
        });
        tracing::info!(challenge_id = %self.paid.challenge_id, status = head.status, "delivered");
        Ok(Delivered {
            receipt: (head.status < 400).then_some(receipt),
        })
    }

    /// Ends the run as failed, by the route's policy. The refusal is the answer to send; it
    /// carries no challenge.
    pub async fn fail(mut self, failure: PayeeFailure) -> Refused {
        tracing::warn!(challenge_id = %self.paid.challenge_id, ?failure, "delivery failed");
        let gate = self.hold.gate.clone();
        gate.tell(|| Event::DeliveryFailed {
            payment: self.payment(),
            failure,
        });
        let error = if self.may_retry(failure) {
            match self.hold.advance(Advance::DeliveryFailed).await {
                Ok(()) if self.settled.is_some() => GateError::DeliveryFailed,
                Ok(()) => GateError::DeliveryUnpaid,
                Err(error) => error,
            }
        } else {
            let Self {
                hold,
                method,
                details,
                settled,
                ..
            } = self;
            match settled {
                Some(settled) => gate.give_up(hold, &method, &details, &settled).await,
                None => match gate.void(hold, &details).await {
                    Ok(_) => GateError::DeliveryVoided,
                    Err(error) => error,
                },
            }
        };
        gate::log(&error);
        let refused = error.refused();
        gate.tell_refused(&refused);
        refused
    }

    /// The payment, as events name it.
    pub(crate) fn payment(&self) -> Payment {
        Payment {
            challenge_id: Arc::clone(&self.paid.challenge_id),
            method: self.details.method.as_str().into(),
            amount: self.paid.amount.clone(),
        }
    }

    fn may_retry(&self, failure: PayeeFailure) -> bool {
        let repeatable = self.details.repeatable || failure == PayeeFailure::NotReached;
        let attempts = self.hold.claim.deliveries_started < self.details.attempts_max;
        let now = self.hold.gate.now();
        let payable = self.settled.is_some() || now < self.details.replayable_until;
        let in_time = payable && now < self.details.resume_until;
        self.details.on_failure == OnFailure::Retry && repeatable && attempts && in_time
    }
}

/// What the handler may know of a payment that is not settled.
fn paid(hold: &Hold, details: &Details, method: &Arc<dyn PayeeCharge>) -> Paid {
    let key = hash::of(
        "stiver upstream key",
        &[hold.claim.challenge_id.as_bytes(), &hold.claim.attempt],
    );
    let (key, _) = key.split_at(16);
    Paid {
        challenge_id: hold.claim.challenge_id.as_str().into(),
        method: method.name().clone(),
        reference: None,
        amount: details.amount.clone(),
        payer: details.payer.clone(),
        source: details.source.clone(),
        payee: details.payee.clone(),
        upstream_key: base64url::encode(key),
    }
}

/// A response as the journal keeps it, when it fits.
pub(crate) fn stored(
    head: ResponseHead<'_>,
    body: &[u8],
    expires_at: Timestamp,
) -> Option<Arc<StoredResponse>> {
    let kept = head
        .headers
        .iter()
        .filter(|(name, _)| !NOT_STORED.contains(name));
    let headers: Vec<(String, Vec<u8>)> = kept
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect();
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if header_bytes > STORED_HEADER_BYTES_MAX || body.len() > STORED_BODY_BYTES_MAX {
        return None;
    }
    Some(Arc::new(StoredResponse {
        status: head.status,
        headers,
        body: body.to_vec(),
        expires_at,
    }))
}
