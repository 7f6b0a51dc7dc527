//! The samples of RFC 8785.

use super::*;

fn check(text: &str, expected: &str) {
    assert_eq!(Value::parse(text.as_bytes()).unwrap().to_jcs(), expected);
}

#[test]
fn the_sample_of_section_3_2_prints_as_the_rfc_says() {
    check(
        r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#,
        concat!(
            r#"{"literals":[null,true,false],"#,
            r#""numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        ),
    );
}

#[test]
fn keys_are_sorted_by_utf_16_code_units() {
    check(
        r#"{"\u20ac":"Euro","\r":"CR","\ufb33":"Dalet","1":"One",
            "\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"Umlaut"}"#,
        "{\"\\r\":\"CR\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Umlaut\",\
         \"€\":\"Euro\",\"😀\":\"Emoji\",\"\u{fb33}\":\"Dalet\"}",
    );
}

#[test]
fn numbers_print_as_appendix_b_lists_them() {
    let table: &[(u64, &str)] = &[
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ];
    for (bits, expected) in table {
        let number = Number::from_double(f64::from_bits(*bits)).unwrap();
        assert_eq!(alloc::format!("{number}"), *expected);
        assert_eq!(Value::parse(expected.as_bytes()), Ok(Value::Number(number)));
    }
    for bits in [0x7fffffffffffffff, 0x7ff0000000000000, 0xfff0000000000000] {
        assert_eq!(Number::from_double(f64::from_bits(bits)), None);
    }
}

#[test]
fn strings_have_the_fewest_escapes() {
    check(
        r#""\u0000\b\t\n\u000b\f\r\u001F\u0020\/\u007f\u0080\u2028\"\\""#,
        "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f /\u{7f}\u{80}\u{2028}\\\"\\\\\"",
    );
}

#[test]
fn requests_of_the_specification_are_canonical_already() {
    for wire in [
        "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJyZWNpcGllbnQiOiJhY2N0XzEyMyJ9",
        "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJpbnZvaWNlIjoiaW52XzEyMzQ1In0",
    ] {
        let read = EncodedObject::parse(wire).unwrap();
        assert_eq!(EncodedObject::encode(read.object()).wire(), wire);
    }
}

#[test]
fn a_request_that_is_not_canonical_keeps_its_wire_string() {
    // The draft's "Signed Authorization" example: its keys are not in order.
    let wire = "eyJhbW91bnQiOiI1MDAwIiwiYXNzZXQiOiJVU0QiLCJyZWNpcGllbnQiOiIweDc0MmQzNUNjNjYzNEMw\
                NTMyOTI1YTNiODQ0QmM5ZTc1OTVmOGZFMDAiLCJub25jZSI6IjB4MTIzNDU2Nzg5MCJ9";
    let canonical = "eyJhbW91bnQiOiI1MDAwIiwiYXNzZXQiOiJVU0QiLCJub25jZSI6IjB4MTIzNDU2Nzg5MCIsInJl\
                     Y2lwaWVudCI6IjB4NzQyZDM1Q2M2NjM0QzA1MzI5MjVhM2I4NDRCYzllNzU5NWY4ZkUwMCJ9";
    let read = EncodedObject::parse(wire).unwrap();
    assert_eq!(read.wire(), wire);
    assert!(
        read.object()
            .as_str()
            .ends_with(r#""nonce":"0x1234567890"}"#)
    );
    assert_eq!(EncodedObject::encode(read.object()).wire(), canonical);
}
