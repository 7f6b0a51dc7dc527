use super::*;
use crate::json::plain::{Members, is_plain, string};
use alloc::{borrow::ToOwned as _, collections::BTreeMap, format};

/// Members as the tree has them, each value parsed by itself.
fn scanned(text: &str) -> Value {
    let members: BTreeMap<String, Value> = Members::of(text)
        .map(|(key, value)| (key.into_owned(), Value::parse(value.as_bytes()).unwrap()))
        .collect();
    Value::Object(members)
}

#[test]
fn plain_texts_are_what_peers_send_and_nothing_that_needs_judging() {
    for (text, plain) in [
        (
            r#"{"a":"b","c":{"a":[1,-2,true,null,{}]}, "d" : [ ] }"#,
            true,
        ),
        ("999999999999999", true),
        ("0", true),
        ("-0", false),
        ("01", false),
        ("9999999999999999", false),
        ("1.0", false),
        ("1e1", false),
        (r#""a\u0062""#, false),
        ("\"a\u{1f}\"", false),
        (r#"{"a":1,"a":2}"#, false),
        (r#"{"$serde_json::private::Number":"1"}"#, false),
        (r#"{"a":1,}"#, false),
        (r#"{"a" 1}"#, false),
        ("[1 2]", false),
        ("{} {}", false),
        ("", false),
        ("\"a", false),
        ("tru", false),
    ] {
        assert_eq!(is_plain(text), plain, "{text}");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(is_plain(&deep(crate::limits::JSON_DEPTH_MAX)));
    assert!(!is_plain(&deep(crate::limits::JSON_DEPTH_MAX + 1)));
    let keys = |count: usize| {
        let keys: Vec<String> = (0..count).map(|key| format!("\"{key}\":0")).collect();
        format!("{{{}}}", keys.join(","))
    };
    assert!(is_plain(&keys(16)) && !is_plain(&keys(17)));
}

#[test]
fn members_are_read_where_they_stand() {
    let text = r#" { "a" : "x\"}y" , "\u0062":{"c":["]","\\"]},"d":-1.5e3 ,"e":null}"#;
    let found: Vec<(String, String)> = Members::of(text)
        .map(|(key, value)| (key.into_owned(), value.to_owned()))
        .collect();
    let expected = [
        ("a", r#""x\"}y""#),
        ("b", r#"{"c":["]","\\"]}"#),
        ("d", "-1.5e3"),
        ("e", "null"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(found, expected);
    assert_eq!(string(r#""x\"y""#).as_deref(), Some("x\"y"));
    assert_eq!(string("1"), None);
    assert_eq!(Members::of("[1]").count(), 0);
}

proptest! {
    #[test]
    fn what_is_plain_is_read_by_the_strict_parser(text in any_jsonish()) {
        if is_plain(&text) {
            prop_assert!(Value::parse(text.as_bytes()).is_ok(), "{text}");
        }
        for (_, value) in Members::of(&text) {
            prop_assert!(text.contains(value));
        }
    }

    #[test]
    fn members_of_any_object_are_those_of_its_tree(value in any_value()) {
        if let Value::Object(_) = value {
            prop_assert_eq!(scanned(&value.to_jcs()), value);
        }
    }

    #[test]
    fn objects_are_the_same_whichever_way_they_were_read(value in any_value()) {
        let text = value.to_jcs();
        match (Object::parse(text.as_bytes()), value) {
            (Ok(object), Value::Object(members)) => {
                prop_assert_eq!(object.members(), &members);
                prop_assert_eq!(object.as_str(), &text);
            }
            (Ok(_), _) => prop_assert!(false, "no object"),
            (Err(_), value) => prop_assert!(value.as_object().is_none()),
        }
    }
}
