//! What proves to a ledger how much of a channel may be taken.
//!
//! A **voucher** is deterministic CBOR that the channel's voucher key signs (Ed25519). It says how
//! much may be taken in all since the channel was opened, so the highest one replaces all before:
//!
//! | key | member | type |
//! |---|---|---|
//! | 0 | domain, `stiver-ledger/voucher/1` | text |
//! | 1 | ledger | 16 bytes |
//! | 2 | channel: its hold | 32 bytes |
//! | 3 | cumulative, base units | integer or bignum |
//! | 4 | ack: what the payer confirms to have got | 32 bytes, optional |
//!
//! The ledger does not read the ack; a dispute has it signed.
//!
//! The signature is judged by the rule of [`stiver_channel::voucher::ed25519`], as every payee does
//! before it serves: what is accepted can be captured.
//!
//! A **word** of a hash chain costs no signature: a channel's order names the chain's root, word 0,
//! and each word is hashed from the one after it, as [`stiver_channel::voucher::chain`] says.
//! Whoever shows word `i` may take `i` times the chain's step in all. The chain's salt is
//! [`chain_salt`]: words of one ledger are none on another. What tells two channels of a ledger
//! apart is the root, so a payer draws a new seed for each.

use minicbor::{Decode, Encode, bytes::ByteArray};
use stiver_channel::voucher::{chain::Hasher, ed25519};
use stiver_core::did::DidKey;

use crate::{
    cbor::{self, CborError},
    id::{HoldId, LedgerId},
    key::SignatureError,
    limits::CHAIN_WORDS_MAX,
};

/// First member of every voucher.
pub const VOUCHER_DOMAIN: &str = "stiver-ledger/voucher/1";

/// What a channel's voucher key signs.
///
/// ```
/// use stiver_ledger::{id::{HoldId, LedgerId}, voucher::VoucherBody};
/// let voucher = VoucherBody {
///     ledger: LedgerId::from_bytes([1; 16]),
///     channel: HoldId::from_bytes([2; 32]),
///     cumulative: 250,
///     ack: None,
/// };
/// assert_eq!(VoucherBody::decode(&voucher.encode())?, voucher);
/// # Ok::<(), stiver_ledger::CborError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherBody {
    /// The ledger that may honour it.
    pub ledger: LedgerId,
    /// The channel.
    pub channel: HoldId,
    /// How much may be taken since the channel was opened, in all, base units.
    pub cumulative: u128,
    /// What the payer confirms to have got: a digest that payer and payee agreed on.
    pub ack: Option<[u8; 32]>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct VoucherMap<'b> {
    #[b(0)]
    domain: &'b str,
    #[n(1)]
    ledger: LedgerId,
    #[n(2)]
    channel: HoldId,
    #[n(3)]
    cumulative: u128,
    #[n(4)]
    ack: Option<ByteArray<32>>,
}

impl VoucherBody {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&VoucherMap {
            domain: VOUCHER_DOMAIN,
            ledger: self.ledger,
            channel: self.channel,
            cumulative: self.cumulative,
            ack: self.ack.map(Into::into),
        })
    }

    /// Reads a voucher.
    ///
    /// # Errors
    ///
    /// [`CborError`] unless the bytes are the deterministic form of a voucher.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let map: VoucherMap<'_> = cbor::decode_strict(bytes)?;
        if map.domain != VOUCHER_DOMAIN {
            return Err(CborError::Malformed);
        }
        Ok(Self {
            ledger: map.ledger,
            channel: map.channel,
            cumulative: map.cumulative,
            ack: map.ack.map(Into::into),
        })
    }

    /// Verifies a signature over this voucher, by the rule that the ledger captures by.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when it is not this voucher that this key signed.
    pub fn verify(&self, key: &DidKey, signature: &[u8; 64]) -> Result<(), SignatureError> {
        ed25519::Key::from_bytes(key.public_key())
            .map_err(|_| SignatureError)?
            .verify(&self.encode(), signature)
            .map_err(|_| SignatureError)
    }
}

/// The salt of every hash chain on a ledger: its id, then zeros. A channel's id cannot be it, since
/// that depends on the root.
pub fn chain_salt(ledger: LedgerId) -> [u8; 32] {
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(ledger.as_bytes());
    salt
}

/// The word `back` places before a word of a hash chain; `None` when no chain is so long:
/// [`CHAIN_WORDS_MAX`]. So it takes a bounded number of hashes, whatever is asked.
pub fn word_back(ledger: LedgerId, word: &[u8; 32], back: u32) -> Option<[u8; 32]> {
    (back <= CHAIN_WORDS_MAX).then(|| Hasher::new(&chain_salt(ledger)).back(word, back))
}

/// How a capture proves how much it may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CaptureProof {
    /// A voucher, signed.
    Voucher {
        /// The key that signed it: must be the channel's.
        key: DidKey,
        /// How much it allows.
        cumulative: u128,
        /// Its ack.
        ack: Option<[u8; 32]>,
        /// The signature.
        signature: [u8; 64],
    },
    /// A word of a hash chain.
    Word {
        /// The chain's root: must be the channel's.
        root: [u8; 32],
        /// Which word, above 0.
        index: u32,
        /// The word.
        word: [u8; 32],
    },
}

/// Says which sort, and no more: a proof is a credential.
impl std::fmt::Debug for CaptureProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Voucher { cumulative, .. } => write!(f, "Voucher({cumulative})"),
            Self::Word { index, .. } => write!(f, "Word({index})"),
        }
    }
}

impl CaptureProof {
    /// Verifies the proof by itself: that the voucher is signed by the key it names, that the word
    /// leads to the root it names. Whether key and root are the channel's is the state's to say.
    ///
    /// Takes some ten microseconds for a voucher, some milliseconds for a far word: never under a
    /// lock, and never where the ledger decides.
    ///
    /// # Errors
    ///
    /// [`ProofError`] when it does not verify.
    pub fn verify(&self, ledger: LedgerId, channel: HoldId) -> Result<(), ProofError> {
        match self {
            Self::Voucher {
                key,
                cumulative,
                ack,
                signature,
            } => VoucherBody {
                ledger,
                channel,
                cumulative: *cumulative,
                ack: *ack,
            }
            .verify(key, signature)
            .map_err(ProofError::Voucher),
            Self::Word { root, index, word } => match word_back(ledger, word, *index) {
                Some(found) if found == *root => Ok(()),
                _ => Err(ProofError::Word),
            },
        }
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The voucher's signature.
    #[error("the voucher is not signed by the channel's key")]
    Voucher(#[source] SignatureError),
    /// The word.
    #[error("the word is not of the channel's hash chain")]
    Word,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_leads_to_its_root_and_no_other_place() {
        let end = [9; 32];
        let ledger = LedgerId::from_bytes([1; 16]);
        let root = word_back(ledger, &end, 1000).unwrap();
        let channel = HoldId::from_bytes([2; 32]);
        let word = |back, index| CaptureProof::Word {
            root,
            index,
            word: word_back(ledger, &end, back).unwrap(),
        };
        assert_eq!(word(0, 1000).verify(ledger, channel), Ok(()));
        assert_eq!(word(990, 10).verify(ledger, channel), Ok(()));
        for wrong in [word(0, 999), word(990, 11), word(1, 1000), word(1000, 1)] {
            assert_eq!(wrong.verify(ledger, channel), Err(ProofError::Word));
        }
        let elsewhere = LedgerId::from_bytes([2; 16]);
        let there = word(990, 10).verify(elsewhere, channel);
        assert_eq!(there, Err(ProofError::Word));
    }

    #[test]
    fn a_word_beyond_every_chain_is_refused_without_hashing_to_it() {
        let back = |back| word_back(LedgerId::from_bytes([1; 16]), &[1; 32], back);
        assert_eq!(back(CHAIN_WORDS_MAX + 1), None);
        assert_eq!(back(u32::MAX), None);
        assert_eq!(back(0), Some([1; 32]));
    }

    #[test]
    fn a_voucher_of_another_ledger_channel_or_amount_has_other_bytes() {
        let voucher = VoucherBody {
            ledger: LedgerId::from_bytes([1; 16]),
            channel: HoldId::from_bytes([2; 32]),
            cumulative: u128::MAX,
            ack: Some([3; 32]),
        };
        let mut all = vec![voucher.encode()];
        all.push(
            VoucherBody {
                ack: None,
                ..voucher
            }
            .encode(),
        );
        all.push(
            VoucherBody {
                cumulative: 1,
                ..voucher
            }
            .encode(),
        );
        all.push(
            VoucherBody {
                channel: HoldId::from_bytes([4; 32]),
                ..voucher
            }
            .encode(),
        );
        all.push(
            VoucherBody {
                ledger: LedgerId::from_bytes([4; 16]),
                ..voucher
            }
            .encode(),
        );
        for bytes in &all {
            assert_eq!(VoucherBody::decode(bytes).unwrap().encode(), *bytes);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn every_other_byte_form_of_a_voucher_is_refused() {
        let bytes = VoucherBody {
            ledger: LedgerId::from_bytes([1; 16]),
            channel: HoldId::from_bytes([2; 32]),
            cumulative: 250,
            ack: None,
        }
        .encode();
        for cut in 0..bytes.len() {
            assert!(VoucherBody::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(VoucherBody::decode(&longer).is_err());
        // An order's domain is another: a signature over one is none over the other.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(VOUCHER_DOMAIN));
        // 250 in two bytes where one is enough.
        let at = bytes.len() - 2;
        assert_eq!(bytes[at..], [0x18, 250]);
        let mut wide = bytes[..at].to_vec();
        wide.extend([0x19, 0, 250]);
        assert!(VoucherBody::decode(&wide).is_err());
    }
}
