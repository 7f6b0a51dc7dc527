//! The schemas as a page of documentation: `docs/cli-json.md`.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ERROR, LINES, Printed};

const HEAD: &str = "\
# What the commands print with --json

<!-- Written by `stiver schema --markdown`; a test compares. Do not edit. -->

With `--json` a command prints one JSON object on one line of standard output; a command that fails
prints one on standard error, [an error](#errors), and ends with its exit code. `stiver schema
COMMAND` prints the JSON Schema (draft 2020-12) of what a command prints, `stiver schema error` that
of errors, `stiver schema --all` all of them in one object.

Members are added, and never renamed or taken away: pass over those you do not know. Amounts are
base units as decimal digits in a text, exact whatever their size; `display` is for people.
";

/// The whole page.
pub(crate) fn markdown(all: &[Printed]) -> String {
    let mut page = HEAD.to_owned();
    for printed in all {
        let heading = match printed.command {
            ERROR => "Errors".to_owned(),
            LINES => "Lines on standard error".to_owned(),
            command => format!("`stiver {command}`"),
        };
        let _ = write!(page, "\n## {heading}\n\n{}\n", wrapped(printed.about));
        let shapes = shapes(&printed.schema);
        for (index, shape) in shapes.iter().enumerate() {
            if shapes.len() > 1 {
                let _ = write!(page, "\nForm {} of {}:\n", index + 1, shapes.len());
            }
            page.push('\n');
            members(&mut page, shape, 0);
        }
    }
    page
}

/// The forms that a schema allows.
fn shapes(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(forms) => forms.iter().collect(),
        None => vec![schema],
    }
}

/// A list item for each member, those of inner objects below it.
fn members(page: &mut String, schema: &Value, depth: usize) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, member) in properties {
        let about = member
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let sometimes = if required.contains(&name.as_str()) {
            ""
        } else {
            ", sometimes"
        };
        let line = format!("- `{name}` ({}{sometimes}): {about}", kind(member));
        let indent = "  ".repeat(depth);
        for (index, part) in wrapped(&line).lines().enumerate() {
            let more = if index == 0 { "" } else { "  " };
            let _ = writeln!(page, "{indent}{more}{}", part.trim_end());
        }
        for inner in inner(member) {
            members(page, inner, depth + 1);
        }
    }
}

/// The objects inside of a member.
fn inner(member: &Value) -> Vec<&Value> {
    shapes(member)
        .into_iter()
        .flat_map(|shape| match shape.get("items") {
            Some(items) => shapes(items),
            None => vec![shape],
        })
        .collect()
}

/// The type in words.
fn kind(schema: &Value) -> String {
    let forms = shapes(schema);
    if forms.len() > 1 {
        let words: Vec<String> = forms.iter().map(|form| kind(form)).collect();
        return words.join(" or ");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words = words.iter().filter_map(Value::as_str);
        let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    match schema.get("type") {
        Some(Value::String(name)) => match (name.as_str(), schema.get("format")) {
            ("string", Some(_)) => "date".to_owned(),
            ("array", _) => "list".to_owned(),
            (name, _) => name.to_owned(),
        },
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// Longest line, characters: room for the indent is left.
const LINE_MAX: usize = 92;

fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if length > 0 && length + 1 + width > LINE_MAX {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += width;
    }
    lines
}
