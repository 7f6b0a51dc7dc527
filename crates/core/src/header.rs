//! The tokeniser of authentication headers (RFC 9110, section 11): one pass, linear time.
//!
//! ```text
//! line      = #challenge
//! challenge = scheme [ 1*SP ( token68 / #auth-param ) ]
//! param     = token BWS "=" BWS ( token / quoted-string )
//! ```
//!
//! A comma both ends a parameter and ends a challenge, so what follows it decides: a token with
//! `=` after it is another parameter, any other token is the scheme of the next challenge. The
//! one place where text is read twice is the word after a scheme, which may be a token68 or a
//! parameter; it is read at most twice. Every byte is therefore looked at a bounded number of
//! times, whatever the input.

use crate::limits;
use alloc::{borrow::Cow, vec::Vec};

#[cfg(test)]
mod tests;

/// Why an authentication header line cannot be tokenised any further.
/// `offset` counts bytes from the start of the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A scheme or parameter name was due, and there is none.
    #[error("a scheme or a parameter name is missing at byte {offset}")]
    TokenMissing {
        /// Where it was due.
        offset: usize,
    },
    /// A scheme is followed by neither a space, a comma nor the end.
    #[error("a space is missing after the scheme at byte {offset}")]
    SpaceMissing {
        /// Where it was due.
        offset: usize,
    },
    /// A parameter has `=` but no value.
    #[error("a parameter value is missing at byte {offset}")]
    ValueMissing {
        /// Where it was due.
        offset: usize,
    },
    /// A quoted value does not end.
    #[error("the quoted text that starts at byte {offset} does not end")]
    QuoteUnterminated {
        /// Where its opening quote is.
        offset: usize,
    },
    /// A quoted value holds a control character.
    #[error("a control character at byte {offset}")]
    ControlCharacter {
        /// Where it is.
        offset: usize,
    },
    /// Two elements have no comma between them.
    #[error("a comma is missing at byte {offset}")]
    CommaMissing {
        /// Where it was due.
        offset: usize,
    },
}

/// One challenge as tokens: any scheme, nothing interpreted.
#[derive(Debug)]
pub(crate) struct RawChallenge<'a> {
    pub(crate) scheme: &'a [u8],
    pub(crate) body: RawBody<'a>,
}

/// What follows a scheme.
#[derive(Debug)]
pub(crate) enum RawBody<'a> {
    /// The single word of schemes such as `Negotiate`.
    Token68,
    /// Parameters: the first [`limits::AUTH_PARAMS_MAX`] of them, and how many there were.
    Params {
        kept: Vec<RawParam<'a>>,
        count: usize,
    },
}

/// One parameter, its value unescaped.
#[derive(Debug)]
pub(crate) struct RawParam<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Cow<'a, [u8]>,
}

/// Reads the challenges of one field line. After an error the line is over.
pub(crate) struct Challenges<'a> {
    scan: Scan<'a>,
    failed: bool,
}

impl<'a> Challenges<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self {
            scan: Scan::new(line),
            failed: false,
        }
    }

    fn read(&mut self) -> Result<Option<RawChallenge<'a>>, HeaderError> {
        self.scan.skip(is_list_space);
        if self.scan.at_end() {
            return Ok(None);
        }
        let scheme = self.scan.token()?;
        let body = self.body()?;
        Ok(Some(RawChallenge { scheme, body }))
    }

    fn body(&mut self) -> Result<RawBody<'a>, HeaderError> {
        let mut kept = Vec::new();
        let mut count = 0_usize;
        let gap = self.scan.skip(is_space);
        let first = self.scan.position;
        if !self.scan.at_end_or_comma() {
            if gap == 0 {
                return Err(HeaderError::SpaceMissing { offset: first });
            }
            if self.scan.token68() {
                return Ok(RawBody::Token68);
            }
        }
        loop {
            self.scan.skip(is_list_space);
            if self.scan.at_end() {
                break;
            }
            let start = self.scan.position;
            let name = self.scan.token()?;
            self.scan.skip(is_space);
            if !self.scan.eat(b'=') {
                if start == first {
                    // `Scheme word word`: neither a token68 nor a parameter.
                    return Err(self.scan.comma_missing());
                }
                self.scan.position = start;
                break;
            }
            self.scan.skip(is_space);
            let value = self.scan.value()?;
            self.scan.skip(is_space);
            if !self.scan.at_end_or_comma() {
                return Err(self.scan.comma_missing());
            }
            count += 1;
            if kept.len() < limits::AUTH_PARAMS_MAX {
                kept.push(RawParam { name, value });
            }
        }
        Ok(RawBody::Params { kept, count })
    }
}

impl<'a> Iterator for Challenges<'a> {
    type Item = Result<RawChallenge<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose()?;
        self.failed = item.is_err();
        Some(item)
    }
}

/// A cursor over one field line.
struct Scan<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Bytes looked at, for the tests that prove linear time.
    #[cfg(test)]
    steps: usize,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    fn peek(&mut self) -> Option<u8> {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        self.bytes.get(self.position).copied()
    }

    fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    fn at_end_or_comma(&mut self) -> bool {
        matches!(self.peek(), None | Some(b','))
    }

    /// Skips bytes of a class; says how many.
    fn skip(&mut self, class: fn(u8) -> bool) -> usize {
        let start = self.position;
        while self.peek().is_some_and(class) {
            self.position += 1;
        }
        self.position - start
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.position += 1;
        }
        found
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    fn token(&mut self) -> Result<&'a [u8], HeaderError> {
        let start = self.position;
        if self.skip(is_token) == 0 {
            return Err(HeaderError::TokenMissing { offset: start });
        }
        Ok(self.since(start))
    }

    /// Passes a token68 when that is all there is up to the next comma; else stays where it is.
    fn token68(&mut self) -> bool {
        let start = self.position;
        let found = self.skip(is_token68) > 0 && {
            self.skip(|byte| byte == b'=');
            self.skip(is_space);
            self.at_end_or_comma()
        };
        if !found {
            self.position = start;
        }
        found
    }

    fn value(&mut self) -> Result<Cow<'a, [u8]>, HeaderError> {
        let start = self.position;
        if self.eat(b'"') {
            return self.quoted(start);
        }
        match self.token() {
            Ok(token) => Ok(Cow::Borrowed(token)),
            Err(_) => Err(HeaderError::ValueMissing { offset: start }),
        }
    }

    /// The rest of a quoted-string whose opening quote stands at `quote`. Copies only when there
    /// is an escape.
    fn quoted(&mut self, quote: usize) -> Result<Cow<'a, [u8]>, HeaderError> {
        let mut text = Cow::Borrowed(&[][..]);
        let mut run = self.position;
        loop {
            let offset = self.position;
            match self.peek() {
                None => return Err(HeaderError::QuoteUnterminated { offset: quote }),
                Some(b'"') => {
                    self.append(&mut text, run);
                    self.position += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.append(&mut text, run);
                    self.position += 1;
                    run = self.position;
                    match self.peek() {
                        None => return Err(HeaderError::QuoteUnterminated { offset: quote }),
                        Some(byte) if is_quotable(byte) => self.position += 1,
                        Some(_) => {
                            return Err(HeaderError::ControlCharacter { offset: run });
                        }
                    }
                }
                Some(byte) if is_quotable(byte) => self.position += 1,
                Some(_) => return Err(HeaderError::ControlCharacter { offset }),
            }
        }
    }

    fn append(&self, text: &mut Cow<'a, [u8]>, run: usize) {
        let more = self.since(run);
        if text.is_empty() {
            *text = Cow::Borrowed(more);
        } else if !more.is_empty() {
            text.to_mut().extend_from_slice(more);
        }
    }

    fn comma_missing(&self) -> HeaderError {
        HeaderError::CommaMissing {
            offset: self.position,
        }
    }
}

/// Splits what a header that is no list may hold all the same when an intermediary joined its
/// lines: elements between commas that stand outside quotes, each as its start and end.
pub(crate) struct Elements<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: trim(bytes),
            position: 0,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    /// From the start of the element to the end of the line, white space removed from both.
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.position..)?;
        if !rest.contains(&b',') {
            // Nearly every line: there is nothing to be told apart.
            self.position = self.bytes.len() + 1;
            return Some(trim_start(rest));
        }
        let mut quoted = false;
        let mut escaped = false;
        let mut length = rest.len();
        for (index, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    length = index;
                    break;
                }
                _ => {}
            }
        }
        self.position += length + 1;
        Some(trim_start(rest))
    }
}

/// Removes optional white space (space and tab) from both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Removes optional white space from the start.
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    bytes
}

/// Optional white space (`OWS`).
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_list_space(byte: u8) -> bool {
    is_space(byte) || byte == b','
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

/// What may stand in a quoted-string, escaped or, but for `"` and `\`, as it is.
fn is_quotable(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
