use super::*;
use alloc::string::{String, ToString as _};
use proptest::prelude::*;

/// Checks one text against each kind of name, in the order of the declarations.
fn kinds_that_accept(text: &str) -> [bool; 4] {
    [
        Realm::new(text).is_ok(),
        MethodName::new(text).is_ok(),
        IntentName::new(text).is_ok(),
        ChallengeId::new(text).is_ok(),
    ]
}

#[test]
fn each_kind_has_its_alphabet() {
    let table: &[(&str, [bool; 4])] = &[
        //                       realm  method intent id
        ("api.example.com", [true, false, false, true]),
        ("my shop", [true, false, false, false]),
        ("ledger", [true, true, true, true]),
        ("x402", [true, true, true, true]),
        ("402x", [true, false, true, true]),
        ("a:b_c-d", [true, true, false, true]),
        ("-a", [true, false, true, true]),
        ("Charge", [true, false, true, true]),
        ("a|b", [false, false, false, true]),
        ("a\"b", [false, false, false, true]),
        ("a\\b", [false, false, false, true]),
        ("", [false; 4]),
        ("a\r\nSet-Cookie: x", [false; 4]),
        ("a\u{0}", [false; 4]),
        ("a\tb", [false; 4]),
        ("a\u{7f}", [false; 4]),
        ("caf\u{e9}", [false; 4]),
        ("\u{430}pi", [false; 4]),
    ];
    for (text, expected) in table {
        assert_eq!(&kinds_that_accept(text), expected, "{text:?}");
    }
}

#[test]
fn each_kind_has_its_length() {
    let fits = |bytes: usize| kinds_that_accept(&"a".repeat(bytes));
    assert_eq!(fits(64), [true; 4]);
    assert_eq!(fits(65), [true, false, false, true]);
    assert_eq!(fits(255), [true, false, false, true]);
    assert_eq!(fits(256), [false, false, false, true]);
    assert_eq!(fits(257), [false; 4]);
}

#[test]
fn refusals_say_what_and_where() {
    let kind = NameKind::Realm;
    assert_eq!(Realm::new(""), Err(NameError::Empty { kind }));
    assert_eq!(
        Realm::new("a|b"),
        Err(NameError::Character { kind, offset: 1 })
    );
    let too_long = NameError::TooLong {
        kind,
        bytes: 300,
        bytes_max: 255,
    };
    assert_eq!(Realm::new(&"a".repeat(300)), Err(too_long));
    let message = Realm::new("a|b").unwrap_err().to_string();
    assert_eq!(
        message,
        "byte 1 of the realm is not allowed: use visible ASCII and spaces without | \" \\"
    );
}

#[test]
fn the_charge_intent_is_a_valid_name() {
    assert_eq!(IntentName::new("charge"), Ok(IntentName::charge()));
}

proptest! {
    #[test]
    fn a_name_prints_as_it_was_read(text: String) {
        if let Ok(name) = Realm::new(&text) {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        if let Ok(name) = ChallengeId::new(&text) {
            prop_assert_eq!(name.as_str().parse(), Ok(name));
        }
    }

    #[test]
    fn every_name_of_the_grammar_is_read(
        method in "[a-z][a-z0-9:_-]{0,63}",
        intent in "[A-Za-z0-9-]{1,64}",
    ) {
        prop_assert!(MethodName::new(&method).is_ok());
        prop_assert!(IntentName::new(&intent).is_ok());
    }
}
