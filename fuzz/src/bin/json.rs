//! JSON: strictly read, canonically written, and never of another opinion than `serde_json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    json::{EncodedObject, JsonError, Object, Value},
    limits,
};

fuzz_target!(|data: &[u8]| {
    let theirs = serde_json::from_slice::<serde_json::Value>(data);
    match Value::parse(data) {
        Ok(value) => {
            let theirs = theirs.expect("we read nothing that is not JSON");
            assert!(same(&value, &theirs), "read differently");
            canonical(&value);
        }
        // Stricter on purpose.
        Err(
            JsonError::TooLarge { .. }
            | JsonError::TooDeep { .. }
            | JsonError::InexactInteger { .. }
            | JsonError::NotFinite { .. }
            | JsonError::ReservedKey
            | JsonError::DuplicateKey { .. },
        ) => {}
        Err(error) => assert!(theirs.is_err(), "refused JSON: {error}"),
    }
    if let Ok(object) = Object::parse(data) {
        assert_eq!(object.as_str().as_bytes(), data);
        // A plain object is read another way: it must be one and the same.
        assert_eq!(Value::parse(data).ok(), Some(object.to_value()));
        let encoded = EncodedObject::encode(&object);
        if object.to_jcs().len() <= limits::JSON_BYTES_MAX {
            let again = EncodedObject::parse(encoded.wire()).expect("own encoding is read");
            assert_eq!(again.object().to_value(), object.to_value());
        }
    }
});

fn canonical(value: &Value) {
    let text = value.to_jcs();
    if text.len() <= limits::JSON_BYTES_MAX {
        let again = Value::parse(text.as_bytes()).expect("canonical JSON is read");
        assert_eq!(&again, value);
        assert_eq!(again.to_jcs(), text);
    }
}

fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        (Value::String(ours), serde_json::Value::String(theirs)) => ours == theirs,
        (Value::Number(ours), serde_json::Value::Number(theirs)) => {
            ours.to_string().parse::<f64>().ok() == theirs.as_f64()
        }
        (Value::Array(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(key, ours)| theirs.get(key).is_some_and(|theirs| same(ours, theirs)))
        }
        _ => false,
    }
}
