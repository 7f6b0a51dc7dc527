//! Base64url without padding (RFC 4648, section 5).
//!
//! # Examples
//! ```
//! use stiver_core::base64url;
//! assert_eq!(base64url::encode(b"{}"), "e30");
//! assert_eq!(base64url::decode(b"e30").as_deref(), Ok(b"{}".as_slice()));
//! assert!(base64url::decode(b"e30=").is_err());
//! ```

use alloc::{string::String, vec::Vec};
use base64::{DecodeError, Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Encodes without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes strictly: no padding, no white space, no other alphabet, no stray trailing bits.
///
/// So one byte string has exactly one text. The empty text is the empty byte string.
///
/// # Errors
/// The first rule broken, see [`Base64UrlError`].
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| refusal(text, &error))
}

/// Which rule a text breaks first: its characters before its length.
fn refusal(text: &[u8], error: &DecodeError) -> Base64UrlError {
    if let Some(offset) = text.iter().position(|byte| !is_alphabet(*byte)) {
        let padding = text
            .get(offset..)
            .is_some_and(|tail| !tail.is_empty() && tail.iter().all(|byte| *byte == b'='));
        return if padding {
            Base64UrlError::Padding
        } else {
            Base64UrlError::Alphabet { offset }
        };
    }
    match error {
        DecodeError::InvalidByte(offset, _) => Base64UrlError::Alphabet { offset: *offset },
        DecodeError::InvalidLength(_) => Base64UrlError::Length { bytes: text.len() },
        DecodeError::InvalidLastSymbol { .. } => Base64UrlError::TrailingBits,
        DecodeError::InvalidPadding => Base64UrlError::Padding,
    }
}

/// True for the bytes of the base64url alphabet.
fn is_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Why a text is not unpadded base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Base64UrlError {
    /// A byte outside of `A-Z a-z 0-9 - _`.
    #[error("byte {offset} is not in the base64url alphabet A-Z a-z 0-9 - _")]
    Alphabet {
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// Padded with `=`.
    #[error("base64url must not be padded: leave out the `=` at the end")]
    Padding,
    /// One character is left over: no whole number of bytes.
    #[error("{bytes} characters are no whole number of bytes in base64url")]
    Length {
        /// Length of the text in bytes.
        bytes: usize,
    },
    /// The last character holds bits that decode to nothing.
    #[error("the last base64url character has stray bits set")]
    TrailingBits,
}

#[cfg(test)]
mod tests;
