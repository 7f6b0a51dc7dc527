//! The challenge: `WWW-Authenticate: Payment ...` (draft-httpauth-payment-00, section 5.1).
//!
//! ```
//! use stiver_core::{
//!     Challenge,
//!     challenge::Params,
//!     json::{EncodedObject, Object},
//!     name::{ChallengeId, IntentName, MethodName, Realm},
//! };
//!
//! let request = Object::parse(br#"{"amount":"1000","currency":"usd"}"#)?;
//! let challenge = Challenge {
//!     // A server takes the id from `binding::KeyRing::bind`.
//!     id: ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa")?,
//!     params: Params::new(
//!         Realm::new("api.example.com")?,
//!         MethodName::new("ledger")?,
//!         IntentName::charge(),
//!         EncodedObject::encode(&request),
//!     ),
//! };
//! let line = format!("Basic realm=\"staff\", {challenge}");
//! assert_eq!(Challenge::parse_all([line.as_bytes()]), [Ok(challenge)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    header::{Challenges, RawBody, RawChallenge, RawParam},
    json::EncodedObject,
    limits,
    name::{ChallengeId, IntentName, MethodName, Realm},
    scan::{beyond, controls, first, quotes},
    time::{Timestamp, TimestampError},
};
use alloc::{borrow::Cow, string::String, vec::Vec};

mod error;
mod fields;

pub use crate::header::HeaderError;
pub use error::ChallengeError;
pub(crate) use fields::Fields;
pub use fields::Param;

#[cfg(test)]
pub(crate) mod tests;

/// The name of the authentication scheme.
pub const SCHEME: &str = "Payment";

/// A challenge as it stands on the wire. Parameters are kept as strings where the binding needs
/// the bytes.
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

impl Params {
    /// The required parameters, with none of the optional ones.
    pub fn new(
        realm: Realm,
        method: MethodName,
        intent: IntentName,
        request: EncodedObject,
    ) -> Self {
        Self {
            realm,
            method,
            intent,
            request,
            expires: None,
            digest: None,
            description: None,
            opaque: None,
        }
    }

    /// What is offered: the pair that [`crate::accept::AcceptPayment::rank`] weighs.
    pub fn offer(&self) -> (&MethodName, &IntentName) {
        (&self.method, &self.intent)
    }
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
        Self {
            text: at.to_rfc3339(),
            at,
        }
    }
    /// Reads a wire text.
    ///
    /// # Errors
    /// [`TimestampError`] when it is no RFC 3339 date-time from 1970 on.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Ok(Self {
            at: Timestamp::parse_rfc3339(text)?,
            text: text.into(),
        })
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
    ///
    /// # Errors
    /// [`ChallengeError::DigestTooLong`] and [`ChallengeError::DigestCharacter`].
    pub fn new(text: &str) -> Result<Self, ChallengeError> {
        if text.is_empty() {
            return Err(ChallengeError::Empty {
                param: Param::Digest,
            });
        }
        if text.len() > limits::DIGEST_PARAM_BYTES_MAX {
            return Err(ChallengeError::DigestTooLong { bytes: text.len() });
        }
        match text
            .bytes()
            .position(|byte| !byte.is_ascii_graphic() || byte == b'|')
        {
            Some(offset) => Err(ChallengeError::DigestCharacter { offset }),
            None => Ok(Self(text.into())),
        }
    }
    /// The wire text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Challenge {
    /// Prints the field value: `Payment id="...", realm="...", ...`, in ASCII, every value as a
    /// quoted-string.
    ///
    /// The description loses its control characters, and each character outside ASCII becomes
    /// `?`: many HTTP stacks refuse or garble a whole field over one byte above 127, and a payment
    /// must not fail for its caption. Where the full text matters, put it in the body.
    pub fn to_header(&self) -> String {
        let params = &self.params;
        let texts = [
            (Param::Id, Some(self.id.as_str())),
            (Param::Realm, Some(params.realm.as_str())),
            (Param::Method, Some(params.method.as_str())),
            (Param::Intent, Some(params.intent.as_str())),
            (Param::Expires, params.expires.as_ref().map(Expires::as_str)),
            (Param::Request, Some(params.request.wire())),
            (
                Param::Digest,
                params.digest.as_ref().map(DigestText::as_str),
            ),
            (Param::Description, params.description.as_deref()),
            (
                Param::Opaque,
                params.opaque.as_ref().map(EncodedObject::wire),
            ),
        ];
        let mut header = String::with_capacity(self.header_bytes_about());
        header.push_str(SCHEME);
        let mut separator = " ";
        for (param, text) in texts {
            let Some(text) = text else { continue };
            header.push_str(separator);
            header.push_str(param.name());
            header.push('=');
            push_quoted(&mut header, text);
            separator = ", ";
        }
        header
    }

    /// About how long [`Challenge::to_header`] is, bytes: never less, unless a description holds
    /// what must be escaped.
    pub fn header_bytes_about(&self) -> usize {
        /// The scheme; the names of four parameters that are always there, and what is between.
        const FIXED: usize = 60;
        /// A name, quotes, and what is between.
        const OPTIONAL: usize = 18;
        let params = &self.params;
        let required = [
            self.id.as_str(),
            params.realm.as_str(),
            params.method.as_str(),
            params.intent.as_str(),
            params.request.wire(),
        ];
        let optional = [
            params.expires.as_ref().map(Expires::as_str),
            params.digest.as_ref().map(DigestText::as_str),
            params.description.as_deref(),
            params.opaque.as_ref().map(EncodedObject::wire),
        ];
        let required: usize = required.iter().map(|text| text.len()).sum();
        let optional = optional.iter().flatten().map(|text| text.len() + OPTIONAL);
        FIXED + required + optional.sum::<usize>()
    }

    /// Reads every Payment challenge from the `WWW-Authenticate` field lines of one response, in
    /// order.
    ///
    /// Other schemes are skipped. A broken Payment challenge is an `Err` in its place and does not
    /// hide its neighbours, as long as the line can still be tokenised; a line that cannot ends
    /// with one `Err`.
    ///
    /// # Spec
    /// Section 5.1, and RFC 9110, section 11.6.1, for the list. Stricter than the draft: a
    /// parameter that stands twice is refused, names are compared without case, and `realm`,
    /// `digest` and `expires` may not hold `|`.
    ///
    /// # Errors
    /// Each `Err` is one rule of [`ChallengeError`].
    pub fn parse_all<'a, I>(lines: I) -> Vec<Result<Self, ChallengeError>>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for line in lines {
            bytes = bytes.saturating_add(line.len());
            if bytes > limits::CHALLENGE_HEADER_BYTES_MAX {
                found.push(Err(ChallengeError::HeaderTooLong { bytes }));
                return found;
            }
            for item in Challenges::new(line) {
                let challenge = match item {
                    Ok(raw) if !raw.scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) => continue,
                    Ok(raw) => Self::from_raw(raw),
                    Err(error) => Err(ChallengeError::Header(error)),
                };
                if found.len() == limits::CHALLENGES_MAX {
                    found.push(Err(ChallengeError::TooManyChallenges));
                    return found;
                }
                found.push(challenge);
            }
        }
        found
    }

    fn from_raw(raw: RawChallenge<'_>) -> Result<Self, ChallengeError> {
        let RawBody::Params { kept, count } = raw.body else {
            return Err(ChallengeError::NoParams);
        };
        if count > kept.len() {
            return Err(ChallengeError::TooManyParams { count });
        }
        refuse_duplicates(&kept)?;
        let mut fields = Fields::default();
        for RawParam { name, value } in kept {
            let Some(param) = Param::from_header_name(name) else {
                continue;
            };
            fields.set(param, text(param, value)?);
        }
        fields.into_challenge()
    }
}

/// A value as text. Only a description may be no UTF-8: it is shown, not relied upon.
fn text(param: Param, value: Cow<'_, [u8]>) -> Result<Cow<'_, str>, ChallengeError> {
    match value {
        Cow::Borrowed(bytes) => match core::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) if param == Param::Description => Ok(String::from_utf8_lossy(bytes)),
            Err(_) => Err(ChallengeError::NotUtf8 { param }),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(error) if param == Param::Description => Ok(Cow::Owned(
                String::from_utf8_lossy(error.as_bytes()).into_owned(),
            )),
            Err(_) => Err(ChallengeError::NotUtf8 { param }),
        },
    }
}

/// Sorted, equal names are neighbours: no quadratic comparison.
fn refuse_duplicates(params: &[RawParam<'_>]) -> Result<(), ChallengeError> {
    let mut names: Vec<&[u8]> = params.iter().map(|param| param.name).collect();
    names.sort_unstable_by(|one, other| {
        let one = one.iter().map(u8::to_ascii_lowercase);
        one.cmp(other.iter().map(u8::to_ascii_lowercase))
    });
    for pair in names.windows(2) {
        if let [one, other] = pair
            && one.eq_ignore_ascii_case(other)
        {
            let shown = one.get(..limits::NAME_BYTES_MAX).unwrap_or(one);
            return Err(ChallengeError::DuplicateParam {
                name: String::from_utf8_lossy(shown).to_ascii_lowercase(),
            });
        }
    }
    Ok(())
}

/// Appends a quoted-string (RFC 9110, section 5.6.4) of ASCII only.
fn push_quoted(header: &mut String, text: &str) {
    header.push('"');
    let escaped = |word| quotes(word) | controls(word) | beyond(word);
    if first(text.as_bytes(), escaped).is_none() {
        header.push_str(text);
    } else {
        push_escaped(header, text);
    }
    header.push('"');
}

fn push_escaped(header: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                header.push('\\');
                header.push(character);
            }
            ' '..='~' => header.push(character),
            _ if character.is_control() => {}
            _ => header.push('?'),
        }
    }
}

impl core::fmt::Display for Challenge {
    /// The header, as [`Challenge::to_header`] prints it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.to_header())
    }
}
