//! The payer's side of a hash chain: its words in order, from few that are kept.

use super::{Hasher, TermsError, WORDS_MAX, Word};
use alloc::vec::Vec;
use zeroize::Zeroize as _;

/// Most words that are kept at once: the seed and one for each time the chain is halved.
const PEBBLES_MAX: usize = 32;

/// The words of one chain, shown from 1 upwards.
///
/// Hashing goes downwards and words are shown upwards, so the highest word, the seed, is kept, and
/// pebbles on the way down to the next one: one halfway, one halfway from there, and so on, about
/// log2(n) in all. Showing all words takes about n·log2(n)/2 hashes; the dearest single one takes
/// a quarter of the chain.
///
/// Nothing but the seed and the number of the word shown last has to be stored to go on later:
/// [`Words::resume`]. All words are secrets until they are shown: they are wiped on drop.
pub struct Words {
    hasher: Hasher,
    root: [u8; 32],
    words: u32,
    next: u32,
    /// Words that were not shown, the highest first. Never grows beyond its first allocation,
    /// which would leave a copy behind.
    pebbles: Vec<Word>,
}

impl Words {
    /// A new chain of `words` words from a secret seed. Takes that many hashes.
    ///
    /// The seed is 32 bytes of a cryptographically secure source, and for one chain only.
    ///
    /// # Errors
    /// [`TermsError::Words`] when there are none or too many.
    pub fn new(seed: &[u8; 32], salt: &[u8; 32], words: u32) -> Result<Self, TermsError> {
        if words == 0 || words > WORDS_MAX {
            return Err(TermsError::Words { words });
        }
        let mut chain = Self {
            hasher: Hasher::new(salt),
            root: [0; 32],
            words,
            next: 1,
            pebbles: Vec::with_capacity(PEBBLES_MAX),
        };
        chain.pebbles.push(Word {
            index: words,
            word: *seed,
        });
        chain.descend(1);
        if let Some(first) = chain.pebbles.last() {
            chain.root = chain.hasher.before(&first.word);
        }
        Ok(chain)
    }

    /// The chain as it was after word `shown` was shown, 0 for none. Takes `words` hashes.
    ///
    /// # Errors
    /// [`TermsError::Words`] as [`Words::new`], [`TermsError::Spent`] when there is no such word.
    pub fn resume(
        seed: &[u8; 32],
        salt: &[u8; 32],
        words: u32,
        shown: u32,
    ) -> Result<Self, TermsError> {
        let mut chain = Self::new(seed, salt, words)?;
        if shown > words {
            return Err(TermsError::Spent {
                index: shown,
                next: 1,
                words,
            });
        }
        chain.forget_up_to(shown);
        Ok(chain)
    }

    /// Word 0, to be signed when the channel is opened.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// How many words there are.
    #[must_use]
    pub fn words(&self) -> u32 {
        self.words
    }

    /// The number of the word shown last, 0 for none.
    #[must_use]
    pub fn shown(&self) -> u32 {
        self.next.saturating_sub(1)
    }

    /// Shows a word. Those below it are shown by that, too.
    ///
    /// # Errors
    /// [`TermsError::Spent`] when it was shown, or when there is no such word.
    pub fn show(&mut self, index: u32) -> Result<Word, TermsError> {
        let spent = TermsError::Spent {
            index,
            next: self.next,
            words: self.words,
        };
        if index < self.next || index > self.words {
            return Err(spent);
        }
        self.forget_up_to(index.saturating_sub(1));
        self.descend(index);
        let word = self.pebbles.last().copied().ok_or(spent)?;
        self.forget_up_to(index);
        Ok(word)
    }

    /// Drops the pebbles up to `index`, and goes on after it.
    fn forget_up_to(&mut self, index: u32) {
        while let Some(lowest) = self.pebbles.last_mut()
            && lowest.index <= index
        {
            lowest.word.zeroize();
            self.pebbles.pop();
        }
        self.next = self.next.max(index.saturating_add(1));
    }

    /// Lays pebbles down to `index`, each halfway from the one before.
    fn descend(&mut self, index: u32) {
        while let Some(lowest) = self.pebbles.last().copied()
            && lowest.index > index
        {
            let steps = lowest.index.abs_diff(index).div_ceil(2);
            self.pebbles.push(Word {
                index: lowest.index.saturating_sub(steps),
                word: self.hasher.back(&lowest.word, steps),
            });
        }
    }

    /// How many words are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.pebbles.len()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        for pebble in &mut self.pebbles {
            pebble.word.zeroize();
        }
    }
}
