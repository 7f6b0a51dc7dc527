//! Problem details: the table of kinds, the printed form, and reading other people's.

use super::*;
use alloc::{collections::BTreeSet, format, vec::Vec};
use proptest::prelude::*;

fn parse(body: &str) -> ReceivedProblem {
    ReceivedProblem::parse(body.as_bytes()).unwrap()
}

#[test]
fn the_kinds_of_the_draft_have_its_uris_and_statuses() {
    let table: Vec<(String, u16)> = ProblemKind::ALL
        .iter()
        .filter_map(|kind| {
            let name = kind
                .type_uri()
                .strip_prefix("https://paymentauth.org/problems/")?;
            Some((name.into(), kind.status()))
        })
        .collect();
    let expected = [
        ("payment-required", 402),
        ("payment-insufficient", 402),
        ("payment-expired", 402),
        ("verification-failed", 402),
        ("method-unsupported", 400),
        ("malformed-credential", 402),
        ("invalid-challenge", 402),
        ("session/invalid-signature", 402),
        ("session/signer-mismatch", 402),
        ("session/amount-exceeds-deposit", 402),
        ("session/delta-too-small", 402),
        ("session/channel-not-found", 410),
        ("session/channel-finalized", 410),
        ("session/challenge-not-found", 402),
        ("session/insufficient-balance", 402),
    ];
    assert_eq!(table, expected.map(|(name, status)| (name.into(), status)));
}

#[test]
fn titles_are_those_of_the_examples_in_the_draft() {
    assert_eq!(ProblemKind::PaymentRequired.title(), "Payment Required");
    assert_eq!(
        ProblemKind::VerificationFailed.title(),
        "Payment Verification Failed"
    );
}

#[test]
fn every_kind_is_told_by_its_uri_and_only_by_it() {
    let uris: BTreeSet<_> = ProblemKind::ALL
        .iter()
        .map(|kind| kind.type_uri())
        .collect();
    let titles: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.title()).collect();
    assert_eq!(
        (uris.len(), titles.len()),
        (ProblemKind::ALL.len(), ProblemKind::ALL.len())
    );
    for kind in ProblemKind::ALL {
        assert_eq!(ProblemKind::from_type_uri(kind.type_uri()), Some(kind));
        assert!((400..=599).contains(&kind.status()));
    }
    assert_eq!(ProblemKind::from_type_uri("about:blank"), None);
    assert_eq!(ProblemKind::from_type_uri("payment-required"), None);
}

#[test]
fn no_kind_of_ours_answers_402() {
    for kind in ProblemKind::ALL {
        if kind.type_uri().starts_with("urn:stiver:problem:") {
            assert_ne!(kind.status(), 402, "{kind:?}");
        }
    }
}

#[test]
fn a_problem_prints_its_members_in_the_order_of_the_draft() {
    let mut problem = Problem::new(ProblemKind::PaymentRequired, "Payment required for access.");
    assert_eq!(
        problem.to_json(),
        concat!(
            r#"{"type":"https://paymentauth.org/problems/payment-required","#,
            r#""title":"Payment Required","status":402,"#,
            r#""detail":"Payment required for access."}"#
        )
    );
    problem.challenge_id = Some(ChallengeId::new("qB3wErTyU7iOpAsD9fGhJk").unwrap());
    assert!(
        problem
            .to_json()
            .ends_with(r#","challengeId":"qB3wErTyU7iOpAsD9fGhJk"}"#)
    );
}

#[test]
fn a_problem_without_members_is_about_blank() {
    let blank = parse("{}");
    assert_eq!(blank.type_uri, "about:blank");
    assert_eq!((blank.kind, blank.status, blank.title), (None, None, None));
    assert_eq!(parse("[1]"), parse("{}"));
    assert_eq!(parse("\"x\""), parse("{}"));
}

#[test]
fn members_of_a_wrong_type_count_as_absent() {
    let body = r#"{"type":1,"title":["x"],"status":"402","detail":null,"challengeId":{}}"#;
    assert_eq!(parse(body), parse("{}"));
    for status in ["99", "600", "-402", "402.5", "1e9", "true"] {
        assert_eq!(
            parse(&format!(r#"{{"status":{status}}}"#)).status,
            None,
            "{status}"
        );
    }
}

#[test]
fn an_unknown_type_is_kept_and_extensions_are_ignored() {
    let read = parse(r#"{"type":"https://x.example/y","status":418,"balance":3,"detail":"d"}"#);
    assert_eq!(read.type_uri, "https://x.example/y");
    assert_eq!((read.kind, read.status), (None, Some(418)));
    assert_eq!(read.detail.as_deref(), Some("d"));
}

#[test]
fn what_is_no_json_or_too_long_is_refused() {
    assert!(ReceivedProblem::parse(b"<html>").is_err());
    assert!(ReceivedProblem::parse(b"").is_err());
    let long = format!(
        r#"{{"detail":"{}"}}"#,
        "a".repeat(crate::limits::JSON_BYTES_MAX)
    );
    assert!(ReceivedProblem::parse(long.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_detail_goes_through_verbatim(
        index in 0..ProblemKind::ALL.len(),
        detail in any::<String>(),
        id in proptest::option::of("[!-~]{1,60}"),
    ) {
        let kind = ProblemKind::ALL[index];
        let mut problem = Problem::new(kind, detail.clone());
        problem.challenge_id = id.clone().map(|id| ChallengeId::new(&id).unwrap());
        prop_assert_eq!(parse(&problem.to_json()), ReceivedProblem {
            type_uri: kind.type_uri().into(),
            kind: Some(kind),
            title: Some(kind.title().into()),
            status: Some(kind.status()),
            detail: Some(detail),
            challenge_id: id,
            channel_id: None,
            required_top_up: None,
            accepted_cumulative: None,
            spent: None,
        });
    }

    #[test]
    fn what_a_problem_says_of_a_channel_goes_through(channel in any::<String>(), units: u128) {
        let mut problem = Problem::new(ProblemKind::SessionInsufficientBalance, "x");
        problem.session = Some(Box::new(SessionProblem {
            channel_id: Some(channel.clone()),
            required_top_up: Some(units),
            accepted_cumulative: Some(units / 2),
            spent: Some(units / 3),
        }));
        let read = parse(&problem.to_json());
        prop_assert_eq!(read.channel_id, Some(channel));
        prop_assert_eq!(read.required_top_up, Some(units));
        prop_assert_eq!(read.accepted_cumulative, Some(units / 2));
        prop_assert_eq!(read.spent, Some(units / 3));
    }
}

#[test]
fn a_top_up_that_is_no_decimal_number_counts_as_absent() {
    for wrong in ["\"\"", "\"+5\"", "\"05\"", "\"-5\"", "\"5.0\"", "5", "null"] {
        let read = parse(&format!(r#"{{"requiredTopUp":{wrong}}}"#));
        assert_eq!(read.required_top_up, None, "{wrong}");
    }
    assert_eq!(parse(r#"{"requiredTopUp":"0"}"#).required_top_up, Some(0));
}
