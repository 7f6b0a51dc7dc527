//! Why an order was not executed.

use stiver_core::Timestamp;

use crate::{id::OrderHash, key::Roles};

/// Why an order was not executed: nothing moved. The list is closed, and its order is the order of
/// precedence: an order that breaks several rules gets the first.
///
/// [`Refusal::TooManyOrders`] meets refunds, posts, voids, captures and the end of channels later
/// than other orders, and the operator's last. What a top-up makes of a channel is held against
/// [`Refusal::OverLimit`] and [`Refusal::PayeeFrozen`] once the channel is known.
///
/// [`Refusal::fault`] says whose fault it is, [`Refusal::retry`] whether sending the same order
/// again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 1. The order names another ledger.
    #[error("the order is for another ledger")]
    WrongLedger,
    /// 2. Its expiry has passed, by the ledger's clock.
    #[error("the order expired at {}; sign a new one", at.to_rfc3339())]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// 3. Its expiry is further ahead than the ledger remembers nonces for.
    #[error("the order expires too far ahead; the latest would be {}", latest.to_rfc3339())]
    ExpiryTooFar {
        /// The latest expiry accepted now.
        latest: Timestamp,
    },
    /// 4. There is no such account.
    #[error("the signing account does not exist; open it first")]
    UnknownAccount,
    /// 5. The key does not belong to the account, or no more.
    #[error("the key does not belong to the account")]
    KeyNotOfAccount,
    /// 6. The key may not do this.
    #[error("the key lacks the role {}", needed.names())]
    KeyLacksRole {
        /// What it would need.
        needed: Roles,
    },
    /// 7. Another order of this account and nonce was executed: this one never will be.
    #[error("another order with this nonce was executed")]
    NonceUsed {
        /// That order.
        by: OrderHash,
    },
    /// 8. Only the operator may do this.
    #[error("only the operator may do this")]
    NotOperator,
    /// 9. Only the currency's issuer may do this.
    #[error("only the issuer of the currency may do this")]
    NotIssuer,
    /// 10. The ledger is permissioned: only the operator and issuers open accounts.
    #[error("this ledger is permissioned: ask its operator to open the account")]
    NotPermitted,
    /// 11. The signing account is frozen.
    #[error("the account is frozen")]
    AccountFrozen,
    /// 12. The ledger has no such currency.
    #[error("the ledger has no such currency")]
    UnknownCurrency,
    /// 13. Nothing is no amount.
    #[error("the amount is zero")]
    ZeroAmount,
    /// 14. The amount is over the account's limit.
    #[error("the amount is over the account's limit of {limit} base units")]
    OverLimit {
        /// The limit, base units.
        limit: u128,
    },
    /// 15. There is no such payee, capturer or account.
    #[error("the other account does not exist; it must be opened first")]
    UnknownPayee,
    /// 16. An account cannot pay itself.
    #[error("an account cannot pay itself")]
    SelfPayment,
    /// 17. The payee or capturer is frozen.
    #[error("the payee is frozen")]
    PayeeFrozen,
    /// 18. The first key given is not the one the account id comes from.
    #[error("the account id does not come from this first key")]
    WrongFirstKey,
    /// 19. The account exists already.
    #[error("the account exists already")]
    AccountExists,
    /// 20. The ledger is full.
    #[error("the ledger is at its limit of accounts")]
    TooManyAccounts,
    /// 21. The account has as many keys as it may.
    #[error("the account is at its limit of keys; revoke one first")]
    TooManyKeys,
    /// 22. The account has no such key.
    #[error("the account has no such key")]
    UnknownKey,
    /// 23. The account would be left without a key that can add keys.
    #[error("the account's last key with the role admin cannot be given up; add another first")]
    LastAdminKey,
    /// 24. There is no such transfer, or its refund window has passed.
    #[error("no such transfer, or its refund window has passed")]
    UnknownTransfer,
    /// 25. Only payments can be refunded.
    #[error("only a payment can be refunded")]
    NotRefundable,
    /// 26. Only who was paid, or the operator, may refund.
    #[error("only the account that was paid, or the operator, may refund")]
    NotPayee,
    /// 27. More than what was not yet refunded.
    #[error("at most {remainder} base units are left to refund")]
    RefundTooLarge {
        /// What is left, base units.
        remainder: u128,
    },
    /// 28. There is no such hold.
    #[error("no such hold")]
    UnknownHold,
    /// 29. The hold is on no vouchers and no words.
    #[error("the hold is not a channel")]
    NotAChannel,
    /// 30. Only the capturer may post, capture or void.
    #[error("only the hold's capturer may do this")]
    NotCapturer,
    /// 31. Only the payer may top a channel up, force its close or withdraw.
    #[error("only the channel's payer may do this")]
    NotPayer,
    /// 32. The hold was posted or captured for the last time, voided, or withdrawn.
    #[error("the hold is closed")]
    HoldClosed,
    /// 33. The hold's end has passed.
    #[error("the hold ended at {}", at.to_rfc3339())]
    HoldEnded {
        /// When.
        at: Timestamp,
    },
    /// 34. The hold's condition is not met.
    #[error("the condition of the hold is not met")]
    ConditionNotMet,
    /// 35. More than the voucher or word allows.
    #[error("the proof allows {allowed} base units in all")]
    OverVoucher {
        /// Base units, in all.
        allowed: u128,
    },
    /// 36. As much was captured before.
    #[error("{captured} base units were captured already: a capture names the new sum of all")]
    CaptureTooLow {
        /// Base units captured, in all.
        captured: u128,
    },
    /// 37. More than the channel's deposit.
    #[error("the channel's deposit is {deposit} base units in all")]
    CaptureTooLarge {
        /// Base units set aside, in all.
        deposit: u128,
    },
    /// 38. Nobody has forced the close.
    #[error("force the channel's close first, then wait for its grace to pass")]
    NotClosing,
    /// 39. The grace of a forced close is not over.
    #[error("the channel's grace ends at {}", at.to_rfc3339())]
    GraceNotOver {
        /// When.
        at: Timestamp,
    },
    /// 40. More than what remains of the hold.
    #[error("at most {remainder} base units remain of the hold")]
    PostTooLarge {
        /// What remains, base units.
        remainder: u128,
    },
    /// 41. The new hold's end has passed already.
    #[error("the hold would end in the past")]
    HoldEndPassed,
    /// 42. The account has as many open holds as it may.
    #[error("the account is at its limit of open holds")]
    TooManyHolds,
    /// 43. The account has less than that free.
    #[error("{needed} base units are needed, {available} are free")]
    Insufficient {
        /// Base units needed.
        needed: u128,
        /// Base units free.
        available: u128,
    },
    /// 44. A balance would not fit into 127 bits.
    #[error("the amount is larger than a balance can be")]
    Overflow,
    /// 45. As many orders are remembered as may be, until the oldest are forgotten.
    #[error("the ledger remembers as many orders as it may; send the order again later")]
    TooManyOrders,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever signed the order.
    Signer,
    /// Whoever runs the ledger, or decided about the account.
    Operator,
}

/// Whether the same order may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will be refused again: sign another.
    Never,
    /// It may succeed until it expires, once something else has changed: funds, keys, a freeze.
    UntilExpiry,
}

impl Refusal {
    /// Whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            Self::AccountFrozen
            | Self::PayeeFrozen
            | Self::TooManyAccounts
            | Self::TooManyOrders => Fault::Operator,
            _ => Fault::Signer,
        }
    }

    /// Whether the same order may be sent again.
    pub fn retry(self) -> Retry {
        match self {
            Self::ExpiryTooFar { .. }
            | Self::UnknownAccount
            | Self::KeyNotOfAccount
            | Self::KeyLacksRole { .. }
            | Self::AccountFrozen
            | Self::UnknownCurrency
            | Self::OverLimit { .. }
            | Self::UnknownPayee
            | Self::PayeeFrozen
            | Self::TooManyAccounts
            | Self::TooManyKeys
            | Self::LastAdminKey
            | Self::CaptureTooLarge { .. }
            | Self::NotClosing
            | Self::GraceNotOver { .. }
            | Self::TooManyHolds
            | Self::Insufficient { .. }
            | Self::TooManyOrders => Retry::UntilExpiry,
            Self::WrongLedger
            | Self::Expired { .. }
            | Self::NonceUsed { .. }
            | Self::NotOperator
            | Self::NotIssuer
            | Self::NotPermitted
            | Self::ZeroAmount
            | Self::SelfPayment
            | Self::WrongFirstKey
            | Self::AccountExists
            | Self::UnknownKey
            | Self::UnknownTransfer
            | Self::NotRefundable
            | Self::NotPayee
            | Self::RefundTooLarge { .. }
            | Self::UnknownHold
            | Self::NotAChannel
            | Self::NotCapturer
            | Self::NotPayer
            | Self::HoldClosed
            | Self::HoldEnded { .. }
            | Self::ConditionNotMet
            | Self::OverVoucher { .. }
            | Self::CaptureTooLow { .. }
            | Self::PostTooLarge { .. }
            | Self::HoldEndPassed
            | Self::Overflow => Retry::Never,
        }
    }
}
