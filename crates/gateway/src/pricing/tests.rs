use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};
use proptest::prelude::*;
use stiver_core::Currency;

use super::*;

fn usd(units: u128) -> Amount {
    Currency::new("usd", 6).unwrap().units(units)
}

fn pricing(base: u128, cap: u128) -> Pricing {
    Pricing {
        base: usd(base),
        cap: usd(cap),
        round: Round::Up,
        terms: Vec::new(),
        choices: Vec::new(),
        hook: None,
    }
}

fn json(pointer: &str) -> Quantity {
    Quantity::Told(Place::Json(pointer.to_owned()))
}

fn term(of: Quantity, amount: u128, per: u64) -> Term {
    Term {
        of,
        default: None,
        amount: usd(amount),
        per,
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// What a price comes to for a JSON body.
fn for_body(pricing: &Pricing, body: &str) -> Result<u128, Unpriced> {
    let inputs = Inputs {
        query: None,
        headers: &headers(&[]),
        body: Some(body.as_bytes()),
    };
    evaluate(pricing, &inputs).map(|amount| amount.units())
}

fn for_query(pricing: &Pricing, query: &str) -> Result<u128, Unpriced> {
    let inputs = Inputs {
        query: Some(query),
        headers: &HeaderMap::new(),
        body: Some(b""),
    };
    evaluate(pricing, &inputs).map(|amount| amount.units())
}

fn for_headers(pricing: &Pricing, fields: &[(&'static str, &str)]) -> Result<u128, Unpriced> {
    let inputs = Inputs {
        query: None,
        headers: &headers(fields),
        body: Some(b""),
    };
    evaluate(pricing, &inputs).map(|amount| amount.units())
}

fn why(result: Result<u128, Unpriced>) -> NotFound {
    match result {
        Err(Unpriced::At { problem, .. }) => problem,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn units_are_charged_in_proportion_and_fractions_are_rounded() {
    // 1 cent for each 1000 tokens, over a base of a tenth of a cent.
    let mut pricing = pricing(1_000, 500_000);
    pricing.terms = vec![term(json("/max_tokens"), 10_000, 1000)];
    for (tokens, price) in [
        (0, 1_000),
        (1, 1_010),
        (999, 10_990),
        (1000, 11_000),
        (4096, 41_960),
    ] {
        let body = format!("{{\"max_tokens\":{tokens}}}");
        assert_eq!(for_body(&pricing, &body), Ok(price), "{tokens}");
    }
    pricing.terms[0].amount = usd(1);
    assert_eq!(for_body(&pricing, r#"{"max_tokens":1001}"#), Ok(1_002));
    pricing.round = Round::Down;
    assert_eq!(for_body(&pricing, r#"{"max_tokens":1001}"#), Ok(1_001));
}

#[test]
fn no_number_goes_beyond_the_cap() {
    let mut pricing = pricing(1_000, 500_000);
    pricing.terms = vec![
        term(json("/n"), u128::MAX, 1),
        term(json("/n"), u128::MAX, 1),
    ];
    let body = format!("{{\"n\":{}}}", u64::MAX);
    assert_eq!(for_body(&pricing, &body), Ok(500_000));
    assert_eq!(for_body(&pricing, r#"{"n":0}"#), Ok(1_000));
}

#[test]
fn only_plain_unsigned_integers_count() {
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(json("/n"), 1, 1)];
    for value in [
        "-1",
        "1.0",
        "1.5",
        "1e3",
        "18446744073709551616",
        "\"5\"",
        "true",
        "1E0",
        "-0",
    ] {
        let body = format!("{{\"n\":{value}}}");
        let why = why(for_body(&pricing, &body));
        assert_eq!(why, NotFound::NotUnsigned, "{value}");
    }
    for value in ["[]", "{}", "[1]"] {
        let body = format!("{{\"n\":{value}}}");
        assert_eq!(
            why(for_body(&pricing, &body)),
            NotFound::NotScalar,
            "{value}"
        );
    }
    for body in ["{}", r#"{"n":null}"#, ""] {
        assert_eq!(why(for_body(&pricing, body)), NotFound::Absent, "{body}");
    }
    pricing.terms[0].default = Some(7);
    // Several calls in one body do not cost what one without a value costs.
    for body in ["[]", "[{\"n\":1},{\"n\":1}]", "5", "1.5", "\"n\"", "true"] {
        assert_eq!(why(for_body(&pricing, body)), NotFound::NoWay, "{body}");
    }
    assert_eq!(for_body(&pricing, "{}"), Ok(7));
    assert_eq!(for_body(&pricing, ""), Ok(7));
}

#[test]
fn pointers_go_through_objects_and_arrays() {
    for (pointer, body, price) in [
        ("/a/b", r#"{"a":{"b":3}}"#, 3),
        ("/a/1", r#"{"a":[1,2,3]}"#, 2),
        ("/a~1b/~0", r#"{"a/b":{"~":4}}"#, 4),
        ("/~01", r#"{"~1":5}"#, 5),
        ("/", r#"{"":6}"#, 6),
        ("/a/0/n", r#"{"x":[{}],"a":[{"n":7},{"n":8}]}"#, 7),
    ] {
        let mut pricing = pricing(0, 500_000);
        pricing.terms = vec![term(json(pointer), 1, 1)];
        assert_eq!(for_body(&pricing, body), Ok(price), "{pointer}");
    }
    for (pointer, body, refusal) in [
        ("/a/01", r#"{"a":[1,2]}"#, NotFound::NoWay),
        ("/a/-", r#"{"a":[1]}"#, NotFound::NoWay),
        ("/a/n", r#"{"a":[{"n":1}]}"#, NotFound::NoWay),
        ("/a/n", r#"{"a":5}"#, NotFound::NoWay),
        ("/a/9", r#"{"a":[1]}"#, NotFound::Absent),
        ("/a/n", r#"{"a":null}"#, NotFound::Absent),
    ] {
        let mut pricing = pricing(0, 500_000);
        pricing.terms = vec![term(json(pointer), 1, 1)];
        assert_eq!(why(for_body(&pricing, body)), refusal, "{pointer}");
    }
}

#[test]
fn what_an_upstream_may_read_otherwise_is_refused() {
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(json("/n"), 1, 1)];
    assert_eq!(
        why(for_body(&pricing, r#"{"n":1,"n":1000}"#)),
        NotFound::Twice
    );
    assert_eq!(
        why(for_body(&pricing, r#"{"n":1,"\u006e":1000}"#)),
        NotFound::Twice
    );
    for body in [r#"{"n":1,"N":1000}"#, r#"{"N":1000}"#] {
        let other = "N".to_owned();
        assert_eq!(
            why(for_body(&pricing, body)),
            NotFound::Ambiguous { other },
            "{body}"
        );
    }
    pricing.terms = vec![term(json("/k"), 1, 1)];
    let kelvin = why(for_body(&pricing, "{\"k\":1,\"\u{212a}\":1000}"));
    assert!(matches!(kelvin, NotFound::Ambiguous { .. }), "{kelvin}");
    for body in [
        "{\"k\":1",
        "{\"k\":1}x",
        "\u{feff}{\"k\":1}",
        "k=1",
        "{\"k\":01}",
    ] {
        let why = why(for_body(&pricing, body));
        assert!(matches!(why, NotFound::NotJson { .. }), "{body}: {why}");
    }
}

#[test]
fn body_that_is_not_said_to_be_json_is_refused() {
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(json("/n"), 1, 1)];
    let said = |fields: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let inputs = Inputs {
            query: None,
            headers: &headers,
            body: Some(br#"{"n":1}"#),
        };
        evaluate(&pricing, &inputs).map(|amount| amount.units())
    };
    for good in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/problem+json;profile=x",
    ] {
        assert_eq!(said(&[("content-type", good)]), Ok(1), "{good}");
    }
    for bad in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-16",
        "",
    ] {
        let why = why(said(&[("content-type", bad)]));
        assert_eq!(why, NotFound::NotSaidToBeJson, "{bad}");
    }
    let json = ("content-type", "application/json");
    assert_eq!(why(said(&[])), NotFound::NotSaidToBeJson);
    assert_eq!(why(said(&[json, json])), NotFound::NotSaidToBeJson);
    assert_eq!(
        why(said(&[json, ("content-encoding", "gzip")])),
        NotFound::Encoded
    );
    assert_eq!(said(&[json, ("content-encoding", "identity")]), Ok(1));
}

#[test]
fn query_parameters_are_found_as_upstreams_find_them() {
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(Quantity::Told(Place::Query("n".to_owned())), 1, 1)];
    for (query, price) in [
        ("n=5", 5),
        ("a=1&n=5&b", 5),
        ("%6e=5", 5),
        ("n=%35", 5),
        ("&&n=0", 0),
    ] {
        assert_eq!(for_query(&pricing, query), Ok(price), "{query}");
    }
    for (query, reason) in [
        ("", NotFound::Absent),
        ("m=5", NotFound::Absent),
        ("n", NotFound::NotUnsigned),
        ("n=", NotFound::NotUnsigned),
        ("n=+5", NotFound::NotUnsigned),
        ("n=05", NotFound::NotUnsigned),
        ("n=5.0", NotFound::NotUnsigned),
        ("n=99999999999999999999", NotFound::NotUnsigned),
        ("n=1&n=1000", NotFound::Twice),
        ("n=1&%6E=1000", NotFound::Twice),
        ("n=1;n=1000", NotFound::Twice),
        ("a=1;n=1000&n=1", NotFound::Twice),
        ("n=%ff", NotFound::NotText),
        ("n=%5", NotFound::NotText),
        (
            "n=1&N=1000",
            NotFound::Ambiguous {
                other: "N".to_owned(),
            },
        ),
        (
            "n=1&n[]=1000",
            NotFound::Ambiguous {
                other: "n[]".to_owned(),
            },
        ),
    ] {
        assert_eq!(why(for_query(&pricing, query)), reason, "{query}");
    }
}

#[test]
fn headers_are_found_once_and_under_one_name() {
    let name = HeaderName::from_static("x-units");
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(Quantity::Told(Place::Header(name)), 1, 1)];
    assert_eq!(for_headers(&pricing, &[("x-units", " 5 ")]), Ok(5));
    for (fields, reason) in [
        (&[][..], NotFound::Absent),
        (&[("x-units", "1"), ("x-units", "1000")], NotFound::Twice),
        (&[("x-units", "1, 1000")], NotFound::NotUnsigned),
        (
            &[("x-units", "1"), ("x_units", "1000")],
            NotFound::Ambiguous {
                other: "x_units".to_owned(),
            },
        ),
    ] {
        assert_eq!(why(for_headers(&pricing, fields)), reason, "{fields:?}");
    }
}

#[test]
fn choices_look_their_amount_up() {
    let values = BTreeMap::from([
        ("small".to_owned(), usd(10_000)),
        ("true".to_owned(), usd(5)),
        ("3".to_owned(), usd(7)),
    ]);
    let mut pricing = pricing(1, 500_000);
    pricing.choices = vec![Choice {
        of: Place::Json("/model".to_owned()),
        values,
        otherwise: None,
    }];
    for (body, price) in [
        (r#"{"model":"small"}"#, 10_001),
        (r#"{"model":true}"#, 6),
        (r#"{"model":3}"#, 8),
    ] {
        assert_eq!(for_body(&pricing, body), Ok(price), "{body}");
    }
    let unknown = for_body(&pricing, r#"{"model":"Small"}"#).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "the price depends on /model of the JSON body: it must be one of 3, small, true"
    );
    assert_eq!(why(for_body(&pricing, "{}")), NotFound::Absent);
    pricing.choices[0].otherwise = Some(usd(30_000));
    for body in ["{}", r#"{"model":"Small"}"#, ""] {
        assert_eq!(for_body(&pricing, body), Ok(30_001), "{body}");
    }
}

#[test]
fn size_of_the_body_counts_in_bytes_and_needs_the_whole_of_it() {
    let mut pricing = pricing(0, 500_000);
    pricing.terms = vec![term(Quantity::BodyBytes, 100, 1024)];
    let priced = |body: Option<&[u8]>| {
        let headers = HeaderMap::new();
        let inputs = Inputs {
            query: None,
            headers: &headers,
            body,
        };
        evaluate(&pricing, &inputs).map(|amount| amount.units())
    };
    assert_eq!(priced(Some(b"")), Ok(0));
    assert_eq!(priced(Some(&[0; 1])), Ok(1));
    assert_eq!(priced(Some(&[0; 4096])), Ok(400));
    assert_eq!(priced(None), Err(Unpriced::Streams));
}

#[test]
fn digest_of_headers_tells_every_change_of_a_priced_one() {
    let name = HeaderName::from_static("x-units");
    let mut with = pricing(0, 500_000);
    with.terms = vec![term(Quantity::Told(Place::Header(name)), 1, 1)];
    let digest = |fields: &[(&'static str, &str)]| priced_headers(&with, &headers(fields));
    let one = digest(&[("x-units", "1")]);
    assert!(one.is_some());
    assert_eq!(one, digest(&[("x-units", "1"), ("date", "today")]));
    for other in [
        &[][..],
        &[("x-units", "2")],
        &[("x-units", "1"), ("x-units", "1")],
    ] {
        assert_ne!(one, digest(other), "{other:?}");
    }
    assert_eq!(
        priced_headers(&pricing(0, 1), &headers(&[("x-units", "1")])),
        None
    );
}

fn any_place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::Json("/n".to_owned())),
        Just(Place::Json("/a/0".to_owned())),
        Just(Place::Query("n".to_owned())),
        Just(Place::Header(HeaderName::from_static("x-units"))),
    ]
}

prop_compose! {
    fn any_pricing()(
        base in 0_u128..1_000,
        extra in 0_u128..1_000_000,
        up in any::<bool>(),
        terms in prop::collection::vec(
            (any_place(), any::<u64>(), 1_u64..10_000, prop::option::of(any::<u64>())),
            0..4,
        ),
        otherwise in prop::option::of(any::<u64>()),
    ) -> Pricing {
        let terms = terms.into_iter().map(|(place, amount, per, default)| Term {
            of: Quantity::Told(place),
            default,
            amount: usd(u128::from(amount)),
            per,
        });
        Pricing {
            base: usd(base),
            cap: usd(base + extra),
            round: if up { Round::Up } else { Round::Down },
            terms: terms.collect(),
            choices: vec![Choice {
                of: Place::Json("/model".to_owned()),
                values: BTreeMap::from([("a".to_owned(), usd(3))]),
                otherwise: otherwise.map(|units| usd(u128::from(units))),
            }],
            hook: None,
        }
    }
}

proptest! {
    #[test]
    fn any_request_is_priced_between_base_and_cap_or_refused(
        pricing in any_pricing(),
        body in prop_oneof![
            any::<Vec<u8>>(),
            "[{}\\[\\]\":,nNa0-9eE.mode-]{0,60}".prop_map(String::into_bytes),
            any::<u64>().prop_map(|n| format!("{{\"n\":{n},\"a\":[{n}],\"model\":\"a\"}}").into_bytes()),
        ],
        query in "[nNa=&;%0-9+]{0,30}",
        units in "[ -~]{0,10}",
    ) {
        let mut headers = headers(&[]);
        headers.insert("x-units", HeaderValue::from_str(&units).unwrap());
        let inputs = Inputs { query: Some(&query), headers: &headers, body: Some(&body) };
        let first = evaluate(&pricing, &inputs);
        if let Ok(amount) = &first {
            prop_assert!(amount.units() >= pricing.base.units());
            prop_assert!(amount.units() <= pricing.cap.units());
        }
        prop_assert_eq!(first, evaluate(&pricing, &inputs));
    }

    #[test]
    fn more_units_never_cost_less(
        few in any::<u64>(),
        more in any::<u64>(),
        amount in any::<u64>(),
        per in 1_u64..,
        up in any::<bool>(),
    ) {
        let (few, more) = (few.min(more), few.max(more));
        let mut pricing = pricing(0, u128::MAX);
        pricing.round = if up { Round::Up } else { Round::Down };
        pricing.terms = vec![term(json("/n"), u128::from(amount), per)];
        let price = |n: u64| for_body(&pricing, &format!("{{\"n\":{n}}}")).unwrap();
        prop_assert!(price(few) <= price(more));
        // Within one unit of the exact quotient.
        let exact = u128::from(few) * u128::from(amount) / u128::from(per);
        prop_assert!(price(few) - exact <= 1);
    }

    #[test]
    fn a_value_is_found_however_the_json_around_it_is_written(
        before in "[a-m]{1,5}", n in any::<u64>(), space in "[ \n\t]{0,4}",
    ) {
        let body = format!("{{{space}\"{before}\":[{{\"n\":5}}],{space}\"n\"{space}:{space}{n}}}");
        let mut pricing = pricing(0, u128::MAX);
        pricing.terms = vec![term(json("/n"), 1, 1)];
        prop_assert_eq!(for_body(&pricing, &body), Ok(u128::from(n)));
    }
}
