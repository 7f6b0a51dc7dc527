//! The tokeniser: the grammar, its errors, and that its work grows with its input only.

use super::*;
use alloc::{format, string::String, vec};

/// Prints what was read in one line: `Scheme(name=value,...)`, `Scheme<68>`, or `!error`.
fn check(line: &[u8], expected: &str) {
    let mut seen = Vec::new();
    for item in Challenges::new(line) {
        seen.push(match item {
            Err(error) => format!("!{error}"),
            Ok(RawChallenge { scheme, body }) => {
                let scheme = String::from_utf8_lossy(scheme);
                match body {
                    RawBody::Token68 => format!("{scheme}<68>"),
                    RawBody::Params { kept, .. } => {
                        let params: Vec<_> = kept
                            .iter()
                            .map(|RawParam { name, value }| {
                                let name = String::from_utf8_lossy(name);
                                format!("{name}={}", String::from_utf8_lossy(value))
                            })
                            .collect();
                        format!("{scheme}({})", params.join(","))
                    }
                }
            }
        });
    }
    assert_eq!(
        seen.join(" "),
        expected,
        "{}",
        String::from_utf8_lossy(line)
    );
}

#[test]
fn challenges_of_one_line_are_told_apart() {
    check(
        b"Payment a=1, b=2, Payment c=3",
        "Payment(a=1,b=2) Payment(c=3)",
    );
    check(b"Basic, Payment a=1", "Basic() Payment(a=1)");
    check(b"Basic , Payment a=1", "Basic() Payment(a=1)");
    check(b"Payment a=1, Basic", "Payment(a=1) Basic()");
    check(
        b"Negotiate, NTLM, Payment a=1",
        "Negotiate() NTLM() Payment(a=1)",
    );
    check(
        br#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#,
        r#"Newauth(realm=apps,type=1,title=Login to "apps") Basic(realm=simple)"#,
    );
}

#[test]
fn single_words_are_skipped_as_token68() {
    check(
        b"Negotiate YWJj/+.~-_==, Payment a=1",
        "Negotiate<68> Payment(a=1)",
    );
    check(b"Negotiate a=, Payment a=1", "Negotiate<68> Payment(a=1)");
    check(b"Payment a=1, Negotiate YWJj", "Payment(a=1) Negotiate<68>");
    check(b"Negotiate YWJj  ", "Negotiate<68>");
}

#[test]
fn white_space_and_empty_elements_are_allowed_where_the_grammar_has_them() {
    check(b"", "");
    check(b" ,\t, ,", "");
    check(
        b",, Payment   a = 1 ,, b\t=\t\"2\"\t, ,",
        "Payment(a=1,b=2)",
    );
    check(
        b"Payment a=1,b=2,Payment c=3",
        "Payment(a=1,b=2) Payment(c=3)",
    );
    check(b"Payment , a=1", "Payment(a=1)");
    check(b"Payment", "Payment()");
}

#[test]
fn quoted_text_may_hold_commas_escapes_and_bytes_above_ascii() {
    check(
        br#"Payment a="x, Payment b=\"y\"", c=1"#,
        r#"Payment(a=x, Payment b="y",c=1)"#,
    );
    check(br#"Payment a="\\\"\x""#, r#"Payment(a=\"x)"#);
    check(br#"Payment a="""#, "Payment(a=)");
    check(
        "Payment a=\"caf\u{e9}\tau lait\"".as_bytes(),
        "Payment(a=caf\u{e9}\tau lait)",
    );
}

#[test]
fn a_value_without_escapes_is_borrowed() {
    let line = br#"Payment a="plain", b="es\"caped""#;
    let Some(Ok(RawChallenge {
        body: RawBody::Params { kept, count: 2 },
        ..
    })) = Challenges::new(line).next()
    else {
        panic!("two parameters were due");
    };
    let borrowed: Vec<bool> = kept
        .iter()
        .map(|param| matches!(param.value, Cow::Borrowed(_)))
        .collect();
    assert_eq!(borrowed, vec![true, false]);
}

#[test]
fn a_broken_line_ends_with_one_error_after_what_could_be_read() {
    check(
        br#"Basic realm="a", Payment a="b"#,
        "Basic(realm=a) !the quoted text that starts at byte 27 does not end",
    );
}

#[test]
fn each_way_to_break_a_line_has_its_error() {
    check(
        b"Payment a=\"b",
        "!the quoted text that starts at byte 10 does not end",
    );
    check(
        b"Payment a=\"b\\",
        "!the quoted text that starts at byte 10 does not end",
    );
    check(b"Payment a=\"b\r\n\"", "!a control character at byte 12");
    check(b"Payment a=\"\\\x00\"", "!a control character at byte 12");
    check(b"Payment a=\"\x7f\"", "!a control character at byte 11");
    check(b"Payment a=1 b=2", "!a comma is missing at byte 12");
    check(b"Payment a=\"1\"b=2", "!a comma is missing at byte 13");
    check(b"Payment a b", "!a comma is missing at byte 10");
    check(b"Payment a=b=c", "!a comma is missing at byte 11");
    check(
        b"Payment a= ,b=1",
        "Payment<68> !a space is missing after the scheme at byte 13",
    );
    check(
        b"Payment x=1, a= ,b=1",
        "!a parameter value is missing at byte 16",
    );
    check(
        b"Payment =a",
        "!a scheme or a parameter name is missing at byte 8",
    );
    check(
        b"Payment a=1, \"b\"=2",
        "!a scheme or a parameter name is missing at byte 13",
    );
    check(
        b"\"Payment\"",
        "!a scheme or a parameter name is missing at byte 0",
    );
    check(
        b"Payment=a",
        "!a space is missing after the scheme at byte 7",
    );
    check(
        b"Payment a=\xff",
        "!a parameter value is missing at byte 10",
    );
}

#[test]
fn parameters_over_the_limit_are_counted_and_not_kept() {
    let mut line = String::from("Payment ");
    for index in 0..100 {
        line.push_str(&format!("p{index}=1,"));
    }
    let Some(Ok(RawChallenge {
        body: RawBody::Params { kept, count },
        ..
    })) = Challenges::new(line.as_bytes()).next()
    else {
        panic!("parameters were due");
    };
    assert_eq!((kept.len(), count), (limits::AUTH_PARAMS_MAX, 100));
}

/// How many bytes were looked at to read a whole line.
fn steps(line: &[u8]) -> usize {
    let mut challenges = Challenges::new(line);
    while challenges.next().is_some() {}
    challenges.scan.steps
}

#[test]
fn work_grows_with_the_length_of_the_line_only() {
    let length = limits::CHALLENGE_HEADER_BYTES_MAX;
    for pattern in [
        ",",
        " ",
        "\t,",
        "a",
        "a ",
        "a,",
        "a, ",
        "a=",
        "a=1,",
        "a=\"",
        "a=\"\",",
        "\\",
        "\"",
        "\"\\",
        "Payment ",
        "Payment,",
        "Payment a=1,",
        "Payment a==,",
        "Payment a=\"\\\"\",",
        "a b,",
        "==",
        "a==,",
        "/+",
        "\u{e9}",
        "x \t",
        "a\t=\t1\t,",
    ] {
        for prefix in ["", "Payment ", "Payment a=\"", "Payment a=1,", "B "] {
            let mut line = String::from(prefix);
            while line.len() < length {
                line.push_str(pattern);
            }
            let steps = steps(line.as_bytes());
            let bound = 8 * line.len() + 16;
            assert!(
                steps <= bound,
                "{steps} steps for {prefix:?} and {pattern:?}"
            );
        }
    }
}

#[test]
fn elements_are_split_at_commas_outside_quotes() {
    let elements = |line: &'static [u8]| -> Vec<&[u8]> { Elements::new(line).collect() };
    assert_eq!(elements(b" a, b "), vec![&b"a, b"[..], b"b"]);
    assert_eq!(
        elements(br#"a="x,y\",z",b"#),
        vec![&br#"a="x,y\",z",b"#[..], b"b"]
    );
    assert_eq!(elements(br#"a=","#), vec![&br#"a=","#[..]]);
    assert_eq!(elements(b"a,"), vec![&b"a,"[..], b""]);
    assert_eq!(elements(b""), vec![&b""[..]]);
}

mod properties {
    use super::super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(line in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut items = 0;
            for item in Challenges::new(&line) {
                items += 1;
                if let Ok(RawChallenge { scheme, .. }) = item {
                    prop_assert!(!scheme.is_empty());
                }
            }
            prop_assert!(items <= line.len());
        }

        #[test]
        fn an_error_is_the_last_item(line in r#"[aP=", \\]{0,40}"#) {
            let items: Vec<_> = Challenges::new(line.as_bytes()).collect();
            let errors = items.iter().filter(|item| item.is_err()).count();
            prop_assert!(errors <= 1);
            if errors == 1 {
                prop_assert!(items.last().is_some_and(|item| item.is_err()));
            }
        }
    }
}
