//! The words that schemas are written in.

use serde_json::{Map, Value, json};

/// A text.
pub(super) fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

/// True or false.
pub(super) fn flag(about: &str) -> Value {
    json!({"type": "boolean", "description": about})
}

/// Always true: whatever is wrong is an error.
pub(super) fn ok() -> Value {
    json!({"const": true, "description": "Always true: what goes wrong is an error."})
}

/// A whole number that is not negative.
pub(super) fn whole(about: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": about})
}

/// Base units as decimal digits: exact, whatever the size.
pub(super) fn units(about: &str) -> Value {
    json!({"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$", "description": about})
}

/// An instant, RFC 3339 in UTC.
pub(super) fn instant(about: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": about})
}

/// A `did:key`.
pub(super) fn key(about: &str) -> Value {
    json!({"type": "string", "pattern": "^did:key:z", "description": about})
}

/// One of some words.
pub(super) fn one_of(about: &str, words: &[&str]) -> Value {
    json!({"enum": words, "description": about})
}

/// The same, or null.
pub(super) fn nullable(schema: Value) -> Value {
    let about = schema.get("description").cloned();
    json!({"anyOf": [schema, {"type": "null"}], "description": about})
}

/// A list.
pub(super) fn list(about: &str, items: Value) -> Value {
    json!({"type": "array", "items": items, "description": about})
}

/// Any JSON object: somebody else's.
pub(super) fn anything(about: &str) -> Value {
    json!({"type": "object", "additionalProperties": true, "description": about})
}

/// An object with these members, all of them always there.
pub(super) fn object<const N: usize>(about: &str, members: [(&str, Value); N]) -> Value {
    object_with(about, members, [])
}

/// An object with members that are always there, and members that may be missing.
pub(super) fn object_with<const N: usize, const M: usize>(
    about: &str,
    members: [(&str, Value); N],
    optional: [(&str, Value); M],
) -> Value {
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let mut properties = Map::new();
    for (name, schema) in members.iter().chain(&optional) {
        properties.insert((*name).to_owned(), schema.clone());
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    if !about.is_empty() {
        schema.insert("description".to_owned(), json!(about));
    }
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!(required));
    Value::Object(schema)
}

/// Whether money moved.
pub(super) fn money_moved() -> Value {
    one_of(
        "Whether money moved. Count `maybe` as spent.",
        &["no", "maybe", "yes"],
    )
}
