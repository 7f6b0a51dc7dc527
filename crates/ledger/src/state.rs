//! The state: pure, in memory, changed only by events.
//!
//! Conservation: every event's postings sum to zero per currency, so the balances of all accounts
//! do too; only an issuer's own currency may be negative. [`State::apply`] refuses an event that
//! breaks this, [`State::check`] goes through all of it again.

mod accounts;
mod apply;
mod channels;
mod check;
mod index;
mod orders;
mod read;
mod rules;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use stiver_core::{Amount, Currency, Timestamp};

use self::{accounts::Accounts, orders::Orders};
use crate::{
    id::{AccountId, HoldId, OrderHash},
    rows::{AccountRow, CurrencyNumber, CurrencyRow, HoldRow, HoldRowState, Origin},
};
#[cfg(test)]
pub(crate) use rules::Room;
pub(crate) use rules::Ruling;

/// The whole ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    stored: Stored,
    /// When open holds lapse. From `stored.holds`.
    lapsing: BTreeSet<(Timestamp, HoldId)>,
    /// Open channels by their payer. From `stored.holds`.
    channels: BTreeSet<(AccountId, HoldId)>,
    /// The currencies as amounts need them. From `stored.currencies`.
    currencies: Vec<Currency>,
}

/// What a snapshot holds; the rest of the state follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct Stored {
    #[n(0)]
    origin: Option<Origin>,
    #[n(1)]
    currencies: Vec<CurrencyRow>,
    #[n(2)]
    accounts: Accounts,
    #[n(3)]
    executed: Orders,
    #[n(4)]
    holds: BTreeMap<HoldId, HoldRow>,
    /// Orders executed since the ledger began.
    #[n(5)]
    sequence: u64,
}

impl State {
    fn currency_number(&self, code: &str) -> Option<CurrencyNumber> {
        let at = self
            .stored
            .currencies
            .iter()
            .position(|row| row.code.as_str() == code)?;
        CurrencyNumber::try_from(at).ok()
    }

    fn amount(&self, currency: CurrencyNumber, units: u128) -> Amount {
        self.currencies[usize::from(currency)].units(units)
    }

    fn is_issuer(&self, account: &AccountId, currency: CurrencyNumber) -> bool {
        self.stored.currencies[usize::from(currency)].issuer == *account
    }

    /// What an account could spend of a currency: posted, less held, plus what lapsed by now.
    /// Negative for an issuer.
    fn available(&self, id: &AccountId, currency: CurrencyNumber, now: Timestamp) -> i128 {
        let account = self.stored.accounts.get(id);
        account.map_or(0, |account| self.available_of(id, account, currency, now))
    }

    /// As [`State::available`], of an account that was found.
    fn available_of(
        &self,
        id: &AccountId,
        account: &AccountRow,
        currency: CurrencyNumber,
        now: Timestamp,
    ) -> i128 {
        let (posted, held) = account.balance(currency);
        let lapsed = self.lapsed(now).fold(0_u128, |sum, (_, hold)| {
            if hold.payer == *id && hold.currency == currency {
                sum.saturating_add(hold.remainder())
            } else {
                sum
            }
        });
        let held = held.saturating_sub(lapsed);
        posted.saturating_sub(i128::try_from(held).unwrap_or(i128::MAX))
    }

    /// True when an order made a hold that is still open.
    fn holds_money(&self, order: OrderHash, now: Timestamp) -> bool {
        let hold = self.stored.holds.get(&HoldId::from(order));
        hold.is_some_and(|hold| hold.state == HoldRowState::Open && !hold.has_ended(now))
    }

    /// Open holds whose end has passed, which the next event will lapse.
    fn lapsed(&self, now: Timestamp) -> impl Iterator<Item = (HoldId, &HoldRow)> {
        self.lapsing
            .iter()
            .take_while(move |(until, _)| *until <= now)
            .filter_map(|(_, id)| Some((*id, self.stored.holds.get(id)?)))
    }
}
