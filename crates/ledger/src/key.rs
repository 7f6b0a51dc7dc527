//! Keys of accounts: what each may do, and how signatures are verified.

use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{Decode, Encode};
use stiver_core::{Timestamp, did::DidKey};

/// What a key may do for its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Roles(#[n(0)] u8);

impl Roles {
    /// Spends: transfers, holds, channels, burns. For an issuer also mints.
    pub const SPEND: Self = Self(1);
    /// Settles what others owe: posts, captures and voids holds, refunds.
    pub const SETTLE: Self = Self(2);
    /// Adds and revokes keys. For the operator also opens, freezes and limits accounts.
    pub const ADMIN: Self = Self(4);
    /// All of them: what an account's first key has.
    pub const ALL: Self = Self(7);

    /// From bits; none when no bit or an unknown one is set.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (1..=Self::ALL.0).contains(&bits).then_some(Self(bits))
    }
    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// True when every role of `other` is among these.
    pub fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// The names, joined by `+`: `spend+settle+admin`.
    pub fn names(self) -> String {
        let all = [
            (Self::SPEND, "spend"),
            (Self::SETTLE, "settle"),
            (Self::ADMIN, "admin"),
        ];
        let names: Vec<&str> = all
            .into_iter()
            .filter(|(role, _)| self.include(*role))
            .map(|(_, name)| name)
            .collect();
        names.join("+")
    }
}

/// A key of an account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AccountKey {
    /// The key.
    #[cbor(n(0), with = "crate::cbor::key")]
    pub key: DidKey,
    /// What it may do.
    #[n(1)]
    pub roles: Roles,
    /// Counts the keys this account ever had, from 1.
    #[n(2)]
    pub version: u32,
    /// When it was added.
    #[cbor(n(3), with = "crate::cbor::time")]
    pub added_at: Timestamp,
}

/// Verifies an Ed25519 signature by the strict rule: canonical encodings only, no key or
/// commitment of small order.
///
/// # Errors
///
/// [`SignatureError`] when it does not verify; it does not say why.
pub fn verify(key: &DidKey, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    VerifyingKey::from_bytes(key.public_key())
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .map_err(|_| SignatureError)
}

/// The signature does not verify under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under the key")]
pub struct SignatureError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_and_unknown_bits_refused() {
        assert_eq!(Roles::ALL.names(), "spend+settle+admin");
        assert_eq!(Roles::SPEND.and(Roles::ADMIN).names(), "spend+admin");
        assert!(Roles::ALL.include(Roles::SETTLE));
        assert!(!Roles::SETTLE.include(Roles::SPEND));
        assert_eq!(Roles::from_bits(0), None);
        assert_eq!(Roles::from_bits(8), None);
        assert_eq!(Roles::from_bits(3), Some(Roles::SPEND.and(Roles::SETTLE)));
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // The identity point, with a signature of the identity and zero: a cofactored or lax
        // verifier accepts it for every message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let key = DidKey::from_public_key(identity);
        assert_eq!(verify(&key, b"anything", &signature), Err(SignatureError));
    }
}
