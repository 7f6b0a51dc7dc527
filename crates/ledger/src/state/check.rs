//! Every invariant of the state, gone through from the start.

use std::collections::BTreeMap;

use super::{
    State,
    apply::{Broken, sides},
};
use crate::{
    id::{AccountId, OrderHash},
    key::Roles,
    rows::{CurrencyNumber, Done, HoldRowState},
};

impl State {
    /// Checks conservation, that only issuers owe, that held money is there and held by holds that
    /// exist, that refunds match, and that the indices agree with the rows.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        self.check_balances()?;
        self.check_accounts()?;
        self.check_holds()?;
        self.check_refunds()?;
        self.check_indices()
    }

    fn check_balances(&self) -> Result<(), Broken> {
        let mut sums = vec![0_i128; self.stored.currencies.len()];
        for (id, account) in self.stored.accounts.iter() {
            for row in &account.balances {
                let sum = sums
                    .get_mut(usize::from(row.currency))
                    .ok_or_else(|| Broken(format!("account {id} has an unknown currency")))?;
                *sum = sum
                    .checked_add(row.posted)
                    .ok_or_else(|| Broken("the sum of the balances overflows".to_owned()))?;
                let issuer = self.is_issuer(id, row.currency);
                let held = i128::try_from(row.held).unwrap_or(i128::MAX);
                if !issuer && (row.posted < 0 || held > row.posted) {
                    return Err(Broken(format!(
                        "account {id} is overdrawn: {} posted, {} held",
                        row.posted, row.held
                    )));
                }
            }
        }
        for (sum, currency) in sums.iter().zip(&self.stored.currencies) {
            if *sum != 0 {
                return Err(Broken(format!(
                    "the balances of {} sum to {sum} instead of zero",
                    currency.code
                )));
            }
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), Broken> {
        for (id, account) in self.stored.accounts.iter() {
            if !account
                .keys
                .iter()
                .any(|key| key.roles.include(Roles::ADMIN))
            {
                return Err(Broken(format!(
                    "account {id} has no key with the role admin"
                )));
            }
        }
        let origin = self.stored.origin.iter().map(|origin| origin.operator);
        let issuers = self.stored.currencies.iter().map(|row| row.issuer);
        for id in origin.chain(issuers) {
            if !self.stored.accounts.contains_key(&id) {
                return Err(Broken(format!(
                    "no account {id} of an issuer or the operator"
                )));
            }
        }
        Ok(())
    }

    fn check_holds(&self) -> Result<(), Broken> {
        let mut held: BTreeMap<(AccountId, CurrencyNumber), u128> = BTreeMap::new();
        let mut open: BTreeMap<AccountId, u32> = BTreeMap::new();
        for (id, hold) in &self.stored.holds {
            if hold.captured > hold.max {
                return Err(Broken(format!("more was posted than {id} holds")));
            }
            let channel = hold.condition.grace_ms().is_some();
            if (channel && hold.until_ms.is_some()) || (!channel && hold.withdrawable_ms.is_some())
            {
                return Err(Broken(format!(
                    "{id} ends otherwise than its condition says"
                )));
            }
            if hold.state != HoldRowState::Open {
                continue;
            }
            let sum = held.entry((hold.payer, hold.currency)).or_default();
            *sum = sum
                .checked_add(hold.remainder())
                .ok_or_else(|| Broken("the sum of the holds overflows".to_owned()))?;
            *open.entry(hold.payer).or_default() += 1;
        }
        for (id, account) in self.stored.accounts.iter() {
            for row in &account.balances {
                let holds = held.remove(&(*id, row.currency)).unwrap_or(0);
                if holds != row.held {
                    return Err(Broken(format!(
                        "account {id} has {} held, but its holds sum to {holds}",
                        row.held
                    )));
                }
            }
            if open.get(id).copied().unwrap_or(0) != account.open_holds {
                return Err(Broken(format!("account {id} miscounts its open holds")));
            }
        }
        match held.first_key_value() {
            Some(((id, _), _)) => Err(Broken(format!("a hold of account {id} has no balance"))),
            None => Ok(()),
        }
    }

    fn check_refunds(&self) -> Result<(), Broken> {
        let mut refunds: BTreeMap<OrderHash, u128> = BTreeMap::new();
        for (_, _, row) in self.stored.executed.iter() {
            if let Done::Moved(row) = &row.done
                && let Some(of) = row.refund_of
            {
                let sum = refunds.entry(OrderHash::from(of)).or_default();
                *sum = sum.saturating_add(row.units);
            }
        }
        for (_, hash, row) in self.stored.executed.iter() {
            if let Done::Moved(row) = &row.done {
                // A refund may be remembered for longer than what it refunded, never for less than
                // it can be refunded further; so what is remembered may be less than the count.
                let remembered = refunds.get(hash).copied().unwrap_or(0);
                if row.refunded > row.units || remembered > row.refunded {
                    return Err(Broken(format!("the refunds of order {hash} do not agree")));
                }
            }
        }
        Ok(())
    }

    fn check_indices(&self) -> Result<(), Broken> {
        self.stored.executed.check()?;
        let mut moved = 0_usize;
        for (position, hash, row) in self.stored.executed.iter() {
            for account in sides(&row.done).into_iter().flatten() {
                let movements = self.stored.accounts.movements(&account);
                let found = movements.and_then(|it| it.before(row.sequence + 1).next());
                if found != Some((row.sequence, position)) {
                    return Err(Broken(format!("account {account} lacks its order {hash}")));
                }
                moved += 1;
            }
        }
        let noted = self.stored.accounts.iter().map(|(id, _)| {
            let movements = self.stored.accounts.movements(id);
            movements.map_or(0, |it| it.before(u64::MAX).count())
        });
        let mut fresh = Self::default();
        fresh.stored.currencies.clone_from(&self.stored.currencies);
        fresh.stored.holds.clone_from(&self.stored.holds);
        fresh
            .rebuild()
            .map_err(|_| Broken("a currency is malformed".to_owned()))?;
        if noted.sum::<usize>() == moved
            && fresh.lapsing == self.lapsing
            && fresh.channels == self.channels
            && fresh.currencies == self.currencies
        {
            Ok(())
        } else {
            Err(Broken("an index disagrees with its rows".to_owned()))
        }
    }
}
