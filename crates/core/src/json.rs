//! JSON from outside: strict to read (no duplicate keys, bounded depth), canonical to write (JCS, RFC 8785).

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

/// A JSON value. Object keys are unique.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as RFC 8785 sees it: an IEEE 754 double. Never money.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(BTreeMap<String, Value>),
}

/// A finite double. Opaque, so that nobody computes money with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(f64);

impl Number {
    /// An integer of magnitude up to 2^53, which a double holds exactly.
    pub fn from_integer(integer: i64) -> Option<Self> {
        todo!()
    }
    /// The integer, when it is one of magnitude up to 2^53.
    pub fn as_integer(self) -> Option<i64> {
        todo!()
    }
}

impl Value {
    /// Parses strictly: at most `limits::JSON_BYTES_MAX` bytes and `limits::JSON_DEPTH_MAX` levels, no duplicate keys, nothing after.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        todo!()
    }
    /// The canonical form (RFC 8785).
    pub fn to_jcs(&self) -> String {
        todo!()
    }
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }
}

/// The text of a JSON object that was checked as [`Value::parse`] checks, kept byte for byte.
/// Cheap to clone. `Debug` prints the length only: payloads hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    text: Arc<str>,
}

impl Object {
    /// Checks a text and keeps it as it stands.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        todo!()
    }
    /// Canonicalises members built in memory.
    pub fn from_members(members: BTreeMap<String, Value>) -> Self {
        todo!()
    }
    /// The text, byte for byte as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The members.
    pub fn to_value(&self) -> Value {
        todo!()
    }
    /// The members as a serde type, for a method's `wire` module. Unknown fields are that type's choice.
    pub fn deserialize<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        todo!()
    }
    /// A serde type as canonical JSON. Fails when it is not an object.
    pub fn serialize<T: serde::Serialize>(value: &T) -> Result<Self, JsonError> {
        todo!()
    }
}

impl core::fmt::Debug for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "json::Object({} bytes)", self.text.len())
    }
}

/// An object as it travels: unpadded base64url of JSON. The wire string is what bindings and echoes use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedObject {
    wire: Arc<str>,
    object: Object,
}

impl EncodedObject {
    /// Reads a wire string.
    pub fn parse(wire: &str) -> Result<Self, EncodedObjectError> {
        todo!()
    }
    /// Encodes an object: the canonical form (RFC 8785) of it, then base64url.
    pub fn encode(object: &Object) -> Self {
        todo!()
    }
    /// The wire string, as it was read.
    pub fn wire(&self) -> &str {
        &self.wire
    }
    /// The object.
    pub fn object(&self) -> &Object {
        &self.object
    }
}

/// Why a JSON text was refused. `offset` counts bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Placeholder, the implementer completes this list.
    #[error("not JSON")]
    Syntax,
}

/// Why an encoded object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodedObjectError {
    /// Not unpadded base64url.
    #[error("not unpadded base64url")]
    Base64(#[source] crate::base64url::Base64UrlError),
    /// Base64url of something that is no acceptable JSON object.
    #[error("not a JSON object")]
    Json(#[source] JsonError),
}
