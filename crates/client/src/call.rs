//! One logical call, as decisions alone: what a response means and what comes next. No I/O, no
//! clock, no signature; [`crate::PaymentClient`] carries the decisions out.
//!
//! ```text
//!  bare ──► (no challenge) the response is the caller's
//!    │ 402
//!    ▼
//!  choose ─► pay ─► send ──► paid, or answered otherwise
//!    ▲                │ ├──► again: the same credential, after a wait, SENDS_MAX times
//!    │                │ └──► unknown
//!    └─ refused ◄─────┘       sign again only after a definite refusal, only when the rail makes
//!                             sure that one of the two can land, and SIGNATURES_MAX times
//! ```

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use stiver_core::{
    Timestamp,
    challenge::{Challenge, ChallengeError},
    problem::{MEDIA_TYPE, ProblemKind, ReceivedProblem},
};

use crate::limits;

/// The `Payment-Receipt` field.
pub(crate) const PAYMENT_RECEIPT: &str = "payment-receipt";
/// The field that marks a repeated answer.
const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// The parts of a response that decide.
#[derive(Debug, Clone)]
pub struct Head {
    status: StatusCode,
    challenges: Vec<Vec<u8>>,
    receipts: Vec<Vec<u8>>,
    retry_after: Option<Duration>,
    location: Option<String>,
    problem: bool,
    repeated: bool,
}

impl Head {
    /// Takes them from a response. `now` turns a `Retry-After` date into a span.
    pub fn new(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        let lines = |name: &str| {
            headers
                .get_all(name)
                .iter()
                .map(|value| value.as_bytes().to_vec())
                .collect()
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            status,
            challenges: lines("www-authenticate"),
            receipts: lines(PAYMENT_RECEIPT),
            retry_after: text(header::RETRY_AFTER).and_then(|text| retry_after(text, now)),
            location: text(header::LOCATION).map(str::to_owned),
            problem: text(header::CONTENT_TYPE).is_some_and(is_problem),
            repeated: headers.contains_key(IDEMPOTENCY_REPLAYED),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The Payment challenges, the malformed ones among them.
    pub fn challenges(&self) -> Vec<Result<Challenge, ChallengeError>> {
        Challenge::parse_all(self.challenges.iter().map(Vec::as_slice))
    }

    /// The `Payment-Receipt` field lines.
    pub fn receipts(&self) -> &[Vec<u8>] {
        &self.receipts
    }

    /// Whether the body must be read to tell an answer of the application, which is the caller's,
    /// from the payment's own "not yet". A repeated answer, or one with a receipt, is final.
    pub fn may_say_again(&self) -> bool {
        let status = self.status.as_u16();
        status != 402
            && (400..=499).contains(&status)
            && self.problem
            && !self.repeated
            && self.receipts.is_empty()
    }

    /// True when the same request, sent again later, may be answered otherwise.
    pub fn says_later(&self) -> bool {
        matches!(
            self.status.as_u16(),
            408 | 425 | 429 | 500 | 502 | 503 | 504
        )
    }

    /// `Location`, when the status is a redirect that names one.
    pub fn redirect(&self) -> Option<&str> {
        match self.status.as_u16() {
            301 | 302 | 303 | 307 | 308 => self.location.as_deref(),
            _ => None,
        }
    }
}

fn is_problem(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// `Retry-After`: seconds, or an HTTP date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has is a very long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_millis(now.as_millis())))
}

/// What an answer to a request with a credential means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Delivered: a success, or a redirect, with or without a receipt.
    Paid,
    /// Not the payment's fault and not to be changed by asking again: 403, 404, 409 and so on.
    Answered,
    /// The payment was refused.
    Refused {
        /// The refusal is definite and of a kind that a fresh signature could mend.
        may_sign_again: bool,
    },
    /// Nothing is settled: the same credential may be sent again.
    Again,
}

/// Reads the meaning of an answer to a request with a credential. Total: every status has one.
///
/// An application may answer 409 or 429 of its own to a request that is paid for, and a server
/// repeats that answer for ever: so a 4xx says "again" only by a problem of the payment's, never by
/// its status. See [`Head::may_say_again`].
///
/// A refusal that says that the challenge is not accepted (`invalid-challenge`: used, expired,
/// altered, unknown) is never a reason to sign again, whatever fresh challenge comes along: the
/// first credential may have been redeemed. Neither is a 402 without a known problem type: a server
/// that asks and asks is not paid twice.
pub fn meaning(status: StatusCode, problem: Option<&ReceivedProblem>) -> Meaning {
    match status.as_u16() {
        402 => Meaning::Refused {
            may_sign_again: matches!(
                problem.and_then(|problem| problem.kind),
                Some(ProblemKind::VerificationFailed | ProblemKind::PaymentExpired)
            ),
        },
        400..=499 => match problem.and_then(|problem| problem.kind) {
            Some(ProblemKind::PaymentInProgress | ProblemKind::TooManyRequests) => Meaning::Again,
            _ => Meaning::Answered,
        },
        // A switch of protocols, and what is below or above all classes, is not expected here: what
        // it means for the payment is not known.
        500.. | ..=199 => Meaning::Again,
        200..=399 => Meaning::Paid,
    }
}

/// The bounds of one call, and how far it has come.
#[derive(Debug, Clone)]
pub struct Call {
    signatures: u32,
    may_sign: bool,
    sends: u32,
    sends_max: u32,
    backoff: Duration,
}

/// Whether to send the same credential again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Yes, after this.
    After(Duration),
    /// The server asks for a longer wait than the client waits by itself.
    TooLong(Duration),
    /// It has been sent often enough.
    Exhausted,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            signatures: 0,
            may_sign: true,
            sends: 0,
            sends_max: limits::SENDS_MAX,
            backoff: limits::BACKOFF_FIRST,
        }
    }
}

impl Call {
    /// A call that sends one credential at most so often, and at least once.
    pub fn with_sends(sends_max: u32) -> Self {
        Self {
            sends_max,
            ..Self::default()
        }
    }

    /// A call that goes on after `signatures` were made for it, and may make no more.
    pub fn resumed(signatures: u32, sends_max: u32) -> Self {
        Self {
            signatures,
            may_sign: false,
            ..Self::with_sends(sends_max)
        }
    }

    /// Which signature is the next: 1, 2, ... `None` when no more may be made.
    pub fn next_signature(&self) -> Option<u32> {
        (self.may_sign && self.signatures < limits::SIGNATURES_MAX)
            .then(|| self.signatures.saturating_add(1))
    }

    /// Signatures made so far.
    pub fn signatures(&self) -> u32 {
        self.signatures
    }

    /// A signature was made: its credential has not been sent yet.
    pub fn signed(&mut self) {
        self.signatures = self.signatures.saturating_add(1);
        self.sends = 0;
        self.backoff = limits::BACKOFF_FIRST;
    }

    /// The credential is sent, once more.
    pub fn sent(&mut self) {
        self.sends = self.sends.saturating_add(1);
    }

    /// Whether the credential may be sent again after this answer, or after none.
    pub fn replay(&mut self, head: Option<&Head>) -> Replay {
        let asked = head.and_then(|head| head.retry_after);
        if let Some(wait) = asked
            && wait > limits::RETRY_AFTER_MAX
        {
            return Replay::TooLong(wait);
        }
        if self.sends >= self.sends_max {
            return Replay::Exhausted;
        }
        let wait = asked.unwrap_or(Duration::ZERO).max(self.backoff);
        self.backoff = self.backoff.saturating_mul(2).min(limits::BACKOFF_MAX);
        Replay::After(wait)
    }
}

#[cfg(test)]
mod tests;
