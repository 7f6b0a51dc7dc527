//! Language tags, and which of several texts an `Accept-Language` asks for (RFC 9110, section
//! 12.5.4, with the lookup of RFC 4647, section 3.4).
//!
//! ```
//! use stiver_core::language::{LanguageTag, preferred};
//!
//! let texts = [LanguageTag::new("en")?, LanguageTag::new("de")?];
//! let field = [&b"fr, de-CH;q=0.8, en;q=0.5"[..]];
//! assert_eq!(preferred(field, texts.iter()), Some(1));
//! # Ok::<(), stiver_core::language::LanguageTagError>(())
//! ```

use alloc::{string::String, vec::Vec};
use core::{cmp::Reverse, fmt};

use crate::{accept::parse_weight, header, limits};

/// A language tag, such as `de` or `pt-BR`: parts of one to eight letters and digits, the first of
/// letters, at most [`limits::LANGUAGE_TAG_BYTES_MAX`] long. Kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Checks a tag.
    ///
    /// # Errors
    /// [`LanguageTagError`] for anything else.
    pub fn new(text: &str) -> Result<Self, LanguageTagError> {
        let mut parts = text.split('-');
        let first = parts.next().unwrap_or_default();
        let is_part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let valid = text.len() <= limits::LANGUAGE_TAG_BYTES_MAX
            && is_part(first)
            && first.bytes().all(|byte| byte.is_ascii_alphabetic())
            && parts.all(is_part);
        if valid {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(LanguageTagError)
        }
    }

    /// The tag, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when this is the range, or begins with it: `de-ch` is within `de`.
    fn is_within(&self, range: &str) -> bool {
        self.0
            .strip_prefix(range)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This is no language tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a language tag is parts of letters and digits joined by `-`, such as `de` or `pt-BR`")]
pub struct LanguageTagError;

/// The index of the text that the field lines ask for most, `None` when they ask for none of them
/// or for any. Total: ranges that cannot be read are passed over, and so is a field over
/// [`limits::ACCEPT_LANGUAGE_BYTES_MAX`]; of more than [`limits::ACCEPT_LANGUAGE_RANGES_MAX`]
/// ranges the first are read.
pub fn preferred<'f, 't, F, T>(lines: F, texts: T) -> Option<usize>
where
    F: IntoIterator<Item = &'f [u8]>,
    T: Iterator<Item = &'t LanguageTag> + Clone,
{
    let ranges = ranges(lines);
    let refused = |tag: &LanguageTag| {
        let named = ranges.iter().filter(|(range, _)| tag.is_within(range));
        // The longest range that names it decides.
        let longest = named.max_by_key(|(range, weight)| (range.len(), Reverse(*weight)));
        longest.is_some_and(|(_, weight)| *weight == 0)
    };
    let find = |range: &str| {
        let mut named = texts.clone().enumerate();
        named.find(|(_, tag)| tag.is_within(range) && !refused(tag))
    };
    for (range, weight) in &ranges {
        if range == "*" || *weight == 0 {
            return None;
        }
        // `de-ch` is content with `de` before the next range is looked at.
        let mut shorter = range.as_str();
        loop {
            if let Some((index, _)) = find(shorter) {
                return Some(index);
            }
            match shorter.rsplit_once('-') {
                Some((rest, _)) => shorter = rest,
                None => break,
            }
        }
    }
    None
}

/// The ranges in lower case with their weights, the heaviest first.
fn ranges<'f>(lines: impl IntoIterator<Item = &'f [u8]>) -> Vec<(String, u16)> {
    let mut bytes = 0_usize;
    let mut ranges = Vec::new();
    for line in lines {
        bytes = bytes.saturating_add(line.len());
        if bytes > limits::ACCEPT_LANGUAGE_BYTES_MAX {
            return Vec::new();
        }
        for element in line.split(|byte| *byte == b',') {
            if ranges.len() == limits::ACCEPT_LANGUAGE_RANGES_MAX {
                break;
            }
            ranges.extend(range(header::trim(element)));
        }
    }
    ranges.sort_by_key(|(_, weight)| Reverse(*weight));
    ranges
}

fn range(element: &[u8]) -> Option<(String, u16)> {
    let text = core::str::from_utf8(element).ok()?;
    let (name, weight) = match text.split_once(';') {
        Some((name, weight)) => (name.trim_end_matches([' ', '\t']), parse_weight(weight)?),
        None => (text, crate::accept::WEIGHT_MAX),
    };
    match name {
        "*" => Some((String::from("*"), weight)),
        name => Some((LanguageTag::new(name).ok()?.0, weight)),
    }
}

#[cfg(test)]
mod tests;
