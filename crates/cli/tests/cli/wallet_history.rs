//! `stiver wallet history`: filters and exports.

use serde_json::Value;

use crate::common::Stage;

/// A wallet with two payments and a refused one, newest first.
fn paid() -> (Stage, Vec<Value>) {
    let stage = Stage::funded();
    for path in ["/v1/temperature", "/v1/calibrate", "/v1/nothing"] {
        let method = if path == "/v1/calibrate" {
            "POST"
        } else {
            "GET"
        };
        let url = stage.at(path);
        let done = stage.run(&["get", "-X", method, "--max-amount", "1 USD", &url]);
        assert!([0, 6].contains(&done.code), "{done:?}");
    }
    let rows = stage.payments();
    assert_eq!(rows.len(), 3);
    (stage, rows)
}

fn calls(rows: &[Value]) -> Vec<&str> {
    let calls = rows.iter().map(|row| row["call"].as_str().unwrap());
    calls.collect()
}

#[test]
fn filters_let_through_what_they_say() {
    let (stage, all) = paid();
    let pick = |filter: &[&str]| -> Vec<String> {
        let args = [&["wallet", "history"], filter].concat();
        let rows = stage.json(&args)["payments"].as_array().unwrap().clone();
        calls(&rows).into_iter().map(str::to_owned).collect()
    };
    let all = calls(&all);
    let host = stage.address();
    let name = host.split(':').next().unwrap();
    let none: [&str; 0] = [];
    assert_eq!(pick(&["--host", host]), all);
    assert_eq!(pick(&["--host", name]), all);
    assert_eq!(pick(&["--host", "api.example"]), none);
    assert_eq!(pick(&["--since", "2000-01-01"]), all);
    assert_eq!(pick(&["--until", "2000-01-01T00:00:00Z"]), none);
    assert_eq!(pick(&["--state", "paid", "--state", "settled"]), all);
    assert_eq!(pick(&["--state", "void"]), none);
    assert_eq!(pick(&["--unresolved"]), none);
    assert_eq!(pick(&["-n", "1"]), all[..1]);
    stage
        .run(&["wallet", "history", "--since", "yesterday"])
        .fails(2, "2026-11-01");
    stage
        .run(&["wallet", "history", "--state", "happy"])
        .ends_with(2);
}

#[test]
fn exports_have_the_same_columns_and_exact_amounts() {
    let (stage, all) = paid();
    let export = |format: &str| {
        let args = ["wallet", "history", "--format", format];
        stage.run(&args).ends_with(0).out
    };
    let lines: Vec<Value> = export("ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, all);
    let whole: Value = serde_json::from_str(&export("json")).unwrap();
    assert_eq!(whole["payments"], Value::Array(lines));
    let csv = export("csv");
    assert!(csv.ends_with("\r\n"), "{csv:?}");
    let mut csv = csv.trim_end().split("\r\n");
    let columns: Vec<&str> = csv.next().unwrap().split(',').collect();
    // Stable: a new column comes at the end of this list.
    assert_eq!(
        columns,
        [
            "call",
            "state",
            "moneyMoved",
            "begunAt",
            "changedAt",
            "method",
            "url",
            "amount",
            "currency",
            "decimals",
            "value",
            "display",
            "payee",
            "network",
            "realm",
            "paymentMethod",
            "intent",
            "challengeId",
            "reference",
            "signatures",
            "note",
        ]
    );
    let rows: Vec<Vec<&str>> = csv.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), all.len());
    for (row, object) in rows.iter().zip(&all) {
        assert_eq!(object.as_object().unwrap().len(), columns.len());
        for (column, field) in columns.iter().zip(row) {
            let value = &object[*column];
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // A note may hold a comma: it is the last column.
            assert!(text.starts_with(field.trim_matches('"')), "{column}");
        }
    }
    let newest = &all[1];
    assert_eq!(newest["amount"], "50000");
    assert_eq!(newest["decimals"], 6);
    assert_eq!(newest["value"], "0.05");
    assert_eq!(newest["display"], "0.05 USD");
}

#[test]
fn export_goes_to_a_file_when_told() {
    let (stage, all) = paid();
    let file = stage.root.path().join("history.ndjson");
    let path = file.to_str().unwrap();
    let args = ["wallet", "history", "--format", "ndjson", "-o", path];
    assert_eq!(stage.run(&args).ends_with(0).out, "");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), all.len());
    let nowhere = ["wallet", "history", "-o", "/nowhere/file"];
    stage.run(&nowhere).fails(2, "/nowhere/file");
    stage
        .run(&["--json", "wallet", "history", "--format", "csv"])
        .fails(2, "contradict");
}
