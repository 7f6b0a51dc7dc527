//! What the log stores.
//!
//! An executed order is logged whole, with its key and signature, so that the log proves by itself
//! who ordered what. The postings stand beside it: what was decided is not decided again.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use stiver_core::did::DidKey;

use crate::{
    cbor,
    order::SignedOrder,
    rows::{CurrencyRow, Origin, Posting},
    text::Label,
};

/// One event. Opaque outside of this crate: [`crate::Ledger`] tells what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event(pub(crate) EventKind);

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum EventKind {
    /// The ledger begins.
    #[n(0)]
    Began(#[n(0)] Began),
    /// A currency is registered.
    #[n(1)]
    Registered(#[n(0)] Registered),
    /// An order is executed.
    #[n(2)]
    Executed(#[n(0)] Box<Executed>),
}

/// The ledger begins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Began {
    #[n(0)]
    pub(crate) origin: Origin,
    /// The first key of the operator's account.
    #[cbor(n(1), with = "crate::cbor::key")]
    pub(crate) operator_key: DidKey,
}

/// A currency is registered; its issuer's account is opened when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Registered {
    #[n(0)]
    pub(crate) currency: CurrencyRow,
    #[cbor(n(1), with = "crate::cbor::key")]
    pub(crate) issuer_key: DidKey,
    #[n(2)]
    pub(crate) owner: Option<Label>,
}

/// An order is executed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Executed {
    #[n(0)]
    pub(crate) order: SignedOrder,
    /// Debit, then credit; empty when no money moves.
    #[n(1)]
    pub(crate) postings: Vec<Posting>,
}

impl Event {
    pub(crate) fn encode(&self) -> Vec<u8> {
        cbor::encode(&self.0)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, cbor::CborError> {
        cbor::decode_strict(bytes).map(Self)
    }
}

impl<C> Encode<C> for SignedOrder {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SignedOrder {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        Self::from_bytes(d.bytes()?).map_err(DecodeError::message)
    }
}
