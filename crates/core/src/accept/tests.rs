//! `Accept-Payment`: the grammar, the draft's examples, and the laws of ranking.

use super::*;
use alloc::{format, string::ToString, vec};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Option<AcceptPayment>, AcceptPaymentError> {
    AcceptPayment::parse([text.as_bytes()])
}

fn accept(text: &str) -> AcceptPayment {
    parse(text).unwrap().unwrap()
}

fn offer(text: &str) -> (MethodName, IntentName) {
    let (method, intent) = text.split_once('/').unwrap();
    (
        MethodName::new(method).unwrap(),
        IntentName::new(intent).unwrap(),
    )
}

/// Ranks space-separated offers and prints them, best first.
fn ranked(field: &str, offers: &str) -> String {
    let owned: Vec<_> = offers.split(' ').map(offer).collect();
    let pairs: Vec<_> = owned
        .iter()
        .map(|(method, intent)| (method, intent))
        .collect();
    let ranked = accept(field).rank(&pairs);
    let names: Vec<_> = ranked
        .iter()
        .map(|index| offers.split(' ').nth(*index).unwrap())
        .collect();
    names.join(" ")
}

#[test]
fn the_examples_of_the_draft_rank_as_it_says() {
    assert_eq!(
        ranked(
            "tempo/charge, tempo/session, stripe/charge;q=0.5, solana/charge;q=0.3",
            "solana/charge stripe/charge tempo/charge tempo/session",
        ),
        "tempo/charge tempo/session stripe/charge solana/charge"
    );
    assert_eq!(
        ranked("tempo/charge, solana/charge", "solana/charge tempo/charge"),
        "solana/charge tempo/charge"
    );
    assert_eq!(
        ranked(
            "tempo/*, solana/*;q=0.6, stripe/charge;q=0.2",
            "stripe/charge solana/charge tempo/session tempo/charge",
        ),
        "tempo/session tempo/charge solana/charge stripe/charge"
    );
    assert_eq!(
        ranked(
            "tempo/charge, tempo/session;q=0, solana/charge;q=0.8, stripe/charge;q=0.4",
            "tempo/charge tempo/session solana/charge stripe/charge",
        ),
        "tempo/charge solana/charge stripe/charge"
    );
    assert_eq!(
        ranked(
            "tempo/*, solana/*;q=0.6, */session;q=0.3",
            "evm/charge evm/session solana/charge"
        ),
        "solana/charge evm/session"
    );
}

#[test]
fn the_closest_range_decides() {
    let weight = |field: &str| {
        let (method, intent) = offer("tempo/charge");
        accept(field).weight(&method, &intent)
    };
    assert_eq!(
        weight("*/*;q=0.1, */charge;q=0.2, tempo/*;q=0.3, tempo/charge;q=0.4"),
        Some(400)
    );
    assert_eq!(
        weight("tempo/*;q=0.3, */charge;q=0.2, */*;q=0.9"),
        Some(300)
    );
    assert_eq!(weight("*/*;q=0.9, */charge;q=0.2"), Some(200));
    assert_eq!(
        weight("*/*;q=0.9, tempo/session, stripe/*, */session"),
        Some(900)
    );
    assert_eq!(weight("*/*, tempo/charge;q=0"), Some(0));
    assert_eq!(weight("stripe/charge"), None);
    assert_eq!(weight("tempo/charge, tempo/charge;q=0"), Some(0));
    assert_eq!(weight("tempo/charge;q=0, tempo/charge"), Some(0));
}

#[test]
fn weights_are_thousandths() {
    let weight = |q: &str| {
        parse(&format!("a/b{q}"))
            .ok()
            .flatten()
            .map(|a| a.ranges()[0].weight)
    };
    for (q, expected) in [
        ("", 1000),
        (";q=1", 1000),
        (";q=1.", 1000),
        (";q=1.000", 1000),
        (";q=0", 0),
        (";q=0.", 0),
        (";q=0.5", 500),
        (";q=0.05", 50),
        (";q=0.005", 5),
        (";q=0.999", 999),
        (" ;\t q=0.5", 500),
        (";Q=0.5", 500),
    ] {
        assert_eq!(weight(q), Some(expected), "{q}");
    }
    for q in [
        ";",
        ";q",
        ";q=",
        ";q=2",
        ";q=1.1",
        ";q=1.001",
        ";q=0.0001",
        ";q=-1",
        ";q=.5",
        ";q=+0.5",
        ";q=00",
        ";q=0,5",
        ";q =0.5",
        ";q= 0.5",
        ";q=1e0",
        ";v=1",
        ";q=1;q=1",
        ";q=\"1\"",
        ";q=0.5 5",
    ] {
        assert_eq!(weight(q), None, "{q}");
    }
}

#[test]
fn absent_is_none_and_empty_accepts_nothing() {
    assert_eq!(AcceptPayment::parse([]), Ok(None));
    let empty = accept(" ,, ");
    assert!(empty.ranges().is_empty());
    let (method, intent) = offer("tempo/charge");
    assert!(empty.rank(&[(&method, &intent)]).is_empty());
}

#[test]
fn repeated_field_lines_are_one_list() {
    let two = AcceptPayment::parse([&b"a/b"[..], b"c/d;q=0.5"]).unwrap();
    assert_eq!(two, Some(accept("a/b, c/d;q=0.5")));
}

#[test]
fn each_malformed_range_has_its_error_and_its_number() {
    let refused = |text: &str| parse(text).unwrap_err();
    assert_eq!(
        refused("a/b, tempo"),
        AcceptPaymentError::SlashMissing { range: 1 }
    );
    assert!(matches!(
        refused("Tempo/charge"),
        AcceptPaymentError::Method { range: 0, .. }
    ));
    assert!(matches!(
        refused("/charge"),
        AcceptPaymentError::Method { .. }
    ));
    assert!(matches!(
        refused("**/charge"),
        AcceptPaymentError::Method { .. }
    ));
    assert!(matches!(
        refused("a /charge"),
        AcceptPaymentError::Method { .. }
    ));
    assert!(matches!(refused("a/"), AcceptPaymentError::Intent { .. }));
    assert!(matches!(
        refused("a/b/c"),
        AcceptPaymentError::Intent { .. }
    ));
    assert!(matches!(
        refused("a/b_c"),
        AcceptPaymentError::Intent { .. }
    ));
    assert_eq!(refused("a/b;q=7"), AcceptPaymentError::Weight { range: 0 });
    assert!(matches!(
        refused("caf\u{e9}/b"),
        AcceptPaymentError::Method { .. }
    ));
    assert_eq!(
        AcceptPayment::parse([&b"a/b,\xff"[..]]),
        Err(AcceptPaymentError::NotAscii { range: 1 })
    );
}

#[test]
fn limits_are_enforced() {
    let full = vec!["a/b"; limits::ACCEPT_PAYMENT_RANGES_MAX].join(",");
    assert!(parse(&full).is_ok());
    assert_eq!(
        parse(&format!("{full},a/b")),
        Err(AcceptPaymentError::TooManyRanges)
    );
    let long = " ".repeat(limits::ACCEPT_PAYMENT_BYTES_MAX);
    assert!(parse(&long).is_ok());
    assert_eq!(
        AcceptPayment::parse([long.as_bytes(), b"?"]),
        Err(AcceptPaymentError::TooLong {
            bytes: long.len() + 1
        })
    );
}

#[test]
fn a_field_prints_its_shortest_form() {
    let field = "tempo/charge, stripe/*;q=0.5, */session;q=0.05, */*;q=0";
    assert_eq!(accept(field).to_header(), field);
    assert_eq!(
        accept("a/b;q=1.000,c/d;q=0.250").to_header(),
        "a/b, c/d;q=0.25"
    );
    let heavy = Range {
        method: None,
        intent: None,
        weight: u16::MAX,
    };
    assert_eq!(
        AcceptPayment::new(vec![heavy]).to_header().to_string(),
        "*/*"
    );
}

/// Few names, so that ranges and offers often meet.
fn ranges() -> impl Strategy<Value = Vec<Range>> {
    let method = proptest::option::of("[abc]");
    let intent = proptest::option::of("[xyz]");
    let weight = prop_oneof![Just(0_u16), Just(1000), 0_u16..=1000];
    let range = (method, intent, weight).prop_map(|(method, intent, weight)| Range {
        method: method.map(|name| MethodName::new(&name).unwrap()),
        intent: intent.map(|name| IntentName::new(&name).unwrap()),
        weight,
    });
    proptest::collection::vec(range, 0..10)
}

proptest! {
    #[test]
    fn a_printed_field_reads_back(ranges in ranges()) {
        let field = AcceptPayment::new(ranges);
        prop_assert_eq!(accept(&field.to_header()), field);
    }

    #[test]
    fn ranking_is_a_stable_permutation_of_the_acceptable_offers_by_weight(
        ranges in ranges(),
        offers in proptest::collection::vec("[abcd]/[xyzw]", 0..12),
    ) {
        let field = AcceptPayment::new(ranges);
        let owned: Vec<_> = offers.iter().map(|text| offer(text)).collect();
        let pairs: Vec<_> = owned.iter().map(|(method, intent)| (method, intent)).collect();
        let weights: Vec<u16> = pairs
            .iter()
            .map(|(method, intent)| field.weight(method, intent).unwrap_or(0))
            .collect();
        let ranked = field.rank(&pairs);
        let mut sorted = ranked.clone();
        sorted.sort_unstable();
        let acceptable: Vec<usize> =
            (0..weights.len()).filter(|index| weights[*index] > 0).collect();
        prop_assert_eq!(sorted, acceptable);
        for pair in ranked.windows(2) {
            let (better, worse) = (weights[pair[0]], weights[pair[1]]);
            prop_assert!(better > worse || (better == worse && pair[0] < pair[1]));
        }
    }

    #[test]
    fn the_order_of_ranges_does_not_matter(ranges in ranges(), text in "[abcd]/[xyzw]") {
        let (method, intent) = offer(&text);
        let mut reversed = ranges.clone();
        reversed.reverse();
        prop_assert_eq!(
            AcceptPayment::new(ranges).weight(&method, &intent),
            AcceptPayment::new(reversed).weight(&method, &intent)
        );
    }

    #[test]
    fn any_bytes_are_answered_without_panic(
        line in proptest::collection::vec(any::<u8>(), 0..100),
        near in r#"[a*/;q=0.19, ]{0,30}"#,
    ) {
        let _ = AcceptPayment::parse([line.as_slice()]);
        if let Ok(Some(field)) = parse(&near) {
            prop_assert_eq!(accept(&field.to_header()), field);
        }
    }
}
