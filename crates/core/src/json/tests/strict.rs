//! What the parser refuses, and where it says so.

use super::*;
use crate::limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX};
use alloc::{format, string::ToString as _};

#[test]
fn hostile_texts_are_refused_with_their_reason() {
    use JsonError::{InexactInteger, NotFinite, Trailing, UnexpectedEnd, Utf8};
    let duplicate = |key: &str, offset| JsonError::DuplicateKey {
        key: key.into(),
        offset,
    };
    let syntax = |offset| JsonError::Syntax { offset };
    let table: &[(&[u8], JsonError)] = &[
        (b"", UnexpectedEnd),
        (b" ", UnexpectedEnd),
        (b"{", UnexpectedEnd),
        (b"[1,", UnexpectedEnd),
        (b"\"abc", UnexpectedEnd),
        (b"nul", UnexpectedEnd),
        (b"1 2", Trailing { offset: 2 }),
        (b"{}\n\n{}", Trailing { offset: 4 }),
        (b"null\0", Trailing { offset: 4 }),
        (b"\xff", Utf8 { offset: 0 }),
        (b"{\"a\": \"\xc3\x28\"}", Utf8 { offset: 7 }),
        (b"\"\xed\xa0\x80\"", Utf8 { offset: 1 }),
        (b"\xef\xbb\xbf{}", syntax(0)),
        (b"{a: 1}", syntax(1)),
        (b"{'a': 1}", syntax(1)),
        (b"{\"a\" 1}", syntax(5)),
        (b"{\"a\": 1,}", syntax(8)),
        (b"[1,]", syntax(3)),
        (b"[1 2]", syntax(3)),
        (b"[\n1,\n]", syntax(5)),
        (b"// x\n{}", syntax(0)),
        (b"NaN", syntax(0)),
        (b"+1", syntax(0)),
        (b"-", UnexpectedEnd),
        (b"01", syntax(1)),
        (b"[1.]", syntax(3)),
        (b"[.5]", syntax(1)),
        (b"[1e]", syntax(3)),
        (b"[0x10]", syntax(2)),
        (b"1e999", NotFinite { offset: 0 }),
        (b"[-1e999]", NotFinite { offset: 1 }),
        (b"9007199254740993", InexactInteger { offset: 0 }),
        (b"{\"id\": -9007199254740993}", InexactInteger { offset: 7 }),
        (b"[18446744073709551615]", InexactInteger { offset: 1 }),
        (b"[18446744073709551617]", InexactInteger { offset: 1 }),
        (b"[1000000000000000000000]", InexactInteger { offset: 1 }),
        (b"{\"a\":1,\"a\":2}", duplicate("a", 9)),
        (b"{\"a\":1,\"\\u0061\":2}", duplicate("a", 14)),
        (b"[{\"b\":{\"x\":0,\"y\":{},\"x\":0}}]", duplicate("x", 22)),
        (b"{\"\":1,\"\":1}", duplicate("", 7)),
        (
            br#"{"$serde_json::private::Number": "1"}"#,
            JsonError::ReservedKey,
        ),
    ];
    for (text, expected) in table {
        let refused = Value::parse(text).unwrap_err();
        assert_eq!(&refused, expected, "{}", text.escape_ascii());
        assert_eq!(Object::parse(text).unwrap_err(), refused);
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for text in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dx""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\ud83d""#,
        r#"{"\ud83d": 1}"#,
    ] {
        let refused = Value::parse(text.as_bytes());
        assert!(
            matches!(refused, Err(JsonError::Syntax { .. })),
            "{text}: {refused:?}"
        );
    }
    let pair = Value::parse(br#""\ud83d\ude00""#);
    assert_eq!(pair, Ok(Value::from("😀")));
}

#[test]
fn bare_control_characters_in_strings_are_refused() {
    for byte in 0..0x20_u8 {
        let text = [b'"', byte, b'"'];
        let refused = Value::parse(&text);
        assert!(
            matches!(refused, Err(JsonError::Syntax { .. })),
            "{byte}: {refused:?}"
        );
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |open: &str, middle: &str, close: &str, levels: usize| {
        format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, middle, close) in [("[", "", "]"), ("{\"a\":", "0", "}"), ("[ ", "\"[[\"", "]")] {
        let fits = nested(open, middle, close, JSON_DEPTH_MAX);
        assert!(Value::parse(fits.as_bytes()).is_ok(), "{fits}");
        let over = nested(open, middle, close, JSON_DEPTH_MAX + 1);
        let refused = JsonError::TooDeep {
            offset: open.len() * JSON_DEPTH_MAX,
        };
        assert_eq!(Value::parse(over.as_bytes()), Err(refused));
    }
    let bomb = "[".repeat(JSON_BYTES_MAX);
    let refused = JsonError::TooDeep {
        offset: JSON_DEPTH_MAX,
    };
    assert_eq!(Value::parse(bomb.as_bytes()), Err(refused));
}

#[test]
fn brackets_in_strings_do_not_count_as_levels() {
    let text = format!(r#"["{}", "\"[[{{"]"#, "[{".repeat(100));
    assert!(Value::parse(text.as_bytes()).is_ok());
}

#[test]
fn siblings_do_not_add_up_to_levels() {
    let text = format!("[{}[]]", "[],{},".repeat(1000).replace("{}", "{\"a\":[]}"));
    assert!(Value::parse(text.as_bytes()).is_ok());
}

#[test]
fn a_text_over_the_limit_is_refused_unread() {
    let fits = format!("\"{}\"", "x".repeat(JSON_BYTES_MAX - 2));
    assert!(Value::parse(fits.as_bytes()).is_ok());
    let bytes = JSON_BYTES_MAX + 1;
    let refused = JsonError::TooLarge { bytes };
    assert_eq!(Value::parse(&b"\xff".repeat(bytes)), Err(refused.clone()));
    assert_eq!(Object::parse(&b"\xff".repeat(bytes)), Err(refused));
}

#[test]
fn integers_beyond_2_to_the_53_are_read_when_they_print_as_they_stand() {
    for text in [
        "9007199254740994",
        "-9007199254740994",
        "100000000000000000000",
        "295147905179352830000",
    ] {
        assert_eq!(Value::parse(text.as_bytes()).unwrap().to_jcs(), text);
    }
}

#[test]
fn minus_zero_is_zero() {
    for text in ["0", "-0", "-0.0", "0e5", "-0e-5", "1e-999"] {
        let value = Value::parse(text.as_bytes()).unwrap();
        assert_eq!(value, Value::from(0_u32), "{text}");
        assert_eq!(value.to_jcs(), "0");
    }
}

#[test]
fn numbers_are_read_to_the_nearest_double() {
    let table: &[(&str, u64)] = &[
        ("5e-324", 1),
        ("2.4703282292062328e-324", 1),
        ("2.2250738585072011e-308", 0x000f_ffff_ffff_ffff),
        ("2.2250738585072014e-308", 0x0010_0000_0000_0000),
        ("0.1", 0x3fb9_9999_9999_999a),
        ("9007199254740993.0", 0x4340_0000_0000_0000),
        (
            "9007199254740993.0000000000000000000000000000000001",
            0x4340_0000_0000_0001,
        ),
        ("1.7976931348623157e308", 0x7fef_ffff_ffff_ffff),
    ];
    for (text, bits) in table {
        let Ok(Value::Number(number)) = Value::parse(text.as_bytes()) else {
            panic!("{text} is a number");
        };
        assert_eq!(number.as_double().to_bits(), *bits, "{text}");
    }
}

#[test]
fn messages_name_the_place_but_forge_no_line() {
    let refused = Value::parse(b"{\"a\\nb\":1,\"a\\nb\":2}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the key \"a\u{FFFD}b\" stands twice in one JSON object, at byte 15"
    );
}
