//! What a response used and does not count itself: as it is reported, in its head, its body, its
//! trailers, or by its handler.

use std::borrow::Cow;

use http::HeaderMap;
use stiver_channel::meter::Unit;
use stiver_core::json::Value;

use super::metered::data;
use crate::{
    gate::session::metered::Metering,
    session::{UsageSource, usage::Each},
};

/// What was reported of one response, meter by meter, in steps.
///
/// A meter's figure never falls. Where its upstream and its handler report the same, the higher
/// figure counts.
#[derive(Default)]
pub(super) struct Used {
    due: Each,
    /// Events with content of a language model: each a token at least, where nobody says more.
    content: u64,
    charged: Each,
}

impl Used {
    /// What the head of a response says.
    pub(super) fn at_head(account: &Metering, headers: &HeaderMap) -> Self {
        let mut used = Self::default();
        for ((unit, source), due) in account.meters().zip(&mut used.due) {
            if let Some(source) = source {
                source.look_in_header(headers, unit, due);
            }
        }
        used
    }

    /// Whether content counts for a meter.
    fn estimates(unit: &Unit, source: Option<&UsageSource>, due: u64) -> bool {
        // What the head says is known before any of it.
        *unit == Unit::Token && !source.is_some_and(|it| it.is_at_head() && due > 0)
    }

    /// What was reported and is not charged for yet.
    pub(super) fn open(&self, account: &Metering) -> Each {
        let told = account.reported.due();
        let mut open = Each::default();
        let figures = self.due.iter().zip(told).zip(self.charged);
        let places = open.iter_mut().zip(figures);
        for ((unit, source), (open, ((due, told), charged))) in account.meters().zip(places) {
            let content = match Self::estimates(unit, source, *due) {
                true => self.content,
                false => 0,
            };
            *open = told.max(*due).max(content).saturating_sub(charged);
        }
        open
    }

    pub(super) fn charged(&mut self, more: &Each) {
        for (charged, more) in self.charged.iter_mut().zip(more) {
            *charged = charged.saturating_add(*more);
        }
    }

    /// What an event of a stream says.
    pub(super) fn look_in_event(&mut self, account: &Metering, event: &[u8]) {
        let json = text(event);
        for ((unit, source), due) in account.meters().zip(&mut self.due) {
            if let Some(source) = source {
                source.look_in(&json, unit, due);
            }
            if *unit == Unit::Token {
                match tokens(&json) {
                    Tokens::Total(total) if source.is_none() => *due = (*due).max(total),
                    Tokens::Some => self.content = self.content.saturating_add(1),
                    Tokens::Total(_) | Tokens::None => {}
                }
            }
        }
    }

    /// What a whole JSON answer says. One that says nothing of its tokens is one token, unless its
    /// handler tells.
    pub(super) fn look_in_whole(&mut self, account: &Metering, json: &[u8]) {
        let told = account.reported.due();
        let places = self.due.iter_mut().zip(told);
        for ((unit, source), (due, told)) in account.meters().zip(places) {
            let is_tokens = *unit == Unit::Token;
            match source {
                Some(source) => {
                    source.look_in(json, unit, due);
                }
                None if is_tokens => *due = (*due).max(tokens_of(json).unwrap_or(0)),
                None => {}
            }
            if is_tokens && told == 0 {
                *due = (*due).max(1);
            }
        }
    }

    /// What the trailers say.
    pub(super) fn look_in_trailers(&mut self, account: &Metering, trailers: &HeaderMap) {
        for ((unit, source), due) in account.meters().zip(&mut self.due) {
            if let Some(source) = source {
                source.look_in_trailers(trailers, unit, due);
            }
        }
    }
}

/// The data of an event: its lines, joined.
fn text(event: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = data(event);
    let first = lines.next().unwrap_or_default();
    let Some(second) = lines.next() else {
        return Cow::Borrowed(first);
    };
    let mut joined = first.to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.push(b'\n');
        joined.extend_from_slice(line);
    }
    Cow::Owned(joined)
}

/// What an event of a language model says of tokens.
#[derive(Debug, PartialEq, Eq)]
enum Tokens {
    /// So many in all.
    Total(u64),
    /// Some content.
    Some,
    None,
}

fn tokens(json: &[u8]) -> Tokens {
    let Ok(Value::Object(members)) = Value::parse(json) else {
        return Tokens::None;
    };
    if let Some(total) = members.get("usage").and_then(total) {
        return Tokens::Total(total);
    }
    let Some(Value::Array(choices)) = members.get("choices") else {
        return Tokens::None;
    };
    let has_content = |choice: &Value| {
        let Value::Object(choice) = choice else {
            return false;
        };
        let Some(Value::Object(delta)) = choice.get("delta") else {
            return false;
        };
        matches!(delta.get("content"), Some(Value::String(text)) if !text.is_empty())
    };
    match choices.iter().any(has_content) {
        true => Tokens::Some,
        false => Tokens::None,
    }
}

/// The tokens that a `usage` member reports: all of them, or those of input and output.
fn total(usage: &Value) -> Option<u64> {
    let Value::Object(usage) = usage else {
        return None;
    };
    let number = |name: &str| match usage.get(name) {
        Some(Value::Number(number)) => {
            let number = number.as_integer()?;
            u64::try_from(number).ok()
        }
        _ => None,
    };
    let both = |one: &str, two: &str| Some(number(one)?.saturating_add(number(two).unwrap_or(0)));
    number("total_tokens")
        .or_else(|| both("prompt_tokens", "completion_tokens"))
        .or_else(|| both("input_tokens", "output_tokens"))
}

/// The tokens that a whole JSON answer reports.
pub(crate) fn tokens_of(json: &[u8]) -> Option<u64> {
    match Value::parse(json) {
        Ok(Value::Object(members)) => members.get("usage").and_then(total),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_by_content_and_by_usage() {
        let event = |json: &str| tokens(&text(format!("data: {json}\n\n").as_bytes()));
        let content = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
        assert_eq!(event(content), Tokens::Some);
        let role = r#"{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}"#;
        assert_eq!(event(role), Tokens::None);
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
        assert_eq!(event(usage), Tokens::Total(7));
        let total = r#"{"usage":{"total_tokens":9,"prompt_tokens":3}}"#;
        assert_eq!(event(total), Tokens::Total(9));
        let other = r#"{"usage":{"input_tokens":1,"output_tokens":2}}"#;
        assert_eq!(event(other), Tokens::Total(3));
        for nothing in ["[DONE]", "7", r#"{"usage":{"total_tokens":-1}}"#, "{"] {
            assert_eq!(event(nothing), Tokens::None, "{nothing}");
        }
        assert_eq!(tokens_of(total.as_bytes()), Some(9));
        let lines = text(b"data: {\"usage\":\ndata: {\"total_tokens\":2}}\n\n").into_owned();
        assert_eq!(
            tokens(&lines),
            Tokens::Total(2),
            "an event may have several lines"
        );
    }
}
