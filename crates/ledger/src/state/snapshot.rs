//! The whole state as bytes.

use stiver_core::{Currency, amount::CurrencyError};

use super::{
    State, Stored,
    apply::{Broken, sides},
};
use crate::{cbor, rows::HoldRowState};

impl State {
    /// Writes the whole state.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        cbor::encode(&self.stored)
    }

    /// Reads a whole state, and checks its invariants.
    pub(crate) fn restore(bytes: &[u8]) -> Result<Self, Broken> {
        let stored: Stored = cbor::decode_own(bytes)
            .map_err(|error| Broken(format!("the snapshot of the ledger: {error}")))?;
        let mut state = Self {
            stored,
            ..Self::default()
        };
        state
            .rebuild()
            .map_err(|error| Broken(format!("the snapshot of the ledger: {error}")))?;
        state.check()?;
        Ok(state)
    }

    /// Makes everything that follows from the stored rows.
    pub(super) fn rebuild(&mut self) -> Result<(), CurrencyError> {
        for row in &self.stored.currencies {
            let currency = Currency::new(row.code.as_str(), row.decimals)?;
            self.currencies.push(currency);
        }
        let executed = self.stored.executed.iter();
        let mut moved: Vec<_> = executed
            .map(|(position, _, row)| (row.sequence, position, sides(&row.done)))
            .collect();
        moved.sort_unstable_by_key(|(sequence, ..)| *sequence);
        for (sequence, position, accounts) in moved {
            for account in accounts.into_iter().flatten() {
                if let Some(account) = self.stored.accounts.position(&account) {
                    self.stored.accounts.note(account, sequence, position);
                }
            }
        }
        for (id, hold) in &self.stored.holds {
            if hold.state == HoldRowState::Open && hold.condition.grace_ms().is_some() {
                self.channels.insert((hold.payer, *id));
            }
            if hold.state == HoldRowState::Open
                && let Some(until) = hold.until()
            {
                self.lapsing.insert((until, *id));
            }
        }
        Ok(())
    }
}
