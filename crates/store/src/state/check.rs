//! Every invariant of the state, recomputed from the claims alone.

use std::{collections::BTreeSet, sync::Arc};

use stiver_wal::Inconsistent;

use super::{State, evolve};
use crate::{claim::ClaimState, rules::FIRST_EPOCH};

/// Compares every index with what the claims say.
pub(super) fn check(state: &State) -> Result<(), Inconsistent> {
    let mut sums = Sums::default();
    for (id, entry) in &state.claims {
        check_claim(state, id, entry)?;
        let claim = &entry.claim;
        sums.counts[claim.state.index()] += 1;
        sums.bytes += u128::from(entry.weight());
        sums.replay_keys += entry.replay_keys.len();
        sums.idempotency_keys += usize::from(evolve::idempotency_key(claim).is_some());
        sums.retained += usize::from(claim.state.is_terminal());
        sums.responses += usize::from(entry.response.is_some());
        let response = evolve::response(claim);
        sums.response_bytes += response.map_or(0, |it| u128::from(it.weight()));
        if !sums.numbers.insert(entry.number) {
            return Err(broken(id, "shares its number"));
        }
    }
    let unfinished = state.claims.len() - sums.retained;
    let table = [
        ("replay keys", sums.replay_keys, state.replay_keys.len()),
        (
            "idempotency keys",
            sums.idempotency_keys,
            state.idempotency_keys.len(),
        ),
        ("terminal claims", sums.retained, state.retained.len()),
        ("unfinished claims", unfinished, state.unfinished.len()),
        ("responses", sums.responses, state.responses.len()),
        ("expiring responses", sums.responses, state.expiring.len()),
    ];
    for (what, counted, indexed) in table {
        if counted != indexed {
            return Err(Inconsistent(format!(
                "{counted} {what} counted, {indexed} indexed"
            )));
        }
    }
    if sums.counts != state.counts
        || sums.bytes != u128::from(state.claims_bytes)
        || sums.response_bytes != u128::from(state.responses_bytes)
    {
        return Err(Inconsistent(
            "the sums over all claims are wrong".to_owned(),
        ));
    }
    if state.responses_bytes > state.limits.responses_bytes_max {
        return Err(Inconsistent(
            "more response bytes than the limit".to_owned(),
        ));
    }
    state.channels.check()
}

#[derive(Default)]
struct Sums {
    counts: [u64; ClaimState::NAMES.len()],
    bytes: u128,
    response_bytes: u128,
    replay_keys: usize,
    idempotency_keys: usize,
    retained: usize,
    responses: usize,
    numbers: BTreeSet<u64>,
}

fn check_claim(state: &State, id: &str, entry: &super::Entry) -> Result<(), Inconsistent> {
    let claim = &entry.claim;
    let is_here = |held: Option<&Arc<str>>| held.is_some_and(|it| **it == *id);
    if claim.challenge_id != id {
        return Err(broken(id, "is kept under another id"));
    }
    if claim.epoch < FIRST_EPOCH {
        return Err(broken(id, "has no epoch"));
    }
    if entry.number >= state.next || entry.response.is_some_and(|it| it >= state.next) {
        return Err(broken(id, "has a number that was not given out"));
    }
    if !entry
        .replay_keys
        .iter()
        .all(|key| is_here(state.replay_keys.get(key)))
    {
        return Err(broken(id, "does not hold its replay keys"));
    }
    let key = evolve::idempotency_key(claim);
    if key.is_some_and(|key| !is_here(state.idempotency_keys.get(&key))) {
        return Err(broken(id, "does not hold its idempotency key"));
    }
    let indexed = if claim.state.is_terminal() {
        state
            .retained
            .contains(&(claim.retain_until, entry.number, id.into()))
    } else {
        is_here(state.unfinished.get(&entry.number))
    };
    if !indexed {
        return Err(broken(id, "is in the wrong place"));
    }
    let response = evolve::response(claim);
    let response_indexed = match (entry.response, response) {
        (None, None) => true,
        (Some(number), Some(response)) => {
            is_here(state.responses.get(&number))
                && state.expiring.contains(&(response.expires_at, number))
        }
        _ => false,
    };
    if !response_indexed {
        return Err(broken(id, "has a response that is not counted"));
    }
    if !state.known.contains(id) {
        return Err(broken(id, "is not known"));
    }
    Ok(())
}

fn broken(id: &str, what: &str) -> Inconsistent {
    Inconsistent(format!("claim {id} {what}"))
}
