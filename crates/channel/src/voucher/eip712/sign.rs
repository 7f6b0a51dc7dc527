//! The payer's side.

use super::{Address, Domain, SIGNATURE_BYTES, V_OF_EVEN};
use crate::{ChannelId, Voucher, VoucherError};
use secp256k1::{Message, PublicKey, SecretKey, ecdsa::RecoverableSignature};
use zeroize::Zeroizing;

/// A secret key that signs vouchers. Wiped on drop; has no `Debug`.
///
/// ```
/// use stiver_channel::{ChannelId, VerifyVoucher as _};
/// use stiver_channel::voucher::eip712::{Address, Domain, Eip712, SigningKey, Variant};
/// let key = SigningKey::from_bytes(&[1; 32])?;
/// let domain = Domain::new(Variant::TEMPO_V2, 4217, Address([2; 20]));
/// let voucher = key.voucher(&domain, ChannelId([3; 32]), 250_000)?;
/// Eip712::new(domain, ChannelId([3; 32]), key.address()).verify(None, &voucher)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey {
    bytes: Zeroizing<[u8; 32]>,
    address: Address,
}

impl SigningKey {
    /// A key from its 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`SigningKeyError`] for zero and for what is not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let mut key = SecretKey::from_secret_bytes(*bytes).map_err(|_| SigningKeyError)?;
        let address = Address::of(&PublicKey::from_secret_key(&key));
        key.non_secure_erase();
        Ok(Self {
            bytes: Zeroizing::new(*bytes),
            address,
        })
    }

    /// Its account.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a voucher, in the form of 65 bytes. The same voucher gets the same signature.
    ///
    /// # Errors
    /// [`VoucherError::OverWidth`] when the amount does not fit.
    pub fn voucher(
        &self,
        domain: &Domain,
        channel: ChannelId,
        cumulative: u128,
    ) -> Result<Voucher, VoucherError> {
        domain.fits(cumulative)?;
        let digest = domain.digest(&channel, cumulative);
        let mut key = SecretKey::from_secret_bytes(*self.bytes)
            .map_err(|_| VoucherError::InvalidSignature)?;
        let signed =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), &key);
        key.non_secure_erase();
        // The library signs with the lower s.
        let (id, signature) = signed.serialize_compact();
        let mut proof = [0; SIGNATURE_BYTES];
        proof[..64].copy_from_slice(&signature);
        proof[64] = V_OF_EVEN.saturating_add(id.to_u8());
        Ok(Voucher {
            channel,
            cumulative,
            proof: proof.into(),
        })
    }
}

/// Bytes that are no secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secret key of secp256k1: it has to be above 0 and below the group's order")]
pub struct SigningKeyError;
