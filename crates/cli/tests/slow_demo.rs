//! Every scene of `stiver demo`, as a user plays it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::process::{Command, Stdio};

use serde_json::Value;

/// Plays a scene; gives its facts.
fn play(scene: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_stiver"))
        .args(["--json", "demo", "--scene", scene])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let told: Value = serde_json::from_slice(&output.stdout).expect("one object is printed");
    assert!(output.status.success(), "{scene}: {told} {error}");
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["scenes"][0]["name"], scene);
    assert_eq!(told["scenes"].as_array().map(Vec::len), Some(1));
    told["scenes"][0]["facts"].clone()
}

fn number(facts: &Value, key: &str) -> u64 {
    let number = facts[key].as_u64();
    number.unwrap_or_else(|| unreachable!("{key} is a number: {facts}"))
}

#[test]
fn the_paywall_sells_exactly_what_was_paid_for() {
    let facts = play("paywall");
    assert_eq!(
        number(&facts, "burst_paid") + 2,
        number(&facts, "handler_runs")
    );
}

#[test]
fn a_killed_gateway_loses_no_payment() {
    let facts = play("crash");
    assert_eq!(facts["paid"], facts["receipts"]);
}

#[test]
fn a_burst_measures_vouchers_and_ticks_and_takes_what_was_signed() {
    let facts = play("burst");
    assert!(number(&facts, "signed_sent") > 0 && number(&facts, "ticks_sent") > 0);
    assert_eq!(facts["signed"], facts["taken"]);
    for column in ["voucher_cpu_ns", "tick_cpu_ns"] {
        for part in ["codec", "signature", "disk"] {
            assert!(number(&facts[column], part) > 0, "{column} {part}: {facts}");
        }
    }
}

#[test]
fn a_killed_buyer_of_readings_goes_on_with_its_session_and_the_books_match() {
    let facts = play("sensor");
    assert!(number(&facts, "readings_before") >= 40);
    assert!(number(&facts, "readings_after") >= 40);
}

#[test]
fn a_models_answer_is_paid_by_the_token_that_it_reports() {
    let facts = play("tokens");
    assert!(number(&facts, "tokens") > number(&facts, "chunks"));
    assert!(number(&facts, "vouchers") > 1);
}

#[test]
fn a_car_pays_two_meters_under_its_cap_and_a_fast_one_within_its_window() {
    let facts = play("charger");
    assert!(number(&facts, "fast_sold_wh") > number(&facts, "fast_flowed_wh"));
    assert!(facts["refused"].as_str().unwrap().contains("the price is"));
}
