//! The `opaque` parameter: a registry of short keys with a byte budget, readable by the client.

use crate::{digest::BodyDigest, json::EncodedObject, time::Timestamp};
use alloc::{collections::BTreeMap, string::String};

/// What our challenges carry in `opaque`. Never a secret.
///
/// | key | value |
/// |---|---|
/// | `n` | nonce, 16 bytes base64url: no two challenges share an id |
/// | `s` | scope: HTTP method, a space, normalised path and query |
/// | `t` | issue time, decimal milliseconds |
/// | `p` | price revision |
/// | `d` | body digest, base64url, when a computed price depends on the body |
/// | `agr`, `neg`, `att` | reserved |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// `n`
    pub nonce: [u8; 16],
    /// `s`
    pub scope: String,
    /// `t`
    pub issued_at: Timestamp,
    /// `p`
    pub price_revision: Option<String>,
    /// `d`
    pub digest: Option<BodyDigest>,
    /// Any other keys, the reserved ones among them.
    pub extra: BTreeMap<String, String>,
}

impl Opaque {
    /// Encodes, or says that the budget of `limits::OPAQUE_BYTES_MAX` is exceeded or an extra key shadows a registered one.
    pub fn encode(&self) -> Result<EncodedObject, OpaqueError> {
        todo!()
    }
    /// Reads what [`Opaque::encode`] wrote, once the binding has proved that it is ours.
    pub fn decode(encoded: &EncodedObject) -> Result<Self, OpaqueError> {
        todo!()
    }
}

/// Why an `opaque` object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpaqueError {
    /// Placeholder, the implementer completes this list.
    #[error("opaque is too large")]
    TooLarge,
}
