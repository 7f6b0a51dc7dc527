//! `stiver ledger`, through a running gateway and without one.

use crate::common::{Stage, files};

/// The same questions, whoever holds the books.
fn look(stage: &Stage, funds: &str) {
    let check = stage.ledger_json(&["check"]);
    assert_eq!(check["ok"], true);
    assert_eq!(check["books"]["currencies"][0]["sum"]["units"], "0");
    assert_eq!(check["books"]["currencies"][0]["issued"]["units"], funds);
    let accounts = stage.ledger_json(&["accounts"]);
    let rows = accounts["accounts"].as_array().unwrap();
    let key = stage.key();
    let mine = rows
        .iter()
        .find(|row| row["keys"][0] == key.as_str())
        .unwrap();
    assert_eq!(mine["balances"][0]["posted"]["units"], funds);
    assert_eq!(mine["frozen"], false);
    let id = mine["id"].as_str().unwrap();
    let statement = stage.ledger_json(&["statement", id]);
    assert_eq!(statement["account"], id);
    let movements = statement["movements"].as_array().unwrap();
    assert!(movements.iter().all(|row| row["kind"] == "mint"));
    let one = stage.ledger_json(&["statement", id, "-n", "1"]);
    assert_eq!(one["movements"].as_array().unwrap()[..], movements[..1]);
    let done = stage.ledger(&["accounts"]).ends_with(0);
    assert!(done.out.contains(id), "{done:?}");
    let done = stage.ledger(&["statement", id]).ends_with(0);
    assert_eq!(done.out.lines().count(), movements.len());
    let done = stage.ledger(&["check"]).ends_with(0);
    assert!(done.out.starts_with("the books balance:"), "{done:?}");
}

#[test]
fn books_are_the_same_with_and_without_the_gateway() {
    let mut stage = Stage::funded();
    look(&stage, "10000000");
    stage.stop();
    look(&stage, "10000000");
    let key = stage.key();
    let issued = stage.ledger_json(&["issue", &key, "0.5 usd"]);
    assert_eq!(issued["ok"], true);
    assert_eq!(issued["amount"]["units"], "500000");
    let account = issued["account"].as_str().unwrap();
    stage.ledger(&["issue", account, "0.5 USD"]).ends_with(0);
    look(&stage, "11000000");
    stage.start();
    look(&stage, "11000000");
}

#[test]
fn hostile_targets_and_amounts_are_refused_with_and_without_the_gateway() {
    let mut stage = Stage::funded();
    let key = stage.key();
    let unknown = "acct_AAAAAAAAAAAAAAAAAAAAAA";
    let huge = "9".repeat(60) + " USD";
    let table = [
        (["issue", &key, "10"], "amount"),
        (["issue", &key, ""], "amount"),
        (["issue", &key, "0 USD"], "zero"),
        (["issue", &key, "1e3 USD"], "amount"),
        (["issue", &key, "0.0000001 USD"], "amount"),
        (["issue", &key, "10 DOGE"], "amount"),
        (["issue", &key, &huge], "amount"),
        (["issue", &key, "10 USD 10"], "amount"),
        (["issue", "", "1 USD"], "acct_"),
        (["issue", "alice", "1 USD"], "acct_"),
        (["issue", "did:key:z6Mk", "1 USD"], "did:key"),
        (["issue", "did:web:x", "1 USD"], "did:web"),
        (["issue", "acct_\u{1b}[31m", "1 USD"], "acct_"),
        (["statement", "nobody", "-n1"], "nobody"),
        (["statement", unknown, "-n1"], "stiver ledger accounts"),
    ];
    for is_running in [true, false] {
        let before = stage.ledger_json(&["check"]);
        for (args, needle) in &table {
            let done = stage.ledger(args).fails(2, needle);
            assert!(!done.err.contains('\u{1b}'), "{done:?}");
        }
        let done = stage.ledger(&["issue", unknown, "1 USD"]);
        let done = done.fails(6, "");
        assert!(!done.err.is_empty(), "running: {is_running}");
        let after = stage.ledger_json(&["check"]);
        assert_eq!(after["chain"], before["chain"], "nothing was written");
        if is_running {
            stage.stop();
        }
    }
}

#[test]
fn mistakes_open_no_ledger() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path();
    let run = |args: &[&str]| crate::common::run(home, args);
    run(&["init", home.to_str().unwrap()]).ends_with(0);
    let config = home.join("stiver.toml");
    let config = config.to_str().unwrap();
    let before = files(home);
    for args in [
        &["ledger", "issue", "alice", "1 USD", "-c", config][..],
        &["ledger", "issue", "did:key:z6Mk", "much", "-c", config],
        &["ledger", "statement", "alice", "-c", config],
        &["ledger", "check", "-c", "/nowhere/stiver.toml"],
    ] {
        run(args).fails(2, "");
        assert_eq!(files(home), before, "{args:?}");
    }
    std::fs::remove_file(home.join("stiver-data/issuer.key")).unwrap();
    run(&["ledger", "check", "-c", config]).fails(2, "issuer.key");
}
