//! The parameters by name, and the rules that their texts obey wherever they come from.

use super::{Challenge, ChallengeError, DigestText, Expires, Params};
use crate::{
    json::{EncodedObject, plain::Members},
    name::{ChallengeId, IntentName, MethodName, Realm},
};
use alloc::borrow::Cow;

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

    pub(super) fn from_header_name(name: &[u8]) -> Option<Self> {
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
    let mut members = Members::of(encoded.object().as_str());
    if members.all(|(_, value)| value.starts_with('"')) {
        Ok(encoded)
    } else {
        Err(ChallengeError::OpaqueNotFlat)
    }
}
