//! From a checked object to a serde type, with errors that name the member and never its value.

use super::{JsonError, Value};
use alloc::{
    collections::{BTreeMap, btree_map},
    format,
    string::{String, ToString},
};
use core::{fmt, slice};
use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Expected, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};

/// Reads members as `T`.
pub(super) fn from_members<'de, T: Deserialize<'de>>(
    members: &'de BTreeMap<String, Value>,
) -> Result<T, JsonError> {
    T::deserialize(MembersDeserializer(members)).map_err(JsonError::from)
}

/// What went wrong and where, while it travels up.
#[derive(Debug)]
struct WireError {
    /// Keys and indices, joined by points.
    path: String,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Missing,
    Unknown,
    Expected(String),
}

impl WireError {
    fn expected(expected: impl ToString) -> Self {
        Self {
            path: String::new(),
            fault: Fault::Expected(expected.to_string()),
        }
    }

    /// The same error as seen from one level up.
    fn within(self, step: impl fmt::Display) -> Self {
        let path = match self.path.as_str() {
            "" => step.to_string(),
            path => format!("{step}.{path}"),
        };
        Self { path, ..self }
    }
}

impl From<WireError> for JsonError {
    fn from(error: WireError) -> Self {
        let path = error.path;
        match error.fault {
            Fault::Missing => Self::MissingMember { path },
            Fault::Unknown => Self::UnknownMember { path },
            Fault::Expected(expected) => Self::Member { path, expected },
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the member does not have the expected form")
    }
}

impl de::StdError for WireError {}

/// Every constructor drops what was found: it is the peer's, and may be a secret.
impl de::Error for WireError {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self::expected("valid")
    }

    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(_found: usize, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(_found: &str, expected: &'static [&'static str]) -> Self {
        Self::expected(format!("one of {}", expected.join(", ")))
    }

    fn unknown_field(found: &str, _expected: &'static [&'static str]) -> Self {
        Self {
            path: found.to_string(),
            fault: Fault::Unknown,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: field.to_string(),
            fault: Fault::Missing,
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::expected("given once, under one name").within(field)
    }
}

/// The root: always an object.
struct MembersDeserializer<'de>(&'de BTreeMap<String, Value>);

impl<'de> Deserializer<'de> for MembersDeserializer<'de> {
    type Error = WireError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        visit_members(self.0, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, WireError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WireError> {
        visit_enum(self.0, name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Any value below the root.
struct ValueDeserializer<'de>(&'de Value);

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = WireError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(number) => match number.as_integer() {
                Some(integer) => visitor.visit_i64(integer),
                None => visitor.visit_f64(number.as_double()),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(elements) => visit_elements(elements, visitor),
            Value::Object(members) => visit_members(members, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, WireError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WireError> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Value::Object(members) => visit_enum(members, name, variants, visitor),
            _ => Err(WireError::expected("a string or an object")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// Shows an object to a visitor, which must take all of it.
fn visit_members<'de, V: Visitor<'de>>(
    members: &'de BTreeMap<String, Value>,
    visitor: V,
) -> Result<V::Value, WireError> {
    let mut access = Members::new(members);
    let value = visitor.visit_map(&mut access)?;
    match access.rest.next() {
        None => Ok(value),
        Some(_) => Err(WireError::expected("an object of fewer members")),
    }
}

/// Shows an array to a visitor, which must take all of it.
fn visit_elements<'de, V: Visitor<'de>>(
    elements: &'de [Value],
    visitor: V,
) -> Result<V::Value, WireError> {
    let mut access = Elements {
        rest: elements.iter(),
        index: 0,
    };
    let value = visitor.visit_seq(&mut access)?;
    match access.rest.next() {
        None => Ok(value),
        Some(_) => Err(WireError::expected("an array of fewer elements")),
    }
}

/// Shows an object of one member as a variant and its content.
fn visit_enum<'de, V: Visitor<'de>>(
    members: &'de BTreeMap<String, Value>,
    name: &'static str,
    variants: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, WireError> {
    if members.len() != 1 {
        return Err(WireError::expected("an object of one member"));
    }
    MapAccessDeserializer::new(Members::new(members)).deserialize_enum(name, variants, visitor)
}

/// The members of an object, in turn.
struct Members<'de> {
    rest: btree_map::Iter<'de, String, Value>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> Members<'de> {
    fn new(members: &'de BTreeMap<String, Value>) -> Self {
        Self {
            rest: members.iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = WireError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, WireError> {
        self.current = self.rest.next().map(|(key, value)| (key.as_str(), value));
        match self.current {
            Some((key, _)) => seed
                .deserialize(BorrowedStrDeserializer::new(key))
                .map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, WireError> {
        let Some((key, value)) = self.current.take() else {
            return Err(WireError::expected("read key by key"));
        };
        seed.deserialize(ValueDeserializer(value))
            .map_err(|error| error.within(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The elements of an array, in turn.
struct Elements<'de> {
    rest: slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = WireError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, WireError> {
        let Some(value) = self.rest.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index = index.saturating_add(1);
        seed.deserialize(ValueDeserializer(value))
            .map(Some)
            .map_err(|error| error.within(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
