//! Reading what was printed gives the same challenge, whatever stands around it.

use super::*;
use crate::base64url;
use proptest::prelude::*;

/// Any encoded object whose members are strings; not always canonical.
fn encoded() -> impl Strategy<Value = EncodedObject> {
    let member = ("[a-z]{1,6}", r#"[ !#-\[\]-~\u{e9}\u{4e2d}]{0,20}"#);
    proptest::collection::vec(member, 0..4).prop_map(|members| {
        let mut seen = Vec::new();
        let mut parts = Vec::new();
        for (name, value) in members {
            if !seen.contains(&name) {
                parts.push(format!("{:?} : \"{value}\"", name));
                seen.push(name);
            }
        }
        let json = format!("{{{}}}", parts.join(", "));
        EncodedObject::parse(&base64url::encode(json.as_bytes())).unwrap()
    })
}

prop_compose! {
    /// A challenge whose texts use every character that they may.
    pub(crate) fn challenge()(
        id in r#"[!-~]{1,60}"#,
        realm in r#"[ !#-\[\]-{}~]{1,40}"#,
        method in "[a-z][a-z0-9:_-]{0,20}",
        intent in "[A-Za-z0-9-]{1,20}",
        request in encoded(),
        expires in proptest::option::of(0_u64..253_402_300_799_999),
        digest in proptest::option::of("[!-{}~]{1,128}"),
        description in proptest::option::of("[ -~]{0,40}"),
        opaque in proptest::option::of(encoded()),
    ) -> Challenge {
        Challenge {
            id: ChallengeId::new(&id).unwrap(),
            params: Params {
                realm: Realm::new(&realm).unwrap(),
                method: MethodName::new(&method).unwrap(),
                intent: IntentName::new(&intent).unwrap(),
                request,
                expires: expires.map(|millis| Expires::at(Timestamp::from_millis(millis))),
                digest: digest.map(|text| DigestText::new(&text).unwrap()),
                description,
                opaque,
            },
        }
    }
}

/// Something else that may stand in the field.
fn other_scheme() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::from("Basic realm=\"a, Payment id=\\\"b\\\"\"")),
        Just(String::from("Negotiate")),
        Just(String::from("Negotiate YWJj+/==")),
        Just(String::from(
            "Digest realm=\"x\" , nonce = abc,, qop=\"auth,auth-int\""
        )),
        Just(String::from(" ,")),
        Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn a_printed_challenge_reads_back(challenge in challenge()) {
        prop_assert_eq!(parse(&challenge.to_header()), vec![Ok(challenge)]);
    }

    #[test]
    fn challenges_among_other_schemes_read_back_in_order(
        pieces in proptest::collection::vec(
            (proptest::option::of(challenge()), other_scheme(), any::<bool>()),
            0..6,
        )
    ) {
        let mut lines = vec![String::new()];
        let mut expected = Vec::new();
        for (challenge, other, break_line) in pieces {
            let mut parts = vec![other];
            if let Some(challenge) = challenge {
                parts.push(challenge.to_header());
                expected.push(Ok(challenge));
            }
            for part in parts {
                let line = lines.last_mut().unwrap();
                if !line.is_empty() {
                    line.push_str(", ");
                }
                line.push_str(&part);
            }
            if break_line {
                lines.push(String::new());
            }
        }
        let read = Challenge::parse_all(lines.iter().map(|line| line.as_bytes()));
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_description_prints_and_the_rest_reads_back(
        challenge in challenge(),
        description in any::<String>(),
    ) {
        let mut shown = challenge.clone();
        shown.params.description = Some(description);
        let header = shown.to_header();
        prop_assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let mut read = parse_one(&header).unwrap();
        read.params.description.clone_from(&challenge.params.description);
        prop_assert_eq!(read, challenge);
    }

    #[test]
    fn any_lines_are_read_without_panic_and_within_the_limits(
        lines in proptest::collection::vec(
            r#"(Payment |[a-z]{1,3}=|"|\\|,| |[a-z"=é]){0,30}"#,
            0..4,
        )
    ) {
        let read = Challenge::parse_all(lines.iter().map(|line| line.as_bytes()));
        prop_assert!(read.len() <= limits::CHALLENGES_MAX + 1);
    }
}
