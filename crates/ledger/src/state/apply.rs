//! How events change the state.

use stiver_core::{Currency, Timestamp};

use super::{State, index::Position};
use crate::{
    effect::challenge_text,
    event::{Began, Event, EventKind, Executed, Registered},
    id::{AccountId, HoldId, OrderHash},
    key::{AccountKey, Roles},
    order::{Action, Order, SignedOrder},
    rows::{
        AccountRow, ConditionRow, CurrencyNumber, Done, ExecutedRow, HoldRow, HoldRowState, Posting,
    },
    text::Label,
};

/// An event that the state cannot follow: log and state disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

pub(super) fn broken(what: impl Into<String>) -> Broken {
    Broken(what.into())
}

impl State {
    /// Follows an event. After an error the state is of no use.
    pub(crate) fn apply(&mut self, now: Timestamp, event: &Event) -> Result<(), Broken> {
        match &event.0 {
            EventKind::Began(began) => self.apply_began(began),
            EventKind::Registered(registered) => self.apply_registered(now, registered),
            EventKind::Executed(executed) => {
                self.lapse(now)?;
                self.forget(now);
                self.apply_executed(now, executed)
            }
        }
    }

    fn apply_began(&mut self, began: &Began) -> Result<(), Broken> {
        if self.stored.origin.is_some() {
            return Err(broken("the ledger began twice"));
        }
        let operator = AccountRow::open(
            began.operator_key,
            Label::new("operator").ok(),
            began.origin.at,
        );
        self.stored
            .accounts
            .open(began.origin.operator, || operator);
        self.stored.origin = Some(began.origin.clone());
        Ok(())
    }

    fn apply_registered(&mut self, now: Timestamp, event: &Registered) -> Result<(), Broken> {
        let row = &event.currency;
        if self.currency_number(row.code.as_str()).is_some() {
            return Err(broken(format!("currency {} registered twice", row.code)));
        }
        self.stored.accounts.open(row.issuer, || {
            AccountRow::open(event.issuer_key, event.owner.clone(), now)
        });
        let currency = Currency::new(row.code.as_str(), row.decimals)
            .map_err(|error| broken(format!("currency {}: {error}", row.code)))?;
        self.currencies.push(currency);
        self.stored.currencies.push(row.clone());
        Ok(())
    }

    fn apply_executed(&mut self, now: Timestamp, event: &Executed) -> Result<(), Broken> {
        let signed = &event.order;
        let order = signed.order();
        let executed = &self.stored.executed;
        if executed.get(&signed.hash()).is_some()
            || executed.by_nonce(&order.account, &order.nonce).is_some()
        {
            return Err(broken(format!("order {} executed twice", signed.hash())));
        }
        self.open_if_first(now, order);
        let posted = self.post(&event.postings)?;
        let memory_ms = match &self.stored.origin {
            Some(origin) => origin.memory_ms,
            None => return Err(broken("an order was executed before the ledger began")),
        };
        let sequence = self.stored.sequence + 1;
        let row = ExecutedRow::of(signed, &event.postings, sequence, now, memory_ms)
            .ok_or_else(|| broken("the postings of an event are not those of its order"))?;
        self.apply_action(now, signed, &row.done)?;
        self.stored.sequence = sequence;
        let position = self.stored.executed.insert(signed.hash(), row);
        // Who is posted to is who the movement is between: its row was made of the postings.
        for account in posted.into_iter().flatten() {
            self.stored.accounts.note(account, sequence, position);
        }
        Ok(())
    }

    /// Mint and open make accounts.
    fn open_if_first(&mut self, now: Timestamp, order: &Order) {
        let (Action::Mint {
            first_key: Some(key),
            owner,
            ..
        }
        | Action::Open {
            first_key: key,
            owner,
        }) = &order.action
        else {
            return;
        };
        self.stored.accounts.open(AccountId::of_first_key(key), || {
            AccountRow::open(*key, owner.clone(), now)
        });
    }

    /// Adds the postings to the balances. Debits equal credits in each currency, or nothing does.
    /// Tells where the accounts are.
    fn post(&mut self, postings: &[Posting]) -> Result<[Option<Position>; 2], Broken> {
        let mut positions = [None; 2];
        for (index, posting) in postings.iter().enumerate() {
            let sum = postings
                .iter()
                .filter(|other| other.currency == posting.currency)
                .try_fold(0_i128, |sum, other| sum.checked_add(other.delta));
            if sum != Some(0) {
                return Err(broken("the debits of an event are not its credits"));
            }
            if usize::from(posting.currency) >= self.currencies.len() {
                return Err(broken("an event moves an unknown currency"));
            }
            let issuer = self.is_issuer(&posting.account, posting.currency);
            let (position, account) = self
                .stored
                .accounts
                .find_mut(&posting.account)
                .ok_or_else(|| broken(format!("no account {}", posting.account)))?;
            if let Some(slot) = positions.get_mut(index) {
                *slot = Some(position);
            }
            let row = account.balance_mut(posting.currency);
            row.posted = row
                .posted
                .checked_add(posting.delta)
                .ok_or_else(|| broken("a balance overflows"))?;
            if row.posted < 0 && !issuer {
                return Err(broken(format!(
                    "account {} would be overdrawn",
                    posting.account
                )));
            }
        }
        Ok(positions)
    }

    /// What an order does besides its postings.
    fn apply_action(
        &mut self,
        now: Timestamp,
        signed: &SignedOrder,
        done: &Done,
    ) -> Result<(), Broken> {
        match (done, &signed.order().action) {
            (Done::Moved(row), Action::Refund { transfer, .. }) => {
                self.add_refund(OrderHash::from(*transfer), row.units)
            }
            (Done::Moved(row), Action::Post { hold, last, .. }) => {
                self.take_from_hold(*hold, row.units, *last)
            }
            (Done::Moved(_), Action::Capture { .. }) | (Done::Channel(_), _) => {
                self.apply_channel(now, done, &signed.order().action)
            }
            (Done::Moved(_), _) => Ok(()),
            (Done::Held, _) => self.add_hold(signed),
            (Done::Voided(hold), _) => self.close_hold(*hold, HoldRowState::Voided),
            (Done::Changed(id), action) => self.apply_change(now, id, action),
        }
    }

    fn apply_change(
        &mut self,
        now: Timestamp,
        id: &AccountId,
        action: &Action,
    ) -> Result<(), Broken> {
        let account = self.account_mut(id)?;
        match action {
            // Opened before the postings.
            Action::Open { .. } => {}
            Action::AddKey { key, roles } => add_key(account, now, key, *roles),
            Action::RevokeKey { key } => account.keys.retain(|row| row.key != *key),
            Action::Freeze { frozen, .. } => account.frozen = *frozen,
            Action::Limit { amount, .. } => account.limit = *amount,
            _ => return Err(broken("an action without a rule")),
        }
        Ok(())
    }

    fn add_refund(&mut self, transfer: OrderHash, units: u128) -> Result<(), Broken> {
        let row = self.stored.executed.get_mut(&transfer);
        let Some(Done::Moved(row)) = row.map(|row| &mut row.done) else {
            return Err(broken("a refund of an unknown transfer"));
        };
        row.refunded = row
            .refunded
            .checked_add(units)
            .filter(|refunded| *refunded <= row.units)
            .ok_or_else(|| broken("more was refunded than was paid"))?;
        Ok(())
    }

    fn add_hold(&mut self, signed: &SignedOrder) -> Result<(), Broken> {
        let order = signed.order();
        let Action::Hold {
            capturer,
            amount,
            currency,
            until,
            condition,
            charge,
        } = &order.action
        else {
            return Err(broken("no hold"));
        };
        let currency = self
            .currency_number(currency.as_str())
            .ok_or_else(|| broken("a hold of an unknown currency"))?;
        let id = HoldId::from(signed.hash());
        let account = self.account_mut(&order.account)?;
        account.open_holds = account.open_holds.saturating_add(1);
        self.set_aside(order.account, currency, *amount)?;
        if let Some(until) = until {
            self.lapsing.insert((*until, id));
        }
        let row = HoldRow {
            payer: order.account,
            capturer: *capturer,
            currency,
            max: *amount,
            captured: 0,
            until_ms: until.map(Timestamp::as_millis),
            condition: ConditionRow::from(condition),
            state: HoldRowState::Open,
            challenge: charge.as_ref().map(challenge_text),
            withdrawable_ms: None,
        };
        if row.condition.grace_ms().is_some() {
            self.channels.insert((row.payer, id));
        }
        self.stored.holds.insert(id, row);
        Ok(())
    }

    /// More money of an account is held.
    pub(super) fn set_aside(
        &mut self,
        payer: AccountId,
        currency: CurrencyNumber,
        units: u128,
    ) -> Result<(), Broken> {
        let balance = self.account_mut(&payer)?.balance_mut(currency);
        balance.held = balance
            .held
            .checked_add(units)
            .ok_or_else(|| broken("holds overflow"))?;
        if i128::try_from(balance.held).map_or(true, |held| held > balance.posted) {
            return Err(broken("more is held than there is"));
        }
        Ok(())
    }

    pub(super) fn open_hold_mut(&mut self, id: &HoldId) -> Result<&mut HoldRow, Broken> {
        self.stored
            .holds
            .get_mut(id)
            .filter(|hold| hold.state == HoldRowState::Open)
            .ok_or_else(|| broken("something is done to no open hold"))
    }

    pub(super) fn take_from_hold(
        &mut self,
        id: HoldId,
        units: u128,
        last: bool,
    ) -> Result<(), Broken> {
        let hold = self.open_hold_mut(&id)?;
        hold.captured = hold
            .captured
            .checked_add(units)
            .filter(|captured| *captured <= hold.max)
            .ok_or_else(|| broken("more was posted than was held"))?;
        // A channel that is empty can be topped up.
        let done = hold.captured == hold.max && hold.condition.grace_ms().is_none();
        let (payer, currency) = (hold.payer, hold.currency);
        self.release(payer, currency, units)?;
        if last || done {
            self.close_hold(id, HoldRowState::Posted)?;
        }
        Ok(())
    }

    /// Closes an open hold: what remains of it is free again.
    pub(super) fn close_hold(&mut self, id: HoldId, to: HoldRowState) -> Result<(), Broken> {
        let hold = self.open_hold_mut(&id)?;
        hold.state = to;
        let (payer, currency, remainder) = (hold.payer, hold.currency, hold.remainder());
        if let Some(until) = hold.until() {
            self.lapsing.remove(&(until, id));
        }
        self.channels.remove(&(payer, id));
        self.release(payer, currency, remainder)?;
        let account = self.account_mut(&payer)?;
        account.open_holds = account.open_holds.saturating_sub(1);
        Ok(())
    }

    fn release(
        &mut self,
        payer: AccountId,
        currency: CurrencyNumber,
        units: u128,
    ) -> Result<(), Broken> {
        let balance = self.account_mut(&payer)?.balance_mut(currency);
        balance.held = balance
            .held
            .checked_sub(units)
            .ok_or_else(|| broken("more was freed than was held"))?;
        Ok(())
    }

    fn account_mut(&mut self, id: &AccountId) -> Result<&mut AccountRow, Broken> {
        self.stored
            .accounts
            .get_mut(id)
            .ok_or_else(|| broken(format!("no account {id}")))
    }

    /// Ends the holds whose time is over.
    fn lapse(&mut self, now: Timestamp) -> Result<(), Broken> {
        let due: Vec<HoldId> = self.lapsed(now).map(|(id, _)| id).collect();
        for id in due {
            self.close_hold(id, HoldRowState::Lapsed)?;
        }
        Ok(())
    }

    /// Forgets executed orders whose memory is over, and their closed holds. An order whose hold is
    /// still open is kept for as long again.
    fn forget(&mut self, now: Timestamp) {
        let memory_ms = self.stored.origin.as_ref().map_or(0, |row| row.memory_ms);
        while let Some(hash) = self.stored.executed.due(now) {
            if self.holds_money(hash, now) {
                let until = now.plus_millis(memory_ms.max(1));
                self.stored.executed.put_off_due(until);
                continue;
            }
            self.stored.holds.remove(&HoldId::from(hash));
            let Some(row) = self.stored.executed.forget_due() else {
                continue;
            };
            for account in sides(&row.done).into_iter().flatten() {
                if let Some(movements) = self.stored.accounts.movements_mut(&account) {
                    movements.remove(row.sequence);
                }
            }
        }
    }
}

/// The accounts between which money moved, if any did.
pub(super) fn sides(done: &Done) -> [Option<AccountId>; 2] {
    match done {
        Done::Moved(movement) => [Some(movement.debit), Some(movement.credit)],
        _ => [None; 2],
    }
}

fn add_key(account: &mut AccountRow, now: Timestamp, key: &stiver_core::did::DidKey, roles: Roles) {
    if let Some(row) = account.keys.iter_mut().find(|row| row.key == *key) {
        row.roles = roles;
        return;
    }
    account.versions = account.versions.saturating_add(1);
    account.keys.push(AccountKey {
        key: *key,
        roles,
        version: account.versions,
        added_at: now,
    });
}
