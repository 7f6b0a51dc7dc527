//! Receipts of sessions: the channel as it stands.

use std::{collections::BTreeMap, sync::Arc};

use stiver_channel::Figures;
use stiver_core::{
    Receipt, Timestamp,
    json::Value,
    name::{ChallengeId, IntentName},
};

use stiver_store::Carried;

use super::busy::Busy;
use crate::record::SpendReceipt;

/// The member that says `false` in a receipt that came without the resource: a voucher or a top-up
/// was taken, and nothing was delivered. Receipts of deliveries do not have it.
pub(crate) const DELIVERED: &str = "delivered";

/// What a receipt tells.
pub(crate) struct Session<'a> {
    pub(crate) busy: &'a Busy,
    pub(crate) challenge_id: &'a str,
    pub(crate) figures: Figures,
    /// How many units were delivered, where they are counted.
    pub(crate) units: Option<Value>,
    /// What the channel's meters carry.
    pub(crate) carried: &'a Carried,
    pub(crate) at: Timestamp,
    /// Members of a movement.
    pub(crate) more: &'a [(String, Value)],
}

/// A count of units.
pub(crate) fn count(units: u64) -> Value {
    Value::String(units.to_string())
}

/// What is carried: for each unit a fraction of a base unit, such as `2/5`. What is owed beyond
/// them is `owed`.
fn told(carried: &Carried) -> Value {
    let fractions = carried.meters.iter().map(|it| {
        let fraction = format!("{}/{}", it.carry.parts(), it.carry.of());
        (it.meter.to_string(), Value::String(fraction))
    });
    let owed = (carried.owed > 0).then(|| ("owed".to_owned(), count(carried.owed)));
    Value::Object(fractions.chain(owed).collect())
}

impl Session<'_> {
    /// The `Payment-Receipt` value. `sealed`: signed, where the method signs receipts.
    ///
    /// # Spec
    /// draft-tempo-session-00, TSES-42.
    pub(crate) async fn print(&self, sealed: bool) -> Arc<str> {
        self.sealed(sealed).await.to_header().into()
    }

    /// The field value and the JSON in it.
    pub(crate) async fn both(&self, sealed: bool) -> (Arc<str>, String) {
        let receipt = self.sealed(sealed).await;
        (receipt.to_header().into(), receipt.to_json())
    }

    async fn sealed(&self, sealed: bool) -> Receipt {
        let Self { busy, figures, .. } = self;
        let members = busy.channel.receipt.iter().chain(self.more).cloned();
        let mut extra: BTreeMap<String, Value> = members.collect();
        let mut put = |name: &str, text: String| {
            extra.insert(name.to_owned(), Value::String(text));
        };
        put("intent", IntentName::session().as_str().to_owned());
        put("channelId", busy.text.clone());
        put("acceptedCumulative", figures.accepted.to_string());
        put("spent", figures.spent.to_string());
        if let Some(units) = &self.units {
            extra.insert("units".to_owned(), units.clone());
        }
        if !self.carried.is_empty() {
            extra.insert("carried".to_owned(), told(self.carried));
        }
        let mut receipt = Receipt {
            method: busy.method.name().clone(),
            timestamp: self.at,
            reference: busy.text.clone(),
            challenge_id: ChallengeId::new(self.challenge_id).ok(),
            extra,
        };
        // A signer that is away costs the signature, not the receipt.
        if sealed && let Err(error) = busy.method.seal_receipt(&mut receipt).await {
            tracing::warn!(%error, "a receipt of a session was not signed");
        }
        receipt
    }
}

/// The receipt of a request that was served: the same bytes whenever it is told.
pub(super) async fn served(
    busy: &Busy,
    told: &SpendReceipt,
    (figures, carried): (Figures, &Carried),
) -> Arc<str> {
    let receipt = Session {
        busy,
        challenge_id: &told.challenge_id,
        figures,
        units: Some(count(1)),
        carried,
        at: told.at,
        more: &[],
    };
    receipt.print(false).await
}
