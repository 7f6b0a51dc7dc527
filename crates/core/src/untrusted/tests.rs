use super::*;
use alloc::{
    format,
    string::{String, ToString as _},
};
use proptest::prelude::*;

#[test]
fn what_could_forge_a_line_or_hide_in_one_is_replaced() {
    for hazard in [
        '\0',
        '\n',
        '\r',
        '\t',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{feff}',
        '\u{e0041}',
    ] {
        assert_eq!(
            Untrusted(&format!("a{hazard}b")).to_string(),
            "a\u{FFFD}b",
            "{hazard:?}"
        );
    }
}

#[test]
fn plain_text_of_any_script_passes() {
    for text in [
        "",
        "two words",
        "naïve café",
        "price: 5 €",
        "日本語",
        "مرحبا",
        "😀",
    ] {
        assert_eq!(Untrusted(text).to_string(), text);
    }
}

#[test]
fn long_text_is_cut_with_an_ellipsis() {
    let fits = "é".repeat(PRINTED_CHARACTERS_MAX);
    assert_eq!(Untrusted(&fits).to_string(), fits);
    assert_eq!(
        Untrusted(&format!("{fits}x")).to_string(),
        format!("{fits}…")
    );
}

#[test]
fn debug_is_as_safe_as_display() {
    assert_eq!(format!("{:?}", Untrusted("a\nb")), "\"a\u{FFFD}b\"");
    assert!(format!("{:?}", Untrusted(&"x".repeat(10_000))).len() < 1_000);
}

proptest! {
    #[test]
    fn no_text_prints_a_hazard_or_grows(text: String) {
        let printed = Untrusted(&text).to_string();
        prop_assert!(!printed.chars().any(is_hazard));
        prop_assert!(printed.chars().count() <= PRINTED_CHARACTERS_MAX + 1);
    }
}
