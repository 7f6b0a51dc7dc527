//! What a channel, a voucher or its method has against a request, as problems of sessions.

use stiver_channel::{Channel, Refusal, VoucherError};
use stiver_core::{
    name::MethodName,
    problem::{ProblemKind, SessionProblem},
};
use stiver_method::session::Snapshot;

use super::busy::Busy;
use crate::error::GateError;

/// Why a session's request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRefused {
    /// The problem type.
    pub kind: ProblemKind,
    /// For the payer: no credential, no secret.
    pub detail: String,
    /// What the problem says of the channel.
    pub session: SessionProblem,
    /// The channel as it stands, for whoever has shown a genuine voucher of it: fresh challenges
    /// tell it, so that a payer that has lost its state can go on.
    pub(crate) known: Option<(MethodName, Snapshot)>,
}

impl SessionRefused {
    fn of(kind: ProblemKind, detail: String, channel: Option<&str>) -> Self {
        Self {
            kind,
            detail,
            session: SessionProblem {
                channel_id: channel.map(str::to_owned),
                ..SessionProblem::default()
            },
            known: None,
        }
    }

    /// No channel of this id is kept here.
    pub(super) fn not_found(channel: Option<&str>) -> GateError {
        let detail = "no such channel is open here: open one";
        let kind = ProblemKind::SessionChannelNotFound;
        GateError::Session(Box::new(Self::of(kind, detail.to_owned(), channel)))
    }

    /// The challenge of an open or a top-up is used up.
    pub(super) fn challenge_used() -> GateError {
        let detail = "the challenge was answered with another credential";
        let kind = ProblemKind::SessionChallengeNotFound;
        GateError::Session(Box::new(Self::of(kind, detail.to_owned(), None)))
    }

    /// The challenge of an open or a top-up has expired.
    pub(super) fn challenge_expired() -> GateError {
        let detail = "the challenge has expired: answer a fresh one";
        let kind = ProblemKind::SessionChallengeNotFound;
        GateError::Session(Box::new(Self::of(kind, detail.to_owned(), None)))
    }

    /// The proof of a voucher is wrong.
    pub(super) fn voucher(busy: &Busy, error: VoucherError) -> GateError {
        let kind = match error {
            VoucherError::WrongSigner => ProblemKind::SessionSignerMismatch,
            VoucherError::OverWidth { .. } => ProblemKind::SessionAmountExceedsDeposit,
            VoucherError::WrongChannel
            | VoucherError::MalformedProof
            | VoucherError::HighS
            | VoucherError::InvalidSignature
            | VoucherError::WrongAmount
            | VoucherError::ChainExhausted { .. }
            | VoucherError::SkipTooLarge { .. }
            | VoucherError::WrongWord => ProblemKind::SessionInvalidSignature,
        };
        GateError::Session(Box::new(Self::of(
            kind,
            error.to_string(),
            Some(&busy.text),
        )))
    }

    /// A close with a voucher for more than was served, where nothing less can be captured.
    pub(super) fn not_exact(busy: &Busy, owed: u128) -> GateError {
        let detail = format!(
            "what a voucher of this channel is for is captured as a whole: close it with one for \
             {owed}, which is what was served"
        );
        let kind = ProblemKind::VerificationFailed;
        let mut refused = Self::of(kind, detail, Some(&busy.text));
        refused.session.spent = Some(owed);
        GateError::Session(Box::new(refused))
    }

    /// The request was charged before, under its Idempotency-Key, and is not delivered again.
    pub(super) fn charged(busy: &Busy, channel: &Channel, metered: bool) -> GateError {
        let detail = match metered {
            true => {
                "this request was charged for what was delivered of it under its Idempotency-Key; \
                 it is neither delivered nor charged again: use a new key to ask for it anew"
            }
            false => {
                "this request was charged under its Idempotency-Key and its answer is not kept; it \
                 is neither delivered nor charged again: use a new key to buy it anew"
            }
        };
        let kind = ProblemKind::AnswerNotKept;
        let mut refused = Self::of(kind, detail.to_owned(), Some(&busy.text));
        let figures = channel.figures();
        refused.session.accepted_cumulative = Some(figures.accepted);
        refused.session.spent = Some(figures.spent);
        GateError::Session(Box::new(refused))
    }

    /// The channel does not allow it, and the asker has shown a genuine voucher.
    pub(super) fn known(busy: &Busy, refusal: &Refusal, channel: &Channel) -> GateError {
        let mut error = Self::channel(busy, refusal);
        let figures = channel.figures();
        if let GateError::Session(refused) = &mut error
            && !channel.phase().name().is_final()
        {
            let snapshot = Snapshot {
                channel: busy.id,
                deposit: figures.deposit,
                accepted: figures.accepted,
                spent: figures.spent,
            };
            refused.known = Some((busy.method.name().clone(), snapshot));
        }
        error
    }

    /// The channel does not allow it.
    pub(super) fn channel(busy: &Busy, refusal: &Refusal) -> GateError {
        let kind = kind_of(refusal);
        let mut refused = Self::of(kind, refusal.to_string(), Some(&busy.text));
        refused.session.required_top_up = refusal.required_top_up();
        GateError::Session(Box::new(refused))
    }
}

fn kind_of(refusal: &Refusal) -> ProblemKind {
    match refusal {
        Refusal::NotOpen => ProblemKind::SessionChannelNotFound,
        Refusal::Suspended { .. } | Refusal::Closing | Refusal::Finished { .. } => {
            ProblemKind::SessionChannelFinalized
        }
        Refusal::OverWidth { .. } | Refusal::ExceedsDeposit { .. } => {
            ProblemKind::SessionAmountExceedsDeposit
        }
        Refusal::Lower { .. }
        | Refusal::DeltaTooSmall { .. }
        | Refusal::BelowSettled { .. }
        | Refusal::Superseded { .. }
        | Refusal::NotAccepted { .. } => ProblemKind::SessionDeltaTooSmall,
        Refusal::Insufficient { .. } | Refusal::Published { .. } | Refusal::CloseTooLow { .. } => {
            ProblemKind::SessionInsufficientBalance
        }
        Refusal::InitialVoucherMissing
        | Refusal::InitialVoucherRefused
        | Refusal::VouchersUnused => ProblemKind::VerificationFailed,
        Refusal::AlreadyOpen
        | Refusal::NotClosing { .. }
        | Refusal::NoForcedClose
        | Refusal::DepositLowered { .. }
        | Refusal::NotReserved { .. }
        | Refusal::StillReserved { .. }
        | Refusal::CaptureAboveSpent { .. }
        | Refusal::CaptureFixed { .. }
        | Refusal::SettledLowered { .. }
        | Refusal::SettledAboveAccepted { .. } => ProblemKind::Internal,
    }
}
