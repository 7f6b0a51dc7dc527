//! Keys that sign: a file, a process, an HSM or a KMS may stand behind this.

use crate::BoxFuture;

/// An Ed25519 key that signs. The private half is never seen here.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public_key(&self) -> [u8; 32];
    /// Signs a message.
    fn sign<'a>(&'a self, request: SignRequest<'a>) -> BoxFuture<'a, Result<[u8; 64], SignError>>;
}

/// What is to be signed, and what for: a signer may refuse by purpose.
#[derive(Debug, Clone, Copy)]
pub struct SignRequest<'a> {
    /// What the signature is for.
    pub purpose: Purpose,
    /// The bytes; domain separation is part of them.
    pub message: &'a [u8],
}

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Moves the signer's money.
    Order,
    /// Confirms a payment.
    Receipt,
    /// Proves who asks.
    Query,
    /// Lets a payee take more of a channel's deposit.
    Voucher,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signer will not sign this.
    #[error("the signer refused: {0}")]
    Refused(String),
    /// The signer cannot be reached. Nothing was signed.
    #[error("the signer is not available: {0}")]
    Unavailable(String),
}
