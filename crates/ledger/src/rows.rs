//! What the state holds, row by row: the stored form.

use minicbor::{Decode, Encode};
use stiver_core::{Timestamp, did::DidKey};

use crate::{
    id::{AccountId, HoldId, LedgerId, Nonce, TransferId},
    key::AccountKey,
    order::Condition,
    text::{CurrencyCode, Label},
    view::TransferKind,
};

/// A currency's number: its place in the order of registration.
pub(crate) type CurrencyNumber = u16;

/// How the ledger began.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Origin {
    #[n(0)]
    pub(crate) ledger: LedgerId,
    #[n(1)]
    pub(crate) operator: AccountId,
    #[n(2)]
    pub(crate) permissioned: bool,
    /// How long executed orders are remembered after their expiry, milliseconds.
    #[n(3)]
    pub(crate) memory_ms: u64,
    #[cbor(n(4), with = "crate::cbor::key")]
    pub(crate) receipt_key: DidKey,
    #[cbor(n(5), with = "crate::cbor::time")]
    pub(crate) at: Timestamp,
}

/// A currency.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CurrencyRow {
    #[n(0)]
    pub(crate) code: CurrencyCode,
    #[n(1)]
    pub(crate) decimals: u8,
    #[n(2)]
    pub(crate) issuer: AccountId,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AccountRow {
    #[n(0)]
    pub(crate) keys: Vec<AccountKey>,
    /// How many keys it ever had.
    #[n(1)]
    pub(crate) versions: u32,
    #[cbor(n(2), with = "crate::cbor::time")]
    pub(crate) opened_at: Timestamp,
    #[n(3)]
    pub(crate) owner: Option<Label>,
    #[n(4)]
    pub(crate) frozen: bool,
    #[n(5)]
    pub(crate) limit: Option<u128>,
    #[n(6)]
    pub(crate) balances: Vec<BalanceRow>,
    #[n(7)]
    pub(crate) open_holds: u32,
}

/// One currency of an account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BalanceRow {
    #[n(0)]
    pub(crate) currency: CurrencyNumber,
    #[n(1)]
    pub(crate) posted: i128,
    #[n(2)]
    pub(crate) held: u128,
}

/// An executed order, as long as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ExecutedRow {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) nonce: Nonce,
    #[cbor(n(2), with = "crate::cbor::time")]
    pub(crate) keep_until: Timestamp,
    #[n(3)]
    pub(crate) sequence: u64,
    #[cbor(n(4), with = "crate::cbor::time")]
    pub(crate) at: Timestamp,
    #[cbor(n(5), with = "crate::cbor::key")]
    pub(crate) key: DidKey,
    #[n(6)]
    pub(crate) done: Done,
}

/// What an executed order did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Done {
    #[n(0)]
    Moved(#[n(0)] MoveRow),
    #[n(1)]
    Held,
    #[n(2)]
    Voided(#[n(0)] HoldId),
    #[n(3)]
    Changed(#[n(0)] AccountId),
    /// A channel was topped up, or its end ordered; no money changed hands.
    #[n(4)]
    Channel(#[n(0)] HoldId),
}

/// A movement of money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct MoveRow {
    #[n(0)]
    pub(crate) kind: TransferKind,
    #[n(1)]
    pub(crate) debit: AccountId,
    #[n(2)]
    pub(crate) credit: AccountId,
    #[n(3)]
    pub(crate) currency: CurrencyNumber,
    #[n(4)]
    pub(crate) units: u128,
    #[n(5)]
    pub(crate) refunded: u128,
    #[n(6)]
    pub(crate) refund_of: Option<TransferId>,
    #[n(7)]
    pub(crate) hold: Option<HoldId>,
    #[n(8)]
    pub(crate) challenge: Option<Box<str>>,
    #[n(9)]
    pub(crate) reason: Option<Label>,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HoldRow {
    #[n(0)]
    pub(crate) payer: AccountId,
    #[n(1)]
    pub(crate) capturer: AccountId,
    #[n(2)]
    pub(crate) currency: CurrencyNumber,
    #[n(3)]
    pub(crate) max: u128,
    #[n(4)]
    pub(crate) captured: u128,
    #[n(5)]
    pub(crate) until_ms: Option<u64>,
    #[n(6)]
    pub(crate) condition: ConditionRow,
    #[n(7)]
    pub(crate) state: HoldRowState,
    #[n(8)]
    pub(crate) challenge: Option<Box<str>>,
    /// From when on a channel's payer may withdraw, once it has forced the close.
    #[n(9)]
    pub(crate) withdrawable_ms: Option<u64>,
}

/// A hold's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum ConditionRow {
    #[n(0)]
    None,
    #[n(1)]
    Preimage(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    #[n(2)]
    Agreement(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    #[n(3)]
    Vouchers {
        #[cbor(n(0), with = "crate::cbor::key")]
        key: DidKey,
        #[n(1)]
        grace_ms: u64,
    },
    #[n(4)]
    Words {
        #[cbor(n(0), with = "minicbor::bytes")]
        root: [u8; 32],
        #[n(1)]
        step: u128,
        #[n(2)]
        words: u32,
        #[n(3)]
        grace_ms: u64,
    },
}

impl ConditionRow {
    /// The grace of a channel; `None` for every other hold.
    pub(crate) fn grace_ms(&self) -> Option<u64> {
        match self {
            Self::Vouchers { grace_ms, .. } | Self::Words { grace_ms, .. } => Some(*grace_ms),
            Self::None | Self::Preimage(_) | Self::Agreement(_) => None,
        }
    }
}

impl From<&Condition> for ConditionRow {
    fn from(condition: &Condition) -> Self {
        match *condition {
            Condition::None => Self::None,
            Condition::Preimage(hash) => Self::Preimage(hash),
            Condition::Agreement(digest) => Self::Agreement(digest),
            Condition::Vouchers { key, grace_ms } => Self::Vouchers { key, grace_ms },
            Condition::Words {
                root,
                step,
                words,
                grace_ms,
            } => Self::Words {
                root,
                step,
                words,
                grace_ms,
            },
        }
    }
}

impl From<&ConditionRow> for Condition {
    fn from(row: &ConditionRow) -> Self {
        match *row {
            ConditionRow::None => Self::None,
            ConditionRow::Preimage(hash) => Self::Preimage(hash),
            ConditionRow::Agreement(digest) => Self::Agreement(digest),
            ConditionRow::Vouchers { key, grace_ms } => Self::Vouchers { key, grace_ms },
            ConditionRow::Words {
                root,
                step,
                words,
                grace_ms,
            } => Self::Words {
                root,
                step,
                words,
                grace_ms,
            },
        }
    }
}

/// How far a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum HoldRowState {
    #[n(0)]
    Open,
    #[n(1)]
    Posted,
    #[n(2)]
    Voided,
    #[n(3)]
    Lapsed,
    #[n(4)]
    Withdrawn,
}

/// One side of a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Posting {
    #[n(0)]
    pub(crate) account: AccountId,
    #[n(1)]
    pub(crate) currency: CurrencyNumber,
    /// Base units: positive is a credit.
    #[n(2)]
    pub(crate) delta: i128,
}

impl AccountRow {
    /// A new account with its first key.
    pub(crate) fn open(first_key: DidKey, owner: Option<Label>, at: Timestamp) -> Self {
        Self {
            keys: vec![AccountKey {
                key: first_key,
                roles: crate::key::Roles::ALL,
                version: 1,
                added_at: at,
            }],
            versions: 1,
            opened_at: at,
            owner,
            frozen: false,
            limit: None,
            balances: Vec::new(),
            open_holds: 0,
        }
    }

    /// Posted and held base units of a currency.
    pub(crate) fn balance(&self, currency: CurrencyNumber) -> (i128, u128) {
        self.balances
            .iter()
            .find(|row| row.currency == currency)
            .map_or((0, 0), |row| (row.posted, row.held))
    }

    /// The row of a currency, made when there is none.
    pub(crate) fn balance_mut(&mut self, currency: CurrencyNumber) -> &mut BalanceRow {
        let at = match self
            .balances
            .binary_search_by_key(&currency, |row| row.currency)
        {
            Ok(at) => at,
            Err(at) => {
                let row = BalanceRow {
                    currency,
                    posted: 0,
                    held: 0,
                };
                self.balances.insert(at, row);
                at
            }
        };
        &mut self.balances[at]
    }
}

impl HoldRow {
    /// What may still be taken.
    pub(crate) fn remainder(&self) -> u128 {
        self.max.saturating_sub(self.captured)
    }
    /// From when on its payer may withdraw, if it ordered that.
    pub(crate) fn withdrawable_at(&self) -> Option<Timestamp> {
        self.withdrawable_ms.map(Timestamp::from_millis)
    }
    /// Its end, when it has one.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.until_ms.map(Timestamp::from_millis)
    }
    /// True when it is open and its end has passed.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| now >= until)
    }
}
