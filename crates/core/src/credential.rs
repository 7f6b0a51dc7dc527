//! The credential: `Authorization: Payment <base64url>` (section 5.2).
//!
//! ```
//! use stiver_core::{
//!     Challenge, Credential,
//!     credential::{Presented, presented},
//!     json::Object,
//! };
//!
//! let line = r#"Payment id="a", realm="shop", method="ledger", intent="charge", request="e30""#;
//! let challenge = Challenge::parse_all([line.as_bytes()]).remove(0)?;
//! let payload = Object::parse(br#"{"signature":"..."}"#)?;
//! let credential = Credential { challenge, payload, source: None };
//!
//! let authorization = credential.to_header();
//! let Presented::One(token) = presented([authorization.as_bytes()]) else {
//!     panic!("the line holds one credential");
//! };
//! assert_eq!(Credential::parse(token)?, credential);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    base64url::{self, Base64UrlError},
    challenge::{Challenge, ChallengeError, Fields, Param, SCHEME},
    header,
    json::{
        JsonError, Object, Value,
        plain::{Members, string},
    },
    limits,
};
use alloc::{
    borrow::Cow,
    collections::BTreeMap,
    string::{String, ToString},
};
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

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

/// Finds the Payment credentials among `Authorization` (and `Payment-Authorization`) field lines.
/// The scheme name is compared without case. Other schemes are skipped.
///
/// A line holds one credential. Where an intermediary joined lines by commas, each `Payment`
/// after a comma outside quotes counts, so that a second credential is seen and not smuggled.
/// What follows `Payment` is handed on as it stands, up to the end of the line; whether it is
/// base64url is for [`Credential::parse`] to say.
pub fn presented<'a, I>(lines: I) -> Presented<'a>
where
    I: IntoIterator<Item = &'a [u8]>,
{
    let mut found = Presented::None;
    for line in lines {
        for element in header::Elements::new(line) {
            let Some(token) = payment_token(element) else {
                continue;
            };
            match found {
                Presented::None => found = Presented::One(token),
                Presented::One(_) | Presented::Several => return Presented::Several,
            }
        }
    }
    found
}

/// What stands after the scheme, when the scheme is ours.
fn payment_token(element: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = element.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return None;
    }
    match rest.first() {
        Some(byte) if header::is_token(*byte) => None,
        _ => Some(header::trim_start(rest)),
    }
}

/// The hash that names a credential in claims and journals: SHA-256 of the base64url part of the
/// header value, as it was presented.
pub fn token_hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Credential {
    /// Reads the base64url part of a header value.
    ///
    /// # Spec
    /// Section 5.2. Unknown members are ignored. Stricter than the draft: no member may stand
    /// twice at any depth, an optional member is absent or of its type and never `null`, and the
    /// base64url has exactly one spelling.
    ///
    /// # Errors
    /// One variant of [`CredentialError`] for each rule; the size limit comes before any work.
    pub fn parse(token: &[u8]) -> Result<Self, CredentialError> {
        if token.len() > limits::CREDENTIAL_BYTES_MAX {
            return Err(CredentialError::TooLong { bytes: token.len() });
        }
        if token.is_empty() {
            return Err(CredentialError::Empty);
        }
        let text = base64url::decode(token).map_err(CredentialError::Base64)?;
        Self::from_json(&text)
    }

    /// Reads the JSON form: what the header value encodes.
    ///
    /// # Errors
    /// As [`Credential::parse`].
    pub fn from_json(text: &[u8]) -> Result<Self, CredentialError> {
        let whole = Object::parse(text).map_err(CredentialError::Json)?;
        let mut parts = Parts::default();
        for (key, value) in Members::of(whole.as_str()) {
            match key.as_ref() {
                "challenge" => parts.challenge = Some(value),
                "payload" => parts.payload = Some(value),
                "source" => parts.source = Some(value),
                "id" => parts.has_id = true,
                _ => {}
            }
        }
        let challenge = parts.challenge.ok_or(if parts.has_id {
            CredentialError::LegacyShape
        } else {
            CredentialError::ChallengeMissing
        })?;
        let challenge = echoed(challenge)?;
        let payload = parts.payload.ok_or(CredentialError::PayloadMissing)?;
        if !payload.starts_with('{') {
            return Err(CredentialError::PayloadNotObject);
        }
        // A part of what was checked needs no other check.
        let payload = Object::of_checked(payload.into(), false);
        let source = match parts.source {
            Some(raw) => Some(string(raw).ok_or(CredentialError::SourceNotString)?),
            None => None,
        };
        let source = source.map(Cow::into_owned);
        if let Some(source) = &source
            && source.len() > limits::SOURCE_BYTES_MAX
        {
            return Err(CredentialError::SourceTooLong {
                bytes: source.len(),
            });
        }
        Ok(Self {
            challenge,
            payload,
            source,
        })
    }

    /// Prints the JSON form. The payload stands in it as it is, byte for byte; the rest is
    /// canonical.
    pub fn to_json(&self) -> String {
        let mut echo = BTreeMap::new();
        let params = &self.challenge.params;
        let texts = [
            (Param::Id, Some(self.challenge.id.as_str())),
            (Param::Realm, Some(params.realm.as_str())),
            (Param::Method, Some(params.method.as_str())),
            (Param::Intent, Some(params.intent.as_str())),
            (Param::Request, Some(params.request.wire())),
            (
                Param::Expires,
                params.expires.as_ref().map(|it| it.as_str()),
            ),
            (Param::Digest, params.digest.as_ref().map(|it| it.as_str())),
            (Param::Description, params.description.as_deref()),
            (Param::Opaque, params.opaque.as_ref().map(|it| it.wire())),
        ];
        for (param, text) in texts {
            if let Some(text) = text {
                echo.insert(param.name().to_string(), Value::String(text.into()));
            }
        }
        let mut json = String::from(r#"{"challenge":"#);
        json.push_str(&Value::Object(echo).to_jcs());
        json.push_str(r#","payload":"#);
        json.push_str(self.payload.as_str());
        if let Some(source) = &self.source {
            json.push_str(r#","source":"#);
            json.push_str(&Value::String(source.clone()).to_jcs());
        }
        json.push('}');
        json
    }

    /// Prints the whole field value: `Payment <base64url>`.
    pub fn to_header(&self) -> String {
        let mut header = String::from(SCHEME);
        header.push(' ');
        header.push_str(&base64url::encode(self.to_json().as_bytes()));
        header
    }
}

/// The members of a credential, as they stand.
#[derive(Default)]
struct Parts<'a> {
    challenge: Option<&'a str>,
    payload: Option<&'a str>,
    source: Option<&'a str>,
    has_id: bool,
}

/// The `challenge` member: every text as it stands on the wire, unknown members ignored.
fn echoed(json: &str) -> Result<Challenge, CredentialError> {
    if !json.starts_with('{') {
        return Err(CredentialError::ChallengeNotObject);
    }
    let mut echo = [None; Param::ALL.len()];
    for (key, value) in Members::of(json) {
        let named = Param::ALL.iter().position(|param| param.name() == key);
        if let Some(slot) = named.and_then(|at| echo.get_mut(at)) {
            *slot = Some(value);
        }
    }
    let mut fields = Fields::default();
    for (param, raw) in Param::ALL.into_iter().zip(echo) {
        let Some(raw) = raw else { continue };
        let text = string(raw).ok_or(CredentialError::EchoNotString { param })?;
        fields.set(param, text);
    }
    fields.into_challenge().map_err(CredentialError::Challenge)
}

/// Why a credential was refused: one variant for each rule. Holds nothing of the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Over [`limits::CREDENTIAL_BYTES_MAX`].
    #[error(
        "the credential is {bytes} bytes long, at most {} are read",
        limits::CREDENTIAL_BYTES_MAX
    )]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// `Payment` with nothing after it.
    #[error("nothing follows `Payment`: send `Payment <base64url>`")]
    Empty,
    /// Not unpadded base64url.
    #[error("the credential is not base64url without padding")]
    Base64(#[source] Base64UrlError),
    /// Not one JSON object, or one over a limit, or with a name that stands twice.
    #[error("the credential is not an acceptable JSON object")]
    Json(#[source] JsonError),
    /// `id` beside `payload`: the shape from before challenges were echoed.
    #[error("the credential has `id` where `challenge` is due: echo the whole challenge")]
    LegacyShape,
    /// No `challenge`.
    #[error("the credential has no `challenge`: echo the whole challenge")]
    ChallengeMissing,
    /// `challenge` is no object.
    #[error("`challenge` is not an object: echo the parameters of the challenge")]
    ChallengeNotObject,
    /// An echoed parameter is no string.
    #[error("`challenge.{param}` is not a string: echo it as it stands in the challenge")]
    EchoNotString {
        /// Which.
        param: Param,
    },
    /// The echoed challenge breaks a rule.
    #[error("the echoed challenge is malformed")]
    Challenge(#[source] ChallengeError),
    /// No `payload`.
    #[error("the credential has no `payload`")]
    PayloadMissing,
    /// `payload` is no object.
    #[error("`payload` is not an object")]
    PayloadNotObject,
    /// `source` is no string.
    #[error("`source` is not a string: leave it out when there is none")]
    SourceNotString,
    /// `source` is over [`limits::SOURCE_BYTES_MAX`].
    #[error(
        "`source` is {bytes} bytes long, at most {} are read",
        limits::SOURCE_BYTES_MAX
    )]
    SourceTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}
