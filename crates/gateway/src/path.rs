//! Paths: one normal form, and patterns that match it.
//!
//! What is matched is what is forwarded. A path that has no single normal form (an encoded slash, a
//! dot segment, an empty segment, a broken escape) is refused: an upstream that reads it another
//! way would serve another resource.

use std::fmt;

/// Longest request path with its query, bytes.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most segments in a path or a pattern.
pub const SEGMENTS_MAX: usize = 64;

/// Brings a path to its normal form: escapes of unreserved characters are decoded, others get
/// capital hex digits.
///
/// # Errors
///
/// [`PathError`] for every path that has no single normal form.
pub fn normalise(path: &str) -> Result<String, PathError> {
    if path.len() > TARGET_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair = (
                    bytes.next().and_then(hex_value),
                    bytes.next().and_then(hex_value),
                );
                let (Some(high), Some(low)) = pair else {
                    return Err(PathError::BrokenEscape);
                };
                push_escaped(&mut out, high * 16 + low)?;
            }
            b'\\' => return Err(PathError::Backslash),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => return Err(PathError::BadByte),
        }
    }
    check_segments(&out)?;
    Ok(out)
}

fn push_escaped(out: &mut String, byte: u8) -> Result<(), PathError> {
    match byte {
        b'/' | b'\\' => Err(PathError::EncodedSlash),
        0 => Err(PathError::BadByte),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            out.push(char::from(byte));
            Ok(())
        }
        _ => {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
            Ok(())
        }
    }
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn check_segments(path: &str) -> Result<(), PathError> {
    let mut segments = path[1..].split('/').peekable();
    let mut count = 0_usize;
    while let Some(segment) = segments.next() {
        count += 1;
        if count > SEGMENTS_MAX {
            return Err(PathError::TooLong);
        }
        if is_dots(segment) {
            return Err(PathError::DotSegment);
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::EmptySegment);
        }
    }
    Ok(())
}

/// True for `.` and `..`, and for those with something behind that a server may cut off before it
/// resolves them: a path parameter (`..;x`), or an escape of ASCII (`..%3B`, `..%20`).
fn is_dots(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('.') else {
        return false;
    };
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    match rest.as_bytes() {
        [] | [b';', ..] => true,
        [b'%', high, ..] => (b'0'..=b'7').contains(high),
        _ => false,
    }
}

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path must begin with a slash")]
    NotAbsolute,
    /// It is longer than [`TARGET_BYTES_MAX`], or has more than [`SEGMENTS_MAX`] segments.
    #[error("the path is too long")]
    TooLong,
    /// `%2F` or `%5C`.
    #[error("the path holds an encoded slash")]
    EncodedSlash,
    /// `.` or `..`, encoded or not.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `%` without two hex digits.
    #[error("the path holds a broken percent escape")]
    BrokenEscape,
    /// `\`.
    #[error("the path holds a backslash")]
    Backslash,
    /// A control character, white space, NUL or a byte outside of ASCII.
    #[error("the path holds a character that must be percent-encoded")]
    BadByte,
}

/// A path pattern: `/v1/readings`, `/v1/rooms/{room}/light` (one segment), `/files/**` (the rest,
/// at the end only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
    Rest,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains(['?', '#']) {
            return Err(PatternError::Query);
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PatternError::Path(PathError::NotAbsolute));
        };
        let names: Vec<&str> = rest.split('/').collect();
        if names.len() > SEGMENTS_MAX {
            return Err(PatternError::Path(PathError::TooLong));
        }
        let last = names.len() - 1;
        let mut segments = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            segments.push(segment(name, index == last)?);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when a normal path matches.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return false;
        };
        let mut names = rest.split('/');
        for segment in &self.segments {
            match (segment, names.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::Literal(literal), Some(name)) if literal == name => {}
                (Segment::One, Some(name)) if !name.is_empty() => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

fn segment(name: &str, is_last: bool) -> Result<Segment, PatternError> {
    if name == "**" {
        return if is_last {
            Ok(Segment::Rest)
        } else {
            Err(PatternError::RestNotLast)
        };
    }
    if let Some(inner) = name
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        return if !inner.is_empty() && inner.bytes().all(is_name) {
            Ok(Segment::One)
        } else {
            Err(PatternError::Placeholder)
        };
    }
    if name.contains(['{', '}', '*']) {
        return Err(PatternError::Placeholder);
    }
    if name.is_empty() && !is_last {
        return Err(PatternError::Path(PathError::EmptySegment));
    }
    let normal = normalise(&format!("/{name}")).map_err(PatternError::Path)?;
    if normal[1..] != *name {
        return Err(PatternError::NotNormal {
            normal: normal[1..].to_owned(),
        });
    }
    Ok(Segment::Literal(name.to_owned()))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The literal part is no acceptable path.
    #[error(transparent)]
    Path(PathError),
    /// A literal that no normal path can equal.
    #[error("no request path looks like this: write {normal:?}")]
    NotNormal {
        /// How it is written in a normal path.
        normal: String,
    },
    /// A query or a fragment.
    #[error("a pattern is for the path only, without ? and #")]
    Query,
    /// `**` before the end.
    #[error("** matches the rest of the path and must come last")]
    RestNotLast,
    /// `{`, `}` or `*` used otherwise.
    #[error("write {{name}} for one segment, or ** at the end for the rest")]
    Placeholder,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_without_a_single_normal_form_are_refused() {
        let table = [
            ("", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("/a/../b", PathError::DotSegment),
            ("/a/%2e%2E/b", PathError::DotSegment),
            ("/a/..;v=1/b", PathError::DotSegment),
            ("/a/..%3bv=1/b", PathError::DotSegment),
            ("/a/%2e%2e%20/b", PathError::DotSegment),
            ("/a/.%09", PathError::DotSegment),
            ("/a/.", PathError::DotSegment),
            ("/a%2fb", PathError::EncodedSlash),
            ("/a%5Cb", PathError::EncodedSlash),
            ("/a\\b", PathError::Backslash),
            ("/a//b", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a%", PathError::BrokenEscape),
            ("/a%4", PathError::BrokenEscape),
            ("/a%zz", PathError::BrokenEscape),
            ("/a%00", PathError::BadByte),
            ("/a b", PathError::BadByte),
            ("/a\u{e9}", PathError::BadByte),
        ];
        for (path, error) in table {
            assert_eq!(normalise(path), Err(error), "{path:?}");
        }
        assert_eq!(
            normalise(&"/a".repeat(SEGMENTS_MAX + 1)),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn equal_paths_have_one_normal_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/%61%2d%7E", "/a-~"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/.well-known/..a/.%C3%A9", "/.well-known/..a/.%C3%A9"),
            ("/a/...", "/a/..."),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(normal));
            assert_eq!(normalise(normal).as_deref(), Ok(normal));
        }
    }

    #[test]
    fn patterns_match_whole_normal_paths_only() {
        let table = [
            ("/v1/now", "/v1/now", true),
            ("/v1/now", "/v1/now/", false),
            ("/v1/now", "/v1/nowhere", false),
            ("/v1/{room}/light", "/v1/kitchen/light", true),
            ("/v1/{room}/light", "/v1//light", false),
            ("/v1/{room}/light", "/v1/a/b/light", false),
            ("/files/**", "/files/a/b", true),
            ("/files/**", "/files/", true),
            ("/files/**", "/files", false),
            ("/files/**", "/filesystem/a", false),
            ("/", "/", true),
            ("/**", "/", true),
        ];
        for (pattern, path, expected) in table {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn malformed_patterns_say_what_to_write() {
        let table = [
            ("v1", PatternError::Path(PathError::NotAbsolute)),
            ("/a?b=1", PatternError::Query),
            ("/**/a", PatternError::RestNotLast),
            ("/a*", PatternError::Placeholder),
            ("/{}", PatternError::Placeholder),
            ("/{a b}", PatternError::Placeholder),
            ("/a//b", PatternError::Path(PathError::EmptySegment)),
            (
                "/%7Ea",
                PatternError::NotNormal {
                    normal: "~a".into(),
                },
            ),
            ("/..", PatternError::Path(PathError::DotSegment)),
        ];
        for (pattern, error) in table {
            assert_eq!(Pattern::parse(pattern), Err(error), "{pattern}");
        }
    }
}
