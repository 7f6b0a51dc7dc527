//! Base64url without padding (RFC 4648, section 5).

use alloc::{string::String, vec::Vec};

/// Encodes without padding.
pub fn encode(bytes: &[u8]) -> String {
    todo!()
}

/// Decodes strictly: no padding, no white space, no other alphabet, no stray trailing bits.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64UrlError> {
    todo!()
}

/// The text is not unpadded base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not unpadded base64url (RFC 4648, section 5)")]
pub struct Base64UrlError;
