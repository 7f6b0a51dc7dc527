//! Objects whose text is kept, and their base64url form.

use super::{EncodedObjectError, JsonError, Value, jcs, plain, wire};
use crate::{base64url, limits::JSON_BYTES_MAX};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc};
use once_cell::race::OnceBox;

/// The text of a JSON object that was checked as [`Value::parse`] checks, kept byte for byte.
/// Cheap to clone. `Debug` prints the length only: payloads hold credentials.
///
/// Two objects are equal when their texts are.
#[derive(Clone)]
pub struct Object {
    inner: Arc<Inner>,
}

struct Inner {
    text: Box<str>,
    /// True when the text is known to be the canonical form.
    canonical: bool,
    /// What the text says, read when somebody first asks.
    members: OnceBox<BTreeMap<String, Value>>,
}

impl Object {
    /// Checks a text and keeps it as it stands.
    ///
    /// # Errors
    /// Those of [`Value::parse`], and [`JsonError::NotObject`].
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        if let Ok(plain) = core::str::from_utf8(text)
            && plain::is_object(plain)
            && plain::is_plain(plain)
        {
            return Ok(Self::of_checked(plain.into(), false));
        }
        let members = match Value::parse(text)? {
            Value::Object(members) => members,
            other => {
                return Err(JsonError::NotObject {
                    found: other.kind(),
                });
            }
        };
        let text = core::str::from_utf8(text)
            .expect("the text is UTF-8 because it was parsed as JSON above");
        Ok(Self::of_members(text.into(), members, false))
    }

    /// From the text of an object that is a part of one that was checked, or that was written
    /// here.
    pub(crate) fn of_checked(text: Box<str>, canonical: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                text,
                canonical,
                members: OnceBox::new(),
            }),
        }
    }

    fn of_members(text: Box<str>, members: BTreeMap<String, Value>, canonical: bool) -> Self {
        let object = Self::of_checked(text, canonical);
        // Nobody else has it yet, so that nothing is in the way.
        let _ = object.inner.members.set(Box::new(members));
        object
    }

    /// Canonicalises members built in memory.
    ///
    /// What is built here is not limited in size and depth. Peers are: see `limits::JSON_BYTES_MAX`
    /// and `limits::JSON_DEPTH_MAX`.
    #[must_use]
    pub fn from_members(members: BTreeMap<String, Value>) -> Self {
        let mut text = String::new();
        jcs::write_members(&mut text, &members);
        Self::of_members(text.into(), members, true)
    }

    /// The text, byte for byte as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.inner.text
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<String, Value> {
        self.inner.members.get_or_init(|| {
            let members = match Value::parse(self.as_str().as_bytes()) {
                Ok(Value::Object(members)) => members,
                // Not reached: the text was checked to be an object that parses.
                _ => BTreeMap::new(),
            };
            Box::new(members)
        })
    }

    /// The member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members().get(key)
    }

    /// The members, as a value of their own.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.members().clone())
    }

    /// The canonical form (RFC 8785), whatever the text looks like.
    #[must_use]
    pub fn to_jcs(&self) -> String {
        if self.inner.canonical {
            return self.as_str().into();
        }
        let mut out = String::new();
        jcs::write_members(&mut out, self.members());
        out
    }

    /// The members as a serde type, for a method's `wire` module. Unknown fields are that type's
    /// choice. Strings can be borrowed.
    ///
    /// # Errors
    /// [`JsonError::MissingMember`] and [`JsonError::Member`] name the member, never its value.
    pub fn deserialize<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        wire::from_members(self.members())
    }

    /// A serde type as canonical JSON. Fails when it is not an object.
    ///
    /// # Errors
    /// [`JsonError::NotObject`], [`JsonError::Unwritable`], and those of [`Value::parse`], whose
    /// limits hold here too.
    pub fn serialize<T: serde::Serialize>(value: &T) -> Result<Self, JsonError> {
        let text = serde_json::to_vec(value).map_err(|_| JsonError::Unwritable)?;
        let members = match Value::parse(&text)? {
            Value::Object(members) => members,
            other => {
                return Err(JsonError::NotObject {
                    found: other.kind(),
                });
            }
        };
        Ok(Self::from_members(members))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Object {}

impl core::fmt::Debug for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "json::Object({} bytes)", self.as_str().len())
    }
}

/// An object as it travels: unpadded base64url of JSON. The wire string is what bindings and
/// echoes use.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedObject {
    wire: Arc<str>,
    object: Object,
}

impl EncodedObject {
    /// Reads a wire string.
    ///
    /// # Errors
    /// [`EncodedObjectError`]; a string that cannot but decode to more than
    /// `limits::JSON_BYTES_MAX` is refused before it is decoded.
    pub fn parse(wire: &str) -> Result<Self, EncodedObjectError> {
        // Four characters carry three bytes.
        let bytes = wire.len() / 4 * 3;
        if bytes > JSON_BYTES_MAX {
            return Err(EncodedObjectError::Json(JsonError::TooLarge { bytes }));
        }
        let text = base64url::decode(wire.as_bytes()).map_err(EncodedObjectError::Base64)?;
        let object = Object::parse(&text).map_err(EncodedObjectError::Json)?;
        Ok(Self {
            wire: Arc::from(wire),
            object,
        })
    }

    /// Encodes an object: the canonical form (RFC 8785) of it, then base64url.
    #[must_use]
    pub fn encode(object: &Object) -> Self {
        if object.inner.canonical {
            let wire = Arc::from(base64url::encode(object.as_str().as_bytes()));
            let object = object.clone();
            return Self { wire, object };
        }
        Self::of_canonical(object.to_jcs())
    }

    /// Encodes the canonical text of an object that was written here.
    pub(crate) fn of_canonical(text: String) -> Self {
        Self {
            wire: Arc::from(base64url::encode(text.as_bytes())),
            object: Object::of_checked(text.into(), true),
        }
    }

    /// The wire string, as it was read.
    #[must_use]
    pub fn wire(&self) -> &str {
        &self.wire
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }
}

impl core::fmt::Debug for EncodedObject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "json::EncodedObject({} characters)", self.wire.len())
    }
}
