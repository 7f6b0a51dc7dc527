//! `stiver get` when it pays, or need not.

use serde_json::Value;

use crate::common::{
    Stage, command, finish, run_with,
    tap::{Tap, serve},
};

const LIMIT: [&str; 3] = ["get", "--max-amount", "0.1 USD"];

fn get<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LIMIT[..], more].concat()
}

/// Answers every request with its own head.
fn echo() -> String {
    serve(|head| {
        let length = head.len();
        Some(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{head}"
        ))
    })
}

#[test]
fn price_is_paid_and_the_body_alone_goes_to_standard_output() {
    let stage = Stage::funded();
    let done = stage
        .run(&get(&[&stage.at("/v1/temperature")]))
        .ends_with(0);
    let body: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(body["reading"], 1);
    let payment = done.told("payment");
    assert_eq!(payment["display"], "0.001 USD");
    assert_eq!(payment["moneyMoved"], "yes");
    for (key, start) in [("payee", "acct_"), ("reference", ""), ("call", "")] {
        assert!(
            payment[key].as_str().unwrap().starts_with(start),
            "{done:?}"
        );
    }
    assert!(
        payment.get("receipt").is_none(),
        "the receipt itself is no log's"
    );
    assert_eq!(stage.left(), 9_999_000);
    assert_eq!(stage.served("temperature"), 1);
}

#[test]
fn json_tells_answer_payment_and_receipt() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let told = stage.json(&get(&[&url]));
    assert_eq!((&told["ok"], &told["status"]), (&true.into(), &200.into()));
    assert!(told["body"].as_str().unwrap().contains("\"reading\":1"));
    let payment = &told["payment"];
    for (key, expected) in [
        ("amount", "1000"),
        ("currency", "usd"),
        ("display", "0.001 USD"),
        ("moneyMoved", "yes"),
    ] {
        assert_eq!(payment[key], expected);
    }
    for key in ["call", "payee", "challengeId"] {
        assert!(payment[key].is_string(), "{key}: {told}");
    }
    let receipt = &payment["receipt"];
    assert_eq!(receipt["method"], "ledger");
    assert_eq!(receipt["status"], "success");
    assert!(receipt["reference"].is_string(), "{told}");
    let with_headers = stage.json(&get(&["-i", &url]));
    let headers = with_headers["headers"].as_array().unwrap();
    assert!(
        headers.iter().any(|row| row[0] == "payment-receipt"),
        "{with_headers}"
    );
}

#[test]
fn free_page_costs_nothing_and_needs_no_limit() {
    let stage = Stage::funded();
    let told = stage.json(&["get", &stage.at("/v1/history")]);
    assert_eq!(told["ok"], true);
    assert!(told["payment"].is_null(), "{told}");
    stage
        .run(&["get", "--dry-run", &stage.at("/v1/history")])
        .ends_with(0);
    assert_eq!(stage.left(), 10_000_000);
    assert!(stage.payments().is_empty());
}

#[test]
fn limit_may_come_from_the_environment() {
    let stage = Stage::funded();
    let mut get = command(&stage.home());
    get.args(["get", &stage.at("/v1/temperature")]);
    get.env("STIVER_MAX_AMOUNT", "0.001 USD");
    finish(&mut get).ends_with(0);
    assert_eq!(stage.left(), 9_999_000);
}

#[test]
fn bodies_are_posted_from_text_file_and_standard_input() {
    let stage = Stage::funded();
    let url = stage.at("/v1/calibrate");
    let file = stage.root.path().join("body");
    std::fs::write(&file, [0, 255, 7]).unwrap();
    let at_file = format!("@{}", file.display());
    let received = |text: &str| {
        let body: Value = serde_json::from_str(text).unwrap();
        body["bytes_received"].as_u64().unwrap()
    };
    let done = stage.run(&get(&["-d", "text", &url])).ends_with(0);
    assert_eq!(received(&done.out), 4);
    std::fs::write(&file, "from a file").unwrap();
    let done = stage.run(&get(&["-d", &at_file, &url])).ends_with(0);
    assert_eq!(received(&done.out), 11);
    let done = run_with(
        &stage.home(),
        &get(&["-d", "@-", &url]),
        b"from standard input",
    );
    assert_eq!(received(&done.ends_with(0).out), 19);
    assert_eq!(stage.served("calibrate"), 3);
    assert_eq!(stage.left(), 10_000_000 - 3 * 50_000);
}

#[test]
fn body_goes_to_a_file_and_the_head_is_shown_when_asked() {
    let stage = Stage::funded();
    let file = stage.root.path().join("out");
    std::fs::write(
        &file,
        "what stood here before, and was longer than the answer is",
    )
    .unwrap();
    let name = file.to_str().unwrap();
    let url = stage.at("/v1/temperature");
    let done = stage.run(&get(&["-o", name, &url])).ends_with(0);
    assert_eq!(done.out, "");
    let body: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(body["reading"], 1);
    let done = stage.run(&get(&["-i", &url])).ends_with(0);
    assert!(done.out.starts_with("HTTP/1.1 200 OK\r\n"), "{done:?}");
    assert!(done.out.contains("\r\npayment-receipt: "), "{done:?}");
    assert!(done.out.contains("\r\n\r\n{\"milli_celsius\""), "{done:?}");
    let told = stage.json(&get(&["-o", name, &url]));
    assert_eq!(told["output"], name);
    assert!(told["body"].is_null(), "{told}");
    let body: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(body["reading"], 3);
}

#[test]
fn method_and_headers_are_sent_as_given() {
    let stage = Stage::poor();
    let url = format!("{}/a%20b?c=d", echo());
    let args = [
        "get", "-X", "PATCH", "-H", "x-one: 1", "-H", "X-Two:2", &url,
    ];
    let done = stage.run(&args).ends_with(0);
    let head = done.out.to_ascii_lowercase();
    assert!(head.starts_with("patch /a%20b?c=d http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-one: 1\r\n"), "{head}");
    assert!(head.contains("\r\nx-two: 2\r\n"), "{head}");
}

#[test]
fn dry_run_tells_the_price_and_pays_nothing() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let args = ["--json", "get", "--dry-run", "--max-amount", "1 USD", &url];
    let told = stage.run(&args).ends_with(10).json();
    assert_eq!(told["dryRun"], true);
    let offer = &told["offers"][0];
    assert_eq!(offer["amount"], "1000");
    assert_eq!(offer["display"], "0.001 USD");
    assert_eq!(offer["method"], "ledger");
    assert_eq!(offer["url"], url.as_str());
    assert_eq!(offer["description"], "One temperature reading");
    for key in ["payee", "network", "intent", "realm", "expires", "currency"] {
        assert!(offer[key].is_string(), "{key}: {told}");
    }
    let done = stage.run(&["get", "--dry-run", &url]).ends_with(10);
    assert!(
        done.out.starts_with("would pay 0.001 USD to acct_"),
        "{done:?}"
    );
    assert_eq!(done.err, "");
    assert_eq!(stage.left(), 10_000_000);
    assert!(stage.payments().is_empty());
    assert_eq!(stage.served("temperature"), 0);
}

#[test]
fn unknown_outcome_is_exit_7_and_resume_finishes_it_without_paying_again() {
    let stage = Stage::funded();
    let tap = Tap::start(stage.address());
    let url = format!("{}/v1/temperature", tap.url);
    let mut all = vec!["--json"];
    all.extend(get(&["-m", "5", &url]));
    let done = stage.run(&all).fails(7, "money may have moved");
    let error = &done.told("error");
    assert_eq!(
        (&error["kind"], &error["retry"]),
        (&"unknown".into(), &"resume".into())
    );
    let payments = stage.payments();
    assert_eq!(payments.len(), 1);
    let call = payments[0]["call"].as_str().unwrap();
    assert!(
        done.err.contains(&format!("stiver get --resume {call}")),
        "{done:?}"
    );
    tap.heal();
    let told = stage.json(&["get", "--resume", call]);
    assert_eq!(told["status"], 200);
    assert_eq!(told["payment"]["call"], call);
    assert_eq!(stage.left(), 9_999_000);
    assert_eq!(stage.served("temperature"), 1);
    stage
        .run(&["get", "--resume", call])
        .fails(2, "is finished");
    let unknown = "0".repeat(call.len());
    stage
        .run(&["get", "--resume", &unknown])
        .fails(2, "has no call");
    assert_eq!(stage.left(), 9_999_000);
}
