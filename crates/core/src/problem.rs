//! Problem details (RFC 9457; section 8.2 of the draft).

use crate::name::ChallengeId;
use alloc::string::String;

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
}

impl ProblemKind {
    /// The `type` URI: `https://paymentauth.org/problems/...` for those of the draft, `urn:stiver:problem:...` for ours.
    pub fn type_uri(self) -> &'static str {
        todo!()
    }
    /// The `title`.
    pub fn title(self) -> &'static str {
        todo!()
    }
    /// The HTTP status.
    pub fn status(self) -> u16 {
        todo!()
    }
    /// The kind with this `type` URI.
    pub fn from_type_uri(uri: &str) -> Option<Self> {
        todo!()
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
}

impl Problem {
    /// A problem without a challenge.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            challenge_id: None,
        }
    }
    /// The JSON body: `type`, `title`, `status`, `detail`, `challengeId`.
    pub fn to_json(&self) -> String {
        todo!()
    }
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
}

impl ReceivedProblem {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, crate::json::JsonError> {
        todo!()
    }
}
