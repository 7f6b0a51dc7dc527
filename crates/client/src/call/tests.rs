use std::time::Duration;

use super::*;
use http::HeaderValue;
use stiver_core::problem::Problem;

const NOW: Timestamp = Timestamp::MAX;

fn head(status: u16, fields: &[(&'static str, &str)]) -> Head {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    Head::new(StatusCode::from_u16(status).unwrap(), &headers, NOW)
}

#[test]
fn every_status_has_a_meaning_and_only_successes_are_paid() {
    for status in 100..=999 {
        let meaning = meaning(StatusCode::from_u16(status).unwrap(), None);
        let expected = match status {
            200..=399 => Meaning::Paid,
            402 => Meaning::Refused {
                may_sign_again: false,
            },
            400..=499 => Meaning::Answered,
            _ => Meaning::Again,
        };
        assert_eq!(meaning, expected, "{status}");
    }
}

#[test]
fn a_4xx_says_again_by_a_problem_of_the_payments_only() {
    for kind in ProblemKind::ALL {
        let json = Problem::new(kind, "x").to_json();
        let problem = ReceivedProblem::parse(json.as_bytes()).unwrap();
        let again = matches!(
            kind,
            ProblemKind::PaymentInProgress | ProblemKind::TooManyRequests
        );
        for status in [400, 408, 409, 425, 429] {
            let status = StatusCode::from_u16(status).unwrap();
            let meaning = meaning(status, Some(&problem));
            assert_eq!(meaning == Meaning::Again, again, "{kind:?}");
            assert_eq!(meaning == Meaning::Answered, !again, "{kind:?}");
        }
    }
}

#[test]
fn a_repeated_or_receipted_answer_is_never_read_for_a_not_yet() {
    let problem = ("content-type", "application/problem+json; charset=utf-8");
    assert!(head(409, &[problem]).may_say_again());
    assert!(!head(409, &[("content-type", "application/json")]).may_say_again());
    assert!(!head(409, &[problem, ("idempotency-replayed", "true")]).may_say_again());
    assert!(!head(409, &[problem, ("payment-receipt", "x")]).may_say_again());
    assert!(!head(402, &[problem]).may_say_again());
    assert!(!head(503, &[problem]).may_say_again());
}

#[test]
fn only_two_kinds_of_refusal_permit_another_signature() {
    for kind in [
        ProblemKind::PaymentRequired,
        ProblemKind::PaymentInsufficient,
        ProblemKind::PaymentExpired,
        ProblemKind::VerificationFailed,
        ProblemKind::MethodUnsupported,
        ProblemKind::MalformedCredential,
        ProblemKind::InvalidChallenge,
        ProblemKind::Internal,
        ProblemKind::OutcomeUnknown,
    ] {
        let json = Problem::new(kind, "x").to_json();
        let problem = ReceivedProblem::parse(json.as_bytes()).unwrap();
        let may_sign_again = matches!(
            kind,
            ProblemKind::PaymentExpired | ProblemKind::VerificationFailed
        );
        assert_eq!(
            meaning(StatusCode::PAYMENT_REQUIRED, Some(&problem)),
            Meaning::Refused { may_sign_again },
            "{kind:?}"
        );
    }
    let unknown = ReceivedProblem::parse(br#"{"type":"https://x.example/verification-failed"}"#);
    assert_eq!(
        meaning(StatusCode::PAYMENT_REQUIRED, Some(&unknown.unwrap())),
        Meaning::Refused {
            may_sign_again: false
        }
    );
}

#[test]
fn a_credential_is_sent_a_bounded_number_of_times_with_growing_waits() {
    let mut call = Call::default();
    call.signed();
    let mut waits = Vec::new();
    loop {
        call.sent();
        match call.replay(None) {
            Replay::After(wait) => waits.push(wait),
            Replay::Exhausted => break,
            Replay::TooLong(_) => panic!("nobody asked for a wait"),
        }
    }
    let ms = |ms| Duration::from_millis(ms);
    assert_eq!(waits, [ms(500), ms(1000), ms(2000), ms(4000)]);
}

#[test]
fn signatures_are_bounded_and_a_resumed_call_makes_none() {
    let mut call = Call::default();
    let mut made = 0;
    while call.next_signature().is_some() {
        call.signed();
        made += 1;
    }
    assert_eq!(made, limits::SIGNATURES_MAX);
    assert_eq!(Call::resumed(1, 5).next_signature(), None);
}

#[test]
fn retry_after_is_read_in_both_forms_and_rubbish_is_no_wish() {
    let now = Timestamp::parse_rfc3339("1994-11-06T08:49:30Z").unwrap();
    let table = [
        ("5", Some(5)),
        (" 7 ", Some(7)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
        ("99999999999999999999999999", Some(u64::MAX)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ];
    for (text, seconds) in table {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(retry_after(text, now), expected, "{text:?}");
    }
}

#[test]
fn a_wish_beyond_the_limit_is_told_not_waited_for() {
    let limit = limits::RETRY_AFTER_MAX.as_secs();
    let mut call = Call::default();
    call.sent();
    let longer = head(503, &[("retry-after", &(limit + 1).to_string())]);
    let wait = Duration::from_secs(limit + 1);
    assert_eq!(call.replay(Some(&longer)), Replay::TooLong(wait));
    let just = head(503, &[("retry-after", &limit.to_string())]);
    assert_eq!(
        call.replay(Some(&just)),
        Replay::After(limits::RETRY_AFTER_MAX)
    );
    // Shorter than the backoff: the backoff holds, so that a server cannot make us hurry.
    let none = head(503, &[("retry-after", "0")]);
    assert_eq!(
        call.replay(Some(&none)),
        Replay::After(limits::BACKOFF_FIRST * 2)
    );
}

#[test]
fn only_redirects_with_a_place_are_redirects() {
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(head(status, &[("location", "/x")]).redirect(), Some("/x"));
        assert_eq!(head(status, &[]).redirect(), None);
    }
    for status in [200, 300, 304, 402] {
        assert_eq!(head(status, &[("location", "/x")]).redirect(), None);
    }
}
