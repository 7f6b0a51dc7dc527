//! What a run found: as a table, as JSON, and as the table in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::goals::{Goal, Goals};

/// The marks between which the documentation's table stands.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// What one row measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The row's name.
    pub name: String,
    /// What the value is in, such as `us CPU`.
    pub unit: &'static str,
    /// Ours.
    pub value: f64,
    /// What it is compared with, in the same unit.
    pub baseline: Option<f64>,
}

/// A row of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    name: String,
    value: Option<f64>,
    unit: &'static str,
    baseline: Option<f64>,
    ratio: Option<f64>,
    goal: Option<f64>,
    ok: bool,
    /// Why nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    sense: &'static str,
}

/// Everything a run found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds what was measured. A row without a goal is for information, and so is `ok`.
    pub fn add(&mut self, finding: Finding, goals: &Goals) {
        let goal = goals.of(&finding.name);
        let ratio = finding.baseline.map(|baseline| finding.value / baseline);
        let ok = match goal {
            None => true,
            Some(Goal::ValueMax(max)) => finding.value <= max,
            Some(Goal::ValueMin(min)) => finding.value >= min,
            Some(Goal::RatioMax(max)) => ratio.is_some_and(|ratio| ratio <= max),
            Some(Goal::RatioMin(min)) => ratio.is_some_and(|ratio| ratio >= min),
        };
        self.rows.push(Row {
            name: finding.name,
            value: Some(rounded(finding.value)),
            unit: finding.unit,
            baseline: finding.baseline.map(rounded),
            ratio: ratio.map(rounded),
            goal: goal.map(Goal::number),
            ok,
            error: None,
            sense: goal.map_or("", Goal::sense),
        });
    }

    /// Adds a row that could not be measured: it fails, whatever its goal.
    pub fn add_error(&mut self, name: &str, error: &anyhow::Error, goals: &Goals) {
        let goal = goals.of(name);
        self.rows.push(Row {
            name: name.to_owned(),
            value: None,
            unit: "",
            baseline: None,
            ratio: None,
            goal: goal.map(Goal::number),
            ok: false,
            error: Some(format!("{error:#}")),
            sense: goal.map_or("", Goal::sense),
        });
    }

    /// The rows that missed their goal or could not be measured.
    pub fn failed(&self) -> Vec<&str> {
        let failed = self.rows.iter().filter(|row| !row.ok);
        failed.map(|row| row.name.as_str()).collect()
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<28} {:>10} {:>10} {:>7} {:>8}  {:<7} {}\n",
            "row", "value", "baseline", "ratio", "goal", "", "unit"
        );
        for row in &self.rows {
            let verdict = match (row.goal, row.ok) {
                (None, true) => "-",
                (Some(_), true) => "ok",
                (_, false) => "MISSED",
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:<28} {:>10} {:>10} {:>7} {:>8}  {:<7} {}",
                row.name,
                number(row.value),
                number(row.baseline),
                number(row.ratio),
                row.goal_text(),
                verdict,
                row.error.as_deref().unwrap_or(row.unit),
            );
        }
        text
    }

    /// The report as JSON: `{"rows": [...]}`.
    pub fn json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("writing the report")?;
        text.push('\n');
        Ok(text)
    }

    /// Puts the table, and what it was measured on, between the marks of a document.
    pub fn write_into(&self, path: &Path, machine: &str) -> Result<()> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) =
            parts.with_context(|| format!("{shown} has no {BEGIN} and {END} around its table"))?;
        let table = self.markdown();
        let text = format!("{before}{BEGIN}\n{machine}\n\n{table}{END}{after}");
        fs::write(path, text).with_context(|| format!("writing {shown}"))
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "| row | value | baseline | unit | ratio | goal | |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let verdict = match (row.goal, row.ok) {
                (None, true) => "",
                (Some(_), true) => "holds",
                (_, false) if row.value.is_none() => "not measured",
                (_, false) => "missed",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {verdict} |",
                row.name,
                number(row.value),
                number(row.baseline),
                row.unit,
                number(row.ratio),
                row.goal_text(),
            );
        }
        text
    }
}

impl Row {
    fn goal_text(&self) -> String {
        self.goal
            .map_or(String::new(), |goal| format!("{} {goal}", self.sense))
    }
}

/// Three digits say what these numbers know.
fn rounded(value: f64) -> f64 {
    let digits = if value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 10.0 {
        2
    } else {
        3
    };
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let goals = Goals::parse("[a]\nratio_max = 1.1\n[b]\nratio_min = 3.0\n").unwrap();
        let mut report = Report::default();
        let finding = |name: &str, value| Finding {
            name: name.to_owned(),
            unit: "us CPU",
            value,
            baseline: Some(10.0),
        };
        report.add(finding("a", 11.5), &goals);
        report.add(finding("b", 31.0), &goals);
        report.add(finding("c", 99.0), &goals);
        report.add_error("d", &anyhow::anyhow!("nginx is not installed"), &goals);
        report
    }

    #[test]
    fn json_says_by_how_much_a_goal_is_missed() {
        let value: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        let row = &value["rows"][0];
        assert_eq!(row["name"], "a");
        assert_eq!(row["value"], 11.5);
        assert_eq!(row["unit"], "us CPU");
        assert_eq!(row["baseline"], 10.0);
        assert_eq!(row["ratio"], 1.15);
        assert_eq!(row["goal"], 1.1);
        assert_eq!(row["ok"], false);
        assert_eq!(value["rows"][1]["ok"], true);
        assert_eq!(value["rows"][2]["goal"], serde_json::Value::Null);
    }

    #[test]
    fn what_was_not_measured_fails_and_has_no_number() {
        let report = report();
        assert_eq!(report.failed(), ["a", "d"]);
        let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(value["rows"][3]["value"], serde_json::Value::Null);
        assert_eq!(value["rows"][3]["error"], "nginx is not installed");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("benchmarks.md");
        fs::write(
            &path,
            format!("before\n{BEGIN}\nstale numbers\n{END}\nafter\n"),
        )
        .unwrap();
        report().write_into(&path, "A machine.").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n"));
        assert!(text.contains("A machine.") && !text.contains("stale"));
        assert!(text.contains("| a | 11.5 | 10 | us CPU | 1.15 | <= 1.1 | missed |"));
        fs::write(&path, "no marks").unwrap();
        assert!(report().write_into(&path, "").is_err());
    }
}
