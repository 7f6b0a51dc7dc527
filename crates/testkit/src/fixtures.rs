//! Values that tests share: the same on every run, and told apart by a number.

use std::sync::Arc;

use stiver_core::{
    Amount, Currency, Timestamp,
    binding::{KeyRing, Secret},
    name::Realm,
};
use stiver_store::NewClaim;

/// One minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// The lease of [`new_claim`], in milliseconds.
pub const LEASE_MS: u64 = 30_000;

/// When tests begin: 2026-01-01T00:00:00Z.
pub fn now() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000)
}

/// The realm of the tests' server.
pub fn realm() -> Realm {
    Realm::new("api.example.com").expect("the name is valid, because it is visible ASCII")
}

/// US dollars in millionths.
pub fn usd() -> Currency {
    Currency::new("usd", 6).expect("the currency is valid, because its code is visible ASCII")
}

/// An amount of [`usd`], in millionths.
pub fn micro_usd(units: u128) -> Amount {
    usd().units(units)
}

/// A key ring with one secret of 32 bytes, each the ASCII letter `s`.
pub fn key_ring() -> KeyRing {
    KeyRing::new(Secret::from_bytes(&[b's'; 32]))
}

/// The challenge id of a number. Ids of real challenges are 43 characters of base64url, and so is
/// this.
pub fn challenge_id(n: u64) -> String {
    format!("{n:-<43}")
}

/// 32 bytes that stand for a hash. Two of one `kind` agree only when their numbers agree, and two
/// of different kinds never do.
pub fn hash(kind: u8, n: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    for (to, from) in bytes.iter_mut().skip(24).zip(n.to_be_bytes()) {
        *to = from;
    }
    bytes
}

/// The attempt id of a number.
pub fn attempt(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

/// A claim that agrees with no other number's: its own challenge, credential, replay key and
/// attempt. No idempotency key; owner 1; retained for ten minutes from [`now`].
pub fn new_claim(n: u64) -> NewClaim {
    NewClaim {
        challenge_id: challenge_id(n),
        credential_hash: hash(b'c', n),
        request_hash: hash(b'r', n),
        idempotency_key_hash: None,
        replay_keys: vec![hash(b'k', n)],
        details: Arc::from(format!("details {n}").as_bytes()),
        artefact: format!("artefact {n}").into_bytes().into(),
        handler_first: false,
        owner: 1,
        lease_ms: LEASE_MS,
        attempt: attempt(n),
        retain_until: now().plus_millis(10 * MINUTE_MS),
    }
}
