//! Receipts: the draft's example, every rule, and printing against reading.

use super::*;
use crate::json::Number;
use alloc::format;
use proptest::prelude::*;

fn receipt() -> Receipt {
    Receipt {
        method: MethodName::new("invoice").unwrap(),
        timestamp: Timestamp::parse_rfc3339("2025-01-15T12:00:00Z").unwrap(),
        reference: "inv_12345".into(),
        challenge_id: None,
        extra: BTreeMap::new(),
    }
}

fn parse_json(json: &str) -> Result<Receipt, ReceiptError> {
    Receipt::parse(base64url::encode(json.as_bytes()).as_bytes())
}

#[test]
fn the_receipt_of_the_draft_is_read_and_printed_canonically() {
    let file = Value::parse(include_bytes!("../../vectors/receipts.json")).unwrap();
    let Some(Value::Array(cases)) = file.get("cases") else {
        panic!("no cases");
    };
    assert_eq!(cases.len(), 1);
    for case in cases {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap();
        let read = Receipt::parse(text("header").as_bytes()).unwrap();
        assert_eq!(read, receipt());
        assert_eq!(read.to_header(), text("canonical"));
    }
}

#[test]
fn a_receipt_prints_status_success_and_its_challenge_id() {
    let full = Receipt {
        challenge_id: Some(ChallengeId::new("abc").unwrap()),
        extra: BTreeMap::from([(
            "units".into(),
            Value::Number(Number::from_integer(7).unwrap()),
        )]),
        ..receipt()
    };
    assert_eq!(
        full.to_json(),
        concat!(
            r#"{"challengeId":"abc","method":"invoice","reference":"inv_12345","#,
            r#""status":"success","timestamp":"2025-01-15T12:00:00Z","units":7}"#
        )
    );
    assert_eq!(Receipt::parse(full.to_header().as_bytes()), Ok(full));
}

#[test]
fn an_extra_member_never_replaces_one_of_ours() {
    let mut forged = receipt();
    for name in [STATUS, METHOD, TIMESTAMP, REFERENCE, CHALLENGE_ID] {
        forged
            .extra
            .insert(name.into(), Value::String("evil".into()));
    }
    assert_eq!(Receipt::parse(forged.to_header().as_bytes()), Ok(receipt()));
}

#[test]
fn unknown_members_are_kept() {
    let json = receipt().to_json().replace('}', r#","x":{"y":[null]}}"#);
    let read = parse_json(&json).unwrap();
    assert!(read.extra.contains_key("x"));
    assert_eq!(read.extra.len(), 1);
}

#[test]
fn another_status_is_no_receipt() {
    for status in ["failed", "Success", "success ", "pending", ""] {
        let json = receipt().to_json().replace("success", status);
        assert_eq!(parse_json(&json), Err(ReceiptError::NotSuccess), "{status}");
    }
}

#[test]
fn each_missing_or_mistyped_member_is_named() {
    let names = [STATUS, METHOD, TIMESTAMP, REFERENCE];
    for name in names {
        let Value::Object(mut members) = Value::parse(receipt().to_json().as_bytes()).unwrap()
        else {
            panic!("an object was due");
        };
        members.insert(name.into(), Value::Null);
        let json = Value::Object(members.clone()).to_jcs();
        assert_eq!(parse_json(&json), Err(ReceiptError::NotString { name }));
        members.remove(name);
        let json = Value::Object(members).to_jcs();
        assert_eq!(parse_json(&json), Err(ReceiptError::Missing { name }));
    }
}

#[test]
fn each_malformed_member_has_its_error() {
    let json = receipt().to_json();
    let with = |from: &str, to: &str| parse_json(&json.replace(from, to)).unwrap_err();
    assert!(matches!(
        with("\"invoice\"", "\"In voice\""),
        ReceiptError::Method(_)
    ));
    assert!(matches!(
        with("2025-01-15T", "yesterday"),
        ReceiptError::Timestamp(_)
    ));
    assert!(matches!(
        with("\"status\"", "\"challengeId\":\"\",\"status\""),
        ReceiptError::ChallengeId(_)
    ));
    assert_eq!(
        with("\"status\"", "\"challengeId\":1,\"status\""),
        ReceiptError::NotString { name: CHALLENGE_ID }
    );
    assert_eq!(parse_json("[]"), Err(ReceiptError::NotObject));
    assert!(matches!(parse_json("{"), Err(ReceiptError::Json(_))));
    assert!(matches!(
        Receipt::parse(b"e30="),
        Err(ReceiptError::Base64(_))
    ));
}

#[test]
fn white_space_around_the_value_is_ignored() {
    let header = format!(" \t{} ", receipt().to_header());
    assert_eq!(Receipt::parse(header.as_bytes()), Ok(receipt()));
}

#[test]
fn size_is_checked_before_anything_else() {
    let long = alloc::vec![b'!'; limits::RECEIPT_BYTES_MAX + 1];
    assert_eq!(
        Receipt::parse(&long),
        Err(ReceiptError::TooLong { bytes: long.len() })
    );
    assert!(matches!(
        Receipt::parse(&long[1..]),
        Err(ReceiptError::Base64(_))
    ));
}

proptest! {
    #[test]
    fn a_printed_receipt_reads_back(
        method in "[a-z][a-z0-9:_-]{0,20}",
        millis in 0_u64..253_402_300_799_999,
        reference in any::<String>(),
        challenge_id in proptest::option::of("[!-~]{1,60}"),
        extra in proptest::collection::btree_map("x[a-z]{0,4}", any::<String>(), 0..4),
    ) {
        let receipt = Receipt {
            method: MethodName::new(&method).unwrap(),
            timestamp: Timestamp::from_millis(millis),
            reference,
            challenge_id: challenge_id.map(|id| ChallengeId::new(&id).unwrap()),
            extra: extra.into_iter().map(|(name, text)| (name, Value::String(text))).collect(),
        };
        prop_assert_eq!(Receipt::parse(receipt.to_header().as_bytes()), Ok(receipt));
    }

    #[test]
    fn any_bytes_are_answered_without_panic(
        value in proptest::collection::vec(any::<u8>(), 0..99),
    ) {
        prop_assert!(Receipt::parse(&value).is_err());
        prop_assert!(Receipt::from_json(&value).is_err());
    }
}
