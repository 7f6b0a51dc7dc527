//! Vouchers, and the seam of the schemes that prove them.

pub mod chain;
pub mod ed25519;
#[cfg(feature = "eip712")]
pub mod eip712;

use crate::ChannelId;
use alloc::{boxed::Box, vec::Vec};
use core::fmt;

/// What the payer has authorised so far, in all, and the proof.
///
/// What the proof is depends on the scheme: a signature, or an index and a word of a hash chain.
/// `Debug` prints its length only: a proof is a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The channel.
    pub channel: ChannelId,
    /// The sum of all that was authorised since the channel was opened, in base units.
    pub cumulative: u128,
    /// Bytes that the channel's scheme understands.
    pub proof: Box<[u8]>,
}

impl fmt::Debug for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voucher")
            .field("channel", &self.channel)
            .field("cumulative", &self.cumulative)
            .field("proof_bytes", &self.proof.len())
            .finish()
    }
}

/// The verifier of one channel's vouchers. Pure, and made once for each busy channel, so that the
/// set-up of keys and domains is not repeated.
///
/// Only the proof is judged here. Amounts are judged by [`Channel::decide`](crate::Channel::decide)
/// afterwards.
pub trait VerifyVoucher: Send + Sync {
    /// Verifies one voucher.
    ///
    /// `last` is the highest voucher that this verifier accepted for the channel and that is
    /// durable. Signatures do not need it; a hash chain starts from it.
    ///
    /// # Errors
    /// [`VoucherError`] says what is wrong with the proof.
    fn verify(&self, last: Option<&Voucher>, voucher: &Voucher) -> Result<(), VoucherError>;

    /// Verifies several vouchers and says of each, in their order, what [`VerifyVoucher::verify`]
    /// says of it when they come one by one, the lowest first, and `last` is the highest that
    /// passed so far. Schemes that can do so share work between them.
    fn verify_batch(
        &self,
        last: Option<&Voucher>,
        vouchers: &[Voucher],
    ) -> Vec<Result<(), VoucherError>> {
        // Enough for a signature, which does not depend on `last`.
        vouchers
            .iter()
            .map(|voucher| self.verify(last, voucher))
            .collect()
    }
}

/// What is wrong with the proof of a voucher.
///
/// Closed: whoever answers a payer maps every one of these to a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// It is for another channel.
    #[error("the voucher is for another channel")]
    WrongChannel,
    /// The proof has a length or form that the scheme does not know.
    #[error("the proof of the voucher is malformed")]
    MalformedProof,
    /// The amount does not fit in the integer that is signed.
    #[error("the voucher's amount does not fit in {bits} bits")]
    OverWidth {
        /// Width of the integer.
        bits: u8,
    },
    /// `s` is above half of the group's order: the other form of the same signature is the valid
    /// one.
    #[error("the signature's s is in the upper half of the order: negate it")]
    HighS,
    /// No such signature: made over something else, with another domain, or forged.
    #[error("the signature is not valid for this voucher")]
    InvalidSignature,
    /// A genuine signature, but not of the authorised signer.
    #[error("the signature is not of the channel's authorised signer")]
    WrongSigner,
    /// The amount is no multiple of the hash chain's unit, or not that of its index.
    #[error("the amount is not the index of the word times the value of a word")]
    WrongAmount,
    /// The index is beyond the end of the hash chain.
    #[error("the hash chain has {length} words: open another channel")]
    ChainExhausted {
        /// Words of the chain.
        length: u32,
    },
    /// More words were skipped than one voucher may skip.
    #[error("a voucher may skip at most {skip_max} words: send one in between")]
    SkipTooLarge {
        /// The limit in words.
        skip_max: u32,
    },
    /// The word does not hash to the one before it.
    #[error("the word is not of this hash chain")]
    WrongWord,
}
