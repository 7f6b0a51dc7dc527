//! Reading the journal back: what was paid, to whom, and what is unresolved.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use stiver_core::{Amount, Timestamp};
use stiver_env::Env;

use super::{CallId, Entry, Event, OutboxError, OutboxMachine, State};
use crate::{
    MoneyMoved,
    lane::{lane_folder, lane_numbers},
};

/// Which calls to tell of. The default tells all.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Only those of this origin, as [`crate::Origin`] prints it.
    pub origin: Option<String>,
    /// Only those that began at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those that began before this instant.
    pub until: Option<Timestamp>,
    /// Only those of this host, with or without its port: `api.example`, `127.0.0.1:8402`.
    pub host: Option<String>,
    /// Only those in one of these states; all when empty.
    pub states: Vec<State>,
    /// Only those that are not final.
    pub unresolved: bool,
    /// At most this many, the newest.
    pub newest: Option<usize>,
}

impl HistoryFilter {
    /// True when the filter lets a call through; `newest` is not looked at.
    pub fn admits(&self, entry: &Entry) -> bool {
        self.origin
            .as_ref()
            .is_none_or(|origin| *origin == entry.resource.origin)
            && self
                .host
                .as_ref()
                .is_none_or(|host| is_of_host(&entry.resource.origin, host))
            && (self.states.is_empty() || self.states.contains(&entry.state))
            && self.since.is_none_or(|since| entry.begun_at >= since)
            && self.until.is_none_or(|until| entry.begun_at < until)
            && !(self.unresolved && entry.state.is_final())
    }

    /// The calls that the filter lets through, oldest first.
    pub fn apply(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.retain(|entry| self.admits(entry));
        entries.sort_by_key(|entry| (entry.begun_at, entry.id));
        if let Some(newest) = self.newest {
            entries.drain(..entries.len().saturating_sub(newest));
        }
        entries
    }
}

/// `https://api.example:8443` is of the hosts `api.example` and `api.example:8443`.
fn is_of_host(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let without_port = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    authority.eq_ignore_ascii_case(host) || without_port.eq_ignore_ascii_case(host)
}

/// Reads the calls of an outbox folder, oldest first. Takes no lock: other processes may be paying
/// meanwhile; what was durable when it began is told. Blocks on disk.
///
/// # Errors
///
/// The same as [`super::LaneOutbox::open`], a damaged log among them. A folder that is not there
/// has no history.
pub fn history(
    folder: &Path,
    env: &Env,
    filter: &HistoryFilter,
) -> Result<Vec<Entry>, OutboxError> {
    let mut entries = Vec::new();
    for number in lane_numbers(folder, env)? {
        let lane = lane_folder(folder, number);
        let mut calls: HashMap<CallId, Entry> = HashMap::new();
        let mut visit = |_sequence: u64, at: Timestamp, event: Event| {
            if let Some(entry) = event.begin(at) {
                calls.insert(event.id, entry);
            } else if let Some(entry) = calls.get_mut(&event.id) {
                event.change.apply(at, entry);
            }
            true
        };
        stiver_wal::history::<OutboxMachine>(&lane, env, &mut visit).map_err(|source| {
            OutboxError::Open {
                folder: lane.clone(),
                source,
            }
        })?;
        entries.extend(calls.into_values());
    }
    Ok(filter.apply(entries))
}

/// What some calls come to in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Moved for certain.
    pub moved: Amount,
    /// Signed, and nobody knows yet: count it as spent.
    pub maybe: Amount,
}

/// Sums calls, by currency code.
///
/// # Errors
///
/// An overflow, or two currencies of one code with different decimals.
pub fn totals(
    entries: &[Entry],
) -> Result<BTreeMap<String, Totals>, stiver_core::amount::AmountError> {
    let mut sums: BTreeMap<String, Totals> = BTreeMap::new();
    for entry in entries {
        let amount = &entry.terms.amount;
        let zero = amount.currency().units(0);
        let sum = sums
            .entry(amount.currency().code().to_owned())
            .or_insert_with(|| Totals {
                moved: zero.clone(),
                maybe: zero,
            });
        match entry.money_moved() {
            MoneyMoved::No => {}
            MoneyMoved::Maybe => sum.maybe = sum.maybe.checked_add(amount)?,
            MoneyMoved::Yes => sum.moved = sum.moved.checked_add(amount)?,
        }
    }
    Ok(sums)
}
