//! Credentials: the draft's examples, every rule, what a request's lines hold, and printing
//! against reading.

use super::*;
use crate::{
    challenge::{DigestText, Expires, Params},
    json::EncodedObject,
    name::{ChallengeId, IntentName, MethodName, Realm},
};
use alloc::{format, vec};
use proptest::prelude::*;

const CHALLENGE: &str =
    r#""challenge":{"id":"a","realm":"r","method":"m","intent":"charge","request":"e30"}"#;

fn parse_json(json: &str) -> Result<Credential, CredentialError> {
    Credential::parse(base64url::encode(json.as_bytes()).as_bytes())
}

fn refused(json: &str) -> CredentialError {
    parse_json(json).unwrap_err()
}

fn full() -> Credential {
    Credential {
        challenge: Challenge {
            id: ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa").unwrap(),
            params: Params {
                expires: Some(Expires::parse("2025-01-15T12:05:00Z").unwrap()),
                digest: Some(DigestText::new("sha-256=:AAAA:").unwrap()),
                description: Some("caf\u{e9} \"x\"".into()),
                opaque: Some(EncodedObject::parse("eyJuIjoiMSJ9").unwrap()),
                ..Params::new(
                    Realm::new("api.example.com").unwrap(),
                    MethodName::new("example").unwrap(),
                    IntentName::charge(),
                    EncodedObject::parse("eyAiYW1vdW50IiA6ICIxMCIgfQ").unwrap(),
                )
            },
        },
        payload: Object::parse(br#"{ "z":1.0, "a":"\u0041" }"#).unwrap(),
        source: Some("did:key:z6Mk".into()),
    }
}

#[test]
fn the_credentials_of_the_draft_are_read_or_refused_as_their_file_says() {
    let file = Value::parse(include_bytes!("../../vectors/credentials.json")).unwrap();
    let Some(Value::Array(cases)) = file.get("cases") else {
        panic!("no cases");
    };
    assert!(cases.len() >= 3);
    for case in cases {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap();
        let line = text("line_value");
        let Presented::One(token) = presented([line.as_bytes()]) else {
            panic!("{line} holds one credential");
        };
        match case.get("id").and_then(Value::as_str) {
            Some(id) => {
                let read = Credential::parse(token).unwrap();
                assert_eq!(read.challenge.id.as_str(), id);
                assert_eq!(read.payload.as_str(), text("payload"));
                assert_eq!(
                    read.source.as_deref(),
                    case.get("source").and_then(Value::as_str)
                );
            }
            None => assert_eq!(
                Credential::parse(token),
                Err(CredentialError::LegacyShape),
                "{line}"
            ),
        }
    }
}

#[test]
fn a_credential_prints_canonically_around_a_verbatim_payload() {
    assert_eq!(
        full().to_json(),
        concat!(
            r#"{"challenge":{"description":"caf"#,
            "\u{e9}",
            r#" \"x\"","digest":"sha-256=:AAAA:","expires":"2025-01-15T12:05:00Z","#,
            r#""id":"x7Tg2pLqR9mKvNwY3hBcZa","intent":"charge","method":"example","#,
            r#""opaque":"eyJuIjoiMSJ9","realm":"api.example.com","#,
            r#""request":"eyAiYW1vdW50IiA6ICIxMCIgfQ"},"#,
            r#""payload":{ "z":1.0, "a":"\u0041" },"source":"did:key:z6Mk"}"#
        )
    );
    let header = full().to_header();
    let Presented::One(token) = presented([header.as_bytes()]) else {
        panic!("one credential was due");
    };
    assert_eq!(Credential::parse(token), Ok(full()));
}

#[test]
fn request_opaque_and_payload_keep_their_bytes() {
    let json = full().to_json();
    let read = parse_json(&json).unwrap();
    assert_eq!(
        read.challenge.params.request.wire(),
        "eyAiYW1vdW50IiA6ICIxMCIgfQ"
    );
    assert_eq!(read.payload.as_str(), r#"{ "z":1.0, "a":"\u0041" }"#);
}

#[test]
fn unknown_members_are_ignored() {
    let json = format!(
        r#"{{"version":2,{},"payload":{{}},"note":null}}"#,
        CHALLENGE.replace(r#""id""#, r#""colour":["red"],"id""#)
    );
    let read = parse_json(&json).unwrap();
    assert_eq!((read.challenge.id.as_str(), read.source), ("a", None));
}

#[test]
fn each_broken_shape_has_its_error() {
    let cases: [(&str, CredentialError); 9] = [
        (r#"{"id":"a","payload":{}}"#, CredentialError::LegacyShape),
        (r#"{"payload":{}}"#, CredentialError::ChallengeMissing),
        (
            r#"{"challenge":"a","payload":{}}"#,
            CredentialError::ChallengeNotObject,
        ),
        (
            r#"{"challenge":null,"payload":{}}"#,
            CredentialError::ChallengeNotObject,
        ),
        (r#"{C}"#, CredentialError::PayloadMissing),
        (r#"{C,"payload":"x"}"#, CredentialError::PayloadNotObject),
        (r#"{C,"payload":[]}"#, CredentialError::PayloadNotObject),
        (
            r#"{C,"payload":{},"source":null}"#,
            CredentialError::SourceNotString,
        ),
        (
            r#"{C,"payload":{},"source":7}"#,
            CredentialError::SourceNotString,
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(refused(&json.replace('C', CHALLENGE)), expected, "{json}");
    }
}

#[test]
fn an_echo_that_is_no_string_is_refused_and_named() {
    let json = |echo: &str| format!(r#"{{"challenge":{{{echo}}},"payload":{{}}}}"#);
    for (echo, param) in [
        (r#""id":1"#, Param::Id),
        (r#""id":"a","realm":null"#, Param::Realm),
        (r#""id":"a","request":{"amount":"1"}"#, Param::Request),
        (r#""id":"a","opaque":{"n":"1"}"#, Param::Opaque),
        (r#""id":"a","expires":1736942700"#, Param::Expires),
        (r#""id":"a","description":["x"]"#, Param::Description),
    ] {
        assert_eq!(
            refused(&json(echo)),
            CredentialError::EchoNotString { param }
        );
    }
}

#[test]
fn an_echoed_challenge_obeys_the_rules_of_a_challenge() {
    assert_eq!(
        refused(r#"{"challenge":{"id":"a"},"payload":{}}"#),
        CredentialError::Challenge(ChallengeError::Missing {
            param: Param::Realm
        })
    );
    let json = |text: &str| refused(&format!("{{{text},\"payload\":{{}}}}"));
    assert_eq!(
        json(&CHALLENGE.replace(r#""id":"a""#, r#""id":"""#)),
        CredentialError::Challenge(ChallengeError::Empty { param: Param::Id })
    );
    assert!(matches!(
        json(&CHALLENGE.replace("e30", "e30=")),
        CredentialError::Challenge(ChallengeError::Request(_))
    ));
    assert!(matches!(
        json(&CHALLENGE.replace(r#""r""#, r#""r|""#)),
        CredentialError::Challenge(ChallengeError::Realm(_))
    ));
}

#[test]
fn names_that_stand_twice_are_refused_at_every_level() {
    for json in [
        r#"{C,"payload":{},"payload":{}}"#,
        r#"{C,"payload":{},"x":1,"x":2}"#,
        r#"{C,"payload":{"a":1,"a":2}}"#,
        r#"{C,"payload":{},"p\u0061yload":{}}"#,
    ] {
        let json = json.replace('C', CHALLENGE);
        assert!(matches!(refused(&json), CredentialError::Json(_)), "{json}");
    }
    let twice = CHALLENGE.replace(r#""id":"a""#, r#""id":"a","\u0069d":"b""#);
    assert!(matches!(
        refused(&format!(r#"{{{twice},"payload":{{}}}}"#)),
        CredentialError::Json(_)
    ));
}

#[test]
fn what_is_no_json_object_is_refused() {
    let mut cases = vec![
        String::from("[]"),
        String::from("\"a\""),
        String::from("{"),
        String::from("null"),
        format!(r#"{{{CHALLENGE},"payload":{{}}}}{{}}"#),
    ];
    cases.push(format!(
        r#"{{{CHALLENGE},"payload":{{"a":{}{}}}}}"#,
        "[".repeat(limits::JSON_DEPTH_MAX),
        "]".repeat(limits::JSON_DEPTH_MAX)
    ));
    for json in cases {
        assert!(matches!(refused(&json), CredentialError::Json(_)), "{json}");
    }
}

#[test]
fn base64_of_another_spelling_is_refused() {
    let token = base64url::encode(full().to_json().as_bytes());
    assert!(Credential::parse(token.as_bytes()).is_ok());
    for spelling in [
        format!("{token}="),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("\"{token}\""),
        format!("{token}, x"),
    ] {
        assert!(
            matches!(
                Credential::parse(spelling.as_bytes()),
                Err(CredentialError::Base64(_))
            ),
            "{spelling}"
        );
    }
    assert_eq!(Credential::parse(b""), Err(CredentialError::Empty));
}

#[test]
fn size_is_checked_before_anything_else() {
    let garbage = vec![b'!'; limits::CREDENTIAL_BYTES_MAX + 1];
    assert_eq!(
        Credential::parse(&garbage),
        Err(CredentialError::TooLong {
            bytes: garbage.len()
        })
    );
    assert!(matches!(
        Credential::parse(&garbage[1..]),
        Err(CredentialError::Base64(_))
    ));
}

#[test]
fn a_credential_of_sixteen_kilobytes_is_read() {
    let json = format!(
        r#"{{{CHALLENGE},"payload":{{"bundle":"{}"}}}}"#,
        "a".repeat(16 * 1024)
    );
    assert!(parse_json(&json).is_ok());
}

#[test]
fn a_source_over_its_limit_is_refused() {
    let json = |length: usize| {
        let source = "a".repeat(length);
        parse_json(&format!(
            r#"{{{CHALLENGE},"payload":{{}},"source":"{source}"}}"#
        ))
    };
    assert!(json(limits::SOURCE_BYTES_MAX).is_ok());
    assert_eq!(
        json(limits::SOURCE_BYTES_MAX + 1),
        Err(CredentialError::SourceTooLong {
            bytes: limits::SOURCE_BYTES_MAX + 1
        })
    );
}

#[test]
fn debug_prints_no_payload() {
    let secret = Object::parse(br#"{"preimage":"hunter2"}"#).unwrap();
    let shown = format!(
        "{:?}",
        Credential {
            payload: secret,
            ..full()
        }
    );
    assert!(
        !shown.contains("hunter2") && shown.contains("api.example.com"),
        "{shown}"
    );
}

#[test]
fn the_hash_is_sha256_of_the_token_as_presented() {
    // printf abc | sha256sum
    let expected = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad,
    ];
    assert_eq!(token_hash(b"abc"), expected);
}

#[test]
fn the_lines_of_a_request_hold_none_one_or_several() {
    let check = |lines: &[&'static str], expected: Presented<'static>| {
        let held = presented(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(held, expected, "{lines:?}");
    };
    let one = |token: &'static str| Presented::One(token.as_bytes());
    check(&[], Presented::None);
    check(
        &["", "Basic YTpi", "Bearer payment", "Payment2 a", "Paymenta"],
        Presented::None,
    );
    check(
        &[r#"Digest realm="a, Payment b", nonce="\", Payment c""#],
        Presented::None,
    );
    check(&["Payment abc"], one("abc"));
    check(&["  pAYMENT \t abc \t"], one("abc"));
    check(&["Payment"], one(""));
    check(&["Payment "], one(""));
    check(&["Bearer x", "Payment abc", "Basic y"], one("abc"));
    check(&["Bearer x, Payment abc"], one("abc"));
    check(&["Payment abc, Bearer x"], one("abc, Bearer x"));
    check(&["Payment abc def"], one("abc def"));
    check(&["Payment abc", "Payment abc"], Presented::Several);
    check(&["Payment abc", "payment def"], Presented::Several);
    check(&["Payment abc, Payment def"], Presented::Several);
    check(&["Payment abc,Payment def"], Presented::Several);
    check(
        &["Bearer x, Payment abc", "Payment def"],
        Presented::Several,
    );
    check(&["Payment abc, Payment"], Presented::Several);
}

proptest! {
    #[test]
    fn a_printed_credential_reads_back(
        challenge in crate::challenge::tests::properties::challenge(),
        description in proptest::option::of(any::<String>()),
        payload in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        source in proptest::option::of(any::<String>()),
    ) {
        let members = payload
            .into_iter()
            .map(|(name, text)| (name, Value::String(text)))
            .collect();
        let mut credential = Credential {
            challenge,
            payload: Object::from_members(members),
            source: source.filter(|text| text.len() <= limits::SOURCE_BYTES_MAX),
        };
        credential.challenge.params.description = description;
        let header = credential.to_header();
        let json = credential.to_json();
        prop_assert_eq!(Credential::from_json(json.as_bytes()), Ok(credential.clone()));
        let Presented::One(token) = presented([header.as_bytes()]) else {
            return Err(TestCaseError::fail("one credential was due"));
        };
        prop_assert_eq!(Credential::parse(token), Ok(credential));
    }

    #[test]
    fn any_bytes_are_answered_without_panic(
        token in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(Credential::parse(&token).is_err());
        prop_assert!(Credential::from_json(&token).is_err());
    }

    #[test]
    fn a_credential_cut_or_altered_anywhere_is_answered_without_panic(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let json = full().to_json().into_bytes();
        let at = at.index(json.len());
        prop_assert!(Credential::from_json(&json[..at]).is_err());
        let mut altered = json.clone();
        altered[at] = byte;
        if let Ok(read) = Credential::from_json(&altered) {
            prop_assert_eq!(Credential::from_json(read.to_json().as_bytes()), Ok(read));
        }
    }

    #[test]
    fn a_second_payment_line_is_never_missed(
        lines in proptest::collection::vec(r#"(Payment|[ ,"\\a=])*"#, 0..4),
    ) {
        let held = presented(lines.iter().map(|line| line.as_bytes()));
        if lines.iter().all(|line| !line.contains("Payment")) {
            prop_assert_eq!(held, Presented::None);
        } else {
            let sure = lines.iter().filter(|line| line.starts_with("Payment ")).count();
            prop_assert!(sure < 2 || held == Presented::Several);
            prop_assert!(sure < 1 || held != Presented::None);
        }
    }
}
