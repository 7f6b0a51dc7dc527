//! Challenges: the draft's examples, every rule, and printing against reading.

use super::*;
use crate::{
    base64url,
    json::{Object, Value},
};
use alloc::{format, string::ToString, vec};

pub(crate) mod properties;

/// `{"amount":"1000","currency":"USD","recipient":"acct_123"}`, as the draft prints it.
const REQUEST: &str =
    "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJyZWNpcGllbnQiOiJhY2N0XzEyMyJ9";

fn encode(json: &str) -> EncodedObject {
    EncodedObject::parse(&base64url::encode(json.as_bytes())).unwrap()
}

fn params() -> Params {
    Params::new(
        Realm::new("api.example.com").unwrap(),
        MethodName::new("example").unwrap(),
        IntentName::charge(),
        EncodedObject::parse(REQUEST).unwrap(),
    )
}

fn challenge() -> Challenge {
    Challenge {
        id: ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa").unwrap(),
        params: Params {
            expires: Some(Expires::parse("2025-01-15T12:05:00Z").unwrap()),
            ..params()
        },
    }
}

fn parse(line: &str) -> Vec<Result<Challenge, ChallengeError>> {
    Challenge::parse_all([line.as_bytes()])
}

fn parse_one(line: &str) -> Result<Challenge, ChallengeError> {
    let mut all = parse(line);
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

/// A line with every required parameter but `without`, and `with` at its end.
fn line(without: Option<Param>, with: &str) -> String {
    let mut parts = Vec::new();
    for (param, value) in [
        (Param::Id, "a"),
        (Param::Realm, "r"),
        (Param::Method, "m"),
        (Param::Intent, "charge"),
        (Param::Request, "e30"),
    ] {
        if Some(param) != without {
            parts.push(format!("{param}=\"{value}\""));
        }
    }
    if !with.is_empty() {
        parts.push(with.to_string());
    }
    format!("Payment {}", parts.join(", "))
}

fn refused(line: &str) -> ChallengeError {
    parse_one(line).unwrap_err()
}

#[test]
fn a_challenge_prints_the_required_parameters_first_each_quoted() {
    assert_eq!(
        challenge().to_header(),
        format!(
            "Payment id=\"x7Tg2pLqR9mKvNwY3hBcZa\", realm=\"api.example.com\", \
             method=\"example\", intent=\"charge\", expires=\"2025-01-15T12:05:00Z\", \
             request=\"{REQUEST}\""
        )
    );
    assert_eq!(challenge().to_string(), challenge().to_header());
}

#[test]
fn a_challenge_prints_every_optional_parameter_that_it_has() {
    let mut full = challenge();
    full.params.digest =
        Some(DigestText::new("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:").unwrap());
    full.params.description = Some("One report".into());
    full.params.opaque = Some(encode(r#"{"n":"1"}"#));
    let header = full.to_header();
    assert!(header.contains("digest=\"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\""));
    assert!(header.contains("description=\"One report\""));
    assert!(header.ends_with("opaque=\"eyJuIjoiMSJ9\""));
    assert_eq!(parse(&header), vec![Ok(full)]);
}

#[test]
fn a_description_is_printed_as_ascii_without_control_characters() {
    let mut shown = challenge();
    shown.params.description = Some("say \"hi\\\"\r\n\tcaf\u{e9} \u{85}\u{1f600}\0".into());
    let header = shown.to_header();
    assert!(
        header.contains(r#"description="say \"hi\\\"caf? ?""#),
        "{header}"
    );
    assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
}

#[test]
fn a_description_is_read_as_utf8_and_never_breaks_a_challenge() {
    let read = parse_one(&line(None, "description=\"caf\u{e9}\"")).unwrap();
    assert_eq!(read.params.description.as_deref(), Some("caf\u{e9}"));
    let mut latin1 = line(None, "description=\"caf").into_bytes();
    latin1.extend(b"\xe9\"");
    let read = Challenge::parse_all([latin1.as_slice()]).remove(0).unwrap();
    assert_eq!(read.params.description.as_deref(), Some("caf\u{fffd}"));
}

#[test]
fn the_examples_of_the_draft_are_read() {
    let file = Value::parse(include_bytes!("../../vectors/challenges.json")).unwrap();
    let Some(Value::Array(cases)) = file.get("cases") else {
        panic!("no cases");
    };
    assert!(cases.len() >= 4);
    for case in cases {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap();
        let read = parse_one(text("header")).unwrap();
        assert_eq!(read.id.as_str(), text("id"));
        assert_eq!(read.params.method.as_str(), text("method"));
        let request = Value::parse(text("request").as_bytes()).unwrap();
        assert_eq!(read.params.request.object().to_value(), request);
        assert_eq!(parse_one(&read.to_header()).unwrap(), read);
    }
}

#[test]
fn several_challenges_are_read_from_one_line_and_from_several_in_order() {
    let second = line(None, "");
    let joined = format!("{}, Basic realm=\"x\", {second}", challenge());
    let ids = |lines: &[&str]| -> Vec<String> {
        Challenge::parse_all(lines.iter().map(|line| line.as_bytes()))
            .into_iter()
            .map(|item| item.unwrap().id.as_str().into())
            .collect()
    };
    assert_eq!(ids(&[&joined]), ["x7Tg2pLqR9mKvNwY3hBcZa", "a"]);
    assert_eq!(
        ids(&[&second, "Negotiate", "", &challenge().to_header()]),
        ["a", "x7Tg2pLqR9mKvNwY3hBcZa"]
    );
}

#[test]
fn scheme_and_parameter_names_are_compared_without_case() {
    let shouted = "PAYMENT ID=\"a\", Realm=r, mEthod=m, INTENT=charge, requesT=e30";
    assert_eq!(
        parse_one(shouted).unwrap(),
        parse_one(&line(None, "")).unwrap()
    );
}

#[test]
fn unknown_parameters_are_ignored() {
    let read = parse_one(&line(None, "colour=\"red\", x-y=1")).unwrap();
    assert_eq!(read, parse_one(&line(None, "")).unwrap());
}

#[test]
fn other_schemes_are_no_challenges() {
    assert_eq!(
        parse("Basic realm=\"x\", Payment2 id=\"a\", Bearer"),
        vec![]
    );
    assert_eq!(Challenge::parse_all([]), vec![]);
}

#[test]
fn a_missing_or_empty_required_parameter_is_refused() {
    for param in [
        Param::Id,
        Param::Realm,
        Param::Method,
        Param::Intent,
        Param::Request,
    ] {
        assert_eq!(
            refused(&line(Some(param), "")),
            ChallengeError::Missing { param }
        );
        let empty = format!("{param}=\"\"");
        assert_eq!(
            refused(&line(Some(param), &empty)),
            ChallengeError::Empty { param }
        );
    }
    assert_eq!(
        refused("Payment"),
        ChallengeError::Missing { param: Param::Id }
    );
    assert_eq!(refused("Payment abc=="), ChallengeError::NoParams);
}

#[test]
fn a_parameter_that_stands_twice_is_refused_in_any_case_and_when_unknown() {
    for (with, name) in [("id=\"b\"", "id"), ("ID=b", "id"), ("x=1, y=2, X=3", "x")] {
        assert_eq!(
            refused(&line(None, with)),
            ChallengeError::DuplicateParam { name: name.into() }
        );
    }
}

#[test]
fn each_malformed_parameter_has_its_error() {
    let with =
        |param: Param, value: &str| refused(&line(Some(param), &format!("{param}=\"{value}\"")));
    assert!(matches!(with(Param::Id, "a b"), ChallengeError::Id(_)));
    assert!(matches!(
        with(Param::Id, &"a".repeat(257)),
        ChallengeError::Id(_)
    ));
    assert!(matches!(
        with(Param::Realm, "a|b"),
        ChallengeError::Realm(_)
    ));
    assert!(matches!(
        with(Param::Realm, "caf\u{e9}"),
        ChallengeError::Realm(_)
    ));
    assert!(matches!(
        with(Param::Method, "Tempo"),
        ChallengeError::Method(_)
    ));
    assert!(matches!(
        with(Param::Intent, "a/b"),
        ChallengeError::Intent(_)
    ));
    for request in ["e30=", "e3 0", "W10", "eyJhIjoxLCJhIjoyfQ", "Zm9v", "!"] {
        assert!(
            matches!(with(Param::Request, request), ChallengeError::Request(_)),
            "{request}"
        );
    }
    for expires in [
        "",
        "tomorrow",
        "2025-01-15",
        "2025-13-15T12:05:00Z",
        "1969-12-31T23:59:59Z",
    ] {
        assert!(
            matches!(with(Param::Expires, expires), ChallengeError::Expires(_)),
            "{expires}"
        );
    }
    assert_eq!(
        with(Param::Digest, ""),
        ChallengeError::Empty {
            param: Param::Digest
        }
    );
    assert_eq!(
        with(Param::Digest, "a|b"),
        ChallengeError::DigestCharacter { offset: 1 }
    );
    assert_eq!(
        with(Param::Digest, "a b"),
        ChallengeError::DigestCharacter { offset: 1 }
    );
    assert_eq!(
        with(Param::Digest, &"a".repeat(129)),
        ChallengeError::DigestTooLong { bytes: 129 }
    );
}

#[test]
fn an_opaque_is_a_flat_object_of_strings() {
    let opaque = |json: &str| {
        let wire = base64url::encode(json.as_bytes());
        parse_one(&line(None, &format!("opaque=\"{wire}\"")))
    };
    assert!(
        opaque(r#"{"a":"1","b":""}"#)
            .unwrap()
            .params
            .opaque
            .is_some()
    );
    assert!(opaque("{}").unwrap().params.opaque.is_some());
    for json in [
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"a":{"b":"c"}}"#,
        r#"{"a":["b"]}"#,
    ] {
        assert_eq!(opaque(json), Err(ChallengeError::OpaqueNotFlat), "{json}");
    }
    for json in ["[]", "\"a\"", r#"{"a":"1","a":"2"}"#, ""] {
        assert!(
            matches!(opaque(json), Err(ChallengeError::Opaque(_))),
            "{json}"
        );
    }
}

#[test]
fn values_that_are_no_utf8_are_refused() {
    let mut bytes = line(Some(Param::Realm), "realm=\"r").into_bytes();
    bytes.extend(b"\xff\"");
    assert_eq!(
        Challenge::parse_all([bytes.as_slice()]),
        vec![Err(ChallengeError::NotUtf8 {
            param: Param::Realm
        })]
    );
    let mut escaped = line(Some(Param::Realm), "realm=\"\\r").into_bytes();
    escaped.extend(b"\xff\"");
    assert_eq!(
        Challenge::parse_all([escaped.as_slice()]),
        vec![Err(ChallengeError::NotUtf8 {
            param: Param::Realm
        })]
    );
}

#[test]
fn a_broken_challenge_does_not_hide_its_neighbours() {
    let good = line(None, "");
    let joined = format!("{good}, {}, {good}", line(Some(Param::Request), ""));
    let read = parse(&joined);
    assert!(read[0].is_ok() && read[2].is_ok());
    assert_eq!(
        read[1],
        Err(ChallengeError::Missing {
            param: Param::Request
        })
    );
    assert_eq!(read.len(), 3);
}

#[test]
fn a_line_that_breaks_ends_with_one_error_and_the_next_line_is_read() {
    let good = line(None, "");
    let broken = format!("{good}, {good}, realm=\"unterminated");
    let read = Challenge::parse_all([broken.as_bytes(), good.as_bytes()]);
    assert!(read[0].is_ok() && read[2].is_ok());
    assert!(matches!(
        read[1],
        Err(ChallengeError::Header(
            HeaderError::QuoteUnterminated { .. }
        ))
    ));
    assert_eq!(read.len(), 3);
}

#[test]
fn a_second_challenge_inside_quotes_is_text() {
    let read = parse_one(&line(None, "description=\"x, Payment id=\\\"evil\\\"\"")).unwrap();
    assert_eq!(
        read.params.description.as_deref(),
        Some("x, Payment id=\"evil\"")
    );
}

#[test]
fn headers_over_the_limit_are_refused_before_they_are_read() {
    let good = line(None, "");
    let long = " ".repeat(limits::CHALLENGE_HEADER_BYTES_MAX + 1 - good.len());
    let read = Challenge::parse_all([good.as_bytes(), long.as_bytes(), good.as_bytes()]);
    assert!(read[0].is_ok());
    assert_eq!(
        read[1..],
        [Err(ChallengeError::HeaderTooLong {
            bytes: limits::CHALLENGE_HEADER_BYTES_MAX + 1
        })]
    );
    let fits = &long[1..];
    assert_eq!(
        Challenge::parse_all([good.as_bytes(), fits.as_bytes()]).len(),
        1
    );
}

#[test]
fn no_more_challenges_are_read_than_the_limit() {
    let good = line(None, "");
    let lines = vec![good.as_bytes(); limits::CHALLENGES_MAX + 5];
    let read = Challenge::parse_all(lines);
    assert_eq!(
        read.iter().filter(|item| item.is_ok()).count(),
        limits::CHALLENGES_MAX
    );
    assert_eq!(read.last(), Some(&Err(ChallengeError::TooManyChallenges)));
    assert_eq!(read.len(), limits::CHALLENGES_MAX + 1);
}

#[test]
fn too_many_parameters_are_refused_and_the_next_challenge_is_read() {
    let good = line(None, "");
    let mut many = String::from("Payment ");
    for index in 0..=limits::AUTH_PARAMS_MAX {
        many.push_str(&format!("p{index}=1, "));
    }
    assert_eq!(
        parse(&format!("{many}{good}")),
        vec![
            Err(ChallengeError::TooManyParams {
                count: limits::AUTH_PARAMS_MAX + 1
            }),
            parse_one(&good)
        ]
    );
}

#[test]
fn a_challenge_of_eight_kilobytes_is_read() {
    let json = format!("{{\"blob\":\"{}\"}}", "a".repeat(7000));
    let request = EncodedObject::encode(&Object::parse(json.as_bytes()).unwrap());
    let mut large = challenge();
    large.params.request = request;
    assert!(large.to_header().len() > 8 * 1024);
    assert_eq!(parse(&large.to_header()), vec![Ok(large)]);
}

#[test]
fn expires_has_passed_from_its_instant_on_and_keeps_its_text() {
    let expires = Expires::parse("2025-01-15T14:05:00.0+02:00").unwrap();
    assert_eq!(expires.as_str(), "2025-01-15T14:05:00.0+02:00");
    let at = Timestamp::parse_rfc3339("2025-01-15T12:05:00Z").unwrap();
    assert_eq!(expires.instant(), at);
    assert!(expires.has_passed(at));
    assert!(!expires.has_passed(Timestamp::from_millis(at.as_millis() - 1)));
    assert_eq!(Expires::at(at).as_str(), "2025-01-15T12:05:00Z");
}
