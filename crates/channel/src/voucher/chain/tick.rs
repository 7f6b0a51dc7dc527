//! The binary form of a tick: what a small device sends for each payment.

use super::Word;
use crate::ChannelId;

/// Length of a tick, bytes.
pub const TICK_BYTES: usize = 44;

/// One payment by a word of a hash chain, in 44 bytes and without any other codec.
///
/// | bytes | what |
/// |---|---|
/// | 0–7 | tag: the first 8 bytes of the channel's id |
/// | 8–11 | the word's index, big-endian |
/// | 12–43 | the word |
///
/// The tag only says which channel is meant, of those a connection has: two channels with one tag
/// are told apart by the word. It proves nothing, and neither does the tick before its word is
/// verified.
///
/// ```
/// use stiver_channel::{ChannelId, voucher::chain::{Tick, Word}};
/// let tick = Tick::new(&ChannelId([1; 32]), Word { index: 7, word: [2; 32] });
/// assert_eq!(Tick::parse(&tick.to_bytes())?, tick);
/// # Ok::<(), stiver_channel::voucher::chain::TickError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The first 8 bytes of the channel's id.
    pub tag: [u8; 8],
    /// The word.
    pub word: Word,
}

impl Tick {
    /// A tick for a channel.
    #[must_use]
    pub fn new(channel: &ChannelId, word: Word) -> Self {
        Self {
            tag: Self::tag_of(channel),
            word,
        }
    }

    /// The tag of a channel.
    #[must_use]
    pub fn tag_of(channel: &ChannelId) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = channel.0;
        [a, b, c, d, e, f, g, h]
    }

    /// Reads a tick.
    ///
    /// # Errors
    /// [`TickError`] unless there are [`TICK_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TickError> {
        let length = bytes.len();
        let wrong = || TickError { length };
        let (tag, proof) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        Ok(Self {
            tag: *tag,
            word: Word::from_proof(proof).map_err(|_| wrong())?,
        })
    }

    /// The 44 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TICK_BYTES] {
        let mut bytes = [0; TICK_BYTES];
        bytes[..8].copy_from_slice(&self.tag);
        bytes[8..].copy_from_slice(&self.word.to_proof());
        bytes
    }
}

/// Prints the index only: a word is a credential.
impl core::fmt::Debug for Tick {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tick({:?})", self.word)
    }
}

/// Prints the index only: a word is a credential.
impl core::fmt::Debug for Word {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Word({})", self.index)
    }
}

/// Bytes that are no tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tick of {length} bytes: it has {TICK_BYTES}")]
pub struct TickError {
    /// How many there are.
    pub length: usize,
}
