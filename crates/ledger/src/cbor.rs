//! Deterministic CBOR (RFC 8949, section 4.2), read strictly.
//!
//! What we write is deterministic by construction: definite lengths, shortest integers, map keys
//! in order. What we read must be what we would write: a text is decoded, encoded again and
//! compared, so that one value has one byte form and one hash.

use minicbor::{Decode, Encode};

/// Writes a value.
pub(crate) fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value)
        .expect("encoding cannot fail, because writing to a Vec cannot and no type here refuses")
}

/// Reads a value that is the only reading of these bytes.
pub(crate) fn decode_strict<'b, T>(bytes: &'b [u8]) -> Result<T, CborError>
where
    T: Decode<'b, ()> + Encode<()>,
{
    let value: T = minicbor::decode(bytes).map_err(|_| CborError::Malformed)?;
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(CborError::NotDeterministic)
    }
}

/// Reads a value that this program wrote and a checksum has guarded since.
pub(crate) fn decode_own<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, CborError> {
    minicbor::decode(bytes).map_err(|_| CborError::Malformed)
}

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// Not CBOR, or not of the expected shape.
    #[error("not CBOR of the expected shape")]
    Malformed,
    /// CBOR of the expected shape, but another form of it is the deterministic one.
    #[error("not deterministic CBOR (RFC 8949, section 4.2), or with unknown fields")]
    NotDeterministic,
}

/// A [`stiver_core::Timestamp`] as its milliseconds.
pub(crate) mod time {
    use minicbor::{
        Decoder, Encoder,
        decode::Error as DecodeError,
        encode::{Error as EncodeError, Write},
    };
    use stiver_core::Timestamp;

    pub(crate) fn encode<C, W: Write>(
        at: &Timestamp,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.u64(at.as_millis())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Timestamp, DecodeError> {
        let millis = d.u64()?;
        if millis > Timestamp::MAX.as_millis() {
            return Err(DecodeError::message("later than the year 9999"));
        }
        Ok(Timestamp::from_millis(millis))
    }
}

/// A [`stiver_core::did::DidKey`] as its 32 bytes.
pub(crate) mod key {
    use minicbor::{
        Decoder, Encoder,
        decode::Error as DecodeError,
        encode::{Error as EncodeError, Write},
    };
    use stiver_core::did::DidKey;

    pub(crate) fn encode<C, W: Write>(
        key: &DidKey,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(key.public_key())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<DidKey, DecodeError> {
        let bytes = d.bytes()?;
        let bytes = bytes
            .try_into()
            .map_err(|_| DecodeError::message("not a key of 32 bytes"))?;
        Ok(DidKey::from_public_key(bytes))
    }
}
