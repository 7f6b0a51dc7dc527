//! Orders with their signature.

use std::sync::Arc;

use minicbor::{Decode, Encode, bytes::ByteArray};
use stiver_core::did::DidKey;

use super::{Action, Order, OrderError};
use crate::{
    cbor::{self, CborError},
    id::OrderHash,
    key::{self, SignatureError},
    voucher::ProofError,
};

/// An order, the key that is said to have signed it, and the signature. Nothing is proven yet:
/// [`SignedOrder::verify`] does that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOrder {
    order: Order,
    bytes: Arc<[u8]>,
    hash: OrderHash,
    key: DidKey,
    signature: [u8; 64],
}

/// An order whose signature verified. There is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOrder(SignedOrder);

/// A signed order as it is stored: bytes, key, signature.
#[derive(Encode, Decode)]
struct Stored<'b> {
    #[cbor(b(0), with = "minicbor::bytes")]
    order: &'b [u8],
    #[n(1)]
    key: ByteArray<32>,
    #[n(2)]
    signature: ByteArray<64>,
}

impl SignedOrder {
    /// Reads an order beside its key and signature.
    ///
    /// # Errors
    ///
    /// [`OrderError`] when the bytes are no order.
    pub fn new(order: &[u8], key: DidKey, signature: [u8; 64]) -> Result<Self, OrderError> {
        Ok(Self {
            order: Order::decode(order)?,
            bytes: order.into(),
            hash: OrderHash::of(order),
            key,
            signature,
        })
    }

    /// The order.
    pub fn order(&self) -> &Order {
        &self.order
    }
    /// The bytes that were signed.
    pub fn order_bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The hash of those bytes.
    pub fn hash(&self) -> OrderHash {
        self.hash
    }
    /// The key that is said to have signed.
    pub fn key(&self) -> DidKey {
        self.key
    }
    /// The signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Verifies the signature, and the proof of a capture after it. Takes some ten microseconds,
    /// for a word of a hash chain up to some milliseconds: never under a lock, and never where the
    /// ledger decides.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] when one does not verify.
    pub fn verify(self) -> Result<VerifiedOrder, VerifyError> {
        self.check()?;
        Ok(VerifiedOrder(self))
    }

    /// As [`SignedOrder::verify`], without giving the proof of it.
    pub(crate) fn check(&self) -> Result<(), VerifyError> {
        key::verify(&self.key, &self.bytes, &self.signature).map_err(VerifyError::Order)?;
        match &self.order.action {
            Action::Capture { channel, proof, .. } => proof
                .verify(self.order.ledger, *channel)
                .map_err(VerifyError::Proof),
            _ => Ok(()),
        }
    }

    /// All of it in one string of bytes: an array of order, key and signature.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Stored {
            order: &self.bytes,
            key: (*self.key.public_key()).into(),
            signature: self.signature.into(),
        })
    }

    /// Reads what [`SignedOrder::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`BadSignedOrder`] when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSignedOrder> {
        let stored: Stored<'_> = cbor::decode_strict(bytes).map_err(BadSignedOrder::Cbor)?;
        Self::new(
            stored.order,
            DidKey::from_public_key(stored.key.into()),
            stored.signature.into(),
        )
        .map_err(BadSignedOrder::Order)
    }
}

impl VerifiedOrder {
    /// The order with its signature.
    pub fn signed(&self) -> &SignedOrder {
        &self.0
    }
    /// Gives up the proof.
    pub fn into_signed(self) -> SignedOrder {
        self.0
    }
    /// The order.
    pub fn order(&self) -> &Order {
        &self.0.order
    }
    /// Its hash.
    pub fn hash(&self) -> OrderHash {
        self.0.hash
    }
    /// The key that signed.
    pub fn key(&self) -> DidKey {
        self.0.key
    }
}

/// Why a signed order proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The order's signature.
    #[error(transparent)]
    Order(SignatureError),
    /// The proof that a capture brings.
    #[error(transparent)]
    Proof(ProofError),
}

/// Why bytes are no signed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSignedOrder {
    /// Not an array of order, key and signature.
    #[error("not a signed order")]
    Cbor(#[source] CborError),
    /// The order in it is none.
    #[error("the order in it is malformed")]
    Order(#[source] OrderError),
}
