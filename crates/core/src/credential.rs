//! The credential: `Authorization: Payment <base64url>` (section 5.2).

use crate::{challenge::Challenge, json::Object};
use alloc::string::String;

/// A credential: the echoed challenge, the method's payload, and who claims to pay.
/// `Debug` prints no payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// The challenge, echoed with the strings as they stand on the wire.
    pub challenge: Challenge,
    /// `payload`
    pub payload: Object,
    /// `source`: claimed, not proven. At most `limits::SOURCE_BYTES_MAX` bytes.
    pub source: Option<String>,
}

/// What a request's header lines hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No Payment credential.
    None,
    /// One: the base64url part of it.
    One(&'a [u8]),
    /// More than one, which is refused with 400.
    Several,
}

/// Finds the Payment credentials among `Authorization` (and `Payment-Authorization`) field lines. The scheme name is
/// compared without case. Other schemes are skipped.
pub fn presented<'a, I>(lines: I) -> Presented<'a>
where
    I: IntoIterator<Item = &'a [u8]>,
{
    todo!()
}

impl Credential {
    /// Reads the base64url part of a header value.
    pub fn parse(token: &[u8]) -> Result<Self, CredentialError> {
        todo!()
    }
    /// Prints the whole field value: `Payment <base64url>`.
    pub fn to_header(&self) -> String {
        todo!()
    }
}

/// Why a credential was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Placeholder, the implementer completes this list.
    #[error("malformed")]
    Malformed,
}
