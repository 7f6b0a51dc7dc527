//! Vouchers signed with Ed25519, verified singly or in a true batch.
//!
//! # One rule
//! A signature `(R, s)` by key `A` over `M` is valid when
//!
//! - `A` and `R` are canonical encodings of points that are not of small order, and `s` is
//!   reduced;
//! - `8·(s·B − k·A − R)` is the neutral element, where `k = SHA-512(R || A || M)`.
//!
//! That is the equation of RFC 8032, section 5.1.7, with its cofactor 8, and stricter encodings.
//! The cofactor is what makes batches exact: a batch tests a random combination of the equations,
//! and without the cofactor a signer could add a point of small order to `R` so that a signature
//! fails alone and passes in every other batch. With it both accept the same signatures, up to a
//! chance of 2^-128. Signatures made by the standard's signing procedure are valid under either
//! equation; nobody but the holder of the key can make one that is valid under one only.
//!
//! Whoever captures by such a voucher has to verify by this rule, too.
//!
//! # Batches
//! One combination is tested for up to [`BATCH_MAX`] vouchers, for about a third of their price.
//! When it fails, each is verified singly, and so are the next [`SINGLES_AFTER_FORGERY`] vouchers
//! of the channel: a stranger who slips forged vouchers in makes the work a few percent more, not
//! double.

use super::{VerifyVoucher, Voucher, VoucherError};
use crate::ChannelId;
use alloc::vec::Vec;
use core::{
    iter::once,
    sync::atomic::{AtomicU32, Ordering},
};
use curve25519_dalek::{
    constants::ED25519_BASEPOINT_POINT,
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::{IsIdentity as _, VartimeMultiscalarMul as _},
};
use sha2::{Digest as _, Sha512};

/// Most vouchers that are tested at once: a forged one spoils the test for at most so many.
pub const BATCH_MAX: usize = 64;
/// How many vouchers of a channel are verified singly after a batch had a forged one.
pub const SINGLES_AFTER_FORGERY: u32 = 1024;

/// What the coefficients of a batch are hashed with.
const BATCH_TAG: &[u8] = b"stiver/ed25519-batch/1";
/// Bytes of one coefficient.
const COEFFICIENT_BYTES: usize = 16;

/// A public key, decoded and ready.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    negated: EdwardsPoint,
}

impl Key {
    /// Decodes a public key.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are not the canonical form of a point, or the point is of small
    /// order: everybody can sign for such a key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let point = decode(bytes).ok_or(KeyError)?;
        Ok(Self {
            bytes: *bytes,
            negated: -point,
        })
    }

    /// Verifies one signature.
    ///
    /// # Errors
    /// [`VoucherError::InvalidSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), VoucherError> {
        let equation = self.equation(message, signature)?;
        let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(
            &equation.k,
            &self.negated,
            &equation.s,
        );
        if (expected - equation.r).mul_by_cofactor().is_identity() {
            return Ok(());
        }
        Err(VoucherError::InvalidSignature)
    }

    /// Takes a signature apart, and refuses encodings that no rule would let pass.
    fn equation(&self, message: &[u8], signature: &[u8; 64]) -> Result<Equation, VoucherError> {
        let (r_bytes, s_bytes) = signature
            .split_first_chunk::<32>()
            .ok_or(VoucherError::InvalidSignature)?;
        let s_bytes = s_bytes
            .try_into()
            .map_err(|_| VoucherError::InvalidSignature)?;
        let s: Option<Scalar> = Scalar::from_canonical_bytes(s_bytes).into();
        let hash = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(self.bytes)
            .chain_update(message)
            .finalize();
        Ok(Equation {
            r: decode(r_bytes).ok_or(VoucherError::InvalidSignature)?,
            r_bytes: *r_bytes,
            s: s.ok_or(VoucherError::InvalidSignature)?,
            k: Scalar::from_bytes_mod_order_wide(&hash.into()),
        })
    }

    /// Whether all of the equations hold.
    fn all_hold(&self, equations: &[Equation]) -> bool {
        let coefficients = self.coefficients(equations);
        let mut base = Scalar::ZERO;
        let mut key = Scalar::ZERO;
        for (equation, z) in equations.iter().zip(&coefficients) {
            base += z * equation.s;
            key += z * equation.k;
        }
        let scalars = coefficients.iter().copied().chain([key, -base]);
        let points = equations.iter().map(|equation| equation.r);
        // Σ z·R + (Σ z·k)·A − (Σ z·s)·B
        let points = points
            .chain(once(-self.negated))
            .chain(once(ED25519_BASEPOINT_POINT));
        EdwardsPoint::vartime_multiscalar_mul(scalars, points)
            .mul_by_cofactor()
            .is_identity()
    }

    /// One coefficient of 128 bits for each equation, hashed from all of them: whoever could
    /// choose them could let forged ones cancel each other out.
    fn coefficients(&self, equations: &[Equation]) -> Vec<Scalar> {
        let mut all = Sha512::new()
            .chain_update(BATCH_TAG)
            .chain_update(self.bytes);
        for equation in equations {
            all.update(equation.r_bytes);
            all.update(equation.s.as_bytes());
            all.update(equation.k.as_bytes());
        }
        let seed = all.finalize();
        let mut coefficients = Vec::with_capacity(equations.len());
        for block in 0_u64.. {
            let hash: [u8; 64] = Sha512::new()
                .chain_update(seed)
                .chain_update(block.to_le_bytes())
                .finalize()
                .into();
            for bytes in hash.as_chunks::<COEFFICIENT_BYTES>().0 {
                if coefficients.len() == equations.len() {
                    return coefficients;
                }
                coefficients.push(Scalar::from(u128::from_le_bytes(*bytes)));
            }
        }
        coefficients
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Key({})", ChannelId(self.bytes))
    }
}

/// Bytes that are no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key, or one that everybody can sign for")]
pub struct KeyError;

/// The parts of one signature's equation.
struct Equation {
    r: EdwardsPoint,
    r_bytes: [u8; 32],
    s: Scalar,
    k: Scalar,
}

/// Decodes a point that is canonical and not of small order.
fn decode(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_canonical(bytes) {
        return None;
    }
    let point = CompressedEdwardsY(*bytes).decompress()?;
    (!point.is_small_order()).then_some(point)
}

/// Whether y is below the field's order, 2^255 − 19. The other form that is not canonical, a
/// negative zero for x, belongs to points of small order.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    let top = high & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    !(top && *low >= 0xed)
}

/// How a method's vouchers are signed: what the proof is, and over what.
pub trait Signed: Send + Sync {
    /// The bytes that are signed for this voucher, and the signature in its proof.
    ///
    /// Voucher and message have to determine each other: a message names the channel and the
    /// amount, and nothing else has the same bytes.
    ///
    /// # Errors
    /// [`VoucherError`], as [`VoucherError::MalformedProof`] when the proof cannot be read.
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError>;
}

/// Verifies the vouchers of one channel.
pub struct Ed25519<S> {
    channel: ChannelId,
    key: Key,
    form: S,
    /// How many vouchers are yet to be verified singly. Races lose counts, which does no harm.
    singles: AtomicU32,
}

impl<S: Signed> Ed25519<S> {
    /// The verifier of a channel whose vouchers are signed by `key` in this form.
    pub fn new(channel: ChannelId, key: Key, form: S) -> Self {
        Self {
            channel,
            key,
            form,
            singles: AtomicU32::new(0),
        }
    }

    fn parts(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        if voucher.channel != self.channel {
            return Err(VoucherError::WrongChannel);
        }
        self.form.signed(voucher)
    }

    /// Verifies some vouchers, which all may be genuine, at once.
    fn verify_some(&self, vouchers: &[Voucher]) -> Vec<Result<(), VoucherError>> {
        let mut equations = Vec::with_capacity(vouchers.len());
        let mut results = Vec::with_capacity(vouchers.len());
        for voucher in vouchers {
            let equation = self
                .parts(voucher)
                .and_then(|(message, signature)| self.key.equation(&message, &signature));
            results.push(equation.map(|equation| equations.push(equation)));
        }
        if equations.is_empty() || self.key.all_hold(&equations) {
            return results;
        }
        self.singles.store(SINGLES_AFTER_FORGERY, Ordering::Relaxed);
        self.verify_each(vouchers)
    }

    fn verify_each(&self, vouchers: &[Voucher]) -> Vec<Result<(), VoucherError>> {
        let each = vouchers.iter().map(|voucher| self.verify(None, voucher));
        each.collect()
    }
}

impl<S: Signed> VerifyVoucher for Ed25519<S> {
    fn verify(&self, _: Option<&Voucher>, voucher: &Voucher) -> Result<(), VoucherError> {
        let (message, signature) = self.parts(voucher)?;
        self.key.verify(&message, &signature)
    }

    fn verify_batch(
        &self,
        _: Option<&Voucher>,
        vouchers: &[Voucher],
    ) -> Vec<Result<(), VoucherError>> {
        let mut results = Vec::with_capacity(vouchers.len());
        for some in vouchers.chunks(BATCH_MAX) {
            let singles = self.singles.load(Ordering::Relaxed);
            if singles == 0 && some.len() > 1 {
                results.extend(self.verify_some(some));
                continue;
            }
            let verified = u32::try_from(some.len()).unwrap_or(u32::MAX);
            self.singles
                .store(singles.saturating_sub(verified), Ordering::Relaxed);
            results.extend(self.verify_each(some));
        }
        results
    }
}

#[cfg(test)]
mod tests;
