//! Channels: what captures, top-ups, forced closes and withdrawals must fulfil, and what they do.

use stiver_core::Timestamp;

use super::{
    State,
    apply::{Broken, broken},
    rules::Movement,
};
use crate::{
    id::HoldId,
    order::Order,
    refusal::Refusal,
    rows::{ConditionRow, Done, HoldRow, HoldRowState, Posting},
    voucher::CaptureProof,
};

/// Base units that a proof allows to be taken in all. `None` when it is not the channel's: another
/// key, another root, a word that the chain does not have.
fn allowed(condition: ConditionRow, proof: &CaptureProof) -> Option<u128> {
    match (condition, *proof) {
        (
            ConditionRow::Vouchers { key, .. },
            CaptureProof::Voucher {
                key: signed_by,
                cumulative,
                ..
            },
        ) if key == signed_by => Some(cumulative),
        (
            ConditionRow::Words {
                root, step, words, ..
            },
            CaptureProof::Word {
                root: leads_to,
                index,
                ..
            },
        ) if root == leads_to && index <= words => Some(step.saturating_mul(u128::from(index))),
        _ => None,
    }
}

impl State {
    /// A channel, of whatever state.
    fn channel(&self, id: HoldId) -> Result<&HoldRow, Refusal> {
        let row = self.stored.holds.get(&id).ok_or(Refusal::UnknownHold)?;
        match row.condition.grace_ms() {
            Some(_) => Ok(row),
            None => Err(Refusal::NotAChannel),
        }
    }

    /// An open channel of this payer.
    fn channel_of_payer(&self, order: &Order, id: HoldId) -> Result<&HoldRow, Refusal> {
        let row = self.channel(id)?;
        if row.payer != order.account {
            return Err(Refusal::NotPayer);
        }
        open(row)
    }

    /// Whether a capture is proven, goes on from the last, and stays within the deposit. The proof
    /// itself was verified before: an order that is verified has a proof that is.
    pub(super) fn rule_capture(
        &self,
        order: &Order,
        id: HoldId,
        cumulative: u128,
        last: bool,
        proof: &CaptureProof,
    ) -> Result<Vec<Posting>, Refusal> {
        self.thawed(&order.account)?;
        let row = self.channel(id)?;
        if row.capturer != order.account {
            return Err(Refusal::NotCapturer);
        }
        let row = open(row)?;
        let allowed = allowed(row.condition, proof).ok_or(Refusal::ConditionNotMet)?;
        if cumulative > allowed {
            return Err(Refusal::OverVoucher { allowed });
        }
        let units = match cumulative.checked_sub(row.captured) {
            // The last one may take nothing: it ends the channel.
            Some(0) if last => return Ok(Vec::new()),
            None | Some(0) => {
                return Err(Refusal::CaptureTooLow {
                    captured: row.captured,
                });
            }
            Some(units) => units,
        };
        if cumulative > row.max {
            return Err(Refusal::CaptureTooLarge { deposit: row.max });
        }
        // The money was set aside: no other check of funds.
        self.postings(&Movement {
            debit: row.payer,
            credit: row.capturer,
            currency: row.currency,
            units,
        })
    }

    /// Whether a deposit can grow.
    pub(super) fn rule_top_up(
        &self,
        now: Timestamp,
        order: &Order,
        id: HoldId,
        units: u128,
    ) -> Result<Vec<Posting>, Refusal> {
        let payer = self.thawed(&order.account)?;
        if units == 0 {
            return Err(Refusal::ZeroAmount);
        }
        let over = |units: u128| payer.limit.filter(|limit| units > *limit);
        if let Some(limit) = over(units) {
            return Err(Refusal::OverLimit { limit });
        }
        let row = self.channel_of_payer(order, id)?;
        let deposit = row.max.checked_add(units).ok_or(Refusal::Overflow)?;
        if let Some(limit) = over(deposit) {
            return Err(Refusal::OverLimit { limit });
        }
        self.rule_payee(&order.account, &row.capturer)?;
        self.rule_funds(now, &order.account, row.currency, units)?;
        Ok(Vec::new())
    }

    /// Whether a payer may begin its channel's grace. Again changes nothing.
    pub(super) fn rule_force_close(
        &self,
        order: &Order,
        id: HoldId,
    ) -> Result<Vec<Posting>, Refusal> {
        self.channel_of_payer(order, id)?;
        Ok(Vec::new())
    }

    /// Whether a channel's grace is over.
    pub(super) fn rule_withdraw(
        &self,
        now: Timestamp,
        order: &Order,
        id: HoldId,
    ) -> Result<Vec<Posting>, Refusal> {
        let row = self.channel_of_payer(order, id)?;
        match row.withdrawable_at() {
            None => Err(Refusal::NotClosing),
            Some(at) if now < at => Err(Refusal::GraceNotOver { at }),
            Some(_) => Ok(Vec::new()),
        }
    }

    /// What an order does to a channel besides its postings.
    pub(super) fn apply_channel(
        &mut self,
        now: Timestamp,
        done: &Done,
        action: &crate::order::Action,
    ) -> Result<(), Broken> {
        use crate::order::Action;
        match (done, action) {
            (Done::Moved(row), Action::Capture { channel, last, .. }) => {
                self.take_from_hold(*channel, row.units, *last)
            }
            (Done::Channel(id), Action::Capture { last: true, .. }) => {
                self.close_hold(*id, HoldRowState::Posted)
            }
            (Done::Channel(id), Action::TopUp { amount, .. }) => self.add_to_hold(*id, *amount),
            (Done::Channel(id), Action::ForceClose { .. }) => {
                let row = self.open_hold_mut(id)?;
                let grace_ms = row.condition.grace_ms();
                let grace_ms = grace_ms.ok_or_else(|| broken("a grace of no channel"))?;
                let at = now.plus_millis(grace_ms).as_millis();
                row.withdrawable_ms.get_or_insert(at);
                Ok(())
            }
            (Done::Channel(id), Action::Withdraw { .. }) => {
                self.close_hold(*id, HoldRowState::Withdrawn)
            }
            _ => Err(broken("an order does something else to a channel")),
        }
    }

    /// A larger deposit; a forced close is cancelled by it.
    fn add_to_hold(&mut self, id: HoldId, units: u128) -> Result<(), Broken> {
        let row = self.open_hold_mut(&id)?;
        row.max = row
            .max
            .checked_add(units)
            .ok_or_else(|| broken("a deposit overflows"))?;
        row.withdrawable_ms = None;
        let (payer, currency) = (row.payer, row.currency);
        self.set_aside(payer, currency, units)
    }
}

fn open(row: &HoldRow) -> Result<&HoldRow, Refusal> {
    match row.state {
        HoldRowState::Open => Ok(row),
        _ => Err(Refusal::HoldClosed),
    }
}
