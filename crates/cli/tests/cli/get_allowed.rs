//! Who says yes to a payment: a limit, `--yes`, somebody at a terminal, and otherwise nobody.

use std::process::Command;

use crate::common::{Stage, command, finish, site::Site, tap, terminal::converse};

fn at_terminal(stage: &Stage, args: &[&str], answer: &str) -> (i32, String) {
    let mut get = command(&stage.home());
    get.arg("get").args(args);
    converse(&mut get, "[y/N]", answer)
}

#[test]
fn terminal_is_asked_with_amount_payee_and_method() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    for answer in ["n\n", "\n", "yesterday\n"] {
        let (code, shown) = at_terminal(&stage, &[&url], answer);
        assert_eq!(code, 5, "{shown}");
        assert!(shown.contains("you said no; no money moved"), "{shown}");
    }
    assert_eq!(stage.left(), 10_000_000);
    let (code, shown) = at_terminal(&stage, &[&url], "y\n");
    assert_eq!(code, 0, "{shown}");
    for part in [
        "asks for 0.001 USD",
        "payee   acct_",
        "by      ledger on ledger ",
        &format!("for     GET {url}"),
        "it says \"One temperature reading\"",
        "it was never paid before",
        "Pay 0.001 USD? [y/N]",
        "paid 0.001 USD to acct_",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert_eq!(stage.left(), 9_999_000);
    let (code, shown) = at_terminal(&stage, &["-s", &url], "yes\n");
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("never paid before"), "{shown}");
    assert!(!shown.contains("paid 0.001 USD to"), "{shown}");
}

#[test]
fn terminal_is_not_asked_when_the_answer_is_given() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    for given in [&["--yes"][..], &["--max-amount", "1 USD"]] {
        let (code, shown) = at_terminal(&stage, &[given, &[&url]].concat(), "");
        assert_eq!(code, 0, "{shown}");
        assert!(!shown.contains("[y/N]"), "{shown}");
    }
    let over = ["--yes", "--max-amount", "0.0001 USD", &url];
    let (code, shown) = at_terminal(&stage, &over, "");
    assert_eq!(code, 5, "{shown}");
    assert!(shown.contains("more than the limit"), "{shown}");
    let (code, _) = at_terminal(&stage, &["--dry-run", &url], "");
    assert_eq!(code, 10);
    assert_eq!(stage.left(), 10_000_000 - 2_000);
}

#[test]
fn yes_pays_what_is_asked_in_a_pipe() {
    let stage = Stage::funded();
    stage
        .run(&["get", "--yes", &stage.at("/v1/temperature")])
        .ends_with(0);
    assert_eq!(stage.left(), 9_999_000);
}

#[test]
fn pipe_is_never_asked_and_the_command_that_it_tells_pays() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature?a=1&b=it's");
    let done = stage.run(&["get", "-H", "x-a: b c", &url]);
    let done = done.fails(5, "nothing allows that; no money moved");
    let error = done.told("error");
    let next = error["hint"].as_str().unwrap();
    let line = next.strip_prefix("allow it with: stiver ").unwrap();
    let mut shell = Command::new("sh");
    let told = format!("{} {line}", env!("CARGO_BIN_EXE_stiver"));
    let home = stage.home();
    shell
        .args(["-c", &told])
        .env("STIVER_HOME", home.as_os_str());
    finish(&mut shell).ends_with(0);
    assert_eq!(stage.left(), 9_999_000);
    let done = stage.run(&["get", "-u", "anna:secret", &url]).ends_with(5);
    assert!(
        done.said()
            .contains("allow it with --max-amount \"0.001 USD\""),
        "{done:?}"
    );
    assert!(!done.err.contains("secret"), "{done:?}");
}

#[test]
fn dry_run_says_what_hinders_payment() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let over = [
        "--json",
        "get",
        "--dry-run",
        "--max-amount",
        "0.0001 USD",
        &url,
    ];
    let told = stage.run(&over).ends_with(10).json();
    assert_eq!(told["wouldPay"], false);
    let offer = &told["offers"][0];
    assert_eq!(
        (&offer["payable"], &offer["allowed"]),
        (&true.into(), &false.into())
    );
    assert!(
        offer["reason"].as_str().unwrap().contains("0.0001 USD"),
        "{told}"
    );
    let within = ["--json", "get", "--dry-run", "--max-amount", "1 USD", &url];
    let told = stage.run(&within).ends_with(10).json();
    assert_eq!(told["wouldPay"], true);
    assert_eq!(told["offers"][0]["firstUse"], true);
    let done = stage.run(&over[1..]).ends_with(10);
    assert!(
        done.out.starts_with("would not pay 0.001 USD to acct_"),
        "{done:?}"
    );
    let poor = Stage::poor();
    let url = poor.at("/v1/temperature");
    let done = poor
        .run(&["get", "--dry-run", "--max-amount", "1 USD", &url])
        .ends_with(10);
    assert!(done.out.contains("the wallet has 0.00 USD"), "{done:?}");
    assert!(stage.payments().is_empty() && poor.payments().is_empty());
}

#[test]
fn head_is_never_paid_for() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let get = ["get", "-I", "-i", "--max-amount", "1 USD", &url];
    let done = stage.run(&get).fails(6, "never paid for");
    assert!(done.out.starts_with("HTTP/1.1 402"), "{done:?}");
    assert_eq!(stage.left(), 10_000_000);
    let done = stage
        .run(&["get", "-I", &stage.at("/v1/history")])
        .ends_with(0);
    assert!(
        done.out.starts_with("HTTP/1.1 200 OK\r\n"),
        "it shows the head: {done:?}"
    );
}

#[test]
fn method_is_chosen_by_name() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let get = ["get", "--method", "ledger", "--max-amount", "1 USD", &url];
    stage.run(&get).ends_with(0);
    let get = ["get", "--method", "cowries", "--max-amount", "1 USD", &url];
    stage.run(&get).fails(2, "`ledger`");
    assert_eq!(stage.left(), 9_999_000);
}

/// Remembers another payee for the gateway than it has.
fn forge_the_remembered_payee(stage: &Stage) {
    let pins = stage.home().join("pins/pins.json");
    let text = std::fs::read_to_string(&pins).unwrap();
    let start = text.find("acct_").unwrap();
    let end = start + text[start..].find('"').unwrap();
    let text = text.replace(&text[start..end], "acct_somebody-else");
    std::fs::write(&pins, text).unwrap();
}

#[test]
fn changed_payee_needs_a_word_of_its_own() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    stage.run(&["get", "--yes", &url]).ends_with(0);
    forge_the_remembered_payee(&stage);
    for consent in [&["--yes"][..], &["--max-amount", "1 USD"], &[]] {
        let get = [&["get"], consent, &[&url]].concat();
        let done = stage.run(&get).fails(5, "it was acct_somebody-else");
        assert!(done.said().contains("--accept-change"), "{done:?}");
        let limited = done
            .said()
            .contains("get --accept-change --max-amount '1 USD'");
        assert_eq!(limited, consent.contains(&"1 USD"), "{done:?}");
    }
    let (code, shown) = at_terminal(&stage, &[&url], "n\n");
    assert_eq!(code, 5);
    assert!(shown.contains("CHANGED: the payee is acct_"), "{shown}");
    assert_eq!(stage.left(), 9_999_000);
    let get = ["get", "--accept-change", "--max-amount", "1 USD", &url];
    stage.run(&get).ends_with(0);
    stage.run(&["get", "--yes", &url]).ends_with(0);
    assert_eq!(stage.left(), 9_997_000);
}

#[test]
fn ledger_that_does_not_tell_the_balance_stops_no_payment() {
    let stage = Stage::funded();
    let gateway = stage.address().to_owned();
    let site = Site::start(move |asked, wire| {
        if asked.target.starts_with("/.well-known/") && asked.method == "POST" {
            return crate::common::site::say(wire, "503 Service Unavailable", "", b"");
        }
        let credential = asked.field("authorization").unwrap_or("none");
        let request = format!(
            "{} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {credential}\r\n\r\n",
            asked.method, asked.target
        );
        let answer = tap::exchange(&gateway, request.as_bytes());
        let _ = wire.write_all(answer.as_bytes());
    });
    stage.run(&["wallet", "new", "other"]).ends_with(0);
    stage
        .run(&["wallet", "join", &site.url, "--wallet", "other"])
        .ends_with(0);
    let list = stage.json(&["wallet", "list"]);
    let wallets = list["wallets"].as_array().unwrap();
    let other = wallets
        .iter()
        .find(|wallet| wallet["name"] == "other")
        .unwrap();
    let key = other["key"].as_str().unwrap();
    stage.ledger(&["issue", key, "1 USD"]).ends_with(0);
    let url = stage.at("/v1/temperature");
    stage
        .run(&["get", "--wallet", "other", "--yes", &url])
        .ends_with(0);
    assert!(site.asked().iter().any(|asked| asked.method == "POST"));
    assert_eq!(stage.served("temperature"), 1);
}

#[test]
fn terminal_is_not_told_that_it_paid_what_was_not_charged_for() {
    let site = Site::start(|_, wire| crate::common::site::say(wire, "404 Not Found", "", b"no"));
    let route = "[[route]]\npath = \"/**\"\nprice = \"0.01 USD\"\nsettle = \"after\"\n";
    let stage = Stage::before(&site.url, route);
    let (code, shown) = at_terminal(&stage, &["--yes", &stage.at("/x")], "");
    assert_eq!(code, 6, "{shown}");
    let moved = &stage.payments()[0]["moneyMoved"];
    let words = match moved.as_str() {
        Some("no") => "not paid: 0.01 USD",
        Some("maybe") => "may have paid 0.01 USD",
        _ => panic!("it was not charged for: {moved}"),
    };
    assert!(shown.contains(words), "{shown}");
    assert_eq!(stage.left(), 10_000_000);
}
