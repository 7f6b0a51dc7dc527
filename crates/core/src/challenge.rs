//! The challenge: `WWW-Authenticate: Payment ...` (draft-httpauth-payment-00, section 5.1).

use crate::{
    header::{Challenges, RawBody, RawChallenge, RawParam},
    json::{EncodedObject, EncodedObjectError, Value},
    limits,
    name::{ChallengeId, IntentName, MethodName, NameError, Realm},
    time::{Timestamp, TimestampError},
};
use alloc::{borrow::Cow, string::String, vec::Vec};

pub use crate::header::HeaderError;

#[cfg(test)]
mod tests;

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

/// The parameters of a Payment challenge that the draft defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Param {
    /// `id`
    Id,
    /// `realm`
    Realm,
    /// `method`
    Method,
    /// `intent`
    Intent,
    /// `request`
    Request,
    /// `expires`
    Expires,
    /// `digest`
    Digest,
    /// `description`
    Description,
    /// `opaque`
    Opaque,
}

impl Param {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Id,
        Self::Realm,
        Self::Method,
        Self::Intent,
        Self::Request,
        Self::Expires,
        Self::Digest,
        Self::Description,
        Self::Opaque,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Realm => "realm",
            Self::Method => "method",
            Self::Intent => "intent",
            Self::Request => "request",
            Self::Expires => "expires",
            Self::Digest => "digest",
            Self::Description => "description",
            Self::Opaque => "opaque",
        }
    }

    fn from_header_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|param| name.eq_ignore_ascii_case(param.name().as_bytes()))
    }
}

impl core::fmt::Display for Param {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The texts of the parameters, as a header or a credential gives them, before they are checked.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    texts: [Option<Cow<'a, str>>; 9],
}

impl<'a> Fields<'a> {
    pub(crate) fn set(&mut self, param: Param, text: Cow<'a, str>) {
        *self.slot(param) = Some(text);
    }

    fn slot(&mut self, param: Param) -> &mut Option<Cow<'a, str>> {
        let [
            id,
            realm,
            method,
            intent,
            request,
            expires,
            digest,
            description,
            opaque,
        ] = &mut self.texts;
        match param {
            Param::Id => id,
            Param::Realm => realm,
            Param::Method => method,
            Param::Intent => intent,
            Param::Request => request,
            Param::Expires => expires,
            Param::Digest => digest,
            Param::Description => description,
            Param::Opaque => opaque,
        }
    }

    fn required(&mut self, param: Param) -> Result<Cow<'a, str>, ChallengeError> {
        let text = self
            .slot(param)
            .take()
            .ok_or(ChallengeError::Missing { param })?;
        if text.is_empty() {
            return Err(ChallengeError::Empty { param });
        }
        Ok(text)
    }

    /// Checks every rule of a challenge, the required parameters first, in the order of the draft.
    pub(crate) fn into_challenge(mut self) -> Result<Challenge, ChallengeError> {
        let id = ChallengeId::new(&self.required(Param::Id)?).map_err(ChallengeError::Id)?;
        let realm = Realm::new(&self.required(Param::Realm)?).map_err(ChallengeError::Realm)?;
        let method =
            MethodName::new(&self.required(Param::Method)?).map_err(ChallengeError::Method)?;
        let intent =
            IntentName::new(&self.required(Param::Intent)?).map_err(ChallengeError::Intent)?;
        let request = EncodedObject::parse(&self.required(Param::Request)?)
            .map_err(ChallengeError::Request)?;
        let expires = match self.slot(Param::Expires).take() {
            Some(text) => Some(Expires::parse(&text).map_err(ChallengeError::Expires)?),
            None => None,
        };
        let digest = match self.slot(Param::Digest).take() {
            Some(text) => Some(DigestText::new(&text)?),
            None => None,
        };
        let opaque = match self.slot(Param::Opaque).take() {
            Some(text) => Some(flat_object(&text)?),
            None => None,
        };
        let description = self.slot(Param::Description).take().map(Cow::into_owned);
        Ok(Challenge {
            id,
            params: Params {
                realm,
                method,
                intent,
                request,
                expires,
                digest,
                description,
                opaque,
            },
        })
    }
}

/// An `opaque`: an encoded object whose values are strings.
fn flat_object(wire: &str) -> Result<EncodedObject, ChallengeError> {
    let encoded = EncodedObject::parse(wire).map_err(ChallengeError::Opaque)?;
    match encoded.object().to_value() {
        Value::Object(members) if members.values().all(|value| value.as_str().is_some()) => {
            Ok(encoded)
        }
        _ => Err(ChallengeError::OpaqueNotFlat),
    }
}

impl Challenge {
    /// Prints the field value: `Payment id="...", realm="...", ...`, in ASCII.
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
        let mut header = String::from(SCHEME);
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

    /// Reads every Payment challenge from the `WWW-Authenticate` field lines of one response, in
    /// order.
    ///
    /// Other schemes are skipped. A broken Payment challenge is an `Err` in its place and does not
    /// hide its neighbours, as long as the line can still be tokenised; a line that cannot ends
    /// with one `Err`.
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
    header.push('"');
}

impl core::fmt::Display for Challenge {
    /// The header, as [`Challenge::to_header`] prints it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.to_header())
    }
}

/// Why a challenge was refused: one variant for each rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// All lines together are over [`limits::CHALLENGE_HEADER_BYTES_MAX`].
    #[error(
        "WWW-Authenticate is over {} bytes",
        limits::CHALLENGE_HEADER_BYTES_MAX
    )]
    HeaderTooLong {
        /// Bytes up to and with the line that went over.
        bytes: usize,
    },
    /// More than [`limits::CHALLENGES_MAX`] challenges; those after are not read.
    #[error("more than {} Payment challenges", limits::CHALLENGES_MAX)]
    TooManyChallenges,
    /// The line breaks here.
    #[error("malformed WWW-Authenticate")]
    Header(#[source] HeaderError),
    /// `Payment` followed by a single word.
    #[error("the Payment challenge has a word in place of parameters")]
    NoParams,
    /// More than [`limits::AUTH_PARAMS_MAX`] parameters.
    #[error(
        "{count} parameters in one challenge, at most {} are read",
        limits::AUTH_PARAMS_MAX
    )]
    TooManyParams {
        /// How many.
        count: usize,
    },
    /// A parameter stands twice, letter case apart.
    #[error("the parameter `{name}` stands twice")]
    DuplicateParam {
        /// Its name in lower case, cut at [`limits::NAME_BYTES_MAX`].
        name: String,
    },
    /// A value is no UTF-8.
    #[error("`{param}` is not UTF-8")]
    NotUtf8 {
        /// Which.
        param: Param,
    },
    /// A required parameter is absent.
    #[error("`{param}` is missing")]
    Missing {
        /// Which.
        param: Param,
    },
    /// A parameter that must have a value is empty.
    #[error("`{param}` is empty")]
    Empty {
        /// Which.
        param: Param,
    },
    /// `id` breaks its grammar.
    #[error("`id` is malformed")]
    Id(#[source] NameError),
    /// `realm` breaks its grammar.
    #[error("`realm` is malformed")]
    Realm(#[source] NameError),
    /// `method` breaks its grammar.
    #[error("`method` is malformed")]
    Method(#[source] NameError),
    /// `intent` breaks its grammar.
    #[error("`intent` is malformed")]
    Intent(#[source] NameError),
    /// `request` is no base64url JSON object.
    #[error("`request` is malformed")]
    Request(#[source] EncodedObjectError),
    /// `expires` is no RFC 3339 date-time.
    #[error("`expires` is malformed")]
    Expires(#[source] TimestampError),
    /// `digest` is over [`limits::DIGEST_PARAM_BYTES_MAX`].
    #[error(
        "`digest` is {bytes} bytes long, at most {} are read",
        limits::DIGEST_PARAM_BYTES_MAX
    )]
    DigestTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// `digest` holds something else than visible ASCII, or `|`.
    #[error("`digest` holds a character that it may not, at byte {offset}")]
    DigestCharacter {
        /// Where, from the start of the value.
        offset: usize,
    },
    /// `opaque` is no base64url JSON object.
    #[error("`opaque` is malformed")]
    Opaque(#[source] EncodedObjectError),
    /// `opaque` has a member that is no string.
    #[error("`opaque` is no flat object of strings")]
    OpaqueNotFlat,
}
