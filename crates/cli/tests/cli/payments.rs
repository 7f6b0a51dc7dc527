//! `stiver payments`.

use serde_json::Value;

use crate::common::Stage;

/// Runs one of the commands.
fn payments(stage: &Stage, args: &[&str]) -> crate::common::Done {
    let config = stage.config();
    let mut all = vec!["payments"];
    all.extend(args);
    all.extend(["--config", config.to_str().unwrap()]);
    stage.run(&all)
}

/// The same for its JSON object.
#[track_caller]
fn told(stage: &Stage, args: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    payments(stage, &all).ends_with(0).json()
}

/// Pays for a reading: the id of its challenge.
fn paid_for(stage: &Stage) -> String {
    let url = stage.at("/v1/temperature?token=hunter2");
    let get = ["get", "--max-amount", "0.01 USD", &url];
    let told = stage.json(&get);
    told["payment"]["challengeId"].as_str().unwrap().to_owned()
}

#[test]
fn payments_are_listed_shown_and_given_back() {
    let stage = Stage::funded();
    assert_eq!(
        payments(&stage, &["list"]).ends_with(0).out,
        "no payments\n"
    );
    let id = paid_for(&stage);
    let other = paid_for(&stage);
    let left = stage.left();
    let done = payments(&stage, &["list"]).ends_with(0);
    assert_eq!(done.out.lines().count(), 2);
    assert!(
        done.out.contains(&id) && done.out.contains(&other),
        "{done:?}"
    );
    assert!(!done.out.contains("hunter2"), "{done:?}");
    let all = told(&stage, &["list", "-n", "1"]);
    assert_eq!(all["payments"].as_array().unwrap().len(), 1);
    let one = told(&stage, &["show", &id]);
    assert_eq!(one["payment"]["state"], "delivered");
    let done = payments(&stage, &["show", &id]).ends_with(0);
    assert!(done.out.contains("GET /v1/temperature"), "{done:?}");

    for _ in 0..2 {
        let back = told(&stage, &["refund", &id, "--reason", "wrong reading"]);
        assert_eq!(back["amount"]["units"], "1000");
        assert_eq!(stage.left(), left + 1000, "once");
    }
    let part = [
        "refund",
        &other,
        "--amount",
        "0.0004 USD",
        "--reason",
        "late",
        "--key",
        "c7",
    ];
    for _ in 0..2 {
        let back = told(&stage, &part);
        assert_eq!(back["amount"]["units"], "400");
        assert_eq!(stage.left(), left + 1400, "once");
    }
    assert_eq!(told(&stage, &["show", &id])["payment"]["state"], "refunded");
    let done = payments(&stage, &["show", &other]).ends_with(0);
    assert!(done.out.contains("delivered"), "{done:?}");
}

#[test]
fn what_cannot_be_given_back_is_refused_with_its_own_exit_code() {
    let mut stage = Stage::funded();
    let id = paid_for(&stage);
    let left = stage.left();
    let table = [
        (&["show", "nobody"][..], 2, "payments list"),
        (&["show", "-b&x=\u{1b}[31m"], 2, "payments list"),
        (&["refund", "nobody", "--reason", "r"], 2, "nobody"),
        (&["refund", &id], 2, "--reason"),
        (&["refund", &id, "--reason", ""], 2, "reason"),
        (
            &["refund", &id, "--reason", "r", "--key", "k"],
            2,
            "--amount",
        ),
        (
            &["refund", &id, "--reason", "r", "--amount", "much"],
            2,
            "amount",
        ),
        (
            &["refund", &id, "--reason", "r", "--amount", "1 USD"],
            2,
            "at most",
        ),
    ];
    for (args, code, needle) in table {
        let done = payments(&stage, args);
        let done = done.fails(code, needle);
        assert!(!done.err.contains('\u{1b}'), "{done:?}");
    }
    payments(
        &stage,
        &["refund", &id, "--amount", "0.0004 USD", "--reason", "late"],
    )
    .ends_with(0);
    let done = payments(&stage, &["refund", &id, "--reason", "sorry"]);
    let done = done.fails(6, "600");
    assert!(done.said().contains("no money moved"), "{done:?}");
    assert_eq!(stage.left(), left + 400);
    stage.stop();
    payments(&stage, &["list"]).fails(2, "no gateway answers");
}
