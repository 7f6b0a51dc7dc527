//! The JSON that every command prints, as JSON Schemas (draft 2020-12).
//!
//! What is listed in a schema stays: members are added, never renamed or taken away, and a reader
//! passes over those it does not know. The command's own tests validate every object it prints.

mod gateway;
mod get;
mod ledger;
mod markdown;
mod payments;
mod sessions;
mod shape;
mod status;
mod tools;
mod wallet;

use serde_json::{Map, Value, json};

pub(crate) use markdown::markdown;
use shape::{object, one_of, text, whole};

/// What one command prints with `--json`.
pub(crate) struct Printed {
    /// The command, without `stiver`: `wallet list`.
    pub(crate) command: &'static str,
    /// What the object is.
    pub(crate) about: &'static str,
    /// Its schema.
    pub(crate) schema: Value,
}

impl Printed {
    fn new(command: &'static str, about: &'static str, schema: Value) -> Self {
        Self {
            command,
            about,
            schema,
        }
    }

    /// The schema as a document of its own.
    pub(crate) fn document(&self) -> Value {
        let mut document = Map::new();
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        document.insert("$schema".to_owned(), json!(dialect));
        document.insert("title".to_owned(), json!(self.title()));
        document.insert("description".to_owned(), json!(self.about));
        if let Value::Object(members) = &self.schema {
            document.extend(members.clone());
        }
        Value::Object(document)
    }

    /// `stiver wallet list --json`
    fn title(&self) -> String {
        match self.command {
            ERROR => "an error, on standard error".to_owned(),
            LINES => "a line on standard error".to_owned(),
            command => format!("stiver {command} --json"),
        }
    }
}

/// The name that errors go by, in place of a command's.
pub(crate) const ERROR: &str = "error";
/// The name that the lines on standard error go by.
pub(crate) const LINES: &str = "lines";

/// Commands that print no JSON of their own, whatever they are told.
#[cfg(test)]
const SILENT: [&str; 5] = ["completions", "demo-buyer", "demo-sensor", "man", "schema"];

/// Everything that is printed, commands in the order of `--help`, errors last.
pub(crate) fn all() -> Vec<Printed> {
    let mut all = tools::printed();
    all.extend(gateway::printed());
    all.push(status::printed());
    all.extend(payments::printed());
    all.push(get::printed());
    all.extend(wallet::printed());
    all.extend(sessions::printed());
    all.extend(ledger::printed());
    all.push(get::lines());
    all.push(error());
    all
}

fn error() -> Printed {
    let kinds = [
        "other",
        "usage",
        "network",
        "payment",
        "too-expensive",
        "refused",
        "unknown",
    ];
    let error = object(
        "What went wrong.",
        [
            (
                "code",
                text("What happened: stable and more precise than `kind`, or the same as it."),
            ),
            (
                "kind",
                one_of("The class of it; decides the exit code.", &kinds),
            ),
            ("message", text("For people, in one line. Not stable.")),
            ("exitCode", whole("How the command ends.")),
            (
                "moneyMoved",
                shape::nullable(one_of(
                    "Whether money moved, where the command could tell. Count `maybe` as spent.",
                    &["no", "maybe", "yes"],
                )),
            ),
            (
                "retry",
                shape::nullable(one_of(
                    "Whether to try again: not before something else is changed, safely, or only \
                     by resuming the call in `call`.",
                    &["no", "safe", "resume"],
                )),
            ),
            (
                "call",
                shape::nullable(text("The call to resume: `stiver get --resume CALL`.")),
            ),
            ("hint", shape::nullable(text("What to do next."))),
        ],
    );
    Printed::new(
        ERROR,
        "What a command that fails prints on standard error with --json, as its last line.",
        object("", [("error", error)]),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Every command that does something, as its words.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        let inner: Vec<_> = command
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .collect();
        if inner.is_empty() {
            found.push(words.trim().to_owned());
        }
        for command in inner {
            leaves(command, &format!("{words} {}", command.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_a_schema_or_prints_no_json() {
        let mut commands = Vec::new();
        leaves(&crate::args::Cli::command(), "", &mut commands);
        let known: Vec<&str> = all().iter().map(|printed| printed.command).collect();
        for command in &commands {
            let listed = known.contains(&command.as_str()) || SILENT.contains(&command.as_str());
            assert!(listed, "`{command}` has no schema in crates/cli/src/schema");
        }
        for name in known {
            let real =
                [ERROR, LINES].contains(&name) || commands.iter().any(|command| command == name);
            assert!(real, "there is no command `{name}`");
        }
    }

    #[test]
    fn history_has_its_columns() {
        let all = all();
        let history = all
            .iter()
            .find(|printed| printed.command == "wallet history");
        let schema = &history.unwrap().schema;
        let row = &schema["properties"]["payments"]["items"]["properties"];
        let listed = row.as_object().unwrap();
        assert_eq!(listed.len(), crate::commands::wallet::COLUMNS.len());
        for column in crate::commands::wallet::COLUMNS {
            assert!(listed.contains_key(column), "{column}");
        }
    }
}
