//! The ledger's refusals in the seam's terms.

use stiver_ledger::refusal::Refusal as LedgerRefusal;
use stiver_method::artefact::{Refusal, RefusalKind};

/// One total match: what kind of no each refusal is.
pub(crate) fn kind(refusal: LedgerRefusal) -> RefusalKind {
    match refusal {
        LedgerRefusal::Expired { .. } => RefusalKind::Expired,
        LedgerRefusal::NonceUsed { .. } => RefusalKind::AlreadyUsed,
        LedgerRefusal::UnknownAccount | LedgerRefusal::Insufficient { .. } => {
            RefusalKind::Insufficient
        }
        LedgerRefusal::KeyLacksRole { .. }
        | LedgerRefusal::NotOperator
        | LedgerRefusal::NotIssuer
        | LedgerRefusal::NotPermitted
        | LedgerRefusal::AccountFrozen
        | LedgerRefusal::OverLimit { .. }
        | LedgerRefusal::UnknownPayee
        | LedgerRefusal::PayeeFrozen
        | LedgerRefusal::NotPayee
        | LedgerRefusal::NotCapturer
        | LedgerRefusal::NotPayer
        | LedgerRefusal::TooManyAccounts
        | LedgerRefusal::TooManyHolds
        | LedgerRefusal::TooManyOrders => RefusalKind::Denied,
        LedgerRefusal::WrongLedger
        | LedgerRefusal::ExpiryTooFar { .. }
        | LedgerRefusal::KeyNotOfAccount
        | LedgerRefusal::UnknownCurrency
        | LedgerRefusal::ZeroAmount
        | LedgerRefusal::SelfPayment
        | LedgerRefusal::WrongFirstKey
        | LedgerRefusal::AccountExists
        | LedgerRefusal::TooManyKeys
        | LedgerRefusal::UnknownKey
        | LedgerRefusal::LastAdminKey
        | LedgerRefusal::UnknownTransfer
        | LedgerRefusal::NotRefundable
        | LedgerRefusal::RefundTooLarge { .. }
        | LedgerRefusal::UnknownHold
        | LedgerRefusal::HoldClosed
        | LedgerRefusal::HoldEnded { .. }
        | LedgerRefusal::ConditionNotMet
        | LedgerRefusal::NotAChannel
        | LedgerRefusal::OverVoucher { .. }
        | LedgerRefusal::CaptureTooLow { .. }
        | LedgerRefusal::CaptureTooLarge { .. }
        | LedgerRefusal::NotClosing
        | LedgerRefusal::GraceNotOver { .. }
        | LedgerRefusal::PostTooLarge { .. }
        | LedgerRefusal::HoldEndPassed
        | LedgerRefusal::Overflow => RefusalKind::Invalid,
    }
}

/// A ledger's refusal, told through the seam.
pub(crate) fn refusal(refusal: LedgerRefusal) -> Refusal {
    Refusal {
        kind: kind(refusal),
        detail: refusal.to_string(),
    }
}

/// The proof is wrong.
pub(crate) fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        detail: detail.into(),
    }
}
