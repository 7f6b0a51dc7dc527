//! Objects whose text is kept, and their base64url form.

use super::{EncodedObjectError, JsonError, Value, jcs, wire};
use crate::{base64url, limits::JSON_BYTES_MAX};
use alloc::{collections::BTreeMap, string::String, sync::Arc};

/// The text of a JSON object that was checked as [`Value::parse`] checks, kept byte for byte.
/// Cheap to clone. `Debug` prints the length only: payloads hold credentials.
///
/// Two objects are equal when their texts are.
#[derive(Clone)]
pub struct Object {
    text: Arc<str>,
    /// What the text says, read once.
    members: Arc<BTreeMap<String, Value>>,
}

impl Object {
    /// Checks a text and keeps it as it stands.
    ///
    /// # Errors
    /// Those of [`Value::parse`], and [`JsonError::NotObject`].
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
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
        Ok(Self {
            text: Arc::from(text),
            members: Arc::new(members),
        })
    }

    /// Canonicalises members built in memory.
    ///
    /// What is built here is not limited in size and depth. Peers are: see `limits::JSON_BYTES_MAX`
    /// and `limits::JSON_DEPTH_MAX`.
    #[must_use]
    pub fn from_members(members: BTreeMap<String, Value>) -> Self {
        let mut text = String::new();
        jcs::write_members(&mut text, &members);
        Self {
            text: Arc::from(text),
            members: Arc::new(members),
        }
    }

    /// The text, byte for byte as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<String, Value> {
        &self.members
    }

    /// The member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(key)
    }

    /// The members, as a value of their own.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(BTreeMap::clone(&self.members))
    }

    /// The canonical form (RFC 8785), whatever the text looks like.
    #[must_use]
    pub fn to_jcs(&self) -> String {
        let mut out = String::new();
        jcs::write_members(&mut out, &self.members);
        out
    }

    /// The members as a serde type, for a method's `wire` module. Unknown fields are that type's
    /// choice. Strings can be borrowed.
    ///
    /// # Errors
    /// [`JsonError::MissingMember`] and [`JsonError::Member`] name the member, never its value.
    pub fn deserialize<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        wire::from_members(&self.members)
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
        self.text == other.text
    }
}

impl Eq for Object {}

impl core::fmt::Debug for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "json::Object({} bytes)", self.text.len())
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
        let text = object.to_jcs();
        let wire = Arc::from(base64url::encode(text.as_bytes()));
        let object = Object {
            text: Arc::from(text),
            members: Arc::clone(&object.members),
        };
        Self { wire, object }
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
