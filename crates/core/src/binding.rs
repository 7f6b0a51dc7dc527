//! Binding a challenge id to its parameters by HMAC-SHA256 (section 5.1.2.1.1), under a ring of
//! secrets.
//!
//! ```
//! use stiver_core::{
//!     Timestamp,
//!     binding::{KeyRing, NotBound, Secret},
//!     challenge::Params,
//!     json::{EncodedObject, Object},
//!     name::{IntentName, MethodName, Realm},
//! };
//!
//! let now = Timestamp::from_millis(1_736_942_400_000);
//! let mut ring = KeyRing::new(Secret::configured(&[7; 32])?);
//! let challenge = ring.bind(Params::new(
//!     Realm::new("api.example.com")?,
//!     MethodName::new("ledger")?,
//!     IntentName::charge(),
//!     EncodedObject::encode(&Object::parse(br#"{"amount":"1000"}"#)?),
//! ));
//! assert_eq!(ring.verify(&challenge, now), Ok(()));
//!
//! // What was issued before a rotation stays good until the old secret ends.
//! ring.rotate(Secret::configured(&[8; 32])?, now.plus_millis(300_000));
//! assert_eq!(ring.verify(&challenge, now), Ok(()));
//! assert_eq!(ring.verify(&challenge, now.plus_millis(300_000)), Err(NotBound));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A verification costs one SHA-256 pass over the slots for each secret, and no allocation but
//! the 32 bytes of the decoded id. The key schedule is computed when a secret is made.

use crate::{
    base64url,
    challenge::{Challenge, DigestText, Expires, Params},
    json::EncodedObject,
    limits,
    name::ChallengeId,
    time::Timestamp,
};
use alloc::vec::Vec;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

#[cfg(test)]
mod tests;

/// Bytes of an id before base64url: one SHA-256 output.
const TAG_BYTES: usize = 32;

/// One binding secret, its HMAC key schedule computed once. Wiped on drop. It cannot be printed:
///
/// ```compile_fail,E0277
/// println!("{:?}", stiver_core::binding::Secret::from_bytes(b"a secret"));
/// ```
pub struct Secret {
    keyed: Hmac<Sha256>,
}

impl Secret {
    /// From key bytes of any length: the id function sets no minimum. The caller's copy stays the
    /// caller's to wipe.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            keyed: Hmac::new_from_slice(bytes)
                .expect("HMAC takes a key of any length because it hashes the long ones"),
        }
    }
    /// From configured key bytes: at least `limits::SECRET_BYTES_MIN`.
    ///
    /// # Errors
    /// [`SecretTooShort`]
    pub fn configured(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < limits::SECRET_BYTES_MIN {
            return Err(SecretTooShort { bytes: bytes.len() });
        }
        Ok(Self::from_bytes(bytes))
    }
    /// The id of these parameters: base64url of HMAC-SHA256 over the seven wire strings joined by
    /// `|`.
    ///
    /// # Spec
    /// Section 5.1.2.1.1. The slots are the texts as they stand on the wire; nothing is decoded
    /// and written again.
    pub fn id(&self, params: &Params) -> ChallengeId {
        ChallengeId::new(&base64url::encode(&self.tag(params)))
            .expect("base64url of 32 bytes is an id because it is 43 visible ASCII characters")
    }

    /// The HMAC of the seven slots. None of them can hold a `|`, so that no two sets of
    /// parameters give the same input.
    fn tag(&self, params: &Params) -> [u8; TAG_BYTES] {
        let slots = [
            params.realm.as_str(),
            params.method.as_str(),
            params.intent.as_str(),
            params.request.wire(),
            params.expires.as_ref().map_or("", Expires::as_str),
            params.digest.as_ref().map_or("", DigestText::as_str),
            params.opaque.as_ref().map_or("", EncodedObject::wire),
        ];
        let mut mac = self.keyed.clone();
        for (index, slot) in slots.into_iter().enumerate() {
            if index > 0 {
                mac.update(b"|");
            }
            mac.update(slot.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// One current secret and any number of previous ones, each with the instant after which it
/// verifies nothing.
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
    /// Makes `new` the current secret. The one before still verifies until `previous_until`
    /// (exclusive): choose the longest life of a challenge after now.
    pub fn rotate(&mut self, new: Secret, previous_until: Timestamp) {
        let old = core::mem::replace(&mut self.current, new);
        self.previous.push((old, previous_until));
    }
    /// Drops, and so wipes, the previous secrets whose time is over.
    pub fn forget_ended(&mut self, now: Timestamp) {
        self.previous.retain(|(_, until)| *until > now);
    }
    /// Binds parameters under the current secret.
    pub fn bind(&self, params: Params) -> Challenge {
        Challenge {
            id: self.current.id(&params),
            params,
        }
    }
    /// Verifies an echoed challenge, in constant time for each secret tried. All secrets whose
    /// time is not over are tried, whether one matched or not.
    ///
    /// # Errors
    /// [`NotBound`], for every reason there may be.
    pub fn verify(&self, echoed: &Challenge, now: Timestamp) -> Result<(), NotBound> {
        let tag = base64url::decode(echoed.id.as_str().as_bytes()).map_err(|_| NotBound)?;
        let mut bound = self.current.tag(&echoed.params).ct_eq(tag.as_slice());
        for (secret, until) in &self.previous {
            let matches = secret.tag(&echoed.params).ct_eq(tag.as_slice());
            bound |= matches & Choice::from(u8::from(*until > now));
        }
        if bool::from(bound) {
            Ok(())
        } else {
            Err(NotBound)
        }
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
