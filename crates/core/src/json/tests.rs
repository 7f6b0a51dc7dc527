mod canonical;
mod objects;
mod plain;
mod strict;

use super::*;
use alloc::vec;
use proptest::{collection, prelude::*};

/// Any value that the parser could return, and a few levels deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|integer| Value::Number(Number::from(integer))),
        any::<f64>().prop_filter_map("finite", |double| {
            Number::from_double(double).map(Value::Number)
        }),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            collection::btree_map(any::<String>(), inner, 0..6).prop_map(Value::Object),
        ]
    })
}

/// Texts that are nearly JSON.
fn any_jsonish() -> impl Strategy<Value = String> {
    let tokens = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\n"),
        Just("null"),
        Just("true"),
        Just("fals"),
        Just("\"a\""),
        Just("\"\\u0061\""),
        Just("\"b\""),
        Just("\"\\ud83d\""),
        Just("\"\\ude00\""),
        Just("\"\\ud83d\\ude00\""),
        Just("\"\\\""),
        Just("0"),
        Just("-0"),
        Just("01"),
        Just("1.5"),
        Just("1e5"),
        Just("1e999"),
        Just("-"),
        Just("9007199254740992"),
        Just("9007199254740993"),
        Just("18446744073709551616"),
        Just("100000000000000000000"),
        Just("."),
        Just("e"),
        Just("\u{feff}"),
        Just("\"\t\""),
    ];
    collection::vec(tokens, 0..12).prop_map(|tokens| tokens.concat())
}

/// serde_json's value as ours, without our rules.
fn from_serde_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => {
            Value::Number(Number::from_double(number.as_f64().unwrap()).unwrap())
        }
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(elements) => {
            Value::Array(elements.iter().map(from_serde_json).collect())
        }
        serde_json::Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), from_serde_json(value)))
                .collect(),
        ),
    }
}

/// What `Value::parse` accepts is what serde_json reads, and what it refuses beyond the grammar is
/// refused for one of our rules.
fn agrees_with_serde_json(text: &[u8]) -> Result<(), TestCaseError> {
    let theirs: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    match (Value::parse(text), theirs) {
        (Ok(ours), Some(theirs)) => prop_assert_eq!(ours, from_serde_json(&theirs)),
        (Ok(_), None) => prop_assert!(false, "accepted what is not JSON"),
        (Err(error), Some(_)) => prop_assert!(
            matches!(
                error,
                JsonError::DuplicateKey { .. }
                    | JsonError::InexactInteger { .. }
                    | JsonError::TooDeep { .. }
            ),
            "refused JSON: {error}"
        ),
        (Err(_), None) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_canonical_form_reads_back_and_is_a_fixed_point(value in any_value()) {
        let text = value.to_jcs();
        let read = Value::parse(text.as_bytes());
        prop_assert_eq!(read.as_ref(), Ok(&value));
        prop_assert_eq!(read.unwrap().to_jcs(), text);
    }

    #[test]
    fn values_survive_serde_formats(value in any_value()) {
        let text = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value.clone());
        prop_assert_eq!(Value::parse(text.as_bytes()), Ok(value));
    }

    #[test]
    fn objects_survive_their_encoding(
        members in collection::btree_map(any::<String>(), any_value(), 0..4),
    ) {
        let object = Object::from_members(members.clone());
        let encoded = EncodedObject::encode(&object);
        prop_assert_eq!(EncodedObject::parse(encoded.wire()), Ok(encoded.clone()));
        prop_assert_eq!(encoded.object(), &object);
        prop_assert_eq!(Object::parse(object.as_str().as_bytes()), Ok(object.clone()));
        prop_assert_eq!(object.to_value(), Value::Object(members));
        prop_assert_eq!(object.deserialize::<Value>(), Ok(object.to_value()));
    }

    #[test]
    fn nearly_json_is_read_as_serde_json_reads_it(text in any_jsonish()) {
        agrees_with_serde_json(text.as_bytes())?;
    }

    #[test]
    fn arbitrary_bytes_are_read_as_serde_json_reads_them(text: Vec<u8>) {
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn integers_of_any_size_are_exact_or_refused(integer: i128) {
        let text = alloc::format!("{integer}");
        match Value::parse(text.as_bytes()) {
            Ok(value) => prop_assert_eq!(value.to_jcs(), text),
            Err(error) => prop_assert_eq!(error, JsonError::InexactInteger { offset: 0 }),
        }
    }

    #[test]
    fn integers_a_double_holds_are_kept(integer in -(1_i64 << 53)..=1 << 53) {
        let number = Number::from_integer(integer).unwrap();
        prop_assert_eq!(number.as_integer(), Some(integer));
        let value = Value::parse(alloc::format!("{integer}").as_bytes());
        prop_assert_eq!(value, Ok(Value::Number(number)));
    }
}
