//! The `ledger` method by its specification (docs/spec/ledger-charge.md).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use mpp::{ChallengeEcho, ChargeRequest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The payload of a credential.
#[derive(Serialize, Deserialize)]
pub struct Payload {
    pub order: String,
    pub key: String,
    pub signature: String,
}

impl Payload {
    /// The order, which has one byte form; empty when it is none.
    pub fn order_bytes(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&self.order).unwrap_or_default()
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Item {
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
}

type Members = BTreeMap<u64, Item>;

fn head(major: u8, value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let (extra, size) = match value {
        0..=23 => return out.push(major << 5 | bytes[7]),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | extra);
    out.extend(&bytes[8 - size..]);
}

/// A deterministic CBOR map of unsigned integers to integers, texts and bytes.
fn encode(members: &Members) -> Vec<u8> {
    let mut out = Vec::new();
    head(5, members.len() as u64, &mut out);
    for (key, item) in members {
        head(0, *key, &mut out);
        let (major, bytes) = match item {
            Item::Number(number) => {
                head(0, *number, &mut out);
                continue;
            }
            Item::Bytes(bytes) => (2, bytes.as_slice()),
            Item::Text(text) => (3, text.as_bytes()),
        };
        head(major, bytes.len() as u64, &mut out);
        out.extend(bytes);
    }
    out
}

fn next_head(bytes: &mut &[u8]) -> Option<(u8, u64)> {
    let (first, rest) = bytes.split_first()?;
    let extra = first & 31;
    let size = if extra < 24 {
        0
    } else {
        1_usize.checked_shl(u32::from(extra) - 24)?
    };
    let (number, rest) = rest.split_at_checked(size)?;
    *bytes = rest;
    let number = number
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    Some((
        first >> 5,
        if size == 0 { u64::from(extra) } else { number },
    ))
}

/// Reads such a map, and refuses bytes that `encode` would not have written.
fn decode(bytes: &[u8]) -> Option<Members> {
    let mut rest = bytes;
    let (_, count) = next_head(&mut rest)?;
    let mut members = Members::new();
    for _ in 0..count {
        let (_, key) = next_head(&mut rest)?;
        let (major, number) = next_head(&mut rest)?;
        let item = match major {
            0 => Item::Number(number),
            _ => {
                let (part, left) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                rest = left;
                match major {
                    2 => Item::Bytes(part.to_vec()),
                    _ => Item::Text(String::from_utf8(part.to_vec()).ok()?),
                }
            }
        };
        members.insert(key, item);
    }
    (encode(&members) == bytes).then_some(members)
}

/// What an order must say to answer this challenge.
fn expected(challenge: &ChallengeEcho) -> Option<Members> {
    let request: ChargeRequest = challenge.request.decode().ok()?;
    let ledger = request.method_details.as_ref()?["ledger"]
        .as_str()?
        .to_owned();
    let recipient = request
        .recipient
        .as_deref()?
        .strip_prefix("acct_")?
        .to_owned();
    Some(Members::from([
        (0, Item::Text("stiver-ledger/order/1".to_owned())),
        (1, Item::Number(1)),
        (2, Item::Bytes(URL_SAFE_NO_PAD.decode(ledger).ok()?)),
        (6, Item::Text(challenge.id.clone())),
        (7, Item::Text(challenge.realm.clone())),
        (8, Item::Bytes(URL_SAFE_NO_PAD.decode(recipient).ok()?)),
        (9, Item::Number(request.amount.parse().ok()?)),
        (10, Item::Text(request.currency)),
    ]))
}

/// Why an order does not answer a challenge. Its signature is the ledger's to check.
pub fn mismatch(payload: &Payload, challenge: &ChallengeEcho) -> Option<String> {
    let order = URL_SAFE_NO_PAD.decode(&payload.order).ok();
    let Some(order) = order.and_then(|order| decode(&order)) else {
        return Some("the order is malformed".to_owned());
    };
    let Some(expected) = expected(challenge) else {
        return Some("the challenge is malformed".to_owned());
    };
    let wrong = expected
        .iter()
        .find(|(key, item)| order.get(key) != Some(item));
    wrong.map(|(key, _)| format!("member {key} of the order is another"))
}

/// A key, its account, and orders that it signs.
#[derive(Clone)]
pub struct Account {
    key: SigningKey,
    pub did: String,
    id: Vec<u8>,
}

impl Account {
    pub fn new(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let raw = key.verifying_key().to_bytes();
        let multicodec: Vec<u8> = [0xed, 0x01].into_iter().chain(raw).collect();
        let hash = Sha256::new()
            .chain_update("stiver-ledger/account/1")
            .chain_update(raw);
        Self {
            key,
            did: format!("did:key:z{}", bs58::encode(multicodec).into_string()),
            id: hash.finalize()[..16].to_vec(),
        }
    }

    /// The payload of a credential that answers this challenge.
    pub fn pay(&self, challenge: &ChallengeEcho) -> Option<Payload> {
        let mut members = expected(challenge)?;
        let expires = OffsetDateTime::parse(challenge.expires.as_deref()?, &Rfc3339).ok()?;
        let millis = expires.unix_timestamp_nanos() / 1_000_000;
        let mut nonce = vec![0; 16];
        getrandom::fill(&mut nonce).ok()?;
        members.insert(3, Item::Bytes(self.id.clone()));
        members.insert(4, Item::Bytes(nonce));
        members.insert(5, Item::Number(u64::try_from(millis).ok()?));
        let order = encode(&members);
        Some(Payload {
            signature: URL_SAFE_NO_PAD.encode(self.key.sign(&order).to_bytes()),
            order: URL_SAFE_NO_PAD.encode(order),
            key: self.did.clone(),
        })
    }
}
