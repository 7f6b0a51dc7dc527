//! The strict parser: a lexical scan for what serde_json cannot tell us, then serde_json with a
//! visitor that refuses duplicate keys.

use super::{JsonError, Number, Value, plain::string_end, serde_impls::ValueSeed};
use crate::limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX};
use core::{cell::Cell, ops::Range};
use serde::de::DeserializeSeed as _;

/// A double holds every integer of so many digits: 10^15 is below 2^53.
const EXACT_DIGITS: usize = 15;

/// Parses a text, see [`Value::parse`].
pub(super) fn parse(text: &[u8]) -> Result<Value, JsonError> {
    if text.len() > JSON_BYTES_MAX {
        return Err(JsonError::TooLarge { bytes: text.len() });
    }
    let text = core::str::from_utf8(text).map_err(|error| JsonError::Utf8 {
        offset: error.valid_up_to(),
    })?;
    scan(text)?;
    let refused = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = ValueSeed::new(&refused);
    let value = seed
        .deserialize(&mut deserializer)
        .map_err(|error| convert(text, &error, refused.take()))?;
    deserializer.end().map_err(|error| JsonError::Trailing {
        offset: offset_of(text, &error),
    })?;
    Ok(value)
}

/// Checks depth and integers on the bare text, in one pass and without recursion.
///
/// The text need not be JSON: whatever this lets pass, the parser looks at.
fn scan(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut offset = 0;
    while let Some(byte) = bytes.get(offset) {
        let mut end = offset.saturating_add(1);
        match byte {
            b'"' => end = string_end(bytes, end),
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if depth > JSON_DEPTH_MAX {
                    return Err(JsonError::TooDeep { offset });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                end = number_end(bytes, end);
                check_number(text, offset..end)?;
            }
            _ => {}
        }
        offset = end;
    }
    Ok(())
}

/// The offset after the last byte that can belong to a number.
fn number_end(bytes: &[u8], offset: usize) -> usize {
    let tail = bytes.get(offset..).unwrap_or_default();
    let length = tail
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        .unwrap_or(tail.len());
    offset.saturating_add(length)
}

/// Refuses an integer literal that a double would change, and any number beyond the doubles.
fn check_number(text: &str, range: Range<usize>) -> Result<(), JsonError> {
    let offset = range.start;
    let literal = text.get(range).unwrap_or_default();
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match literal.parse::<f64>() {
            Ok(double) if double.is_infinite() => Err(JsonError::NotFinite { offset }),
            // The grammar is the parser's to judge.
            _ => Ok(()),
        };
    }
    // A needless zero in front is the parser's to refuse, too.
    if digits.len() <= EXACT_DIGITS || digits.starts_with('0') {
        return Ok(());
    }
    match Number::from_exact_digits(literal) {
        Some(_) => Ok(()),
        None => Err(JsonError::InexactInteger { offset }),
    }
}

/// Our error for one of serde_json's.
fn convert(text: &str, error: &serde_json::Error, refused: Option<JsonError>) -> JsonError {
    let offset = offset_of(text, error);
    match refused {
        Some(JsonError::DuplicateKey { key, .. }) => JsonError::DuplicateKey { key, offset },
        Some(refused) => refused,
        None if error.is_eof() => JsonError::UnexpectedEnd,
        None => JsonError::Syntax { offset },
    }
}

/// The byte offset of serde_json's line and column.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = text
        .split_inclusive('\n')
        .take(lines_before)
        .map(str::len)
        .sum();
    line_start
        .saturating_add(error.column().saturating_sub(1))
        .min(text.len())
}
