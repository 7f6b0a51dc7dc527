//! What health and status say, as JSON.

use serde::{Deserialize, Serialize};
use stiver_wal::Health;

use crate::admin::wire::{Books, Money};

/// `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether requests should come here.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Check {
    pub(super) fn new(name: &str, why: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            ok: why.is_none(),
            why,
        }
    }
}

/// `GET /v1/status`
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The gateway's version.
    pub version: String,
    /// How long it runs, seconds.
    pub uptime_s: u64,
    /// Whether it is ready.
    pub ready: Ready,
    /// Payments being settled or delivered just now.
    pub at_work: usize,
    /// Public connections open now.
    pub connections: usize,
    /// Most public connections.
    pub connections_max: usize,
    /// Bytes of request bodies held now.
    pub spooled_bytes: usize,
    /// Most bytes of request bodies.
    pub spooled_bytes_max: usize,
    /// What was paid for and neither delivered nor given back; absent when the store cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Vec<Undelivered>>,
    /// False when there was more than could be counted.
    pub undelivered_complete: bool,
    /// The channels of sessions.
    pub sessions: Sessions,
    /// The store.
    pub store: StoreStatus,
    /// The logs.
    pub logs: Vec<Log>,
    /// The ledger; absent when it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Books>,
    /// Buckets of rate limits that are remembered.
    pub limited_sources: usize,
    /// Events that their observers were too slow for.
    pub events_lost: u64,
}

/// Payments of one method and currency.
#[derive(Debug, Serialize, Deserialize)]
pub struct Undelivered {
    /// The payment method.
    pub method: String,
    /// How many.
    pub payments: u64,
    /// How much.
    pub amount: Money,
}

/// The channels of sessions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// Channels that have not ended.
    pub open: u64,
    /// Most channels that have not ended.
    pub open_max: u64,
    /// Channels that have ended and are not forgotten yet.
    pub ended: u64,
    /// What is in the open ones. Absent where the ledger has several currencies: they do not add
    /// up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What is in open channels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    /// What payers have put in.
    pub deposit: Money,
    /// What they have authorised.
    pub accepted: Money,
    /// What was served.
    pub spent: Money,
    /// What is being served.
    pub reserved: Money,
    /// Of what was served, what is not taken yet: lost when its payer withdraws first.
    pub unsettled: Money,
}

/// The store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Claims held.
    pub claims: u64,
    /// Most claims.
    pub claims_max: u64,
    /// Their memory, bytes.
    pub claims_bytes: u64,
    /// Most memory of claims, bytes.
    pub claims_bytes_max: u64,
    /// Memory of stored responses, bytes.
    pub responses_bytes: u64,
    /// Most memory of stored responses, bytes.
    pub responses_bytes_max: u64,
    /// Claims by state.
    pub by_state: Vec<StateCount>,
}

/// Claims in one state.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateCount {
    /// The state.
    pub state: String,
    /// How many.
    pub claims: u64,
}

/// A log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Whose.
    pub name: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The number of its last durable event.
    pub events: u64,
    /// Batches made durable since the start.
    pub batches: u64,
    /// How long they took on average, microseconds.
    pub write_us_average: u64,
}

impl Log {
    pub(super) fn new(name: &str, health: &Health) -> Self {
        let batches = health.writes.batches();
        let total = u64::try_from(health.writes.total.as_micros()).unwrap_or(u64::MAX);
        Self {
            name: name.to_owned(),
            failure: health.failure.as_deref().map(ToOwned::to_owned),
            events: health.durable,
            batches,
            write_us_average: total.checked_div(batches).unwrap_or(0),
        }
    }
}
