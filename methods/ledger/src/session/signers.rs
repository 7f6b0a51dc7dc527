//! Signing the vouchers of one channel.

use stiver_channel::{
    ChannelId, Voucher,
    voucher::chain::{Hasher, SKIP_MAX, TermsError, Word, Words},
};
use stiver_ledger::{
    id::{HoldId, LedgerId},
    voucher::{VoucherBody, chain_salt},
};
use stiver_method::{
    BoxFuture,
    key::Ed25519Key,
    payer::{PayError, Unpayable},
    session::VoucherSigner,
};

use super::{
    asked::AMOUNT_BITS,
    record::{ChainRecord, Record},
    terms::join,
};

/// The signer of a channel's vouchers, from their secret.
pub(super) fn of(record: &Record, seed: &[u8; 32]) -> Result<Box<dyn VoucherSigner>, TermsError> {
    let channel = ChannelId(*record.channel.as_bytes());
    Ok(match record.chain {
        None => Box::new(KeySigner {
            key: Ed25519Key::from_seed(seed),
            ledger: record.ledger,
            channel,
        }),
        Some(chain) => Box::new(ChainSigner {
            words: Words::new(seed, &chain_salt(record.ledger), chain.words)?,
            hasher: Hasher::new(&chain_salt(record.ledger)),
            chain,
            shown: None,
            channel,
        }),
    })
}

fn refused(detail: impl Into<String>) -> PayError {
    PayError::Unpayable(Unpayable::Malformed(detail.into()))
}

fn done<'a>(result: Result<Voucher, PayError>) -> BoxFuture<'a, Result<Voucher, PayError>> {
    Box::pin(std::future::ready(result))
}

/// Signs with the channel's own key.
struct KeySigner {
    key: Ed25519Key,
    ledger: LedgerId,
    channel: ChannelId,
}

impl VoucherSigner for KeySigner {
    fn channel(&self) -> ChannelId {
        self.channel
    }

    fn granularity(&self) -> u128 {
        1
    }

    fn sign<'a>(
        &'a mut self,
        cumulative: u128,
        ack: Option<[u8; 32]>,
    ) -> BoxFuture<'a, Result<Voucher, PayError>> {
        if cumulative >> AMOUNT_BITS != 0 {
            return done(Err(refused("a voucher has at most 127 bits")));
        }
        let body = VoucherBody {
            ledger: self.ledger,
            channel: HoldId::from_bytes(self.channel.0),
            cumulative,
            ack,
        };
        let signature = self.key.sign_message(&body.encode());
        done(Ok(Voucher {
            channel: self.channel,
            cumulative,
            proof: join(&signature, ack.as_ref()),
        }))
    }
}

/// Shows the words of the channel's chain.
struct ChainSigner {
    words: Words,
    hasher: Hasher,
    chain: ChainRecord,
    /// The word shown last: those below it follow from it.
    shown: Option<Word>,
    channel: ChannelId,
}

impl ChainSigner {
    fn word(&mut self, index: u32) -> Result<Word, TermsError> {
        match self.shown {
            Some(shown) if index <= shown.index => Ok(Word {
                index,
                word: self.hasher.back(&shown.word, shown.index - index),
            }),
            // Word 0 is the root: it allows nothing, and shows that the payer knows the channel.
            None if index == 0 => Ok(Word {
                index,
                word: self.words.root(),
            }),
            _ => {
                let word = self.words.show(index)?;
                self.shown = Some(word);
                Ok(word)
            }
        }
    }

    fn voucher(&mut self, cumulative: u128) -> Result<Voucher, PayError> {
        let index = u32::try_from(cumulative.div_ceil(self.chain.step))
            .ok()
            .filter(|index| *index <= self.chain.words)
            .ok_or_else(|| {
                refused(format!(
                    "the hash chain has {} words of {} base units: open another channel",
                    self.chain.words, self.chain.step
                ))
            })?;
        let word = self
            .word(index)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Voucher {
            channel: self.channel,
            cumulative: self.chain.step.saturating_mul(u128::from(index)),
            proof: word.to_proof().into(),
        })
    }
}

impl VoucherSigner for ChainSigner {
    fn channel(&self) -> ChannelId {
        self.channel
    }

    fn granularity(&self) -> u128 {
        self.chain.step
    }

    fn most(&self) -> u128 {
        self.chain.step.saturating_mul(u128::from(self.chain.words))
    }

    fn leap_max(&self) -> u128 {
        self.chain.step.saturating_mul(u128::from(SKIP_MAX))
    }

    /// A word confirms nothing beside itself: an ack is left out.
    fn sign<'a>(
        &'a mut self,
        cumulative: u128,
        _ack: Option<[u8; 32]>,
    ) -> BoxFuture<'a, Result<Voucher, PayError>> {
        done(self.voucher(cumulative))
    }
}
