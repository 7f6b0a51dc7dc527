use super::*;
use proptest::{collection::btree_map, option, prelude::*};

fn sample() -> Opaque {
    Opaque {
        nonce: [7; 16],
        scope: "GET /weather?city=Bern".into(),
        issued_at: Timestamp::from_millis(1_736_942_700_000),
        price_revision: None,
        digest: None,
        extra: BTreeMap::new(),
    }
}

fn encoded(json: &str) -> EncodedObject {
    EncodedObject::encode(&Object::parse(json.as_bytes()).unwrap())
}

#[test]
fn opaque_is_canonical_json_of_strings() {
    let opaque = Opaque {
        price_revision: Some("r1".into()),
        digest: Some(BodyDigest::from_bytes([0; 32])),
        extra: BTreeMap::from([("agr".into(), "x".into())]),
        ..sample()
    };
    assert_eq!(
        opaque.encode().unwrap().object().as_str(),
        concat!(
            r#"{"agr":"x","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
            r#""n":"BwcHBwcHBwcHBwcHBwcHBw","p":"r1","s":"GET /weather?city=Bern","#,
            r#""t":"1736942700000"}"#
        )
    );
}

#[test]
fn an_extra_key_may_not_shadow_a_registered_one() {
    for key in FIELDS {
        let opaque = Opaque {
            extra: BTreeMap::from([(key.to_owned(), "x".to_owned())]),
            ..sample()
        };
        assert_eq!(opaque.encode(), Err(OpaqueError::Shadowed { key }));
    }
}

#[test]
fn the_budget_is_exact() {
    let overhead = sample().encode().unwrap().object().as_str().len() - sample().scope.len();
    let scoped = |bytes: usize| Opaque {
        scope: "x".repeat(bytes),
        ..sample()
    };
    let fits = scoped(OPAQUE_BYTES_MAX - overhead);
    assert_eq!(Opaque::decode(&fits.encode().unwrap()), Ok(fits));
    let refused = OpaqueError::TooLarge {
        bytes: OPAQUE_BYTES_MAX + 1,
    };
    let over = scoped(OPAQUE_BYTES_MAX + 1 - overhead);
    assert_eq!(over.encode(), Err(refused.clone()));
    let mut members = BTreeMap::new();
    for (key, value) in [
        (NONCE, "BwcHBwcHBwcHBwcHBwcHBw"),
        (SCOPE, &over.scope),
        (ISSUED_AT, "1736942700000"),
    ] {
        members.insert(key.to_owned(), Value::from(value));
    }
    let foreign = EncodedObject::encode(&Object::from_members(members));
    assert_eq!(Opaque::decode(&foreign), Err(refused));
}

#[test]
fn malformed_opaque_objects_are_refused() {
    use OpaqueError::{Bytes, IssuedAt, Missing, NotText};
    let n = r#""n":"BwcHBwcHBwcHBwcHBwcHBw""#;
    let bytes = |key, bytes| Bytes { key, bytes };
    let missing = |key| Missing { key };
    let late = AmountError::TooLarge { bits: 64 };
    let table = [
        ("{}".into(), missing(NONCE)),
        (alloc::format!("{{{n}}}"), missing(SCOPE)),
        (alloc::format!(r#"{{{n},"s":""}}"#), missing(ISSUED_AT)),
        (alloc::format!(r#"{{{n},"s":"","t":1}}"#), NotText),
        (
            alloc::format!(r#"{{{n},"s":"","t":"1","x":{{}}}}"#),
            NotText,
        ),
        (
            alloc::format!(r#"{{{n},"s":"","t":""}}"#),
            IssuedAt(AmountError::Empty),
        ),
        (
            alloc::format!(r#"{{{n},"s":"","t":"01"}}"#),
            IssuedAt(AmountError::LeadingZero),
        ),
        (
            alloc::format!(r#"{{{n},"s":"","t":"253402300800000"}}"#),
            IssuedAt(late.clone()),
        ),
        (
            alloc::format!(r#"{{{n},"s":"","t":"99999999999999999999"}}"#),
            IssuedAt(late),
        ),
        (r#"{"n":"","s":"","t":"1"}"#.into(), bytes(NONCE, 16)),
        (
            r#"{"n":"BwcHBwcHBwcHBwcHBwcHBw==","s":"","t":"1"}"#.into(),
            bytes(NONCE, 16),
        ),
        (
            alloc::format!(r#"{{{n},"s":"","t":"1","d":"AAAA"}}"#),
            bytes(DIGEST, 32),
        ),
    ];
    for (json, expected) in table {
        assert_eq!(Opaque::decode(&encoded(&json)), Err(expected), "{json}");
    }
}

proptest! {
    #[test]
    fn encoding_and_decoding_is_the_identity(
        nonce: [u8; 16],
        scope in ".{0,40}",
        millis in 0..=Timestamp::MAX.as_millis(),
        price_revision in option::of(".{0,10}"),
        digest in option::of(any::<[u8; 32]>()),
        extra in btree_map("[a-z]{2,4}", ".{0,10}", 0..4),
    ) {
        let opaque = Opaque {
            nonce,
            scope,
            issued_at: Timestamp::from_millis(millis),
            price_revision,
            digest: digest.map(BodyDigest::from_bytes),
            extra,
        };
        let wire = opaque.encode().unwrap();
        prop_assert_eq!(Opaque::decode(&wire), Ok(opaque.clone()));
        let read = EncodedObject::parse(wire.wire()).unwrap();
        prop_assert_eq!(Opaque::decode(&read), Ok(opaque));
    }
}
