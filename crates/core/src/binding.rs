//! Binding a challenge id to its parameters by HMAC-SHA256 (section 5.1.2.1.1), under a ring of secrets.

use crate::{
    challenge::{Challenge, Params},
    name::ChallengeId,
    time::Timestamp,
};
use alloc::vec::Vec;

/// One binding secret, its HMAC key schedule computed once. No `Debug`; wiped on drop.
pub struct Secret {
    _todo: (),
}

impl Secret {
    /// From key bytes of any length: the id function sets no minimum.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        todo!()
    }
    /// From configured key bytes: at least `limits::SECRET_BYTES_MIN`.
    pub fn configured(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        todo!()
    }
    /// The id of these parameters: base64url of HMAC-SHA256 over the seven wire strings joined by `|`.
    pub fn id(&self, params: &Params) -> ChallengeId {
        todo!()
    }
}

/// One current secret and any number of previous ones, each with the instant after which it verifies nothing.
pub struct KeyRing {
    current: Secret,
    previous: Vec<(Secret, Timestamp)>,
}

impl KeyRing {
    /// A ring with only a current secret.
    pub fn new(current: Secret) -> Self {
        Self {
            current,
            previous: Vec::new(),
        }
    }
    /// Adds a secret that still verifies until `until` (exclusive).
    #[must_use]
    pub fn with_previous(mut self, secret: Secret, until: Timestamp) -> Self {
        self.previous.push((secret, until));
        self
    }
    /// Binds parameters under the current secret.
    pub fn bind(&self, params: Params) -> Challenge {
        Challenge {
            id: self.current.id(&params),
            params,
        }
    }
    /// Verifies an echoed challenge, in constant time for each secret tried.
    pub fn verify(&self, echoed: &Challenge, now: Timestamp) -> Result<(), NotBound> {
        todo!()
    }
}

/// The id was not made by us for these parameters. Says no more, so that nobody can probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the challenge was not issued here, or was altered")]
pub struct NotBound;

/// A configured secret is shorter than `limits::SECRET_BYTES_MIN` bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a challenge secret of {bytes} bytes is too short: use at least 32 random bytes")]
pub struct SecretTooShort {
    /// Its length in bytes.
    pub bytes: usize,
}
