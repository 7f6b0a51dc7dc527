//! `stiver get --session` and `stiver sessions`, with a gateway that offers sessions.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::common::{Stage, command, site::Site};

const EACH: &str = r#"
[[route]]
path = "/feed"
methods = ["GET"]
price = "0.001 USD per event"
session = { window = "0.002 USD", pause_s = 1 }

[[route]]
path = "/endless"
methods = ["GET"]
price = "0.001 USD per event"
session = { window = "0.002 USD", pause_s = 1 }

[[route]]
path = "/file"
methods = ["GET"]
price = "0.00000001 USD per byte"
session = { window = "0.001 USD", pause_s = 1 }

[[route]]
path = "/**"
methods = ["GET"]
price = "0.01 USD per request"
"#;

/// Bytes of the file: what they cost is many times what is signed ahead for them.
const FILE_BYTES: usize = 3_000_050;

/// Answers `/feed` with ten events, `/file` with a file, and everything else with a word.
fn site() -> Site {
    Site::start(|asked, wire| {
        if asked.target == "/endless" {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        connection: close\r\n\r\n";
            let _ = wire.write_all(head.as_bytes());
            let _ = wire.write_all("data: reading\n\n".repeat(5).as_bytes());
            // Until the other side goes away.
            let _ = wire.read(&mut [0]);
            return;
        }
        let (kind, body) = match asked.target.as_str() {
            "/feed" => ("text/event-stream", "data: reading\n\n".repeat(10)),
            "/file" => ("application/octet-stream", "x".repeat(FILE_BYTES)),
            _ => ("text/plain", "goods".to_owned()),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        let _ = wire.write_all(format!("{head}{body}").as_bytes());
    })
}

fn sessions(stage: &Stage) -> Vec<Value> {
    let told = stage.json(&["sessions", "list", "--all"]);
    told["sessions"].as_array().unwrap().clone()
}

#[test]
fn one_session_pays_for_several_runs_and_gives_the_rest_back() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let get = ["get", "--session", "--max-session", "0.2 USD"];
    for n in 1..=2_u128 {
        let done = stage.run(&[&get[..], &[&stage.at("/x")]].concat());
        let done = done.ends_with(0);
        assert_eq!(done.out, "goods");
        let paid = done.told("payment");
        assert_eq!(paid["display"], "0.01 USD");
        assert_eq!(paid["session"]["signed"], (n * 10_000).to_string());
        assert_eq!(
            paid["session"]["requests"],
            n.to_string().parse::<u64>().unwrap()
        );
    }
    assert_eq!(stage.left(), 9_800_000, "the deposit is set aside");
    let listed = stage.json(&["sessions", "list"]);
    assert_eq!(listed["sessions"][0]["state"], "open");
    let closed = stage.json(&["sessions", "close"]);
    assert_eq!(closed["sessions"][0]["state"], "closed");
    assert_eq!(closed["sessions"][0]["captured"], "20000");
    assert_eq!(stage.left(), 9_980_000);
    assert!(
        stage
            .run(&["sessions", "list"])
            .ends_with(0)
            .out
            .contains("no sessions")
    );
    assert_eq!(sessions(&stage).len(), 1);
}

#[test]
fn a_stream_is_paid_by_the_event_and_closed_when_it_was_read() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let url = stage.at("/feed");
    let told = stage.json(&[
        "get",
        "--session",
        "--max-session",
        "0.2 USD",
        "--close",
        &url,
    ]);
    let body = told["body"].as_str().unwrap();
    assert_eq!(body.matches("data: reading").count(), 10);
    assert!(!body.contains("payment-"), "{body}");
    assert_eq!(told["payment"]["amount"], "10000");
    let receipt = &told["payment"]["receipt"];
    assert_eq!(receipt["spent"], "10000", "the last one: {receipt}");
    let sessions = sessions(&stage);
    assert_eq!(sessions[0]["state"], "closed");
    assert_eq!(sessions[0]["captured"], "10000");
    assert_eq!(sessions[0]["note"], Value::Null);
    assert_eq!(stage.left(), 9_990_000);
}

#[test]
fn a_file_that_costs_more_than_was_signed_ahead_comes_whole_and_is_paid_by_the_byte() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let url = stage.at("/file");
    let ahead = ["--sign-ahead", "0.004 USD", "--deposit", "0.2 USD"];
    let get = [&["get", "--session", "--close"][..], &ahead, &[&url]].concat();
    let done = stage.run(&get).ends_with(0);
    assert_eq!(done.out.len(), FILE_BYTES, "{}", done.err);
    // A hundredth of a base unit for each byte. This side rounds up; the receipt at the end says
    // what was taken.
    assert_eq!(done.told("payment")["amount"], "30000", "{}", done.err);
    let sessions = sessions(&stage);
    let signed: u128 = sessions[0]["signed"].as_str().unwrap().parse().unwrap();
    assert!((30_000..=34_001).contains(&signed), "{signed}");
    assert_eq!(sessions[0]["captured"], "30000");
    assert_eq!(sessions[0]["note"], Value::Null);
    assert_eq!(stage.left(), 10_000_000 - 30_000);
}

#[test]
fn a_body_that_costs_more_than_is_allowed_ends_early_and_says_so() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let get = ["get", "--session", "--max-session", "0.2 USD", "--close"];
    let limit = ["--max-amount", "0.004 USD", &stage.at("/feed")];
    let done = stage.run(&[&get[..], &limit].concat());
    assert_eq!(done.out.matches("data: reading").count(), 4);
    assert_eq!(done.told("payment")["amount"], "4000");
    let error = done.told("error");
    assert_eq!(error["moneyMoved"], "yes", "{error}");
    done.fails(5, "because no more was paid for it");
    let limit = ["--max-amount", "0.01 USD", &stage.at("/file")];
    let done = stage.run(&[&get[..], &limit].concat());
    assert!((900_000..=1_000_000).contains(&done.out.len()));
    done.fails(5, "because no more was paid for it");
    assert!(sessions(&stage).iter().all(|it| it["state"] == "closed"));
}

#[test]
fn a_hash_chain_goes_on_after_its_program_was_killed_and_both_sides_agree_in_the_end() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let get = [
        "get",
        "--session",
        "--voucher",
        "hash-chain",
        "--max-session",
        "0.2 USD",
        "--deposit",
        "0.05 USD",
    ];
    stage
        .run(&[&get[..], &[&stage.at("/feed")]].concat())
        .ends_with(0);
    let before = sessions(&stage).remove(0);
    assert_eq!(
        (&before["step"], &before["spent"]),
        (&"1000".into(), &"10000".into())
    );
    let mut killed = command(&stage.home());
    killed.args(get).arg(stage.at("/endless"));
    let mut killed = killed.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let data = lines
            .by_ref()
            .find(|line| line.as_ref().unwrap() == "data: reading");
        assert!(data.is_some());
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let between = sessions(&stage).remove(0);
    assert_eq!(between["inFlight"], 1, "{between}");
    stage
        .run(&[&get[..], &[&stage.at("/feed")]].concat())
        .ends_with(0);
    let all = sessions(&stage);
    assert_eq!(all.len(), 1, "the next program goes on with the same chain");
    let closed = stage.json(&["sessions", "close"]);
    let closed = &closed["sessions"][0];
    let figure = |name: &str| -> u128 { closed[name].as_str().unwrap().parse().unwrap() };
    assert_eq!(closed["state"], "closed");
    // Twice ten events, and what had left of the five.
    assert!((23_000..=25_000).contains(&figure("captured")), "{closed}");
    assert!(figure("captured") <= figure("signed"));
    assert_eq!(figure("signed") % 1_000, 0);
    assert_eq!(stage.left(), 10_000_000 - figure("captured"));
}

/// A session is opened for one request, and stays open.
#[track_caller]
fn buys_once(stage: &Stage) {
    let url = stage.at("/x");
    let get = ["get", "--session", "--max-session", "0.2 USD", &url];
    stage.run(&get).ends_with(0);
}

#[test]
fn only_sessions_that_nothing_has_used_for_so_long_are_closed() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    buys_once(&stage);
    let told = stage.json(&["sessions", "close", "--idle", "1h"]);
    assert_eq!(told["sessions"], Value::Array(Vec::new()));
    stage
        .run(&["sessions", "close", "--idle", "soon"])
        .fails(2, "such as 90s");
    let told = stage.json(&["sessions", "close", "--idle", "0s"]);
    assert_eq!(told["sessions"][0]["state"], "closed");
}

#[test]
fn a_session_whose_journal_is_lost_is_found_at_the_ledger_and_left_by_force() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let get = [
        "get",
        "--session",
        "--max-session",
        "0.2 USD",
        &stage.at("/x"),
    ];
    stage.run(&get).ends_with(0);
    let known = sessions(&stage).remove(0);
    // What the wallet knows is not found a second time.
    let told = stage.json(&["sessions", "recover"]);
    assert_eq!(told["sessions"].as_array().unwrap().len(), 1);
    let folder = stage.home().join("sessions/default");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(sessions(&stage).is_empty());
    let told = stage.json(&["sessions", "recover"]);
    let found = &told["sessions"][0];
    assert_eq!(found["channel"], known["channel"]);
    assert_eq!(
        (&found["state"], &found["origin"]),
        (&"open".into(), &"unknown".into())
    );
    let id = found["session"].as_str().unwrap();
    // It can sign nothing, so it is neither used nor closed by a voucher.
    stage.run(&["sessions", "close", id]).fails(4, "secret");
    stage.run(&get).ends_with(0);
    assert_eq!(sessions(&stage).len(), 2);
    let told = stage.json(&["sessions", "recover", "--force", id]);
    let rows = told["sessions"].as_array().unwrap();
    let left = rows.iter().find(|row| row["session"] == id).unwrap();
    // A gateway that has seen it already has taken its due.
    let state = left["state"].as_str().unwrap();
    assert!(matches!(state, "forced" | "closed"), "{told}");
}

#[test]
fn a_deposit_that_nothing_allows_is_not_made() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    let url = stage.at("/x");
    let done = stage.run(&["get", "--session", &url]);
    done.fails(5, "--max-session");
    let limit = ["get", "--session", "--max-session", "0.005 USD", &url];
    stage.run(&limit).fails(5, "limit for a session");
    let each = [
        "get",
        "--session",
        "--max-session",
        "1 USD",
        "--max-amount",
        "0.001 USD",
        &url,
    ];
    stage.run(&each).fails(5, "limit for a request");
    assert!(sessions(&stage).is_empty());
    assert_eq!(stage.left(), 10_000_000);
}

#[test]
fn a_session_is_closed_at_the_ledger_when_its_payee_is_asked_no_more() {
    let site = site();
    let stage = Stage::before(&site.url, EACH);
    buys_once(&stage);
    let id = sessions(&stage)[0]["session"].as_str().unwrap().to_owned();
    let told = stage.json(&["sessions", "recover", "--force", &id]);
    let session = &told["sessions"][0];
    // A gateway that has seen it already has taken its due.
    let state = session["state"].as_str().unwrap();
    assert!(matches!(state, "forced" | "closed"), "{told}");
    stage
        .run(&["sessions", "close", "nonsense"])
        .fails(2, "not a session id");
}
