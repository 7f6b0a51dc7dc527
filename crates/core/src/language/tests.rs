use alloc::{format, string::String, vec::Vec};

use proptest::prelude::*;

use super::*;

fn tags(names: &[&str]) -> Vec<LanguageTag> {
    names
        .iter()
        .map(|name| LanguageTag::new(name).unwrap())
        .collect()
}

fn chosen(field: &str, texts: &[&str]) -> Option<usize> {
    preferred([field.as_bytes()], tags(texts).iter())
}

#[test]
fn the_heaviest_range_that_a_text_meets_decides() {
    for (field, expected) in [
        ("de", Some(1)),
        ("DE", Some(1)),
        ("fr", None),
        ("", None),
        ("en, de", Some(0)),
        ("en;q=0.5, de;q=0.7", Some(1)),
        ("en;q=0.5, de;q=0.5", Some(0)),
        ("fr, de;q=0.1", Some(1)),
        ("de-CH", Some(1)),
        ("de-CH, en", Some(1)),
        ("pt", Some(2)),
        ("pt-PT", Some(2)),
        ("p", None),
        ("*", None),
        ("fr, *;q=0.1", None),
        ("*;q=0.1, de", Some(1)),
        ("de;q=0", None),
        ("de;q=0, *", None),
        ("pt, pt-br;q=0", None),
        ("de;q=2", None),
        ("de;q=0.1234, en;q=0.1", Some(0)),
        ("de ; q=0.3 ,\ten ;\tq=0.2", Some(1)),
        ("d\u{e9}, en", Some(0)),
        ("a-, -b, 1a, en", Some(0)),
    ] {
        assert_eq!(chosen(field, &["en", "de", "pt-BR"]), expected, "{field:?}");
    }
    assert_eq!(preferred([], tags(&["en"]).iter()), None);
    assert_eq!(chosen("en", &[]), None);
    let lines = [&b"fr"[..], b"de"];
    assert_eq!(preferred(lines, tags(&["en", "de"]).iter()), Some(1));
}

#[test]
fn what_is_over_a_limit_is_passed_over() {
    let most = limits::ACCEPT_LANGUAGE_RANGES_MAX;
    let many = |count: usize| format!("{}de", "fr,".repeat(count));
    assert_eq!(chosen(&many(most - 1), &["de"]), Some(0));
    assert_eq!(chosen(&many(most), &["de"]), None);
    let pad = |length: usize| format!("de,{}", " ".repeat(length - 3));
    let longest = limits::ACCEPT_LANGUAGE_BYTES_MAX;
    assert_eq!(chosen(&pad(longest), &["de"]), Some(0));
    assert_eq!(chosen(&pad(longest + 1), &["de"]), None);
}

#[test]
fn tags_are_letters_and_digits_in_short_parts() {
    for good in ["de", "de-CH", "zh-Hant-TW", "x-y", "en-a1"] {
        let tag = LanguageTag::new(good).unwrap();
        assert_eq!(tag.as_str(), good.to_ascii_lowercase());
    }
    let long = "a-".repeat(limits::LANGUAGE_TAG_BYTES_MAX / 2) + "bc";
    for bad in [
        "",
        "-",
        "de-",
        "-de",
        "de_CH",
        "d\u{e9}",
        "abcdefghi",
        "1",
        "*",
        "de CH",
        &long,
    ] {
        assert_eq!(LanguageTag::new(bad), Err(LanguageTagError), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_choose_a_text_that_is_there(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
        count in 0_usize..4,
    ) {
        let texts = tags(&["en", "de", "pt-br", "zh-hant"]);
        let chosen = preferred(lines.iter().map(Vec::as_slice), texts[..count].iter());
        prop_assert!(chosen.is_none_or(|index| index < count));
    }

    #[test]
    fn one_tag_alone_chooses_itself(text in "[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8}){0,2}") {
        let tag = LanguageTag::new(&text).unwrap();
        let upper: String = text.to_ascii_uppercase();
        prop_assert_eq!(preferred([upper.as_bytes()], [tag].iter()), Some(0));
    }
}
