//! Problem details (RFC 9457; section 8.2 of the draft).

use crate::{
    json::{JsonError, Value, jcs::write_string},
    name::ChallengeId,
};
use alloc::{boxed::Box, collections::BTreeMap, string::String};
use core::fmt::Write as _;

#[cfg(test)]
mod tests;

/// The media type of a problem body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Every problem type we answer with. `type_uri`, `title` and `status` are one total match each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// 402: no credential was given.
    PaymentRequired,
    /// 402: the amount paid is too low, or the payer's funds are.
    PaymentInsufficient,
    /// 402: the payment authorisation (not the challenge) has expired.
    PaymentExpired,
    /// 402: the proof is invalid.
    VerificationFailed,
    /// 400: the method or intent is not accepted here.
    MethodUnsupported,
    /// 402: the credential cannot be read.
    MalformedCredential,
    /// 402: the challenge is unknown, expired, altered, for another request, or used.
    InvalidChallenge,
    /// 400, ours: more than one credential.
    MultipleCredentials,
    /// 400, ours: the request itself is malformed (path, digest, idempotency key, ...).
    BadRequest,
    /// 403, ours: paid for, but refused by policy.
    Forbidden,
    /// 404, ours: no such route.
    NotFound,
    /// 409, ours: the same credential is being processed; retry it, unchanged, later.
    PaymentInProgress,
    /// 413, ours: the request body is over the route's limit.
    BodyTooLarge,
    /// 422, ours: the Idempotency-Key was used with another request.
    IdempotencyConflict,
    /// 422, ours: the request was charged under its Idempotency-Key, and its answer is not kept.
    AnswerNotKept,
    /// 429, ours: too many requests.
    TooManyRequests,
    /// 431, ours: the credential is over the limit.
    CredentialTooLarge,
    /// 500, ours: our fault. Money may have moved: retry with the same credential.
    Internal,
    /// 502, ours: the upstream failed. The payment is kept: retry with the same credential.
    UpstreamFailed,
    /// 503, ours: the payment's outcome is not known yet. Retry with the same credential.
    OutcomeUnknown,
    /// 503, ours: shutting down or not ready. Nothing was taken.
    Unavailable,
    /// 402: a voucher's proof is wrong.
    SessionInvalidSignature,
    /// 402: a voucher is signed by another key than the channel's.
    SessionSignerMismatch,
    /// 402: a voucher is over the channel's deposit.
    SessionAmountExceedsDeposit,
    /// 402: a voucher adds less than the least, or is below one that was accepted.
    SessionDeltaTooSmall,
    /// 410: no channel of this id is kept here.
    SessionChannelNotFound,
    /// 410: the channel is closed, or is being closed.
    SessionChannelFinalized,
    /// 402: the challenge of an open or a top-up is unknown, expired or used.
    SessionChallengeNotFound,
    /// 402: what is authorised and not spent does not cover the request.
    SessionInsufficientBalance,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 29] = [
        Self::PaymentRequired,
        Self::PaymentInsufficient,
        Self::PaymentExpired,
        Self::VerificationFailed,
        Self::MethodUnsupported,
        Self::MalformedCredential,
        Self::InvalidChallenge,
        Self::MultipleCredentials,
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::PaymentInProgress,
        Self::BodyTooLarge,
        Self::IdempotencyConflict,
        Self::AnswerNotKept,
        Self::TooManyRequests,
        Self::CredentialTooLarge,
        Self::Internal,
        Self::UpstreamFailed,
        Self::OutcomeUnknown,
        Self::Unavailable,
        Self::SessionInvalidSignature,
        Self::SessionSignerMismatch,
        Self::SessionAmountExceedsDeposit,
        Self::SessionDeltaTooSmall,
        Self::SessionChannelNotFound,
        Self::SessionChannelFinalized,
        Self::SessionChallengeNotFound,
        Self::SessionInsufficientBalance,
    ];

    /// The `type` URI: `https://paymentauth.org/problems/...` for those of the draft,
    /// `urn:stiver:problem:...` for ours.
    pub fn type_uri(self) -> &'static str {
        match self {
            Self::PaymentRequired => "https://paymentauth.org/problems/payment-required",
            Self::PaymentInsufficient => "https://paymentauth.org/problems/payment-insufficient",
            Self::PaymentExpired => "https://paymentauth.org/problems/payment-expired",
            Self::VerificationFailed => "https://paymentauth.org/problems/verification-failed",
            Self::MethodUnsupported => "https://paymentauth.org/problems/method-unsupported",
            Self::MalformedCredential => "https://paymentauth.org/problems/malformed-credential",
            Self::InvalidChallenge => "https://paymentauth.org/problems/invalid-challenge",
            Self::MultipleCredentials => "urn:stiver:problem:multiple-credentials",
            Self::BadRequest => "urn:stiver:problem:bad-request",
            Self::Forbidden => "urn:stiver:problem:forbidden",
            Self::NotFound => "urn:stiver:problem:not-found",
            Self::PaymentInProgress => "urn:stiver:problem:payment-in-progress",
            Self::BodyTooLarge => "urn:stiver:problem:body-too-large",
            Self::IdempotencyConflict => "urn:stiver:problem:idempotency-conflict",
            Self::AnswerNotKept => "urn:stiver:problem:answer-not-kept",
            Self::TooManyRequests => "urn:stiver:problem:too-many-requests",
            Self::CredentialTooLarge => "urn:stiver:problem:credential-too-large",
            Self::Internal => "urn:stiver:problem:internal",
            Self::UpstreamFailed => "urn:stiver:problem:upstream-failed",
            Self::OutcomeUnknown => "urn:stiver:problem:outcome-unknown",
            Self::Unavailable => "urn:stiver:problem:unavailable",
            Self::SessionInvalidSignature => {
                "https://paymentauth.org/problems/session/invalid-signature"
            }
            Self::SessionSignerMismatch => {
                "https://paymentauth.org/problems/session/signer-mismatch"
            }
            Self::SessionAmountExceedsDeposit => {
                "https://paymentauth.org/problems/session/amount-exceeds-deposit"
            }
            Self::SessionDeltaTooSmall => {
                "https://paymentauth.org/problems/session/delta-too-small"
            }
            Self::SessionChannelNotFound => {
                "https://paymentauth.org/problems/session/channel-not-found"
            }
            Self::SessionChannelFinalized => {
                "https://paymentauth.org/problems/session/channel-finalized"
            }
            Self::SessionChallengeNotFound => {
                "https://paymentauth.org/problems/session/challenge-not-found"
            }
            Self::SessionInsufficientBalance => {
                "https://paymentauth.org/problems/session/insufficient-balance"
            }
        }
    }
    /// The `title`.
    pub fn title(self) -> &'static str {
        match self {
            Self::PaymentRequired => "Payment Required",
            Self::PaymentInsufficient => "Payment Insufficient",
            Self::PaymentExpired => "Payment Expired",
            Self::VerificationFailed => "Payment Verification Failed",
            Self::MethodUnsupported => "Payment Method Unsupported",
            Self::MalformedCredential => "Malformed Credential",
            Self::InvalidChallenge => "Invalid Challenge",
            Self::MultipleCredentials => "Multiple Credentials",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::PaymentInProgress => "Payment In Progress",
            Self::BodyTooLarge => "Request Body Too Large",
            Self::IdempotencyConflict => "Idempotency Key Reused",
            Self::AnswerNotKept => "Charged And Not Delivered Again",
            Self::TooManyRequests => "Too Many Requests",
            Self::CredentialTooLarge => "Credential Too Large",
            Self::Internal => "Internal Error",
            Self::UpstreamFailed => "Upstream Failed",
            Self::OutcomeUnknown => "Payment Outcome Unknown",
            Self::Unavailable => "Service Unavailable",
            Self::SessionInvalidSignature => "Invalid Signature",
            Self::SessionSignerMismatch => "Signer Mismatch",
            Self::SessionAmountExceedsDeposit => "Amount Exceeds Deposit",
            Self::SessionDeltaTooSmall => "Delta Too Small",
            Self::SessionChannelNotFound => "Channel Not Found",
            Self::SessionChannelFinalized => "Channel Finalized",
            Self::SessionChallengeNotFound => "Challenge Not Found",
            Self::SessionInsufficientBalance => "Insufficient Balance",
        }
    }
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::PaymentRequired => 402,
            Self::PaymentInsufficient => 402,
            Self::PaymentExpired => 402,
            Self::VerificationFailed => 402,
            Self::MethodUnsupported => 400,
            Self::MalformedCredential => 402,
            Self::InvalidChallenge => 402,
            Self::MultipleCredentials => 400,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::PaymentInProgress => 409,
            Self::BodyTooLarge => 413,
            Self::IdempotencyConflict | Self::AnswerNotKept => 422,
            Self::TooManyRequests => 429,
            Self::CredentialTooLarge => 431,
            Self::Internal => 500,
            Self::UpstreamFailed => 502,
            Self::OutcomeUnknown => 503,
            Self::Unavailable => 503,
            Self::SessionInvalidSignature => 402,
            Self::SessionSignerMismatch => 402,
            Self::SessionAmountExceedsDeposit => 402,
            Self::SessionDeltaTooSmall => 402,
            Self::SessionChannelNotFound => 410,
            Self::SessionChannelFinalized => 410,
            Self::SessionChallengeNotFound => 402,
            Self::SessionInsufficientBalance => 402,
        }
    }
    /// The kind with this `type` URI.
    pub fn from_type_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_uri() == uri)
    }
}

/// A problem to send: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What happened.
    pub kind: ProblemKind,
    /// What was wrong exactly, and what to do next. Never a credential, never a secret.
    pub detail: String,
    /// The fresh challenge that goes with it, if one does.
    pub challenge_id: Option<ChallengeId>,
    /// What it says of a channel, for the problems of sessions.
    pub session: Option<Box<SessionProblem>>,
}

/// What a problem says of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionProblem {
    /// `channelId`, in the method's form.
    pub channel_id: Option<String>,
    /// `requiredTopUp`, base units: by how much the channel's voucher is short of the request.
    pub required_top_up: Option<u128>,
    /// `acceptedCumulative`, base units: what is authorised in the channel.
    pub accepted_cumulative: Option<u128>,
    /// `spent`, base units: what was charged in the channel.
    pub spent: Option<u128>,
}

impl Problem {
    /// A problem without a challenge.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            challenge_id: None,
            session: None,
        }
    }
    /// The JSON body: `type`, `title`, `status`, `detail`, `challengeId`, in this order, and then
    /// `channelId`, `requiredTopUp`, `acceptedCumulative` and `spent` (decimal strings) of a
    /// session's problem.
    ///
    /// ```
    /// use stiver_core::{Problem, problem::ProblemKind};
    ///
    /// let problem = Problem::new(ProblemKind::MultipleCredentials, "send one credential");
    /// assert_eq!(
    ///     problem.to_json(),
    ///     r#"{"type":"urn:stiver:problem:multiple-credentials","title":"Multiple Credentials","#
    ///         .to_owned()
    ///         + r#""status":400,"detail":"send one credential"}"#
    /// );
    /// ```
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(256 + self.detail.len());
        json.push_str(r#"{"type":"#);
        push_string(&mut json, self.kind.type_uri());
        json.push_str(r#","title":"#);
        push_string(&mut json, self.kind.title());
        write!(json, r#","status":{},"detail":"#, self.kind.status())
            .expect("writing to a String cannot fail because it only grows");
        push_string(&mut json, &self.detail);
        if let Some(id) = &self.challenge_id {
            json.push_str(r#","challengeId":"#);
            push_string(&mut json, id.as_str());
        }
        let session = self.session.as_ref();
        if let Some(id) = session.and_then(|it| it.channel_id.as_deref()) {
            json.push_str(r#","channelId":"#);
            push_string(&mut json, id);
        }
        let figures = session.map(|it| {
            [
                ("requiredTopUp", it.required_top_up),
                ("acceptedCumulative", it.accepted_cumulative),
                ("spent", it.spent),
            ]
        });
        for (name, units) in figures.into_iter().flatten() {
            let Some(units) = units else { continue };
            write!(json, r#","{name}":"{units}""#)
                .expect("writing to a String cannot fail because it only grows");
        }
        json.push('}');
        json
    }
}

fn push_string(json: &mut String, text: &str) {
    write_string(json, text);
}

/// A problem as a client reads it from a server: any type, any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedProblem {
    /// `type`, `about:blank` when absent.
    pub type_uri: String,
    /// The kind, when we know the type.
    pub kind: Option<ProblemKind>,
    /// `title`
    pub title: Option<String>,
    /// `status`
    pub status: Option<u16>,
    /// `detail`: untrusted text.
    pub detail: Option<String>,
    /// `challengeId`
    pub challenge_id: Option<String>,
    /// `channelId`
    pub channel_id: Option<String>,
    /// `requiredTopUp`, base units; `None` when it is no such number.
    pub required_top_up: Option<u128>,
    /// `acceptedCumulative`, base units; `None` when it is no such number.
    pub accepted_cumulative: Option<u128>,
    /// `spent`, base units; `None` when it is no such number.
    pub spent: Option<u128>,
}

impl ReceivedProblem {
    /// Reads a body of at most `limits::JSON_BYTES_MAX` bytes. Members of a wrong type count as
    /// absent, as RFC 9457 has it, and so do all of them when the body is JSON but no object.
    ///
    /// # Errors
    /// [`JsonError`] when the body is no acceptable JSON.
    pub fn parse(body: &[u8]) -> Result<Self, JsonError> {
        let mut members = match Value::parse(body)? {
            Value::Object(members) => members,
            _ => BTreeMap::new(),
        };
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let type_uri = text("type").unwrap_or_else(|| "about:blank".into());
        let title = text("title");
        let detail = text("detail");
        let challenge_id = text("challengeId");
        let channel_id = text("channelId");
        let mut units = |name: &str| text(name).and_then(|text| base_units(&text));
        let required_top_up = units("requiredTopUp");
        let accepted_cumulative = units("acceptedCumulative");
        let spent = units("spent");
        let status = match members.get("status") {
            Some(Value::Number(number)) => number
                .as_integer()
                .and_then(|status| u16::try_from(status).ok())
                .filter(|status| (100..=599).contains(status)),
            _ => None,
        };
        Ok(Self {
            kind: ProblemKind::from_type_uri(&type_uri),
            type_uri,
            title,
            status,
            detail,
            challenge_id,
            channel_id,
            required_top_up,
            accepted_cumulative,
            spent,
        })
    }
}

/// Base units as they stand on the wire: decimal digits without a sign or leading zeros.
fn base_units(text: &str) -> Option<u128> {
    let plain = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain && digits)
}
