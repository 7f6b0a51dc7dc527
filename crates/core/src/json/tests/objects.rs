//! Objects, their base64url form, and wire types.

use super::*;
use crate::{base64url::Base64UrlError, limits::JSON_BYTES_MAX};
use alloc::{format, string::ToString as _};
use core::error::Error as _;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Request<'a> {
    amount: &'a str,
    #[serde(
        rename = "methodDetails",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    details: Option<Details>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    version: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    splits: Vec<(u32, Mode)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Push,
    Pull,
    At(u64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Payload {
    Order { order: String },
    Hash { hash: String },
}

fn object(text: &str) -> Object {
    Object::parse(text.as_bytes()).unwrap()
}

#[test]
fn an_object_keeps_its_text_byte_for_byte() {
    let text = " {\"b\" : 1.0,\n\t\"a\":\"\\u0041\"}\r\n";
    let object = object(text);
    assert_eq!(object.as_str(), text);
    assert_eq!(object.to_jcs(), r#"{"a":"A","b":1}"#);
    assert_eq!(object.get("a"), Some(&Value::from("A")));
    assert_ne!(object, Object::parse(object.to_jcs().as_bytes()).unwrap());
}

#[test]
fn what_is_no_object_is_refused() {
    for (text, found) in [
        ("null", "null"),
        ("true", "a truth value"),
        ("1", "a number"),
        ("\"{}\"", "a string"),
        ("[{}]", "an array"),
    ] {
        assert_eq!(
            Object::parse(text.as_bytes()),
            Err(JsonError::NotObject { found })
        );
    }
    let refused = JsonError::NotObject { found: "an array" };
    assert_eq!(Object::serialize(&[1_u8, 2]), Err(refused));
}

#[test]
fn debug_prints_no_content() {
    let secret = object(r#"{"preimage":"0xsecret"}"#);
    let encoded = EncodedObject::encode(&secret);
    for printed in [format!("{secret:?}"), format!("{encoded:?}")] {
        assert!(!printed.contains("secret"), "{printed}");
        assert!(!printed.contains(encoded.wire()), "{printed}");
    }
}

#[test]
fn malformed_encodings_are_refused_with_their_cause() {
    let json = |text: &str| EncodedObject::parse(&crate::base64url::encode(text.as_bytes()));
    assert_eq!(
        EncodedObject::parse("e30="),
        Err(EncodedObjectError::Base64(Base64UrlError::Padding))
    );
    assert_eq!(
        EncodedObject::parse(""),
        Err(EncodedObjectError::Json(JsonError::UnexpectedEnd))
    );
    let error = json("[]").unwrap_err();
    assert_eq!(error.to_string(), "not a JSON object");
    assert_eq!(
        error.source().unwrap().to_string(),
        "the JSON text is an array, not an object"
    );
    assert!(matches!(
        json(r#"{"a":1,"a":1}"#),
        Err(EncodedObjectError::Json(JsonError::DuplicateKey { .. }))
    ));
    let bytes = (JSON_BYTES_MAX / 3 + 1) * 3;
    let bomb = "!".repeat(bytes / 3 * 4);
    assert_eq!(
        EncodedObject::parse(&bomb),
        Err(EncodedObjectError::Json(JsonError::TooLarge { bytes }))
    );
}

#[test]
fn wire_types_are_read_and_written() {
    let text =
        r#"{"amount":"1000","methodDetails":{"splits":[[1,"push"],[2,{"at":3}]],"version":1}}"#;
    let object = object(text);
    let read: Request<'_> = object.deserialize().unwrap();
    let expected = Request {
        amount: "1000",
        details: Some(Details {
            version: 1,
            splits: Vec::from([(1, Mode::Push), (2, Mode::At(3))]),
        }),
    };
    assert_eq!(read, expected);
    assert_eq!(Object::serialize(&expected), Ok(object.clone()));
    let unknown = Object::parse(br#"{"amount":"1","new":{"x":[]},"methodDetails":null}"#).unwrap();
    assert!(unknown.deserialize::<Request<'_>>().is_ok());
}

#[test]
fn tagged_wire_types_are_read_and_written() {
    let payload = Payload::Order {
        order: "abc".into(),
    };
    let object = Object::serialize(&payload).unwrap();
    assert_eq!(object.as_str(), r#"{"order":"abc","type":"order"}"#);
    assert_eq!(object.deserialize(), Ok(payload));
}

#[test]
fn wire_errors_name_the_member_and_never_its_value() {
    let member = |path: &str, expected: &str| JsonError::Member {
        path: path.into(),
        expected: expected.into(),
    };
    let missing = |path: &str| JsonError::MissingMember { path: path.into() };
    let unknown = |path: &str| JsonError::UnknownMember { path: path.into() };
    let table = [
        (r#"{}"#, missing("amount")),
        (r#"{"amount":7}"#, member("amount", "a borrowed string")),
        (
            r#"{"amount":"1","methodDetails":{}}"#,
            missing("methodDetails.version"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":256}}"#,
            member("methodDetails.version", "u8"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":-1}}"#,
            member("methodDetails.version", "u8"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1.5}}"#,
            member("methodDetails.version", "u8"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":"secret"}}"#,
            member("methodDetails.version", "u8"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1,"secret":1}}"#,
            unknown("methodDetails.secret"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1,"splits":[[1,"pull"],[2,"x"]]}}"#,
            member("methodDetails.splits.1.1", "one of push, pull, at"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1,"splits":[[1]]}}"#,
            member("methodDetails.splits.0", "a tuple of size 2"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1,"splits":[[1,"push",2]]}}"#,
            member("methodDetails.splits.0", "an array of fewer elements"),
        ),
        (
            r#"{"amount":"1","methodDetails":{"version":1,"splits":[[1,{"at":1,"push":1}]]}}"#,
            member("methodDetails.splits.0.1", "an object of one member"),
        ),
    ];
    for (text, expected) in table {
        let object = object(text);
        assert_eq!(object.deserialize::<Request<'_>>(), Err(expected), "{text}");
    }
    let wrong_tag = object(r#"{"type":"secret"}"#);
    let message = wrong_tag.deserialize::<Payload>().unwrap_err().to_string();
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn an_inexact_integer_is_not_written() {
    #[derive(Serialize)]
    struct Wide {
        units: u128,
    }
    let written = Object::serialize(&Wide { units: 1 << 64 });
    assert_eq!(written, Err(JsonError::InexactInteger { offset: 9 }));
    let written = Object::serialize(&Wide { units: 1 << 53 });
    assert_eq!(written.unwrap().as_str(), r#"{"units":9007199254740992}"#);
}
