//! Answers, as JSON and as types.

use serde::{Deserialize, Serialize};
use stiver_core::{
    Currency, Timestamp, amount::parse_base_units, did::DidKey, json::Object, json::Value,
};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, TransferId},
    order::{Action, Condition, SignedOrder},
    refusal::Refusal as LedgerRefusal,
    view::{Account, Hold, Outcome, Transfer},
};
use stiver_method::{
    artefact::{Lookup, Refusal, RefusalKind, Settled},
    session::{ChannelState, Ended},
};

use super::ANSWER_BYTES_MAX;
use crate::{
    api::{channel_state, members},
    refusal,
    session::Scheme,
};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Answer {
    /// To [`super::Question::Account`].
    Account(AccountAnswer),
    /// To [`super::Question::Order`].
    Order(OrderAnswer),
    /// To [`super::Question::Statement`].
    Statement {
        /// The movements, newest first.
        transfers: Vec<TransferAnswer>,
        /// `before` of the next page; absent at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// To [`super::Question::Channel`].
    Channel {
        /// The channel; absent when there is none that the account may know of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<ChannelAnswer>,
    },
    /// To [`super::Question::Channels`].
    Channels {
        /// The channels.
        channels: Vec<ChannelAnswer>,
        /// `after` of the next page; absent at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
}

/// A channel. Amounts are base units in decimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelAnswer {
    /// Its id, `hold_...`.
    pub channel_id: String,
    /// Whose money.
    pub payer: String,
    /// Who takes it.
    pub payee: String,
    /// Of what.
    pub currency: String,
    /// Its decimals.
    pub decimals: u8,
    /// `ed25519` or `hash-chain`.
    pub voucher: String,
    /// The grace of a forced close, seconds.
    pub grace_seconds: u64,
    /// All that was set aside.
    pub deposit: String,
    /// All that was taken.
    pub settled: String,
    /// `open`, `closed` or `withdrawn`.
    pub state: String,
    /// From when on the payer may withdraw, RFC 3339; absent when it has not forced the close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawable_at: Option<String>,
}

/// An account. Amounts are base units in decimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAnswer {
    /// Its id.
    pub account: String,
    /// When it was opened, RFC 3339.
    pub opened_at: String,
    /// Whether it is frozen.
    pub frozen: bool,
    /// The most it may pay at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Its balances.
    pub balances: Vec<BalanceAnswer>,
    /// Its keys: `did:key`, a space, the roles.
    pub keys: Vec<String>,
}

/// A balance. Amounts are base units in decimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceAnswer {
    /// The currency's code.
    pub currency: String,
    /// Its decimals.
    pub decimals: u8,
    /// Credits less debits; an issuer's is negative.
    pub posted: String,
    /// Of it, set aside by holds.
    pub held: String,
    /// What can be spent now.
    pub available: String,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "camelCase")]
#[non_exhaustive]
pub enum OrderAnswer {
    /// It was executed.
    Executed {
        /// The movement; absent when it moved no money.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transfer: Option<Box<TransferAnswer>>,
    },
    /// It was not, and never can be.
    Never {
        /// `invalid`, `insufficient`, `expired`, `denied` or `alreadyUsed`.
        reason: String,
        /// In words.
        detail: String,
    },
    /// It was not, and may yet be.
    Pending,
    /// It was brought and refused: nothing moved. Until it expires it may be brought again.
    Refused {
        /// As for `never`.
        reason: String,
        /// In words.
        detail: String,
    },
}

/// A movement. Amounts are base units in decimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferAnswer {
    /// Its id.
    pub id: String,
    /// Its place in the ledger.
    pub sequence: u64,
    /// `transfer`, `mint`, `burn`, `refund` or `post`. Named apart from the answer's own `kind`.
    pub transfer_kind: String,
    /// Where the money came from.
    pub debit: String,
    /// Where it went.
    pub credit: String,
    /// How much.
    pub amount: String,
    /// Of what.
    pub currency: String,
    /// Its decimals.
    pub decimals: u8,
    /// When, RFC 3339.
    pub at: String,
    /// The `did:key` that signed.
    pub key: String,
    /// The challenge it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<String>,
    /// The movement it gives back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_of: Option<String>,
    /// Why, for a refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much of it was refunded since.
    pub refunded: String,
}

/// An answer's frame.
#[derive(Serialize, Deserialize)]
struct Framed {
    ledger: String,
    at: String,
    answer: Value,
    /// The receipt of a payment that was brought by its payee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<Value>,
}

impl Answer {
    /// The body to send.
    pub(crate) fn to_body(
        &self,
        ledger: LedgerId,
        now: Timestamp,
        receipt: Option<Value>,
    ) -> Vec<u8> {
        let answer = Object::serialize(self).map(|object| object.to_value());
        let framed = Framed {
            ledger: ledger.to_string(),
            at: now.to_rfc3339(),
            answer: answer.unwrap_or(Value::Null),
            receipt,
        };
        Object::serialize(&framed)
            .expect("an answer is a JSON object, because its type is a struct of texts")
            .as_str()
            .as_bytes()
            .to_vec()
    }

    /// Reads a body, which must be of this ledger.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when it is no answer, or of another ledger.
    pub fn parse(body: &[u8], ledger: LedgerId) -> Result<Self, AnswerError> {
        Self::parse_framed(body, ledger).map(|(answer, _)| answer)
    }

    /// As [`Answer::parse`], with the time of the ledger's host.
    pub(super) fn parse_timed(
        body: &[u8],
        ledger: LedgerId,
    ) -> Result<(Self, Timestamp), AnswerError> {
        let (answer, at) = Self::parse_framed(body, ledger)?;
        let at = Timestamp::parse_rfc3339(&at).map_err(|_| AnswerError::Malformed)?;
        Ok((answer, at))
    }

    fn parse_framed(body: &[u8], ledger: LedgerId) -> Result<(Self, String), AnswerError> {
        if body.len() > ANSWER_BYTES_MAX {
            return Err(AnswerError::TooLong);
        }
        let framed: Framed = Object::parse(body)
            .and_then(|object| object.deserialize())
            .map_err(|_| AnswerError::Malformed)?;
        if framed.ledger != ledger.to_string() {
            return Err(AnswerError::OtherLedger);
        }
        Object::parse(framed.answer.to_jcs().as_bytes())
            .and_then(|object| object.deserialize())
            .map(|answer| (answer, framed.at))
            .map_err(|_| AnswerError::Malformed)
    }
}

impl From<&Account> for AccountAnswer {
    fn from(account: &Account) -> Self {
        Self {
            account: account.id.to_string(),
            opened_at: account.opened_at.to_rfc3339(),
            frozen: account.frozen,
            limit: account.limit.map(|limit| limit.to_string()),
            balances: account
                .balances
                .iter()
                .map(|balance| BalanceAnswer {
                    currency: balance.currency.code().to_owned(),
                    decimals: balance.currency.decimals(),
                    posted: balance.posted.to_string(),
                    held: balance.held.to_string(),
                    available: balance.available().to_wire(),
                })
                .collect(),
            keys: account
                .keys
                .iter()
                .map(|row| format!("{} {}", row.key, row.roles.names()))
                .collect(),
        }
    }
}

/// Each state of a channel, and its name.
const STATES: [(Option<Ended>, &str); 3] = [
    (None, "open"),
    (Some(Ended::Closed), "closed"),
    (Some(Ended::Withdrawn), "withdrawn"),
];

impl ChannelAnswer {
    /// Of a hold; none when it is no channel.
    pub(super) fn of(hold: &Hold) -> Option<Self> {
        let state = channel_state(hold)?;
        let (scheme, grace_ms) = match hold.condition {
            Condition::Vouchers { grace_ms, .. } => (Scheme::Ed25519, grace_ms),
            Condition::Words { grace_ms, .. } => (Scheme::HashChain, grace_ms),
            _ => return None,
        };
        let ended = STATES.iter().find(|(ended, _)| *ended == state.ended)?;
        Some(Self {
            channel_id: hold.id.to_string(),
            payer: hold.payer.to_string(),
            payee: hold.capturer.to_string(),
            currency: hold.max.currency().code().to_owned(),
            decimals: hold.max.currency().decimals(),
            voucher: scheme.name().to_owned(),
            grace_seconds: grace_ms / 1000,
            deposit: state.deposit.to_string(),
            settled: state.settled.to_string(),
            state: ended.1.to_owned(),
            withdrawable_at: state.withdrawable_at.map(Timestamp::to_rfc3339),
        })
    }

    /// In the seam's terms. `None` when it is of another channel, or contradicts itself.
    pub(super) fn state(&self, asked: HoldId) -> Option<ChannelState> {
        let deposit = parse_base_units(&self.deposit, 128).ok()?;
        let settled = parse_base_units(&self.settled, 128).ok()?;
        let at = self.withdrawable_at.as_deref();
        let withdrawable_at = at.map(Timestamp::parse_rfc3339).transpose().ok()?;
        let ended = STATES.iter().find(|(_, name)| *name == self.state)?.0;
        if self.channel_id != asked.to_string() || settled > deposit {
            return None;
        }
        Some(ChannelState {
            deposit,
            settled,
            withdrawable_at: withdrawable_at.filter(|_| ended.is_none()),
            ended,
        })
    }
}

impl From<&Transfer> for TransferAnswer {
    fn from(transfer: &Transfer) -> Self {
        Self {
            id: transfer.id.to_string(),
            sequence: transfer.sequence,
            transfer_kind: transfer.kind.name().to_owned(),
            debit: transfer.debit.to_string(),
            credit: transfer.credit.to_string(),
            amount: transfer.amount.to_wire(),
            currency: transfer.amount.currency().code().to_owned(),
            decimals: transfer.amount.currency().decimals(),
            at: transfer.at.to_rfc3339(),
            key: transfer.key.to_string(),
            challenge_id: transfer.challenge.clone(),
            refund_of: transfer.refund_of.map(|id| id.to_string()),
            reason: transfer.reason.clone(),
            refunded: transfer.refunded.to_wire(),
        }
    }
}

impl TransferAnswer {
    /// As the settlement of an order. `None` when it is not the movement that this order makes, or
    /// is malformed.
    fn settled(&self, asked: &SignedOrder) -> Option<Settled> {
        let order = asked.order();
        let (amount, currency, payee) = match &order.action {
            Action::Transfer {
                amount,
                currency,
                payee,
                ..
            } => (*amount, Some(currency), Some(*payee)),
            Action::Mint {
                amount,
                currency,
                to,
                ..
            } => (*amount, Some(currency), Some(*to)),
            Action::Burn { amount, currency } => (*amount, Some(currency), None),
            Action::Refund { amount, .. } | Action::Post { amount, .. } => (*amount, None, None),
            _ => return None,
        };
        let id: TransferId = self.id.parse().ok()?;
        let units = parse_base_units(&self.amount, 127).ok()?;
        let credit: AccountId = self.credit.parse().ok()?;
        let same = id == TransferId::from(asked.hash())
            && units == amount
            && currency.is_none_or(|currency| currency.as_str() == self.currency)
            && payee.is_none_or(|payee| payee == credit);
        if !same {
            return None;
        }
        let key: DidKey = self.key.parse().ok()?;
        let refund_of = self.refund_of.as_deref().map(str::parse).transpose().ok()?;
        let debit = self.debit.parse().ok()?;
        Some(Settled {
            reference: id.to_string(),
            at: Timestamp::parse_rfc3339(&self.at).ok()?,
            amount: Currency::new(&self.currency, self.decimals)
                .ok()?
                .units(units),
            payer: Some(key.to_string()),
            payee: credit.to_string(),
            receipt: members(order.ledger, debit, refund_of, self.reason.clone()),
        })
    }
}

/// Each kind of no, and its name.
const REASONS: [(RefusalKind, &str); 5] = [
    (RefusalKind::Invalid, "invalid"),
    (RefusalKind::Insufficient, "insufficient"),
    (RefusalKind::Expired, "expired"),
    (RefusalKind::Denied, "denied"),
    (RefusalKind::AlreadyUsed, "alreadyUsed"),
];

fn reason(refused: LedgerRefusal) -> String {
    let kind = refusal::kind(refused);
    let row = REASONS.iter().find(|(known, _)| *known == kind);
    row.map_or("invalid", |(_, name)| name).to_owned()
}

impl OrderAnswer {
    pub(crate) fn executed(outcome: &Outcome) -> Self {
        Self::Executed {
            transfer: match outcome {
                Outcome::Transfer(transfer) => Some(Box::new(transfer.as_ref().into())),
                _ => None,
            },
        }
    }

    pub(super) fn never(refused: LedgerRefusal) -> Self {
        Self::Never {
            reason: reason(refused),
            detail: refused.to_string(),
        }
    }

    pub(crate) fn refused(refused: LedgerRefusal) -> Self {
        Self::Refused {
            reason: reason(refused),
            detail: refused.to_string(),
        }
    }

    /// The refusal that it tells, when it tells one.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let (Self::Never { reason, detail } | Self::Refused { reason, detail }) = self else {
            return None;
        };
        let kind = REASONS.iter().find(|(_, name)| name == reason)?.0;
        Some(Refusal {
            kind,
            detail: detail.clone(),
        })
    }

    /// In the seam's terms. `None` when the answer contradicts itself or the order asked about.
    pub(super) fn lookup(&self, asked: &SignedOrder) -> Option<Lookup> {
        Some(match self {
            Self::Pending | Self::Refused { .. } => Lookup::Pending,
            Self::Never { .. } => Lookup::Never(self.refusal()?),
            Self::Executed { transfer } => {
                Lookup::Done(Box::new(transfer.as_ref()?.settled(asked)?))
            }
        })
    }
}

/// Why a body is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Too long.
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// Not an answer.
    #[error("not an answer of a ledger")]
    Malformed,
    /// Of another ledger.
    #[error("the answer is of another ledger")]
    OtherLedger,
}
