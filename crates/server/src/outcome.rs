//! What the gate answers.

use std::sync::Arc;

use stiver_core::{Amount, Challenge, Problem, name::MethodName};
use stiver_store::StoredResponse;

use crate::{
    grant::Grant,
    session::{Acknowledged, SessionGrant},
};

/// What is to be done with a request.
pub enum Outcome {
    /// Let it pass: it costs nothing.
    Free,
    /// It is paid for: run the handler, then call [`Grant::complete`] or [`Grant::fail`].
    Serve(Box<Grant>),
    /// It is paid for by a session: run the handler, then call [`SessionGrant::complete`] or
    /// [`SessionGrant::fail`].
    Session(Box<SessionGrant>),
    /// A session's voucher, top-up or close was taken, and nothing else was asked for: answer with
    /// this status, without a body.
    Acknowledge(Acknowledged),
    /// It was served before: send the stored response, byte for byte.
    Replay(Replay),
    /// Do not serve it.
    Refuse(Refused),
}

/// A refusal to send: a problem, with the challenges that could be answered instead, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The body, `application/problem+json`. Its kind fixes the status.
    pub problem: Problem,
    /// One `WWW-Authenticate` field line each, best first. Empty unless paying is the remedy.
    pub challenges: Vec<Challenge>,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
}

impl Refused {
    /// A refusal without challenges.
    pub fn plain(problem: Problem) -> Self {
        Self {
            problem,
            challenges: Vec::new(),
            retry_after: None,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.problem.kind.status()
    }

    /// The header fields, names in lower case: `content-type`, `cache-control: no-store`, one
    /// `www-authenticate` per challenge, `retry-after`.
    ///
    /// # Spec
    /// draft-httpauth-payment-00: CORE-44, CORE-45, CORE-56.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::with_capacity(3 + self.challenges.len());
        fields.push(("content-type", "application/problem+json".to_owned()));
        fields.push(("cache-control", "no-store".to_owned()));
        for challenge in &self.challenges {
            fields.push(("www-authenticate", challenge.to_header()));
        }
        if let Some(seconds) = self.retry_after {
            fields.push(("retry-after", seconds.to_string()));
        }
        fields
    }

    /// The body.
    pub fn body(&self) -> String {
        self.problem.to_json()
    }
}

/// A stored response to repeat.
#[derive(Clone)]
pub struct Replay {
    /// Status, header fields and body.
    pub response: Arc<StoredResponse>,
    /// The `Payment-Receipt` value; `None` when the stored response is an error.
    pub receipt: Option<Arc<str>>,
}

/// What a handler may know of the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The challenge that was answered. Not a secret.
    pub challenge_id: Arc<str>,
    /// The payment method.
    pub method: MethodName,
    /// The rail's id of the payment. `None` while it is not settled: see
    /// [`Settle::After`](crate::route::Settle::After).
    pub reference: Option<String>,
    /// How much was paid, or will be.
    pub amount: Amount,
    /// Who paid, proven by the rail or by a signature.
    pub payer: Option<String>,
    /// Who says they paid: claimed, not proven.
    pub source: Option<String>,
    /// Who was paid.
    pub payee: String,
    /// A key that stays the same however often the handler runs for this payment: send it to an
    /// upstream as its `Idempotency-Key`. 22 characters of base64url.
    pub upstream_key: String,
}
