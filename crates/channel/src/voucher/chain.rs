//! Hash chains (Rivest and Shamir's PayWord): one SHA-256 for each payment.
//!
//! The payer draws a secret seed, the last word, and hashes it down to the root, word 0, which is
//! signed when the channel is opened. Showing word `i` pays `i` steps in all: nobody can find a
//! word from those before it, and whoever has it can hash it down to one that is known.
//!
//! ```text
//! root = word 0 ◄── word 1 ◄── word 2 ◄── ... ◄── word n = seed        ◄── is SHA-256
//! ```
//!
//! # Separation
//! The word before `w` is `SHA-256(tag || salt || w)`: a tag of 32 bytes, [`WORD_TAG`], then the
//! chain's salt, then the word. The salt is what separates the chains of two channels: the
//! channel's id, or, where that depends on the root, something else that only this channel has
//! and that its opening signs. Tag and salt fill one block of SHA-256, which is hashed once for a
//! chain, so that each word costs one compression.
//!
//! # Cost
//! A voucher may skip at most [`SKIP_MAX`] words, so that no voucher costs more to verify than a
//! signature. The payer keeps about log2(n) words and hashes about log2(n)/2 times for each one it
//! shows: [`Words`].

mod tick;
mod words;

pub use tick::{TICK_BYTES, Tick, TickError};
pub use words::Words;

use super::{VerifyVoucher, Voucher, VoucherError};
use crate::ChannelId;
use alloc::{vec, vec::Vec};
use core::cmp::Ordering;
use sha2::{Digest as _, Sha256, block_api::compress256};

/// What every word is hashed with, in 32 bytes.
pub const WORD_TAG: [u8; 32] = *b"stiver/hash-chain/word/1\0\0\0\0\0\0\0\0";
/// Longest chain, words. It takes a payer some 15 seconds of hashing to make.
pub const WORDS_MAX: u32 = 1 << 28;
/// Most words that a voucher may lie above the one before it. So many hashes take about as long
/// as the verification of one signature.
pub const SKIP_MAX: u32 = 1024;
/// Length of the proof in a voucher: the index, big-endian, then the word.
pub const PROOF_BYTES: usize = 36;

/// Bits that are hashed for a word: tag, salt and word.
const HASHED_BITS: u64 = 96 * 8;
/// The state of SHA-256 before anything (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// How one chain hashes: its tag and salt, hashed already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hasher {
    midstate: [u32; 8],
}

impl Hasher {
    /// The hasher of the chain with this salt.
    #[must_use]
    pub fn new(salt: &[u8; 32]) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&WORD_TAG);
        block[32..].copy_from_slice(salt);
        let mut midstate = INITIAL;
        compress256(&mut midstate, &[block]);
        Self { midstate }
    }

    /// The word before `word`.
    #[must_use]
    pub fn before(&self, word: &[u8; 32]) -> [u8; 32] {
        self.back(word, 1)
    }

    /// The word `steps` places before `word`. Takes one hash for each: bound it.
    #[must_use]
    pub fn back(&self, word: &[u8; 32], steps: u32) -> [u8; 32] {
        let mut block = [0; 64];
        block[..32].copy_from_slice(word);
        block[32] = 0x80;
        block[56..].copy_from_slice(&HASHED_BITS.to_be_bytes());
        for _ in 0..steps {
            let mut state = self.midstate;
            compress256(&mut state, core::slice::from_ref(&block));
            for (bytes, number) in block.chunks_exact_mut(4).zip(state) {
                bytes.copy_from_slice(&number.to_be_bytes());
            }
        }
        let mut before = [0; 32];
        before.copy_from_slice(&block[..32]);
        before
    }
}

/// The public terms of a chain, as the opening of its channel signs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What separates this chain from all others: see the module.
    pub salt: [u8; 32],
    /// Word 0.
    pub root: [u8; 32],
    /// How many words can be shown, 1 to [`WORDS_MAX`].
    pub words: u32,
    /// What each word is worth, base units, at least 1.
    pub step: u128,
}

/// Verifies the words of one channel's chain.
///
/// The `last` voucher is where it starts: without one it starts at the root, and so costs as many
/// hashes as words were shown, up to [`SKIP_MAX`]. It must be a voucher of this chain that was
/// verified.
///
/// ```
/// use stiver_channel::{ChannelId, VerifyVoucher as _, voucher::chain::{Chain, Terms, Words}};
/// let channel = ChannelId([1; 32]);
/// let mut words = Words::new(&[7; 32], &channel.0, 1000)?;
/// let terms = Terms { salt: channel.0, root: words.root(), words: 1000, step: 5 };
/// let chain = Chain::new(channel, terms)?;
/// let first = chain.voucher(&words.show(1)?);
/// assert_eq!(first.cumulative, 5);
/// chain.verify(None, &first)?;
/// chain.verify(Some(&first), &chain.voucher(&words.show(3)?))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Chain {
    channel: ChannelId,
    terms: Terms,
    hasher: Hasher,
}

/// A word that was shown, and which one it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its number: the root is 0.
    pub index: u32,
    /// The word.
    pub word: [u8; 32],
}

impl Word {
    /// Reads the proof of a voucher.
    ///
    /// # Errors
    /// [`VoucherError::MalformedProof`] unless it has [`PROOF_BYTES`].
    pub fn from_proof(proof: &[u8]) -> Result<Self, VoucherError> {
        let (index, word) = proof
            .split_first_chunk::<4>()
            .ok_or(VoucherError::MalformedProof)?;
        Ok(Self {
            index: u32::from_be_bytes(*index),
            word: word.try_into().map_err(|_| VoucherError::MalformedProof)?,
        })
    }

    /// The proof of a voucher.
    #[must_use]
    pub fn to_proof(&self) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        proof[..4].copy_from_slice(&self.index.to_be_bytes());
        proof[4..].copy_from_slice(&self.word);
        proof
    }
}

impl Chain {
    /// The verifier of a channel with such a chain.
    ///
    /// # Errors
    /// [`TermsError`] when the terms cannot be those of a chain.
    pub fn new(channel: ChannelId, terms: Terms) -> Result<Self, TermsError> {
        if terms.words == 0 || terms.words > WORDS_MAX {
            return Err(TermsError::Words { words: terms.words });
        }
        if terms.step == 0 {
            return Err(TermsError::Worthless);
        }
        if terms.step.checked_mul(u128::from(terms.words)).is_none() {
            return Err(TermsError::Overflow);
        }
        let hasher = Hasher::new(&terms.salt);
        Ok(Self {
            channel,
            terms,
            hasher,
        })
    }

    /// Its terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The voucher that a word makes.
    #[must_use]
    pub fn voucher(&self, word: &Word) -> Voucher {
        Voucher {
            channel: self.channel,
            cumulative: self.value(word.index),
            proof: word.to_proof().into(),
        }
    }

    /// The voucher that a tick makes, when it is for this channel.
    ///
    /// # Errors
    /// [`VoucherError::WrongChannel`] when its tag is that of another channel.
    pub fn voucher_of_tick(&self, tick: &Tick) -> Result<Voucher, VoucherError> {
        if tick.tag != Tick::tag_of(&self.channel) {
            return Err(VoucherError::WrongChannel);
        }
        Ok(self.voucher(&tick.word))
    }

    /// What the word with this number pays in all.
    fn value(&self, index: u32) -> u128 {
        // The product over the whole chain was checked; beyond it no word verifies.
        self.terms.step.saturating_mul(u128::from(index))
    }

    /// The word that a voucher shows, when voucher and word belong together.
    fn word_of(&self, voucher: &Voucher) -> Result<Word, VoucherError> {
        if voucher.channel != self.channel {
            return Err(VoucherError::WrongChannel);
        }
        let word = Word::from_proof(&voucher.proof)?;
        let length = self.terms.words;
        if word.index > length {
            return Err(VoucherError::ChainExhausted { length });
        }
        if voucher.cumulative != self.value(word.index) {
            return Err(VoucherError::WrongAmount);
        }
        Ok(word)
    }

    fn root(&self) -> Word {
        Word {
            index: 0,
            word: self.terms.root,
        }
    }

    fn start(&self, last: Option<&Voucher>) -> Result<Word, VoucherError> {
        last.map_or(Ok(self.root()), |last| self.word_of(last))
    }

    /// Verifies a word from one that is known, above or below it.
    fn verify_from(&self, known: &Word, word: &Word) -> Result<(), VoucherError> {
        let skipped = word.index.abs_diff(known.index);
        if skipped > SKIP_MAX {
            return Err(VoucherError::SkipTooLarge { skip_max: SKIP_MAX });
        }
        let (higher, lower) = match word.index.cmp(&known.index) {
            Ordering::Greater => (word, known),
            Ordering::Less | Ordering::Equal => (known, word),
        };
        if self.hasher.back(&higher.word, skipped) != lower.word {
            return Err(VoucherError::WrongWord);
        }
        Ok(())
    }
}

impl VerifyVoucher for Chain {
    fn verify(&self, last: Option<&Voucher>, voucher: &Voucher) -> Result<(), VoucherError> {
        let word = self.word_of(voucher)?;
        self.verify_from(&self.start(last)?, &word)
    }

    /// Each word is verified from the one below it, so that a batch costs as many hashes as its
    /// highest word alone, and a forged word costs what it would cost alone.
    fn verify_batch(
        &self,
        last: Option<&Voucher>,
        vouchers: &[Voucher],
    ) -> Vec<Result<(), VoucherError>> {
        let mut known = match self.start(last) {
            Ok(known) => known,
            Err(error) => return vec![Err(error); vouchers.len()],
        };
        let mut order: Vec<usize> = (0..vouchers.len()).collect();
        order.sort_by_key(|&at| vouchers.get(at).map(|voucher| voucher.cumulative));
        let mut results = vec![Err(VoucherError::WrongWord); vouchers.len()];
        for at in order {
            let (Some(voucher), Some(result)) = (vouchers.get(at), results.get_mut(at)) else {
                continue;
            };
            *result = self.word_of(voucher).and_then(|word| {
                self.verify_from(&known, &word)?;
                if word.index > known.index {
                    known = word;
                }
                Ok(())
            });
        }
        results
    }
}

/// Why there is no such chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// No word, or more than [`WORDS_MAX`].
    #[error("a hash chain of {words} words: 1 to {WORDS_MAX} are possible")]
    Words {
        /// As asked for.
        words: u32,
    },
    /// Words that pay nothing.
    #[error("a step of 0: each word has to be worth something")]
    Worthless,
    /// The last word is worth more than an amount can be.
    #[error("the words of the chain are worth more than an amount can be")]
    Overflow,
    /// The word was shown already, or is beyond the end.
    #[error("word {index} cannot be shown: the next one is {next} of {words}")]
    Spent {
        /// As asked for.
        index: u32,
        /// The next one.
        next: u32,
        /// The last one.
        words: u32,
    },
}

/// SHA-256 over tag, salt and word, as anybody would compute it: [`Hasher`] is faster.
#[must_use]
pub fn word_before(salt: &[u8; 32], word: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(WORD_TAG)
        .chain_update(salt)
        .chain_update(word)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
