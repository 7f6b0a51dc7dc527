//! JSON from outside: strict to read (no duplicate keys, bounded depth), canonical to write
//! (JCS, RFC 8785).
//!
//! Strict means: what is read has one meaning for every reader, and prints canonically without
//! changing. So two members of one key are refused, and so is an integer that a double would
//! round (write it as a string).
//!
//! # Examples
//! ```
//! use stiver_core::json::{JsonError, Value};
//! let value = Value::parse(br#"{"b": [1.0, 2e1], "a": null}"#)?;
//! assert_eq!(value.to_jcs(), r#"{"a":null,"b":[1,20]}"#);
//! let twice = Value::parse(br#"{"a": 1, "\u0061": 2}"#);
//! assert!(matches!(twice, Err(JsonError::DuplicateKey { .. })));
//! # Ok::<(), JsonError>(())
//! ```

mod error;
pub(crate) mod jcs;
mod number;
mod object;
mod parse;
pub(crate) mod plain;
mod serde_impls;
mod wire;

#[cfg(test)]
mod tests;

pub use error::{EncodedObjectError, JsonError};
pub use number::Number;
pub use object::{EncodedObject, Object};

use alloc::{collections::BTreeMap, string::String, vec::Vec};

/// A JSON value. Object keys are unique.
///
/// Read by [`Value::parse`], a value is at most `limits::JSON_DEPTH_MAX` levels deep. One built in
/// memory should keep to that too: peers refuse more, and printing recurses.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Value {
    /// Parses strictly: at most `limits::JSON_BYTES_MAX` bytes and `limits::JSON_DEPTH_MAX` levels,
    /// no duplicate keys, nothing after.
    ///
    /// Levels count arrays and objects: `[{}]` has two. Keys are compared as they read, after
    /// their escapes. Integers beyond 2^53 must be ones that print as they stand.
    ///
    /// # Spec
    /// RFC 8259; RFC 8785 and RFC 7493 (I-JSON) on numbers, keys and surrogates.
    ///
    /// # Errors
    /// The first rule broken, see [`JsonError`].
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        parse::parse(text)
    }

    /// The canonical form (RFC 8785).
    #[must_use]
    pub fn to_jcs(&self) -> String {
        let mut out = String::new();
        jcs::write_value(&mut out, self);
        out
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The integer, if it is a number that is one of magnitude up to 2^53.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_integer(),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// What kind of value it is, in words.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(integer: u32) -> Self {
        Self::Number(Number::from(integer))
    }
}
