//! `stiver wallet`.

use crate::common::{Stage, files, run, tap::Closed};

#[test]
fn wallets_are_made_listed_and_never_made_over() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let none = run(home, &["--json", "wallet", "list"]).ends_with(0).json();
    assert_eq!(none["wallets"].as_array().unwrap().len(), 0);
    let done = run(home, &["wallet", "list"]).ends_with(0);
    assert!(done.out.contains("stiver wallet new"), "{done:?}");
    let made = run(home, &["--json", "wallet", "new", "alice"])
        .ends_with(0)
        .json();
    assert_eq!(
        (&made["ok"], &made["name"]),
        (&true.into(), &"alice".into())
    );
    assert!(made["key"].as_str().unwrap().starts_with("did:key:z"));
    assert!(made["account"].as_str().unwrap().starts_with("acct_"));
    let before = files(home);
    run(home, &["wallet", "new", "alice"]).fails(2, "alice");
    assert_eq!(files(home), before);
    run(home, &["wallet", "new"]).ends_with(0);
    let list = run(home, &["--json", "wallet", "list"]).ends_with(0).json();
    let names: Vec<_> = list["wallets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["alice", "default"]);
    assert_eq!(list["wallets"][0]["key"], made["key"]);
    assert!(list["wallets"][0]["ledger"].is_null());
}

#[test]
fn hostile_names_are_refused_and_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let long = "a".repeat(300);
    for name in [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "a b",
        "caf\u{e9}",
        "a\u{1b}[31m",
        &long,
    ] {
        let done = run(home.path(), &["wallet", "new", "--", name]).fails(2, "name");
        assert!(!done.err.contains('\u{1b}'), "{done:?}");
        assert!(files(home.path()).is_empty(), "{name:?}");
        run(home.path(), &["wallet", "balance", "--wallet", name]).fails(2, "--wallet");
    }
}

#[test]
fn wallet_that_is_not_there_or_has_not_joined_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for args in [
        &["wallet", "balance"][..],
        &["wallet", "history"],
        &["get", "--wallet", "nobody", "http://127.0.0.1:1/"],
        &["wallet", "join", "http://127.0.0.1:1/"],
    ] {
        run(home, args).fails(2, "stiver wallet new");
    }
    run(home, &["wallet", "new"]).ends_with(0);
    run(home, &["wallet", "balance"]).fails(2, "stiver wallet join");
}

#[test]
fn join_binds_a_wallet_to_one_ledger() {
    let stage = Stage::poor();
    let joined = stage.json(&["wallet", "join", &stage.at("/any/page?x=1")]);
    assert_eq!(joined["ok"], true);
    assert_eq!(joined["key"], stage.key());
    let list = stage.json(&["wallet", "list"]);
    assert_eq!(list["wallets"][0]["ledger"], joined["ledger"]);
    let balance = stage.json(&["wallet", "balance"]);
    assert_eq!(balance["account"], joined["account"]);
    assert_eq!(balance["frozen"], false);
    assert_eq!(balance["balances"].as_array().unwrap().len(), 0);
    let other = Stage::poor();
    let before = files(&stage.home());
    stage
        .run(&["wallet", "join", &other.url])
        .fails(2, "bound to the ledger");
    assert_eq!(files(&stage.home()), before);
}

#[test]
fn join_refuses_what_is_no_gateway() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    run(home, &["wallet", "new"]).ends_with(0);
    let before = files(home);
    let closed = Closed::new();
    let page = crate::common::tap::serve(|_| {
        Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi".to_owned())
    });
    let missing = crate::common::tap::serve(|_| {
        Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned())
    });
    for (url, code, needle) in [
        ("", 2, "URL"),
        ("nonsense", 2, "URL"),
        ("ftp://x/", 2, "URL"),
        ("http://192.0.2.1/", 2, "https"),
        (&closed.url(), 3, "127.0.0.1"),
        (&missing, 3, "404"),
        (&page, 1, ""),
    ] {
        run(home, &["wallet", "join", url]).fails(code, needle);
        assert_eq!(files(home), before, "{url}");
    }
}

#[test]
fn balance_and_history_tell_what_was_paid() {
    let stage = Stage::funded();
    assert_eq!(stage.left(), 10_000_000);
    assert!(stage.payments().is_empty());
    let url = stage.at("/v1/temperature");
    let paid = stage.json(&["get", "--max-amount", "0.01 USD", &url]);
    let balance = stage.json(&["wallet", "balance"]);
    let row = &balance["balances"][0];
    assert_eq!(row["currency"], "usd");
    assert_eq!(row["available"], "9999000");
    assert_eq!(row["held"], "0");
    assert_eq!(row["display"], "9.999 USD");
    let done = stage.run(&["wallet", "balance"]).ends_with(0);
    assert_eq!(done.out, "9.999 USD\n");
    let payments = stage.payments();
    assert_eq!(payments.len(), 1);
    let row = &payments[0];
    assert_eq!(row["call"], paid["payment"]["call"]);
    assert_eq!(row["amount"], "1000");
    assert_eq!(row["url"], url.as_str());
    assert_eq!(row["method"], "GET");
    assert_eq!(row["reference"], paid["payment"]["receipt"]["reference"]);
    assert_eq!(row["moneyMoved"], "yes");
    stage.json(&["get", "--max-amount", "0.01 USD", &url]);
    let one = stage.json(&["wallet", "history", "-n", "1"]);
    let one = one["payments"].as_array().unwrap();
    assert_eq!(one.len(), 1);
    assert_ne!(one[0]["call"], row["call"], "the newest comes first");
    let done = stage.run(&["wallet", "history"]).ends_with(0);
    assert_eq!(done.out.lines().count(), 2);
    assert!(done.out.contains(&url), "{done:?}");
}

#[test]
fn balance_without_the_gateway_is_a_network_failure() {
    let mut stage = Stage::funded();
    stage.stop();
    let done = stage.run(&["--json", "wallet", "balance"]).fails(3, "");
    assert_eq!(done.told("error")["kind"], "network");
}

#[test]
fn fund_makes_joins_and_fills_a_wallet_in_one_step() {
    let stage = Stage::poor();
    let config = stage.config();
    let fund = |args: &[&str]| {
        let head = ["wallet", "fund", "--config", config.to_str().unwrap()];
        stage.run(&[&head[..], args].concat())
    };
    fund(&["1 USD", "--wallet", "new"]).fails(2, "stiver wallet join URL");
    let text = std::fs::read_to_string(&config).unwrap();
    let address = stage.url.strip_prefix("http://").unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", address)).unwrap();
    fund(&["0 USD", "--wallet", "new"]).fails(2, "nothing to issue");
    let before = stage.run(&["wallet", "list", "--json"]).ends_with(0).json();
    assert_eq!(before["wallets"].as_array().unwrap().len(), 1);
    let funded = fund(&["1 USD", "--wallet", "new", "--json"]);
    let funded = funded.ends_with(0).json();
    assert_eq!(funded["amount"]["units"], "1000000");
    fund(&["0.5 USD", "--wallet", "new"]).ends_with(0);
    let balance = stage.run(&["wallet", "balance", "--wallet", "new", "--json"]);
    let balance = balance.ends_with(0).json();
    assert_eq!(balance["balances"][0]["available"], "1500000", "{balance}");
}
