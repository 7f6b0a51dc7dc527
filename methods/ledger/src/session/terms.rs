//! What a payee keeps of a channel, and how its vouchers are verified.

use std::sync::Arc;

use minicbor::{Decode, Encode, bytes::ByteArray};
use stiver_channel::{
    ChannelId, VerifyVoucher, Voucher, VoucherError,
    voucher::{
        chain::{self, Chain, Word},
        ed25519::{Ed25519, Key, Signed},
    },
};
use stiver_core::{did::DidKey, json::Value};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId},
    order::{Action, Condition, SignedOrder},
    text::CurrencyCode,
    voucher::{CaptureProof, VoucherBody, chain_salt},
};

/// The version of [`Stored`].
const VERSION: u8 = 1;
/// Length of the proof of a signed voucher without an ack, bytes.
const SIGNATURE_BYTES: usize = 64;
/// Length of one with an ack, bytes.
const SIGNATURE_AND_ACK_BYTES: usize = 96;

/// What the payee needs to know of a channel: from the order that opened it, and never from a later
/// credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelTerms {
    pub(super) channel: HoldId,
    pub(super) ledger: LedgerId,
    pub(super) payer: AccountId,
    pub(super) payer_key: DidKey,
    pub(super) payee: AccountId,
    pub(super) currency: CurrencyCode,
    pub(super) proven_by: ProvenBy,
}

/// What proves a channel's vouchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProvenBy {
    /// Signatures of a key.
    Key(DidKey),
    /// Words of a chain.
    Chain(chain::Terms),
}

/// The terms as a server stores them. The channel's id is the server's key of them.
#[derive(Encode, Decode)]
struct Stored {
    #[n(0)]
    version: u8,
    #[n(1)]
    ledger: LedgerId,
    #[n(2)]
    payer: AccountId,
    #[n(3)]
    payer_key: ByteArray<32>,
    #[n(4)]
    payee: AccountId,
    #[n(5)]
    currency: CurrencyCode,
    #[n(6)]
    voucher_key: Option<ByteArray<32>>,
    #[n(7)]
    chain: Option<StoredChain>,
}

#[derive(Encode, Decode)]
struct StoredChain {
    #[n(0)]
    root: ByteArray<32>,
    #[n(1)]
    words: u32,
    #[n(2)]
    step: u128,
}

impl ProvenBy {
    /// Of a hold's condition on a ledger; `None` when the hold is no channel.
    pub(super) fn of(ledger: LedgerId, condition: &Condition) -> Option<Self> {
        match *condition {
            Condition::Vouchers { key, .. } => Some(Self::Key(key)),
            Condition::Words {
                root, step, words, ..
            } => Some(Self::Chain(chain::Terms {
                salt: chain_salt(ledger),
                root,
                words,
                step,
            })),
            Condition::None | Condition::Preimage(_) | Condition::Agreement(_) => None,
        }
    }

    /// The verifier of a channel. `None` when nothing can be proven so: no key, or a chain that is
    /// worth more than an amount can be.
    pub(super) fn verifier(
        &self,
        ledger: LedgerId,
        channel: ChannelId,
    ) -> Option<Arc<dyn VerifyVoucher>> {
        Some(match self {
            Self::Key(key) => {
                let key = Key::from_bytes(key.public_key()).ok()?;
                Arc::new(Ed25519::new(channel, key, LedgerVoucher { ledger }))
            }
            Self::Chain(terms) => Arc::new(Chain::new(channel, *terms).ok()?),
        })
    }

    /// The proof that a capture brings, of a voucher's. `None` when the voucher's proof is of
    /// another sort, or a word's number is not its amount's.
    pub(super) fn capture_proof(&self, voucher: &Voucher) -> Option<CaptureProof> {
        Some(match self {
            Self::Key(key) => {
                let (signature, ack) = split(&voucher.proof)?;
                CaptureProof::Voucher {
                    key: *key,
                    cumulative: voucher.cumulative,
                    ack,
                    signature,
                }
            }
            Self::Chain(terms) => {
                let Word { index, word } = Word::from_proof(&voucher.proof).ok()?;
                if terms.step.checked_mul(u128::from(index)) != Some(voucher.cumulative) {
                    return None;
                }
                CaptureProof::Word {
                    root: terms.root,
                    index,
                    word,
                }
            }
        })
    }
}

impl ChannelTerms {
    /// Of the order that opens a channel; `None` when it opens none.
    pub(super) fn of(signed: &SignedOrder) -> Option<Self> {
        let order = signed.order();
        let Action::Hold {
            capturer,
            currency,
            condition,
            ..
        } = &order.action
        else {
            return None;
        };
        Some(Self {
            channel: HoldId::from(signed.hash()),
            ledger: order.ledger,
            payer: order.account,
            payer_key: signed.key(),
            payee: *capturer,
            currency: currency.clone(),
            proven_by: ProvenBy::of(order.ledger, condition)?,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (voucher_key, chain) = match &self.proven_by {
            ProvenBy::Key(key) => (Some((*key.public_key()).into()), None),
            ProvenBy::Chain(terms) => (
                None,
                Some(StoredChain {
                    root: terms.root.into(),
                    words: terms.words,
                    step: terms.step,
                }),
            ),
        };
        minicbor::to_vec(Stored {
            version: VERSION,
            ledger: self.ledger,
            payer: self.payer,
            payer_key: (*self.payer_key.public_key()).into(),
            payee: self.payee,
            currency: self.currency.clone(),
            voucher_key,
            chain,
        })
        .expect("encoding cannot fail, because writing to a Vec cannot and no type here refuses")
    }

    /// Reads what [`ChannelTerms::encode`] wrote for this channel.
    pub(super) fn decode(channel: HoldId, bytes: &[u8]) -> Option<Self> {
        let stored: Stored = minicbor::decode(bytes).ok()?;
        let key = |bytes: ByteArray<32>| DidKey::from_public_key(bytes.into());
        let proven_by = match (stored.voucher_key, stored.chain) {
            (Some(voucher_key), None) => ProvenBy::Key(key(voucher_key)),
            (None, Some(chain)) => ProvenBy::Chain(chain::Terms {
                salt: chain_salt(stored.ledger),
                root: chain.root.into(),
                words: chain.words,
                step: chain.step,
            }),
            _ => return None,
        };
        let terms = Self {
            channel,
            ledger: stored.ledger,
            payer: stored.payer,
            payer_key: key(stored.payer_key),
            payee: stored.payee,
            currency: stored.currency,
            proven_by,
        };
        (stored.version == VERSION && terms.encode() == bytes).then_some(terms)
    }

    /// What the method adds to each receipt.
    pub(super) fn receipt(&self) -> Vec<(String, Value)> {
        let member = |name: &str, text: String| (name.to_owned(), Value::String(text));
        vec![
            member("ledger", self.ledger.to_string()),
            member("payer", self.payer_key.to_string()),
            member("payerAccount", self.payer.to_string()),
            member("payee", self.payee.to_string()),
            member("currency", self.currency.to_string()),
        ]
    }
}

/// The form of this method's signed vouchers: the proof is the signature, and the ack behind it
/// when there is one.
pub(super) struct LedgerVoucher {
    pub(super) ledger: LedgerId,
}

impl Signed for LedgerVoucher {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let (signature, ack) = split(&voucher.proof).ok_or(VoucherError::MalformedProof)?;
        let body = VoucherBody {
            ledger: self.ledger,
            channel: HoldId::from_bytes(voucher.channel.0),
            cumulative: voucher.cumulative,
            ack,
        };
        Ok((body.encode(), signature))
    }
}

/// The proof of a signed voucher.
pub(super) fn join(signature: &[u8; 64], ack: Option<&[u8; 32]>) -> Box<[u8]> {
    let mut proof = Vec::with_capacity(SIGNATURE_AND_ACK_BYTES);
    proof.extend_from_slice(signature);
    proof.extend_from_slice(ack.map_or(&[], <[u8; 32]>::as_slice));
    proof.into()
}

/// Signature and ack of the proof of a signed voucher.
pub(super) fn split(proof: &[u8]) -> Option<([u8; 64], Option<[u8; 32]>)> {
    let (signature, ack) = proof.split_at_checked(SIGNATURE_BYTES)?;
    let ack = match ack {
        [] => None,
        ack => Some(ack.try_into().ok()?),
    };
    Some((signature.try_into().ok()?, ack))
}
