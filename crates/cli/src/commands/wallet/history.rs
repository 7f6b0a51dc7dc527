//! `stiver wallet history`: what was paid, to look at or to take along.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use anyhow::Context;
use serde_json::{Value, json};
use stiver_client::outbox::{Entry, HistoryFilter, State};
use stiver_core::{Timestamp, untrusted::Untrusted};
use stiver_env::Env;

use crate::{
    args::{Format, History, StateChoice},
    failure::{Failure, UsageContext},
    output::{DIM, Output},
    payer::open_wallet,
};

/// How many payments are shown to people unless they say otherwise.
const SHOWN: usize = 20;

/// The columns of an export, in order. New ones come at the end; none is ever renamed or taken
/// away.
pub(crate) const COLUMNS: [&str; 21] = [
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
];

impl StateChoice {
    fn state(self) -> State {
        match self {
            Self::Challenged => State::Challenged,
            Self::Authorised => State::Authorised,
            Self::Sent => State::Sent,
            Self::Refused => State::Refused,
            Self::Unknown => State::Unknown,
            Self::Unread => State::Unread,
            Self::Paid => State::Paid,
            Self::Settled => State::Settled,
            Self::Void => State::Void,
            Self::Abandoned => State::Abandoned,
        }
    }
}

/// Prints what the filters let through.
pub(super) fn run(args: &History, env: &Env, output: Output) -> Result<(), Failure> {
    let format = match (args.format, output.is_json()) {
        (Format::Text, true) => Format::Json,
        (Format::Csv, true) => {
            return Err(Failure::usage(
                "--json and --format csv contradict each other",
            ));
        }
        (format, _) => format,
    };
    let limit = match (args.limit, args.format) {
        (Some(limit), _) => Some(limit),
        (None, Format::Text) => Some(SHOWN),
        (None, _) => None,
    };
    let filter = HistoryFilter {
        newest: limit,
        since: args.since.as_deref().map(instant).transpose()?,
        until: args.until.as_deref().map(instant).transpose()?,
        host: args.host.clone(),
        states: args.state.iter().map(|state| state.state()).collect(),
        unresolved: args.unresolved,
        ..HistoryFilter::default()
    };
    let (_, wallet) = open_wallet(&args.wallet, env)?;
    let mut entries = wallet.history(&filter)?;
    entries.reverse();
    let mut out: Box<dyn Write> = match &args.output {
        Some(file) => {
            let opened = File::create(file).usage(format!("writing {}", file.display()))?;
            Box::new(BufWriter::new(opened))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    match format {
        Format::Text => text(&mut out, &entries, output),
        Format::Csv => csv(&mut out, &entries),
        Format::Json => {
            let rows: Vec<Value> = entries.iter().map(row).collect();
            writeln!(out, "{}", json!({"payments": rows}))
        }
        Format::Ndjson => entries
            .iter()
            .try_for_each(|entry| writeln!(out, "{}", row(entry))),
    }
    .and_then(|()| out.flush())
    .context("writing the history")?;
    Ok(())
}

/// A day, which is its midnight UTC, or an instant.
fn instant(text: &str) -> Result<Timestamp, Failure> {
    let is_day = text.len() == "2026-11-01".len();
    let whole = if is_day {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    Timestamp::parse_rfc3339(&whole).usage(format!(
        "the date {text:?}: write 2026-11-01 or 2026-11-01T12:00:00Z"
    ))
}

fn text(out: &mut dyn Write, entries: &[Entry], output: Output) -> io::Result<()> {
    for entry in entries {
        writeln!(
            out,
            "{}  {:>14}  {:<10}  {} {}  {}",
            entry.begun_at.to_rfc3339(),
            entry.terms.amount.to_string(),
            entry.state.as_str(),
            entry.resource.method,
            Untrusted(&entry.resource.url),
            output.paint(DIM, &entry.id.to_string())
        )?;
    }
    if entries.is_empty() {
        writeln!(out, "no payments")?;
    }
    Ok(())
}

/// One payment, as [`COLUMNS`] names its members.
fn row(entry: &Entry) -> Value {
    let amount = &entry.terms.amount;
    json!({
        "call": entry.id.to_string(),
        "state": entry.state.as_str(),
        "moneyMoved": entry.money_moved().as_str(),
        "begunAt": entry.begun_at.to_rfc3339(),
        "changedAt": entry.changed_at.to_rfc3339(),
        "method": entry.resource.method,
        "url": entry.resource.url,
        "amount": amount.to_wire(),
        "currency": amount.currency().code(),
        "decimals": amount.currency().decimals(),
        "value": amount.to_decimal(),
        "display": amount.to_string(),
        "payee": entry.terms.payee,
        "network": entry.terms.network,
        "realm": entry.terms.realm,
        "paymentMethod": entry.terms.method,
        "intent": entry.terms.intent,
        "challengeId": entry.terms.challenge_id,
        "reference": entry.reference,
        "signatures": entry.signatures,
        "note": entry.note,
    })
}

fn csv(out: &mut dyn Write, entries: &[Entry]) -> io::Result<()> {
    write!(out, "{}\r\n", COLUMNS.join(","))?;
    for entry in entries {
        let row = row(entry);
        let fields: Vec<String> = COLUMNS.iter().map(|name| field(&row[name])).collect();
        write!(out, "{}\r\n", fields.join(","))?;
    }
    Ok(())
}

/// What stands for a control character.
const REPLACED: &str = "\u{fffd}";

/// One field (RFC 4180). Some of it comes from whoever was paid: control characters are replaced,
/// and text that a spreadsheet would take for a formula gets an apostrophe in front.
fn field(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.replace(char::is_control, REPLACED),
        other => other.to_string(),
    };
    let guard = if is_formula(&text) { "'" } else { "" };
    let quoted = !guard.is_empty() || text.contains([',', '"']);
    if quoted {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// True when a spreadsheet might compute something of it. An id that begins with a hyphen is none.
fn is_formula(text: &str) -> bool {
    let is_word = |rest: &str| {
        let mut bytes = rest.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match text.strip_prefix('-') {
        Some(rest) => !is_word(rest),
        None => text.starts_with(['=', '+', '@']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_and_never_formulas() {
        for (value, expected) in [
            (json!(null), ""),
            (json!(7), "7"),
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"x\""), "\"say \"\"x\"\"\""),
            (json!("two\nlines"), "two\u{fffd}lines"),
            (json!("\u{1b}]0;x\u{7}"), "\u{fffd}]0;x\u{fffd}"),
            (json!("\r=1+1"), "\u{fffd}=1+1"),
            (json!("=1+1"), "\"'=1+1\""),
            (json!("@SUM(A1)"), "\"'@SUM(A1)\""),
            (json!("-1+cmd|x"), "\"'-1+cmd|x\""),
            (json!("-1"), "-1"),
            (json!("-zJ_4-id"), "-zJ_4-id"),
        ] {
            assert_eq!(field(&value), expected, "{value}");
        }
    }

    #[test]
    fn dates_are_days_or_instants() {
        let day = instant("2026-11-01").unwrap();
        assert_eq!(day, instant("2026-11-01T00:00:00Z").unwrap());
        assert_eq!(day, instant("2026-11-01T01:00:00+01:00").unwrap());
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01T", "20261101"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
