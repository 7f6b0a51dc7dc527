//! What a payer keeps of a channel: everything that is needed to use it again. Secret.

use minicbor::{Decode, Encode, bytes::ByteArray};
use stiver_core::did::DidKey;
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId},
    limits::CHAIN_WORDS_MAX,
    text::CurrencyCode,
};
use stiver_method::key::Ed25519Key;
use zeroize::{Zeroize as _, Zeroizing};

/// The version of [`Stored`].
const VERSION: u8 = 1;

/// A channel, for its payer.
pub(super) struct Record {
    pub(super) channel: HoldId,
    pub(super) ledger: LedgerId,
    pub(super) account: AccountId,
    pub(super) payee: AccountId,
    pub(super) currency: CurrencyCode,
    /// Without it the channel can be left, not spent from.
    pub(super) seed: Option<Zeroizing<[u8; 32]>>,
    pub(super) chain: Option<ChainRecord>,
}

/// The shape of a hash chain. Without one, the seed is that of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChainRecord {
    pub(super) words: u32,
    pub(super) step: u128,
}

#[derive(Encode, Decode)]
struct Stored {
    #[n(0)]
    version: u8,
    #[n(1)]
    channel: HoldId,
    #[n(2)]
    ledger: LedgerId,
    #[n(3)]
    account: AccountId,
    #[n(4)]
    payee: AccountId,
    #[n(5)]
    currency: CurrencyCode,
    #[n(6)]
    seed: Option<ByteArray<32>>,
    #[n(7)]
    words: Option<u32>,
    #[n(8)]
    step: Option<u128>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(seed) = &mut self.seed {
            seed.as_mut().zeroize();
        }
    }
}

impl Record {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let chain = self.chain.as_ref();
        let stored = Stored {
            version: VERSION,
            channel: self.channel,
            ledger: self.ledger,
            account: self.account,
            payee: self.payee,
            currency: self.currency.clone(),
            seed: self.seed.as_ref().map(|seed| (**seed).into()),
            words: chain.map(|chain| chain.words),
            step: chain.map(|chain| chain.step),
        };
        // Large enough that it never grows, which would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        minicbor::encode(stored, &mut *bytes).expect(
            "encoding cannot fail, because writing to a Vec cannot and no type here refuses",
        );
        bytes
    }

    /// Reads what [`Record::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = minicbor::decode(bytes).ok()?;
        let chain = match (stored.words, stored.step) {
            (None, None) => None,
            (Some(words), Some(step)) => {
                if words == 0 || words > CHAIN_WORDS_MAX || step == 0 {
                    return None;
                }
                Some(ChainRecord { words, step })
            }
            _ => return None,
        };
        let record = Self {
            channel: stored.channel,
            ledger: stored.ledger,
            account: stored.account,
            payee: stored.payee,
            currency: stored.currency.clone(),
            seed: stored.seed.as_ref().map(|seed| {
                let seed: &[u8; 32] = seed;
                Zeroizing::new(*seed)
            }),
            chain,
        };
        (stored.version == VERSION && *record.encode() == bytes).then_some(record)
    }

    /// The key that signs its vouchers, when they are signed.
    pub(super) fn voucher_key(seed: &[u8; 32]) -> DidKey {
        Ed25519Key::from_seed(seed).did()
    }
}
