//! Names of things in a ledger.

use std::{fmt, str::FromStr};

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use sha2::{Digest as _, Sha256};
use stiver_core::{base64url, did::DidKey};

/// Separates account ids from every other use of SHA-256 over a key.
const ACCOUNT_DOMAIN: &[u8] = b"stiver-ledger/account/1";

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: it must be `{prefix}` and {bytes} bytes in unpadded base64url")]
pub struct IdError {
    /// What was expected, with its article.
    pub expected: &'static str,
    /// How its text begins.
    pub prefix: &'static str,
    /// How many bytes follow.
    pub bytes: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// From its bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&base64url::encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { expected: $what, prefix: $prefix, bytes: $bytes };
                let Some(digits) = text.strip_prefix($prefix) else {
                    return Err(error);
                };
                if digits.len() > 2 * $bytes {
                    return Err(error);
                }
                let bytes = base64url::decode(digits.as_bytes()).map_err(|_| error.clone())?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let bytes = d.bytes()?;
                bytes
                    .try_into()
                    .map(Self)
                    .map_err(|_| DecodeError::message(concat!("not ", $what)))
            }
        }
    };
}

id!(
    /// A ledger: 16 random bytes drawn at its genesis. Text: 22 characters of base64url.
    LedgerId, 16, "", "a ledger id"
);
id!(
    /// An account: 16 bytes. Text: `acct_` and 22 characters of base64url.
    ///
    /// The id comes from the account's first key ([`AccountId::of_first_key`]) and stays when keys
    /// rotate, so whoever holds a key knows its account without asking a ledger.
    AccountId, 16, "acct_", "an account id"
);
id!(
    /// A nonce: 16 random bytes. For each account, at most one order with a nonce executes.
    Nonce, 16, "", "a nonce"
);
id!(
    /// SHA-256 of an order's bytes.
    OrderHash, 32, "", "an order hash"
);
id!(
    /// A movement of money: the hash of the order that made it. Text: `tr_` and 43 characters.
    TransferId, 32, "tr_", "a transfer id"
);
id!(
    /// A hold: the hash of the order that made it. Text: `hold_` and 43 characters.
    HoldId, 32, "hold_", "a hold id"
);

impl AccountId {
    /// The account that this key opens when it is an account's first: the first 16 bytes of
    /// SHA-256 over `stiver-ledger/account/1` and the 32 bytes of the public key.
    ///
    /// ```
    /// use stiver_core::did::DidKey;
    /// use stiver_ledger::id::AccountId;
    /// let account = AccountId::of_first_key(&DidKey::from_public_key([7; 32]));
    /// assert_eq!(account.to_string().parse(), Ok(account));
    /// ```
    pub fn of_first_key(key: &DidKey) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(ACCOUNT_DOMAIN)
            .chain_update(key.public_key())
            .finalize()
            .into();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        Self(id)
    }
}

impl OrderHash {
    /// Of an order's bytes.
    pub fn of(order: &[u8]) -> Self {
        Self(Sha256::digest(order).into())
    }
}

impl From<OrderHash> for TransferId {
    fn from(hash: OrderHash) -> Self {
        Self(hash.0)
    }
}

impl From<TransferId> for OrderHash {
    fn from(id: TransferId) -> Self {
        Self(id.0)
    }
}

impl From<OrderHash> for HoldId {
    fn from(hash: OrderHash) -> Self {
        Self(hash.0)
    }
}

impl From<HoldId> for OrderHash {
    fn from(id: HoldId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_to_themselves() {
        let account = AccountId::from_bytes([0xfb; 16]);
        assert_eq!(account.to_string(), "acct_-_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(account.to_string().parse(), Ok(account));
        let transfer = TransferId::from_bytes([1; 32]);
        assert_eq!(transfer.to_string().parse(), Ok(transfer));
        let ledger = LedgerId::from_bytes([2; 16]);
        assert_eq!(ledger.to_string().parse(), Ok(ledger));
    }

    #[test]
    fn hostile_ids_are_refused() {
        let long = format!("acct_{}", "A".repeat(100_000));
        for text in [
            "",
            "acct_",
            "acct_AAAA",
            "acct_AAAAAAAAAAAAAAAAAAAAAA==",
            "ACCT_AAAAAAAAAAAAAAAAAAAAAA",
            "acct_AAAAAAAAAAAAAAAAAAAAAB",
            " acct_AAAAAAAAAAAAAAAAAAAAAA",
            &long,
        ] {
            let error = text.parse::<AccountId>().unwrap_err();
            assert_eq!(error.expected, "an account id", "{text}");
        }
    }
}
