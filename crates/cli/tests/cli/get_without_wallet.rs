//! `stiver get` from a home where nothing is set up: what is free is free, and what is not says
//! how to begin.

use crate::common::{Stage, command, files, finish, run};

#[test]
fn free_page_needs_no_wallet_and_makes_none() {
    let stage = Stage::funded();
    let home = tempfile::tempdir().unwrap();
    let url = stage.at("/v1/history");
    for args in [
        &["get", &url][..],
        &["get", "--max-amount", "1 USD", &url],
        &["get", "--yes", "--dry-run", &url],
    ] {
        let done = run(home.path(), args).ends_with(0);
        assert!(!done.out.is_empty() && done.err.is_empty(), "{done:?}");
    }
    assert!(files(home.path()).is_empty());
    run(home.path(), &["wallet", "new"]).ends_with(0);
    run(home.path(), &["get", &url]).ends_with(0);
}

/// The commands between backticks.
fn commands(text: &str) -> Vec<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

#[test]
fn price_without_a_wallet_names_the_commands_that_lead_to_one() {
    let stage = Stage::funded();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let url = stage.at("/v1/temperature");
    let get = ["get", "--max-amount", "1 USD", &url];
    let done = run(home, &get).fails(4, "it asks for 0.001 USD by ledger");
    let error = done.told("error");
    assert_eq!(error["moneyMoved"], "no");
    let told = commands(error["hint"].as_str().unwrap());
    let join = format!("stiver wallet join {}", stage.url);
    assert_eq!(told, ["stiver wallet new".to_owned(), join.clone()]);
    type_it(home, &told[0]);
    let done = run(home, &get).fails(4, "it asks for 0.001 USD by ledger");
    assert_eq!(
        commands(done.told("error")["hint"].as_str().unwrap()),
        [join]
    );
    type_it(home, &told[1]);
    let done = run(home, &get).fails(4, "the wallet has 0.00 USD");
    let told = commands(done.told("error")["hint"].as_str().unwrap());
    assert_eq!(
        told,
        ["stiver wallet list", "stiver ledger issue KEY AMOUNT"]
    );
    let list = run(home, &["--json", "wallet", "list"]).json();
    let key = list["wallets"][0]["key"].as_str().unwrap();
    stage.ledger(&["issue", key, "1 USD"]).ends_with(0);
    run(home, &get).ends_with(0);
    assert_eq!(stage.served("temperature"), 1);
}

fn type_it(home: &std::path::Path, line: &str) {
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    finish(command(home).args(words)).ends_with(0);
}

#[test]
fn wallet_of_another_ledger_is_told_to_stay_and_another_to_be_made() {
    let (mine, theirs) = (Stage::funded(), Stage::funded());
    let url = theirs.at("/v1/temperature");
    let get = ["get", "--max-amount", "1 USD", &url];
    let done = mine.run(&get).fails(4, "no account on ledger");
    let told = commands(done.told("error")["hint"].as_str().unwrap());
    let join = format!("stiver wallet join {} --wallet OTHER", theirs.url);
    assert_eq!(told, ["stiver wallet new OTHER".to_owned(), join]);
    assert!(mine.payments().is_empty());
}

#[test]
fn dry_run_without_a_wallet_tells_the_price() {
    let stage = Stage::funded();
    let home = tempfile::tempdir().unwrap();
    let url = stage.at("/v1/temperature");
    let told = run(home.path(), &["--json", "get", "--dry-run", &url]).ends_with(10);
    let told = told.json();
    assert_eq!(told["wouldPay"], false);
    let offer = &told["offers"][0];
    assert_eq!(offer["payable"], false);
    assert_eq!(offer["display"], "0.001 USD");
    assert_eq!(offer["reason"], "there is no wallet");
    assert_eq!(offer["description"], "One temperature reading");
    assert_eq!(offer["challenge"]["request"]["amount"], "1000");
    let done = run(home.path(), &["get", "--dry-run", &url]).ends_with(10);
    assert_eq!(
        done.out,
        "could not pay 0.001 USD by ledger: there is no wallet\n"
    );
    assert!(files(home.path()).is_empty());
}

#[test]
fn wallet_that_was_named_must_be_there() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["get", "--wallet", "savings", "http://127.0.0.1:1/"][..],
        &["get", "--resume", "00000000000000000000000000000000"],
    ] {
        run(home.path(), args).fails(2, "stiver wallet new");
    }
    run(home.path(), &["wallet", "new"]).ends_with(0);
    let resume = ["get", "--resume", "00000000000000000000000000000000"];
    run(home.path(), &resume).fails(2, "nothing to resume");
}
