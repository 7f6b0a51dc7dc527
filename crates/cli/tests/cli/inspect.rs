//! `stiver inspect`: what a header or a problem says.

use serde_json::Value;
use stiver_core::base64url;

use crate::common::{Done, run, run_with};

const REQUEST: &str = r#"{"amount":"1000","currency":"usd","recipient":"acct_1"}"#;

fn inspect(text: &str) -> Done {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["--json", "inspect", "--", text])
}

fn challenge() -> String {
    let request = base64url::encode(REQUEST.as_bytes());
    format!(
        "Payment id=\"abc\", realm=\"r\", method=\"ledger\", intent=\"charge\", \
         request=\"{request}\", expires=\"2026-12-01T00:00:00Z\", description=\"a \\\"b\\\"\""
    )
}

fn credential() -> String {
    let request = base64url::encode(REQUEST.as_bytes());
    let json = format!(
        "{{\"challenge\":{{\"id\":\"abc\",\"realm\":\"r\",\"method\":\"ledger\",\
         \"intent\":\"charge\",\"request\":\"{request}\"}},\
         \"payload\":{{\"proof\":\"p\"}},\"source\":\"did:example:1\"}}"
    );
    format!("Payment {}", base64url::encode(json.as_bytes()))
}

fn receipt() -> String {
    let json = concat!(
        r#"{"challengeId":"abc","method":"ledger","reference":"tr_1","#,
        r#""status":"success","timestamp":"2026-12-01T00:00:00Z"}"#,
    );
    base64url::encode(json.as_bytes())
}

#[test]
fn challenges_are_decoded_with_and_without_their_field_name() {
    for text in [
        challenge(),
        format!("WWW-Authenticate: {}", challenge()),
        format!("  www-authenticate : {}\n", challenge()),
    ] {
        let told = inspect(&text).ends_with(0).json();
        assert_eq!(told["kind"], "challenges");
        let challenge = &told["challenges"][0];
        assert_eq!(challenge["id"], "abc");
        assert_eq!(challenge["method"], "ledger");
        assert_eq!(challenge["expires"], "2026-12-01T00:00:00Z");
        assert_eq!(challenge["description"], "a \"b\"");
        assert_eq!(challenge["request"]["amount"], "1000");
    }
}

#[test]
fn several_challenges_are_listed_and_a_broken_one_says_why() {
    let text = format!("{}, Basic realm=\"x\", Payment id=\"only\"", challenge());
    let told = inspect(&text).ends_with(0).json();
    let list = told["challenges"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["id"], "abc");
    assert!(!list[1]["error"].as_str().unwrap().is_empty());
}

#[test]
fn credentials_receipts_and_problems_are_told_apart() {
    for text in [
        credential(),
        format!("Authorization: {}", credential()),
        format!("Payment-Authorization: {}", credential()),
    ] {
        let told = inspect(&text).ends_with(0).json();
        assert_eq!(told["kind"], "credential");
        assert_eq!(told["challenge"]["id"], "abc");
        assert_eq!(told["challenge"]["request"]["currency"], "usd");
        assert_eq!(told["payload"]["proof"], "p");
        assert_eq!(told["source"], "did:example:1");
    }
    for text in [receipt(), format!("Payment-Receipt: {}", receipt())] {
        let told = inspect(&text).ends_with(0).json();
        assert_eq!(told["kind"], "receipt");
        assert_eq!(told["receipt"]["reference"], "tr_1");
    }
    let problem = r#"{"type":"https://paymentauth.org/problems/invalid-challenge","status":402}"#;
    let told = inspect(problem).ends_with(0).json();
    assert_eq!(told["kind"], "problem");
    assert_eq!(told["known"], "Invalid Challenge");
    let told = inspect(r#"{"type":"about:blank","status":500}"#).ends_with(0);
    assert_eq!(told.json()["known"], Value::Null);
}

#[test]
fn bare_base64url_of_an_object_is_shown() {
    let text = base64url::encode(REQUEST.as_bytes());
    let told = inspect(&text).ends_with(0).json();
    assert_eq!(told["kind"], "object");
    assert_eq!(told["object"]["amount"], "1000");
}

#[test]
fn standard_input_is_read_when_nothing_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}\n", challenge());
    let done = run_with(folder.path(), &["--json", "inspect"], text.as_bytes());
    assert_eq!(done.ends_with(0).json()["kind"], "challenges");
    let done = run_with(folder.path(), &["inspect"], text.as_bytes()).ends_with(0);
    assert!(done.out.starts_with("challenges\n{"), "{done:?}");
    assert!(done.out.contains("\"amount\": \"1000\""), "{done:?}");
    run_with(folder.path(), &["inspect"], b"").fails(2, "nothing to inspect");
    run_with(folder.path(), &["inspect"], b"\xff\xfe").fails(2, "standard input");
    let long = vec![b'a'; 256 * 1024 + 1];
    run_with(folder.path(), &["inspect"], &long).fails(2, "more than 262144 bytes");
}

#[test]
fn garbage_is_refused_with_what_was_looked_for() {
    let table = [
        ("", "nothing to inspect"),
        ("   ", "nothing to inspect"),
        ("hello world", "no Payment challenge"),
        ("Payment !!!", "credential"),
        ("Authorization: Payment e30", "credential"),
        ("{", "JSON"),
        ("Payment id=\"only\"", "a challenge, but"),
        ("Payment id=\"", "a challenge, but"),
        ("bm90IGpzb24", "not of JSON"),
        ("\u{1b}[31mred\u{1b}[0m", "no Payment challenge"),
    ];
    for (text, needle) in table {
        let done = inspect(text).fails(2, needle);
        assert!(!done.err.contains('\u{1b}'), "{text:?}: {done:?}");
        let error = &done.told("error");
        assert_eq!(error["exitCode"], 2, "{text:?}");
        assert_eq!(error["kind"], "usage", "{text:?}");
    }
}
