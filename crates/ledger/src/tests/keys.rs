//! Keys and orders for tests: everything follows from a name.

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use stiver_core::{Timestamp, did::DidKey};

use crate::{
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Order, SignedOrder, VerifiedOrder},
    text::CurrencyCode,
};

/// When tests begin: 2026-01-01T00:00:00Z.
pub(super) const BEGIN_MS: u64 = 1_767_225_600_000;

/// The key of a name.
pub(super) fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

/// The public key of a name.
pub(super) fn did(name: &str) -> DidKey {
    DidKey::from_public_key(key(name).verifying_key().to_bytes())
}

/// The account that a name's key opens.
pub(super) fn account(name: &str) -> AccountId {
    AccountId::of_first_key(&did(name))
}

/// A nonce of a number.
pub(super) fn nonce(number: u64) -> Nonce {
    Nonce::from_bytes(u128::from(number).to_be_bytes())
}

/// US dollars.
pub(super) fn usd() -> CurrencyCode {
    CurrencyCode::new("usd").unwrap()
}

/// Signs bytes as an order.
pub(super) fn sign_bytes(bytes: &[u8], by: &str) -> SignedOrder {
    let key = key(by);
    let did = DidKey::from_public_key(key.verifying_key().to_bytes());
    SignedOrder::new(bytes, did, key.sign(bytes).to_bytes()).unwrap()
}

/// Signs an order.
pub(super) fn sign(order: &Order, by: &str) -> VerifiedOrder {
    sign_bytes(&order.encode(), by).verify().unwrap()
}

/// An order of a name's own account, valid for a minute from an instant.
pub(super) fn order(
    ledger: LedgerId,
    name: &str,
    number: u64,
    now: Timestamp,
    action: Action,
) -> Order {
    Order {
        ledger,
        account: account(name),
        nonce: nonce(number),
        expires: now.plus_millis(60_000),
        action,
    }
}
