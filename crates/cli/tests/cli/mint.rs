//! `stiver mint`, against ids that other software computed.

use serde_json::Value;

use crate::common::{Done, run};

/// Ids and what they were computed of, by Python's `hmac`.
const VECTORS: &str = include_str!("../../../core/vectors/binding.json");

const REQUEST: &str = r#"{"amount":"1000","currency":"usd","recipient":"acct_1"}"#;

/// The JSON that a base64url text holds.
fn json_of(text: &str) -> String {
    String::from_utf8(stiver_core::base64url::decode(text.as_bytes()).unwrap()).unwrap()
}

fn mint(secret: &[u8], options: &[(&str, &str)]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, secret).unwrap();
    let file = file.to_str().unwrap();
    let mut args = vec!["mint", "--secret-file", file, "--json"];
    for (name, value) in options {
        args.extend([*name, *value]);
    }
    let done = run(folder.path(), &args);
    let count = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(count, 1, "nothing is written");
    done
}

#[test]
fn ids_are_those_that_other_software_computes() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut minted = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let text = |key: &str| case[key].as_str();
        let request = json_of(text("request").unwrap());
        let secret = unhex(text("secret_hex").unwrap());
        if text("name").is_some_and(|name| name.contains("not canonical")) || secret.is_empty() {
            // A challenge that is minted is canonical, and has a secret.
            continue;
        }
        let opaque = text("opaque").map(json_of);
        let mut options = vec![("--request", request.as_str())];
        for key in [
            "realm",
            "method",
            "intent",
            "expires",
            "digest",
            "description",
        ] {
            let option = ["--realm", "--method", "--intent", "--expires", "--digest"];
            let name = option.iter().find(|name| &name[2..] == key);
            let name = name.copied().unwrap_or("--description");
            options.extend(text(key).map(|value| (name, value)));
        }
        options.extend(opaque.as_deref().map(|opaque| ("--opaque", opaque)));
        let done = mint(&secret, &options).ends_with(0).json();
        assert_eq!(done["id"].as_str(), text("id"), "{}", case["name"]);
        let header = done["header"].as_str().unwrap();
        assert!(header.starts_with("Payment id=\""), "{header}");
        assert!(header.contains(text("id").unwrap()), "{header}");
        minted += 1;
    }
    assert!(minted >= 12, "{minted} of the cases can be minted");
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn header_is_what_inspect_reads_back() {
    let options = [
        ("--realm", "api.example.com"),
        ("--method", "ledger"),
        ("--request", REQUEST),
        ("--description", "Say \"please\""),
        ("--opaque", r#"{"n":"1"}"#),
    ];
    let done = mint(&[7; 32], &options).ends_with(0).json();
    let folder = tempfile::tempdir().unwrap();
    let header = done["header"].as_str().unwrap();
    let told = run(folder.path(), &["--json", "inspect", header]);
    let told = told.ends_with(0).json();
    let challenge = &told["challenges"][0];
    assert_eq!(challenge["id"], done["id"]);
    assert_eq!(challenge["realm"], "api.example.com");
    assert_eq!(challenge["intent"], "charge");
    assert_eq!(challenge["request"]["amount"], "1000");
    assert_eq!(challenge["opaque"]["n"], "1");
}

#[test]
fn one_trailing_newline_is_no_part_of_the_secret() {
    let options = [
        ("--realm", "r"),
        ("--method", "ledger"),
        ("--request", REQUEST),
    ];
    let secret = [b'k'; 32];
    let bare = mint(&secret, &options).ends_with(0).json();
    for tail in ["\n", "\r\n"] {
        let file = [&secret, tail.as_bytes()].concat();
        assert_eq!(mint(&file, &options).ends_with(0).json(), bare);
    }
    let two = [&secret[..], b"\n\n"].concat();
    assert_ne!(mint(&two, &options).ends_with(0).json(), bare);
}

#[test]
fn gateways_file_of_secrets_mints_with_the_current_one() {
    let options = [
        ("--realm", "r"),
        ("--method", "ledger"),
        ("--request", REQUEST),
    ];
    let secret = [9; 32];
    let bare = mint(&secret, &options).ends_with(0).json();
    let encoded = stiver_core::base64url::encode(&secret);
    let other = "A".repeat(43);
    let file = format!("previous {other} until 2099-01-01T00:00:00Z\ncurrent {encoded}\n");
    assert_eq!(mint(file.as_bytes(), &options).ends_with(0).json(), bare);
}

#[test]
fn short_secrets_and_past_dates_are_warned_of() {
    let options = [
        ("--realm", "r"),
        ("--method", "ledger"),
        ("--request", REQUEST),
        ("--expires", "2020-01-01T00:00:00Z"),
    ];
    let done = mint(b"short", &options).ends_with(0);
    assert!(done.err.contains("5 bytes"), "{done:?}");
    assert!(done.err.contains("expired already"), "{done:?}");
}

#[test]
fn hostile_input_is_refused_by_the_name_of_its_option() {
    let good = [
        ("--realm", "r"),
        ("--method", "ledger"),
        ("--intent", "charge"),
        ("--request", REQUEST),
    ];
    let table = [
        ("--realm", "", "--realm"),
        ("--realm", "a|b", "--realm"),
        ("--realm", "caf\u{e9}", "--realm"),
        ("--method", "Ledger", "--method"),
        ("--method", "a b", "--method"),
        ("--intent", "", "--intent"),
        ("--intent", "a|b", "--intent"),
        ("--request", "", "--request"),
        ("--request", "[]", "--request"),
        ("--request", "{\"a\":1", "--request"),
        ("--request", "{\"a\":1,\"a\":2}", "--request"),
        ("--expires", "tomorrow", "--expires"),
        ("--expires", "2026-13-01T00:00:00Z", "--expires"),
        ("--expires", "2026-12-01", "--expires"),
        ("--digest", "", "--digest"),
        ("--digest", "a|b", "--digest"),
        ("--opaque", "{\"n\":1}", "--opaque"),
        ("--opaque", "nothing", "--opaque"),
    ];
    for (name, value, needle) in table {
        let mut options: Vec<_> = good.to_vec();
        options.retain(|(known, _)| *known != name);
        options.push((name, value));
        let done = mint(&[7; 32], &options).fails(2, needle);
        let error = &done.told("error");
        assert_eq!(error["kind"], "usage", "{name} {value:?}");
    }
    mint(b"", &good).fails(2, "is empty");
    mint(b"\n", &good).fails(2, "is empty");
    mint(&vec![1; 65 * 1024], &good).fails(2, "secret file");
    let short = "current AAAA\n";
    let done = mint(short.as_bytes(), &good).fails(2, "line 1");
    assert!(!done.err.contains("AAAA"), "{done:?}");
}
