//! The challenge: `WWW-Authenticate: Payment ...` (draft-httpauth-payment-00, section 5.1).

use crate::{
    json::EncodedObject,
    name::{ChallengeId, IntentName, MethodName, Realm},
    time::Timestamp,
};
use alloc::{string::String, vec::Vec};

/// A challenge as it stands on the wire. Parameters are kept as strings where the binding needs the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `id`
    pub id: ChallengeId,
    /// Everything the id is bound to, and the description.
    pub params: Params,
}

/// The parameters of a challenge but its id: what a server fills in before binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// `realm`
    pub realm: Realm,
    /// `method`
    pub method: MethodName,
    /// `intent`
    pub intent: IntentName,
    /// `request`
    pub request: EncodedObject,
    /// `expires`
    pub expires: Option<Expires>,
    /// `digest`, as it stands on the wire: visible ASCII without `|`, at most 128 bytes.
    pub digest: Option<DigestText>,
    /// `description`: display only, not bound, never relied upon.
    pub description: Option<String>,
    /// `opaque`
    pub opaque: Option<EncodedObject>,
}

/// An `expires` value: its wire text and the instant it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expires {
    text: String,
    at: Timestamp,
}

impl Expires {
    /// From an instant, printed as RFC 3339.
    pub fn at(at: Timestamp) -> Self {
        todo!()
    }
    /// Reads a wire text.
    pub fn parse(text: &str) -> Result<Self, crate::time::TimestampError> {
        todo!()
    }
    /// The wire text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The instant.
    pub fn instant(&self) -> Timestamp {
        self.at
    }
    /// True from the instant itself on: `expires` equal to now is expired.
    pub fn has_passed(&self, now: Timestamp) -> bool {
        now >= self.at
    }
}

/// A `digest` parameter as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestText(String);

impl DigestText {
    /// Checks and keeps a wire text.
    pub fn new(text: &str) -> Result<Self, ChallengeError> {
        todo!()
    }
    /// The wire text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Challenge {
    /// Prints the field value: `Payment id="...", realm="...", ...`.
    pub fn to_header(&self) -> String {
        todo!()
    }
    /// Reads every Payment challenge from the `WWW-Authenticate` field lines of one response, in order.
    ///
    /// Other schemes are skipped. A broken Payment challenge is an `Err` in its place and does not hide its neighbours,
    /// as long as the line can still be tokenised; a line that cannot ends with one `Err`.
    pub fn parse_all<'a, I>(lines: I) -> Vec<Result<Self, ChallengeError>>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        todo!()
    }
}

/// Why a challenge was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// Placeholder, the implementer completes this list.
    #[error("malformed")]
    Malformed,
}
