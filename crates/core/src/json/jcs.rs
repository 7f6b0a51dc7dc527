//! The canonical printer (RFC 8785).

use super::Value;
use crate::scan::{controls, first, quotes};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt::Write as _;

/// Appends the canonical form of a value.
pub(crate) fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            out.push_str(ryu_js::Buffer::new().format_finite(number.as_double()));
        }
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, element);
            }
            out.push(']');
        }
        Value::Object(members) => write_members(out, members),
    }
}

/// Appends an object, its keys in the order of their UTF-16 code units.
pub(super) fn write_members(out: &mut String, members: &BTreeMap<String, Value>) {
    // The map's order is that of UTF-8, which differs where a surrogate pair meets U+E000..U+FFFF.
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
    out.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// Appends a string with the fewest escapes: `"`, `\` and control characters below U+0020.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // What needs an escape is one byte long, so that the text is cut between characters.
    while let Some(at) = first(rest.as_bytes(), |word| quotes(word) | controls(word)) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = tail.chars();
        if let Some(character) = characters.next() {
            write_escape(out, character);
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn write_escape(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{08}' => out.push_str("\\b"),
        '\u{09}' => out.push_str("\\t"),
        '\u{0A}' => out.push_str("\\n"),
        '\u{0C}' => out.push_str("\\f"),
        '\u{0D}' => out.push_str("\\r"),
        _ => write!(out, "\\u{:04x}", u32::from(character))
            .expect("writing to a String cannot fail because it only allocates"),
    }
}
