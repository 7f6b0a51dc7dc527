//! Every way the gate says no, and what each means on the wire: one total match, in one place.
//!
//! The table that the match spells out:
//!
//! | what | status | problem | challenge |
//! |---|---|---|---|
//! | no credential | 402 | payment-required | fresh |
//! | unreadable credential | 402 | malformed-credential | fresh |
//! | challenge expired, altered, over, for another request | 402 | invalid-challenge | fresh |
//! | the method refused the proof | 402 | verification-failed, -insufficient, -expired | fresh |
//! | the payer may not | 403 | forbidden | |
//! | several credentials, HEAD, a bad key or target | 400 | bad-request and its kin | |
//! | the same credential is at work | 409 | payment-in-progress | |
//! | delivery failed, nothing was taken | 502 | upstream-failed | |
//! | money may have moved | 500, 502, 503 | internal, upstream-failed, outcome-unknown | |
//! | nothing was taken, but not now | 503 | unavailable | |
//!
//! A challenge goes only with answers after which paying again is right: nothing was taken by this
//! credential, or what it took is over. So a redeemed credential with no stored response, and a
//! refunded one, do get a fresh challenge; one in flight, of unknown outcome, or whose delivery
//! failed does not: an auto-paying client would pay twice.

use stiver_core::{
    Timestamp, credential::CredentialError, limits::CREDENTIAL_BYTES_MAX, problem::ProblemKind,
};
use stiver_method::artefact::{Refusal, RefusalKind};
use stiver_store::StoreError;

use crate::{
    gate::session::SessionRefused,
    idempotency::IdempotencyKeyError,
    limits::{RETRY_AFTER_SECONDS, RETRY_AFTER_SLOW_SECONDS, TARGET_BYTES_MAX},
    record::RecordError,
};

/// Why a request was not served. `Display` is fit for the peer: it holds no credential, no secret
/// and no inner state. What only the operator should know is the `source`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// No credential was given.
    #[error("this resource must be paid for: answer one of the challenges")]
    NoCredential,
    /// More than one Payment credential.
    #[error("send one Payment credential, not several")]
    SeveralCredentials,
    /// A credential over [`CREDENTIAL_BYTES_MAX`].
    #[error("the credential has {bytes} bytes; at most {CREDENTIAL_BYTES_MAX} are read")]
    CredentialTooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A target over [`TARGET_BYTES_MAX`].
    #[error("the path and query have {bytes} bytes; at most {TARGET_BYTES_MAX} are allowed")]
    TargetTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The `Idempotency-Key` is malformed.
    #[error("{0}")]
    IdempotencyKey(IdempotencyKeyError),
    /// A credential on a HEAD request.
    #[error("HEAD is never charged: send the credential with GET; it was not used")]
    Head,
    /// The credential cannot be read.
    #[error("the credential cannot be read: {0}")]
    Malformed(CredentialError),
    /// A session's voucher, channel or challenge is not good for this.
    #[error("{}", .0.detail)]
    Session(Box<SessionRefused>),
    /// A channel is opened with less than the route asks for.
    #[error(
        "the deposit is {deposit} base units and at least {least} are asked: nothing was taken"
    )]
    DepositTooSmall {
        /// What was to be put in.
        deposit: u128,
        /// The least.
        least: u128,
    },
    /// A channel is opened with more than the route takes.
    #[error("the deposit is {deposit} base units and at most {most} are held: nothing was taken")]
    DepositTooLarge {
        /// What was to be put in.
        deposit: u128,
        /// The most.
        most: u128,
    },
    /// One channel presents more vouchers than it may.
    #[error("too many vouchers of this channel: wait, or sign for more at once")]
    VoucherRate,
    /// One channel, or all of them, have used so many Idempotency-Keys that none can be forgotten.
    #[error("too many Idempotency-Keys were used just now: nothing was taken; wait, or send none")]
    TooManyKeys {
        /// When there may be room, milliseconds.
        wait_ms: u64,
    },
    /// The challenge was not issued here, or was altered. Says no more, so that nobody can probe.
    #[error("the challenge was not issued here, or was altered")]
    NotBound,
    /// The challenge was bound by us, but lacks what this gate puts into every challenge.
    #[error("the challenge carries no scope or no expiry of this gate")]
    Foreign,
    /// The challenge has expired.
    #[error("the challenge expired at {}", .at.to_rfc3339())]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The challenge's method is not offered for this request.
    #[error("the challenge's method is not accepted for this request")]
    MethodNotOffered,
    /// The challenge's intent is not offered for this request.
    #[error(
        "the challenge's intent is not accepted for this request; use what its challenges offer"
    )]
    IntentNotOffered,
    /// The challenge is for another HTTP method, path or query.
    #[error("the challenge was issued for another method, path or query")]
    OtherScope,
    /// The challenge is from before a change of the price list.
    #[error("the price list has changed since the challenge was issued")]
    OtherRevision,
    /// Amount, currency or payee differ from what the request costs now.
    #[error("the challenge asks another amount, currency or payee than this request costs now")]
    OtherTerms,
    /// What the price depends on differs from what the challenge was issued for.
    #[error("a header field that the price depends on is not as it was for the challenge")]
    OtherInputs,
    /// The request's body differs from the one the challenge was issued for.
    #[error("the body is not the one that the challenge was issued for")]
    OtherBody,
    /// The method refused the proof, or the rail did.
    #[error("{}", .0.detail)]
    Refused(Refusal),
    /// The proof paid for something else.
    #[error("this proof was used for another payment")]
    ProofUsed,
    /// Another credential won this challenge.
    #[error("the challenge was answered with another credential")]
    ChallengeTaken,
    /// This credential was served, and nothing is stored to repeat.
    #[error("this credential was already redeemed; paying again buys another delivery")]
    Redeemed,
    /// This credential was used for another request.
    #[error("this credential was already redeemed for another request")]
    RedeemedElsewhere,
    /// This credential's payment was given back.
    #[error("this credential's payment was refunded; paying again starts anew")]
    Refunded,
    /// This credential's delivery failed before its payment was settled.
    #[error(
        "delivery failed before this credential's payment: nothing was taken; paying starts anew"
    )]
    Voided,
    /// This credential's payment is contested or was taken back.
    #[error("this credential's payment is disputed")]
    Disputed,
    /// The `Idempotency-Key` belongs to another request.
    #[error("the Idempotency-Key was used with another request")]
    IdempotencyConflict,
    /// The `Idempotency-Key` was used for this request, and nothing is stored to repeat.
    #[error("the Idempotency-Key was used for this request and no response is kept; use a new key")]
    KeySpent,
    /// A part of the credential is larger than the journal takes.
    #[error("the {part} of this payment is over {limit} bytes; nothing was taken")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// The limit, bytes.
        limit: usize,
    },
    /// Another request with the same credential is at work.
    #[error("this credential is being processed: send it again, unchanged, later")]
    InProgress,
    /// This credential's payment is being given back.
    #[error("this credential's payment is being refunded: ask again later")]
    Refunding,
    /// The rail's answer is not known yet.
    #[error("the payment's outcome is not known yet: send the same credential again later")]
    OutcomeUnknown,
    /// The store gave no answer after the credential may have been claimed.
    #[error("the payment's outcome is not known yet: send the same credential again later")]
    JournalLost(#[source] StoreError),
    /// The store gave an answer that does not belong to the question.
    #[error("the payment journal is out of step: send the same credential again later")]
    JournalOutOfStep,
    /// A journal record does not decode, or its method is not registered here.
    #[error("the payment's record cannot be continued here; the payment is kept")]
    Record(#[source] RecordError),
    /// The rail reports a settlement that is not what was asked.
    #[error("the settlement is not what was asked; nothing was delivered, the payment is recorded")]
    SettlementDiffers,
    /// The store or the gate is at its limit.
    #[error("too much is being settled just now; nothing was taken")]
    Busy,
    /// No method could quote.
    #[error("no payment method is available just now; nothing was taken")]
    NoQuote,
    /// No challenge of this route fits its limits.
    #[error("the route is misconfigured: its challenge cannot be encoded")]
    Misconfigured,
    /// The upstream failed; the same credential may be sent again.
    #[error("the payment was taken but delivery failed: send the same credential again")]
    DeliveryFailed,
    /// The upstream failed before settlement; the same credential may be sent again.
    #[error("delivery failed and nothing was taken: send the same credential again")]
    DeliveryUnpaid,
    /// The upstream failed before settlement, and the credential is over.
    #[error("delivery failed and nothing was taken: this credential is not charged any more")]
    DeliveryVoided,
    /// The upstream failed; the payment was given back.
    #[error("delivery failed and the payment was refunded")]
    DeliveryRefunded,
    /// The upstream failed; the payment will be given back.
    #[error("delivery failed and the payment is being refunded")]
    DeliveryRefunding,
    /// The upstream failed; the payment is kept, and the delivery is not repeated.
    #[error("delivery failed and cannot be repeated; the payment is kept: ask the operator")]
    DeliveryKept,
}

/// What an error means on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The problem type, which fixes the status.
    pub kind: ProblemKind,
    /// True when a fresh challenge goes with it.
    pub challenge: bool,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
}

const fn pay(kind: ProblemKind) -> Meaning {
    Meaning {
        kind,
        challenge: true,
        retry_after: None,
    }
}

const fn no(kind: ProblemKind) -> Meaning {
    Meaning {
        kind,
        challenge: false,
        retry_after: None,
    }
}

const fn again(kind: ProblemKind, seconds: u32) -> Meaning {
    Meaning {
        kind,
        challenge: false,
        retry_after: Some(seconds),
    }
}

impl GateError {
    /// True when a genuine voucher was refused only because a higher one came before it.
    pub(crate) fn is_overtaken(&self) -> bool {
        matches!(self, Self::Session(it) if it.kind == ProblemKind::SessionDeltaTooSmall)
    }

    /// What it means on the wire.
    ///
    /// # Spec
    /// draft-httpauth-payment-00, sections 4 and 8.2 (CORE-2 to CORE-7, CORE-32, CORE-43).
    pub fn meaning(&self) -> Meaning {
        use ProblemKind as Kind;
        match self {
            Self::NoCredential => pay(Kind::PaymentRequired),
            Self::SeveralCredentials => no(Kind::MultipleCredentials),
            Self::CredentialTooLarge { .. } | Self::TooLarge { .. } => no(Kind::CredentialTooLarge),
            Self::TargetTooLong { .. } | Self::IdempotencyKey(_) | Self::Head => {
                no(Kind::BadRequest)
            }
            Self::Malformed(_) => pay(Kind::MalformedCredential),
            Self::Session(refused) => match refused.kind {
                kind @ (Kind::Internal | Kind::AnswerNotKept) => no(kind),
                kind => pay(kind),
            },
            Self::DepositTooSmall { .. } => pay(Kind::PaymentInsufficient),
            Self::DepositTooLarge { .. } => pay(Kind::VerificationFailed),
            Self::TooManyKeys { wait_ms } => {
                let seconds = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
                again(Kind::TooManyRequests, seconds.max(RETRY_AFTER_SECONDS))
            }
            Self::VoucherRate => again(Kind::TooManyRequests, RETRY_AFTER_SECONDS),
            Self::NotBound
            | Self::Foreign
            | Self::Expired { .. }
            | Self::OtherScope
            | Self::OtherRevision
            | Self::OtherTerms
            | Self::OtherInputs
            | Self::OtherBody
            | Self::ChallengeTaken
            | Self::Redeemed
            | Self::RedeemedElsewhere
            | Self::Refunded
            | Self::Voided => pay(Kind::InvalidChallenge),
            Self::MethodNotOffered | Self::IntentNotOffered => no(Kind::MethodUnsupported),
            Self::Refused(refusal) => refused(refusal.kind),
            Self::ProofUsed => pay(Kind::VerificationFailed),
            Self::Disputed => no(Kind::Forbidden),
            Self::IdempotencyConflict | Self::KeySpent => no(Kind::IdempotencyConflict),
            Self::InProgress | Self::Refunding => {
                again(Kind::PaymentInProgress, RETRY_AFTER_SECONDS)
            }
            Self::OutcomeUnknown | Self::JournalLost(_) => {
                again(Kind::OutcomeUnknown, RETRY_AFTER_SLOW_SECONDS)
            }
            Self::Busy | Self::NoQuote => again(Kind::Unavailable, RETRY_AFTER_SLOW_SECONDS),
            Self::JournalOutOfStep => again(Kind::Internal, RETRY_AFTER_SLOW_SECONDS),
            Self::Record(_) | Self::SettlementDiffers | Self::Misconfigured => no(Kind::Internal),
            Self::DeliveryFailed | Self::DeliveryUnpaid => {
                again(Kind::UpstreamFailed, RETRY_AFTER_SECONDS)
            }
            Self::DeliveryRefunded
            | Self::DeliveryRefunding
            | Self::DeliveryKept
            | Self::DeliveryVoided => no(Kind::UpstreamFailed),
        }
    }
}

/// A definite no of a method. The set of kinds may grow with the methods; a new one is a failed
/// verification until it is named here.
fn refused(kind: RefusalKind) -> Meaning {
    match kind {
        RefusalKind::Insufficient => pay(ProblemKind::PaymentInsufficient),
        RefusalKind::Expired => pay(ProblemKind::PaymentExpired),
        RefusalKind::Denied => no(ProblemKind::Forbidden),
        RefusalKind::Invalid | RefusalKind::AlreadyUsed | _ => pay(ProblemKind::VerificationFailed),
    }
}
