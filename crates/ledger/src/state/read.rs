//! What the state tells.

use std::ops::Bound;

use stiver_core::{Currency, Timestamp};

use super::State;
use crate::{
    id::{AccountId, HoldId, OrderHash, TransferId},
    limits,
    order::{Condition, SignedOrder},
    refusal::Refusal,
    rows::{ExecutedRow, HoldRow, HoldRowState, Origin, Posting},
    view::{
        Account, Balance, Books, CurrencyBooks, Hold, HoldState, OrderStatus, Outcome, Remembered,
        Statement, StatementRequest, Transfer,
    },
};

impl State {
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.stored.origin.as_ref()
    }

    pub(crate) fn currencies(&self) -> &[Currency] {
        &self.currencies
    }

    /// The issuer of a currency.
    pub(crate) fn issuer(&self, code: &str) -> Option<AccountId> {
        let number = self.currency_number(code)?;
        Some(self.stored.currencies[usize::from(number)].issuer)
    }

    /// The outcome of an order that is remembered.
    pub(crate) fn outcome(&self, hash: OrderHash) -> Option<Outcome> {
        let row = self.stored.executed.get(&hash)?;
        row.outcome(hash, &self.currencies)
    }

    /// The outcome that executing an order now will have: what [`State::outcome`] tells afterwards.
    /// `None` when these are not the postings of such an order.
    pub(crate) fn outcome_to_be(
        &self,
        now: Timestamp,
        signed: &SignedOrder,
        postings: &[Posting],
    ) -> Option<Outcome> {
        let sequence = self.stored.sequence + 1;
        let row = ExecutedRow::of(signed, postings, sequence, now, 0)?;
        row.outcome(signed.hash(), &self.currencies)
    }

    pub(crate) fn transfer(&self, id: TransferId) -> Option<Transfer> {
        match self.outcome(OrderHash::from(id))? {
            Outcome::Transfer(transfer) => Some(*transfer),
            _ => None,
        }
    }

    /// What became of an order, as far as this state remembers.
    pub(crate) fn status(&self, now: Timestamp, signed: &SignedOrder) -> Remembered {
        let order = signed.order();
        if let Some(outcome) = self.outcome(signed.hash()) {
            return Remembered::Status(OrderStatus::Executed(outcome));
        }
        let never = |refusal| Remembered::Status(OrderStatus::Never(refusal));
        let Some(origin) = &self.stored.origin else {
            return never(Refusal::WrongLedger);
        };
        if order.ledger != origin.ledger {
            return never(Refusal::WrongLedger);
        }
        let executed = &self.stored.executed;
        if let Some(by) = executed.by_nonce(&order.account, &order.nonce) {
            return never(Refusal::NonceUsed { by: *by });
        }
        if now < order.expires {
            return Remembered::Status(OrderStatus::Pending);
        }
        // What expired before the ledger began was never executed: no log needs to be read for it.
        let began = origin.at;
        if began < order.expires && now >= order.expires.plus_millis(origin.memory_ms) {
            return Remembered::Forgotten(signed.hash());
        }
        never(Refusal::Expired { at: order.expires })
    }

    pub(crate) fn account(&self, id: &AccountId) -> Option<Account> {
        let row = self.stored.accounts.get(id)?;
        Some(Account {
            id: *id,
            opened_at: row.opened_at,
            owner: row.owner.as_ref().map(ToString::to_string),
            keys: row.keys.clone(),
            frozen: row.frozen,
            limit: row.limit,
            balances: row
                .balances
                .iter()
                .map(|balance| Balance {
                    currency: self.currencies[usize::from(balance.currency)].clone(),
                    posted: balance.posted,
                    held: balance.held,
                })
                .collect(),
            open_holds: row.open_holds,
        })
    }

    /// A page of accounts in the order of their ids.
    pub(crate) fn accounts(&self, after: Option<AccountId>, limit: usize) -> Vec<Account> {
        self.stored
            .accounts
            .after(after)
            .take(limit.min(limits::PAGE_MAX))
            .filter_map(|(id, _)| self.account(id))
            .collect()
    }

    pub(crate) fn hold(&self, id: HoldId, now: Timestamp) -> Option<Hold> {
        let row = self.stored.holds.get(&id)?;
        Some(Hold {
            id,
            payer: row.payer,
            capturer: row.capturer,
            max: self.amount(row.currency, row.max),
            captured: self.amount(row.currency, row.captured),
            until: row.until(),
            condition: Condition::from(&row.condition),
            withdrawable_at: row.withdrawable_at(),
            state: hold_state(row, now),
            challenge: row.challenge.as_deref().map(str::to_owned),
        })
    }

    /// A page of the open channels that an account pays, in the order of their ids.
    pub(crate) fn channels(
        &self,
        payer: AccountId,
        after: Option<HoldId>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Hold> {
        let from = match after {
            Some(after) => Bound::Excluded((payer, after)),
            None => Bound::Included((payer, HoldId::from_bytes([0; 32]))),
        };
        let to = Bound::Included((payer, HoldId::from_bytes([0xff; 32])));
        self.channels
            .range((from, to))
            .take(limit.min(limits::PAGE_MAX))
            .filter_map(|(_, id)| self.hold(*id, now))
            .collect()
    }

    /// Movements of an account, newest first.
    pub(crate) fn statement(&self, request: &StatementRequest) -> Statement {
        let limit = request.limit.clamp(1, limits::PAGE_MAX);
        let last = request.before.unwrap_or(u64::MAX);
        let mut page = Statement {
            transfers: Vec::new(),
            next: None,
        };
        let movements = self.stored.accounts.movements(&request.account);
        for (sequence, order) in movements.into_iter().flat_map(|it| it.before(last)) {
            let executed = self.stored.executed.at(order);
            let outcome = executed.and_then(|(hash, row)| row.outcome(*hash, &self.currencies));
            let Some(Outcome::Transfer(transfer)) = outcome else {
                continue;
            };
            if transfer.at < request.from {
                break;
            }
            if transfer.at >= request.to {
                continue;
            }
            if page.transfers.len() == limit {
                page.next = Some(sequence + 1);
                break;
            }
            page.transfers.push(*transfer);
        }
        page
    }

    pub(crate) fn books(&self, now: Timestamp) -> Option<Books> {
        let origin = self.stored.origin.as_ref()?;
        let mut currencies: Vec<CurrencyBooks> = self
            .currencies
            .iter()
            .zip(&self.stored.currencies)
            .map(|(currency, row)| CurrencyBooks {
                currency: currency.clone(),
                issuer: row.issuer,
                issued: 0,
                held: 0,
                sum: 0,
            })
            .collect();
        for (id, account) in self.stored.accounts.iter() {
            for balance in &account.balances {
                let books = &mut currencies[usize::from(balance.currency)];
                books.sum = books.sum.saturating_add(balance.posted);
                books.held = books.held.saturating_add(balance.held);
                if books.issuer != *id {
                    let posted = u128::try_from(balance.posted).unwrap_or(0);
                    books.issued = books.issued.saturating_add(posted);
                }
            }
        }
        Some(Books {
            ledger: origin.ledger,
            operator: origin.operator,
            permissioned: origin.permissioned,
            receipt_key: origin.receipt_key,
            memory_ms: origin.memory_ms,
            opened_at: origin.at,
            at: now,
            accounts: self.stored.accounts.len(),
            executed: self.stored.sequence,
            remembered: self.stored.executed.len(),
            open_holds: self
                .stored
                .holds
                .values()
                .filter(|hold| hold_state(hold, now) == HoldState::Open)
                .count(),
            currencies,
        })
    }
}

fn hold_state(row: &HoldRow, now: Timestamp) -> HoldState {
    match row.state {
        HoldRowState::Open if row.has_ended(now) => HoldState::Lapsed,
        HoldRowState::Open => HoldState::Open,
        HoldRowState::Posted => HoldState::Posted,
        HoldRowState::Voided => HoldState::Voided,
        HoldRowState::Lapsed => HoldState::Lapsed,
        HoldRowState::Withdrawn => HoldState::Withdrawn,
    }
}
