//! mppx's own validator of servers, run on our gateway.

use std::process::{Command, Stdio};

use serde_json::Value;
use stiver_interop::matrix::{Cell, Section};

use crate::stage::{Stage, mppx_folder};

/// Every question.
pub(crate) fn section() -> Section {
    let stage = Stage::new();
    let mut section = Section::new("findings");
    section.ask("`mppx validate URL -e GET:/paid -j`", || {
        found(&stage, &["-e", "GET:/paid"])
    });
    section.ask("`mppx validate URL -e POST:/order --body {} -j`", || {
        found(&stage, &["-e", "POST:/order", "--body", "{}"])
    });
    section.ask("`mppx validate URL -j`, by `/openapi.json`", || {
        found(&stage, &[])
    });
    section
}

/// Everything passed, nothing was skipped.
fn found(stage: &Stage, more: &[&str]) -> Result<Cell, String> {
    let mut command = Command::new("node");
    command.arg(mppx_folder().join("node_modules/mppx/dist/bin.js"));
    command.args(["validate", &stage.url, "-j"]).args(more);
    command.env("HOME", stage.home()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let summary = &told["summary"];
    let wrong: Vec<&Value> = checks(&told)
        .into_iter()
        .filter(|check| check["severity"] != "pass")
        .collect();
    if !wrong.is_empty() || summary["failed"] != 0 || summary["warnings"] != 0 {
        return Err(format!("{summary}: {wrong:?}"));
    }
    let endpoints = told["endpoints"].as_array().map_or(0, Vec::len);
    if endpoints == 0 || summary["passed"].as_u64() < Some(9) {
        return Err(format!("{endpoints} endpoints: {summary}"));
    }
    Ok(Cell::fact("every check passed, no warning"))
}

/// Every check of a report, wherever it stands.
fn checks(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) if members.contains_key("severity") => vec![value],
        Value::Object(members) => members.values().flat_map(checks).collect(),
        Value::Array(values) => values.iter().flat_map(checks).collect(),
        _ => Vec::new(),
    }
}
