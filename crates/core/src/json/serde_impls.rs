//! `Value` in serde's terms: the visitor behind the parser, and `Serialize`/`Deserialize`.

use super::{JsonError, Number, Value};
use crate::limits::JSON_DEPTH_MAX;
use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};
use core::{cell::Cell, fmt};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// serde_json tells its own types (numbers among them, once any crate in the build turns on
/// `arbitrary_precision`) by keys that begin so. A peer that sends one plays tricks.
const SERDE_JSON_PRIVATE: &str = "$serde_json::private::";

/// Builds a [`Value`] from any deserializer that describes itself, by our rules.
///
/// serde's errors are texts, so the typed one is left in `refused`.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'r> {
    refused: &'r Cell<Option<JsonError>>,
    depth_left: usize,
}

impl<'r> ValueSeed<'r> {
    /// For the root.
    pub(super) fn new(refused: &'r Cell<Option<JsonError>>) -> Self {
        Self {
            refused,
            depth_left: JSON_DEPTH_MAX,
        }
    }

    /// Leaves the typed error and makes the untyped one.
    fn refuse<E: Error>(self, error: JsonError) -> E {
        let untyped = E::custom(&error);
        self.refused.set(Some(error));
        untyped
    }

    /// For what is inside of an array or object.
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.refuse(JsonError::TooDeep { offset: 0 })),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Value, E> {
        integer_value(integer).ok_or_else(|| self.refuse(JsonError::InexactInteger { offset: 0 }))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Value, E> {
        integer_value(integer).ok_or_else(|| self.refuse(JsonError::InexactInteger { offset: 0 }))
    }

    fn visit_f64<E: Error>(self, double: f64) -> Result<Value, E> {
        Number::from_double(double)
            .map(Value::Number)
            .ok_or_else(|| self.refuse(JsonError::NotFinite { offset: 0 }))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(seed)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = BTreeMap::new();
        while let Some(key) = members.next_key::<String>()? {
            if key.starts_with(SERDE_JSON_PRIVATE) {
                return Err(self.refuse(JsonError::ReservedKey));
            }
            match object.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(members.next_value_seed(seed)?);
                }
                Entry::Occupied(entry) => {
                    let key = entry.key().clone();
                    return Err(self.refuse(JsonError::DuplicateKey { key, offset: 0 }));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// An integer as a value, if it prints as it stands.
fn integer_value(integer: impl fmt::Display) -> Option<Value> {
    let digits = alloc::format!("{integer}");
    Number::from_exact_digits(&digits).map(Value::Number)
}

/// By the rules of [`Value::parse`], from any format that describes itself.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueSeed::new(&Cell::new(None)).deserialize(deserializer)
    }
}

/// Integers of magnitude up to 2^53 as such, other numbers as doubles.
impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_integer() {
            Some(integer) => serializer.serialize_i64(integer),
            None => serializer.serialize_f64(self.as_double()),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) => Ok(number),
            other => Err(D::Error::custom(format_args!(
                "expected a number, found {}",
                other.kind()
            ))),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(elements) => {
                let mut out = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    out.serialize_element(element)?;
                }
                out.end()
            }
            Self::Object(members) => {
                let mut out = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    out.serialize_entry(key, value)?;
                }
                out.end()
            }
        }
    }
}
