//! What the command tells of itself: schemas, their page, man pages, completions.

use serde_json::{Value, json};

use crate::common::{run, schema};

fn at_home(args: &[&str]) -> crate::common::Done {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), args)
}

#[test]
fn schemas_are_printed_by_command_and_all_together() {
    let one = at_home(&["schema", "wallet", "list"]).ends_with(0);
    let one: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!(one["title"], "stiver wallet list --json");
    assert_eq!(
        one["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema::schemas()["wallet list"], one);
    let names = at_home(&["schema"]).ends_with(0).out;
    for name in schema::schemas().as_object().unwrap().keys() {
        assert!(names.lines().any(|line| line.starts_with(name)), "{name}");
    }
    at_home(&["schema", "wallet"]).fails(2, "stiver schema");
    at_home(&["schema", "nothing"]).fails(2, "stiver schema");
}

#[test]
fn page_about_json_is_the_one_that_is_printed() {
    let printed = at_home(&["schema", "--markdown"]).ends_with(0).out;
    let page = include_str!("../../../../docs/cli-json.md");
    assert!(
        printed == page,
        "run: stiver schema --markdown > docs/cli-json.md"
    );
    let longest = page.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?}");
}

/// The validator that all tests rely on finds faults.
#[test]
fn what_no_schema_allows_is_noticed() {
    let schema = &schema::schemas()["wallet balance"];
    let good = json!({"account": "a", "frozen": false, "balances": []});
    schema::expect(schema, &good);
    for (name, value) in [
        ("frozen", json!("no")),
        ("balances", json!([{"currency": "usd"}])),
        ("more", json!(1)),
        ("account", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        let outcome = std::panic::catch_unwind(|| schema::expect(schema, &bad));
        assert!(outcome.is_err(), "{name}");
    }
}

#[test]
fn error_is_one_object_on_standard_error_and_nothing_else_is_printed() {
    let done = at_home(&["--json", "wallet", "balance"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    let told: Value = serde_json::from_str(&done.err).unwrap();
    schema::expect(&schema::schemas()["error"], &told);
    let error = &told["error"];
    assert_eq!(error["code"], "no-such-wallet");
    assert_eq!(error["kind"], "usage");
    assert_eq!(error["exitCode"], 2);
    assert_eq!(error["moneyMoved"], "no");
    assert_eq!(error["retry"], "no");
}

#[test]
fn man_pages_are_written_for_every_command() {
    let page = at_home(&["man"]).ends_with(0).out;
    assert!(page.contains(".TH"), "{page}");
    assert!(page.contains("Charge and pay over HTTP"), "{page}");
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("man");
    let dir = folder.to_str().unwrap();
    run(home.path(), &["man", "--dir", dir]).ends_with(0);
    for (name, word) in [
        ("stiver.1", "Exit codes"),
        ("stiver-get.1", "max\\-amount"),
        ("stiver-wallet-history.1", "unresolved"),
        ("stiver-ledger-issue.1", "did:key"),
    ] {
        let page = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(page.contains(word), "{name} has no {word}");
    }
    run(home.path(), &["man", "--dir", "/dev/null/x"]).fails(2, "/dev/null/x");
}
