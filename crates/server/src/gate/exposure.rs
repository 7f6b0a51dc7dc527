//! What was paid for and not delivered.

use std::collections::BTreeMap;

use stiver_core::{Amount, Currency};
use stiver_store::{ClaimState, Command, Reply, StoreError};

use super::Gate;
use crate::{
    limits::{EXPOSURE_CLAIMS_MAX, RECOVERY_BATCH_MAX},
    record::{self, Details},
};

/// What was paid for and neither delivered nor given back, and nobody works on just now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// One row for each method and currency.
    pub rows: Vec<Exposed>,
    /// False when there were more than [`EXPOSURE_CLAIMS_MAX`] unfinished claims, and the rest was
    /// not looked at.
    pub complete: bool,
}

/// One row of an [`Exposure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The payment method.
    pub method: String,
    /// How many payments.
    pub payments: u64,
    /// How much.
    pub amount: Amount,
}

impl Gate {
    /// Counts what was paid for and neither delivered nor given back: payments whose client may
    /// come again, and refunds that the rail has not confirmed. Those at work just now are not
    /// among them.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not list its claims.
    pub async fn exposure(&self) -> Result<Exposure, StoreError> {
        let mut sums: BTreeMap<(String, String), (u64, u128, Currency)> = BTreeMap::new();
        let mut after = None;
        let mut seen = 0;
        let complete = loop {
            let command = Command::Unfinished {
                after: after.take(),
                limit: RECOVERY_BATCH_MAX,
            };
            let Reply::Claims(claims) = self.ask(command).await? else {
                return Err(StoreError(
                    "the list of unfinished claims was not given".to_owned(),
                ));
            };
            seen += claims.len();
            for claim in &claims {
                let settled = match &claim.state {
                    ClaimState::Settled { settlement }
                    | ClaimState::Delivering { settlement }
                    | ClaimState::Refunding { settlement, .. } => {
                        record::decode_settled(settlement).ok()
                    }
                    _ => None,
                };
                // What does not decode is told by recovery, again and again.
                let (Some(settled), Ok(details)) = (settled, Details::decode(&claim.details))
                else {
                    continue;
                };
                let currency = settled.amount.currency();
                let row = sums
                    .entry((details.method, currency.code().to_owned()))
                    .or_insert_with(|| (0, 0, currency.clone()));
                row.0 = row.0.saturating_add(1);
                row.1 = row.1.saturating_add(settled.amount.units());
            }
            match claims.last() {
                Some(last) if claims.len() >= RECOVERY_BATCH_MAX => {
                    if seen >= EXPOSURE_CLAIMS_MAX {
                        break false;
                    }
                    after = Some(last.challenge_id.clone());
                }
                _ => break true,
            }
        };
        let rows = sums.into_iter().map(|((method, _), row)| Exposed {
            method,
            payments: row.0,
            amount: row.2.units(row.1),
        });
        Ok(Exposure {
            rows: rows.collect(),
            complete,
        })
    }
}
