//! `did:key` for Ed25519: how a public key is named in `source`, receipts and key files.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

/// The multicodec prefix of an Ed25519 public key: 0xed as an unsigned varint.
const ED25519_PREFIX: [u8; 2] = [0xed, 0x01];
/// Longest text read: a 34-byte value has at most 47 base58 digits.
const TEXT_BYTES_MAX: usize = 64;

/// An Ed25519 public key as a DID: `did:key:z6Mk...`.
///
/// Whether the 32 bytes are a point of the curve is told by whoever verifies a signature with them.
///
/// ```
/// use stiver_core::did::DidKey;
/// let did = DidKey::from_public_key([7; 32]);
/// assert!(did.to_string().starts_with("did:key:z6Mk"));
/// assert_eq!(did.to_string().parse(), Ok(did));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DidKey([u8; 32]);

impl DidKey {
    /// Names a public key.
    pub const fn from_public_key(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    /// The public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for DidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&ED25519_PREFIX);
        bytes[2..].copy_from_slice(&self.0);
        f.write_str("did:key:z")?;
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl FromStr for DidKey {
    type Err = DidKeyError;

    fn from_str(text: &str) -> Result<Self, DidKeyError> {
        let digits = text
            .strip_prefix("did:key:z")
            .ok_or(DidKeyError::NotDidKey)?;
        if digits.len() > TEXT_BYTES_MAX {
            return Err(DidKeyError::NotBase58);
        }
        let bytes: Vec<u8> = bs58::decode(digits)
            .into_vec()
            .map_err(|_| DidKeyError::NotBase58)?;
        let key = bytes
            .strip_prefix(&ED25519_PREFIX)
            .ok_or(DidKeyError::NotEd25519)?;
        key.try_into()
            .map(Self)
            .map_err(|_| DidKeyError::NotEd25519)
    }
}

/// Why a text names no Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DidKeyError {
    /// It does not begin with `did:key:z`.
    #[error("not a did:key in base58btc: it must begin with did:key:z")]
    NotDidKey,
    /// The rest is not base58btc, or far too long.
    #[error("not base58btc")]
    NotBase58,
    /// A key of another kind or length.
    #[error("not an Ed25519 key: such a did:key begins with did:key:z6Mk")]
    NotEd25519,
}

impl From<DidKey> for String {
    fn from(did: DidKey) -> Self {
        alloc::format!("{did}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_example_of_the_did_key_method_decodes() {
        // The Ed25519 example of the did:key method specification.
        let text = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        let did: DidKey = text.parse().unwrap();
        assert_eq!(did.to_string(), text);
        assert_eq!(did.public_key()[..4], [0x2e, 0x6f, 0xcc, 0xe3]);
    }

    #[test]
    fn hostile_texts_are_refused() {
        for (text, error) in [
            ("", DidKeyError::NotDidKey),
            ("did:web:example.com", DidKeyError::NotDidKey),
            ("did:key:f6Mk", DidKeyError::NotDidKey),
            ("did:key:z", DidKeyError::NotEd25519),
            ("did:key:z0OIl", DidKeyError::NotBase58),
            (
                "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
                DidKeyError::NotEd25519,
            ),
        ] {
            assert_eq!(text.parse::<DidKey>(), Err(error), "{text}");
        }
        let long = alloc::format!("did:key:z{}", "6".repeat(100_000));
        assert_eq!(long.parse::<DidKey>(), Err(DidKeyError::NotBase58));
    }
}
