//! What an executed order did: one reading of it for deciding, for following the log and for
//! looking back.

use stiver_core::{Currency, Timestamp};

use crate::{
    id::{AccountId, HoldId, OrderHash, TransferId},
    order::{Action, Charge, SignedOrder},
    rows::{Done, ExecutedRow, MoveRow, Posting},
    view::{Outcome, Transfer, TransferKind},
};

impl ExecutedRow {
    /// The row of an order that is executed with these postings. `None` when no order of its kind
    /// has such postings.
    pub(crate) fn of(
        signed: &SignedOrder,
        postings: &[Posting],
        sequence: u64,
        at: Timestamp,
        memory_ms: u64,
    ) -> Option<Self> {
        let order = signed.order();
        Some(Self {
            account: order.account,
            nonce: order.nonce,
            keep_until: order.expires.plus_millis(memory_ms),
            sequence,
            at,
            key: signed.key(),
            done: done(order.account, &order.action, postings)?,
        })
    }

    /// What it did, as it is told. `None` when its currency is not among these.
    pub(crate) fn outcome(&self, hash: OrderHash, currencies: &[Currency]) -> Option<Outcome> {
        Some(match &self.done {
            Done::Moved(movement) => {
                Outcome::Transfer(Box::new(self.transfer(hash, movement, currencies)?))
            }
            Done::Held => Outcome::Held(HoldId::from(hash)),
            Done::Voided(hold) => Outcome::Voided(*hold),
            Done::Changed(account) => Outcome::Changed(*account),
            Done::Channel(channel) => Outcome::Channel(*channel),
        })
    }

    fn transfer(
        &self,
        hash: OrderHash,
        movement: &MoveRow,
        currencies: &[Currency],
    ) -> Option<Transfer> {
        let currency = currencies.get(usize::from(movement.currency))?;
        Some(Transfer {
            id: TransferId::from(hash),
            sequence: self.sequence,
            kind: movement.kind,
            debit: movement.debit,
            credit: movement.credit,
            amount: currency.units(movement.units),
            at: self.at,
            key: self.key,
            challenge: movement.challenge.as_deref().map(str::to_owned),
            refund_of: movement.refund_of,
            hold: movement.hold,
            reason: movement.reason.as_ref().map(ToString::to_string),
            refunded: currency.units(movement.refunded),
        })
    }
}

fn done(signer: AccountId, action: &Action, postings: &[Posting]) -> Option<Done> {
    let moved = |kind| movement(kind, postings);
    let row = match action {
        Action::Transfer { charge, .. } => MoveRow {
            challenge: charge.as_ref().map(challenge_text),
            ..moved(TransferKind::Transfer)?
        },
        Action::Mint { .. } => moved(TransferKind::Mint)?,
        Action::Burn { .. } => moved(TransferKind::Burn)?,
        Action::Refund {
            transfer, reason, ..
        } => MoveRow {
            refund_of: Some(*transfer),
            reason: reason.clone(),
            ..moved(TransferKind::Refund)?
        },
        Action::Post { hold, .. } => MoveRow {
            hold: Some(*hold),
            ..moved(TransferKind::Post)?
        },
        Action::Capture { channel, .. } if !postings.is_empty() => MoveRow {
            hold: Some(*channel),
            ..moved(TransferKind::Post)?
        },
        _ if !postings.is_empty() => return None,
        Action::Hold { .. } => return Some(Done::Held),
        Action::Void { hold } => return Some(Done::Voided(*hold)),
        Action::Capture { channel, .. }
        | Action::TopUp { channel, .. }
        | Action::ForceClose { channel }
        | Action::Withdraw { channel } => return Some(Done::Channel(*channel)),
        Action::Open { first_key, .. } => {
            return Some(Done::Changed(AccountId::of_first_key(first_key)));
        }
        Action::Freeze { account, .. } | Action::Limit { account, .. } => {
            return Some(Done::Changed(*account));
        }
        Action::AddKey { .. } | Action::RevokeKey { .. } => return Some(Done::Changed(signer)),
    };
    Some(Done::Moved(row))
}

/// The row of a movement: its postings are a debit and a credit of the same amount.
fn movement(kind: TransferKind, postings: &[Posting]) -> Option<MoveRow> {
    let [debit, credit] = postings else {
        return None;
    };
    let units = u128::try_from(credit.delta)
        .ok()
        .filter(|units| *units > 0)?;
    if debit.currency != credit.currency || debit.account == credit.account {
        return None;
    }
    Some(MoveRow {
        kind,
        debit: debit.account,
        credit: credit.account,
        currency: credit.currency,
        units,
        refunded: 0,
        refund_of: None,
        hold: None,
        challenge: None,
        reason: None,
    })
}

/// The challenge that a charge answers, as rows keep it.
pub(crate) fn challenge_text(charge: &Charge) -> Box<str> {
    charge.challenge.as_str().into()
}
