//! Body digests (RFC 9530).

use crate::limits::DIGEST_BYTES_MAX;
use alloc::{string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// The dictionary key of the one algorithm we use.
const ALGORITHM: &str = "sha-256";

/// The SHA-256 of a request body.
///
/// # Spec
/// RFC 9530, section 2; draft-httpauth-payment-00, `digest`.
///
/// # Examples
/// ```
/// use stiver_core::digest::BodyDigest;
/// let digest = BodyDigest::of(br#"{"hello": "world"}"#);
/// assert_eq!(digest.to_header(), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Of a whole body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// From the 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `sha-256=:<base64>:` (RFC 9530) or the deployed bare `sha-256=<base64>`.
    ///
    /// Several algorithms may be listed, separated by commas: the `sha-256` one is read, the
    /// others are skipped unread. Two `sha-256` members are refused, since readers would
    /// disagree on which one counts. At most [`DIGEST_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The first rule broken, see [`DigestError`].
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        if text.len() > DIGEST_BYTES_MAX {
            return Err(DigestError::TooLong { bytes: text.len() });
        }
        let mut found = None;
        for member in text.split(',') {
            let member = member.trim_matches([' ', '\t']);
            let (key, value) = member.split_once('=').ok_or(DigestError::Syntax)?;
            if !is_key(key) {
                return Err(DigestError::Syntax);
            }
            if key == ALGORITHM && found.replace(value).is_some() {
                return Err(DigestError::Duplicate);
            }
        }
        decode_value(found.ok_or(DigestError::NoSha256)?)
    }

    /// Prints `sha-256=:<base64>:`.
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut text = String::from("sha-256=:");
        STANDARD.encode_string(self.0, &mut text);
        text.push(':');
        text
    }
}

impl core::fmt::Display for BodyDigest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.to_header())
    }
}

/// A dictionary key of RFC 9651: `( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )`.
fn is_key(key: &str) -> bool {
    let first = key.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*')
        && key.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        })
}

/// Decodes the value of the `sha-256` member, with both colons or without any.
fn decode_value(value: &str) -> Result<BodyDigest, DigestError> {
    let base64 = match value.strip_prefix(':') {
        Some(rest) => rest.strip_suffix(':').ok_or(DigestError::Syntax)?,
        None => value,
    };
    let bytes: Vec<u8> = STANDARD.decode(base64).map_err(|_| DigestError::Base64)?;
    let length = bytes.len();
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok(BodyDigest(bytes)),
        Err(_) => Err(DigestError::Length { bytes: length }),
    }
}

/// Digests a body as it arrives.
#[derive(Clone, Default)]
pub struct BodyDigester(Sha256);

impl BodyDigester {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> BodyDigest {
        BodyDigest(self.0.finalize().into())
    }
}

impl core::fmt::Debug for BodyDigester {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BodyDigester")
    }
}

/// Why a text is neither digest form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// Longer than [`DIGEST_BYTES_MAX`].
    #[error("a digest of {bytes} bytes is too long: the limit is {DIGEST_BYTES_MAX}")]
    TooLong {
        /// Length of the text in bytes.
        bytes: usize,
    },
    /// Not `algorithm=:<base64>:`, nor a list of that.
    #[error("not a digest of the form sha-256=:<base64>:")]
    Syntax,
    /// Well-formed, but no member is `sha-256`.
    #[error("the digest names no sha-256: send sha-256=:<base64>:")]
    NoSha256,
    /// `sha-256` stands twice.
    #[error("the digest names sha-256 twice")]
    Duplicate,
    /// The value is not padded standard base64.
    #[error("the sha-256 digest is not base64 with padding (RFC 4648, section 4)")]
    Base64,
    /// Not 32 bytes.
    #[error("a sha-256 digest has 32 bytes, this one {bytes}")]
    Length {
        /// Bytes decoded.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests;
