//! The right to run the handler once, for a payment that has settled.

use std::{sync::Arc, time::Duration};

use stiver_core::{base64url, digest::BodyDigest};
use stiver_method::{artefact::Settled, payee::PayeeCharge};
use stiver_store::{Advance, StoredResponse};

use crate::{
    error::GateError,
    events::{Event, Payment},
    gate::journal::Hold,
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
    settled: Settled,
    paid: Paid,
    /// When the handler could start, by the monotonic clock.
    begun: Duration,
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
        let key = hash::of(
            "stiver upstream key",
            &[hold.claim.challenge_id.as_bytes(), &hold.claim.attempt],
        );
        let (key, _) = key.split_at(16);
        let paid = Paid {
            challenge_id: hold.claim.challenge_id.as_str().into(),
            method: method.name().clone(),
            reference: settled.reference.clone(),
            amount: settled.amount.clone(),
            payer: settled.payer.clone().or_else(|| details.payer.clone()),
            source: details.source.clone(),
            payee: settled.payee.clone(),
            upstream_key: base64url::encode(key),
        };
        let begun = hold.gate.env().clock.monotonic();
        Self {
            hold,
            method,
            details,
            settled,
            paid,
            begun,
        }
    }

    /// What the handler may know of the payment.
    pub fn paid(&self) -> &Paid {
        &self.paid
    }

    /// True when the response is to be stored: then read its body, up to
    /// [`STORED_BODY_BYTES_MAX`], and give it to [`Grant::complete`].
    pub fn wants_body(&self) -> bool {
        self.details.store_response_ms.is_some()
    }

    /// Records the delivery, durably. Call it before the first byte of the response leaves; from
    /// then on the handler never runs again for this payment.
    ///
    /// Give the whole body when there is one to store or to sign into the receipt; `None` when it
    /// streams.
    ///
    /// # Errors
    /// A refusal to send in place of the response, when the journal gave no answer or another
    /// instance has taken the payment over.
    pub async fn complete(
        mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<Delivered, Refused> {
        let Self {
            method,
            details,
            settled,
            ..
        } = &self;
        let digest = body.map(BodyDigest::of);
        let id = &self.hold.claim.challenge_id;
        let receipt = receipt::print(method, details, settled, id, digest).await;
        let response = body.and_then(|body| self.stored(head, body));
        let to = Advance::Delivered {
            receipt: Arc::clone(&receipt),
            response,
        };
        if let Err(error) = self.hold.advance(to).await {
            crate::gate::log(&error);
            let refused = error.refused();
            self.hold.gate.tell_refused(&refused);
            return Err(refused);
        }
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
                Ok(()) => GateError::DeliveryFailed,
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
            gate.give_up(hold, &method, &details, &settled).await
        };
        crate::gate::log(&error);
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
        let in_time = self.hold.gate.now() < self.details.resume_until;
        self.details.on_failure == OnFailure::Retry && repeatable && attempts && in_time
    }

    fn stored(&self, head: ResponseHead<'_>, body: &[u8]) -> Option<Arc<StoredResponse>> {
        let lifetime_ms = self.details.store_response_ms?;
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
            expires_at: self.hold.gate.now().plus_millis(lifetime_ms),
        }))
    }
}
