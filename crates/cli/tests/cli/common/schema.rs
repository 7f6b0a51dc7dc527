//! Holds what every command prints with --json against `stiver schema`, in all tests.
//!
//! A small validator of its own: it knows the keywords that our schemas use and refuses any other,
//! and it is stricter than JSON Schema: a member that no schema names is a fault, unless the schema
//! says that anything may stand there.

use std::{process::Command, sync::OnceLock};

use serde_json::Value;

use super::Done;

/// All schemas, by command.
pub(crate) fn schemas() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut schema = Command::new(env!("CARGO_BIN_EXE_stiver"));
        let done = schema.args(["schema", "--all"]).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap()
    })
}

/// Checks what a command printed.
#[track_caller]
pub(crate) fn check(command: &Command, done: &Done) {
    let args: Vec<String> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    for line in done.err.lines() {
        if let Ok(object) = serde_json::from_str::<Value>(line)
            && object.get("error").is_some()
        {
            expect(&schemas()["error"], &object);
        } else if let Ok(object) = serde_json::from_str::<Value>(line)
            && (object.get("note").is_some() || object.get("payment").is_some())
        {
            expect(&schemas()["lines"], &object);
        }
    }
    if !args.iter().any(|arg| arg == "--json") {
        return;
    }
    let Some(name) = named(&args) else { return };
    for line in done.out.lines() {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done:?}"));
        expect(&schemas()[&name], &object);
    }
    if done.code != 0 && done.out.is_empty() {
        // Also where the arguments themselves were wrong, which clap says in words.
        let told = done.err.contains("\"error\"") || done.err.contains("Usage:");
        assert!(told || done.code == 10, "{done:?}");
    }
}

/// The command that the arguments name, when it has a schema.
fn named(args: &[String]) -> Option<String> {
    let all = schemas().as_object().unwrap();
    for (index, first) in args.iter().enumerate() {
        if all.contains_key(first) {
            return Some(first.clone());
        }
        let rest = args.iter().skip(index + 1);
        let mut both = rest.map(|second| format!("{first} {second}"));
        if let Some(both) = both.find(|both| all.contains_key(both)) {
            return Some(both);
        }
    }
    None
}

/// Asserts that a value is what a schema says.
#[track_caller]
pub(crate) fn expect(schema: &Value, value: &Value) {
    if let Err(fault) = validate(schema, value, "$") {
        panic!("{fault}: {value}");
    }
}

fn validate(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let keywords = schema
        .as_object()
        .ok_or_else(|| format!("{at}: no schema"))?;
    for (keyword, rule) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "format" | "required" => true,
            "additionalProperties" => *rule == Value::Bool(true),
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is_of(name, value)),
                name => is_of(name, value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "pattern" => matches(rule.as_str().unwrap(), value.as_str().unwrap_or_default()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "properties" => return properties(keywords, value, at),
            "anyOf" => {
                let forms = rule.as_array().unwrap().iter();
                let faults: Vec<String> = forms
                    .map(|form| validate(form, value, at))
                    .map_while(Result::err)
                    .collect();
                if faults.len() == rule.as_array().unwrap().len() {
                    return Err(faults.join(" | "));
                }
                true
            }
            other => return Err(format!("{at}: the keyword {other} is not known here")),
        };
        if !holds {
            return Err(format!("{at}: not {keyword} {rule}"));
        }
    }
    Ok(())
}

fn properties(
    keywords: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let members = value
        .as_object()
        .ok_or_else(|| format!("{at}: no object"))?;
    let listed = keywords["properties"].as_object().unwrap();
    for name in keywords["required"].as_array().unwrap() {
        if !members.contains_key(name.as_str().unwrap()) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in members {
        let schema = listed
            .get(name)
            .ok_or_else(|| format!("{at}: {name} is in no schema"))?;
        validate(schema, member, &format!("{at}.{name}"))?;
    }
    Ok(())
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    }
}

/// The two patterns that there are.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^did:key:z" => text.starts_with("did:key:z"),
        "^-?(0|[1-9][0-9]*)$" => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain && (digits == "0" || !digits.starts_with('0'))
        }
        other => panic!("the pattern {other} is not known here"),
    }
}
