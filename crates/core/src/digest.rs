//! Body digests (RFC 9530).

use alloc::string::String;

/// The SHA-256 of a request body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Of a whole body.
    pub fn of(body: &[u8]) -> Self {
        todo!()
    }
    /// From the 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Reads `sha-256=:<base64>:` (RFC 9530) or the deployed bare `sha-256=<base64>`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        todo!()
    }
    /// Prints `sha-256=:<base64>:`.
    pub fn to_header(&self) -> String {
        todo!()
    }
}

/// Digests a body as it arrives.
#[derive(Clone, Default)]
pub struct BodyDigester(sha2::Sha256);

impl BodyDigester {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        todo!()
    }
    /// The digest of everything added.
    pub fn finish(self) -> BodyDigest {
        todo!()
    }
}

/// Neither digest form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest of the form sha-256=:<base64>:")]
pub struct DigestError;
