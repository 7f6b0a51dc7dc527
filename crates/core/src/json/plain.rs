//! A quick look that lets plain texts through, and a reader of an object's members where they
//! stand: most of what peers send is plain, and is read without a copy.

use crate::{
    limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX},
    scan::{controls, first, quotes},
};
use alloc::{borrow::Cow, string::String};

/// Most members of an object that this look compares. An object with more is not plain.
const KEYS_MAX: usize = 16;
/// A double holds every integer of so many digits: 10^15 is below 2^53.
const DIGITS_MAX: usize = 15;
/// How serde_json's private keys begin, and ours never do.
const PRIVATE: u8 = b'$';

/// True only for one JSON value that [`super::Value::parse`] takes, too: at most as long and as
/// deep, without equal keys, without escapes, its numbers short integers. False says nothing.
pub(super) fn is_plain(text: &str) -> bool {
    if text.len() > JSON_BYTES_MAX {
        return false;
    }
    let mut look = Look {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    look.value(JSON_DEPTH_MAX).is_some() && look.next_byte().is_none()
}

/// Whether a text begins as an object does.
pub(super) fn is_object(text: &str) -> bool {
    text.bytes().find(|byte| !is_white(*byte)) == Some(b'{')
}

struct Look<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Look<'a> {
    /// The next byte that is no white space. It is not passed.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !is_white(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn pass(&mut self, expected: u8) -> Option<()> {
        (self.next_byte()? == expected).then(|| self.at += 1)
    }

    /// Passes a value that has at most so many levels.
    fn value(&mut self, levels: usize) -> Option<()> {
        match self.next_byte()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(levels.checked_sub(1)?),
            b'[' => self.array(levels.checked_sub(1)?),
            b'-' | b'0'..=b'9' => self.integer(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => None,
        }
    }

    fn object(&mut self, levels: usize) -> Option<()> {
        self.pass(b'{')?;
        if self.next_byte()? == b'}' {
            return self.pass(b'}');
        }
        let mut keys = [""; KEYS_MAX];
        let mut count = 0;
        loop {
            self.next_byte()?;
            let key = self.string()?;
            if key.as_bytes().first() == Some(&PRIVATE) || keys.get(..count)?.contains(&key) {
                return None;
            }
            *keys.get_mut(count)? = key;
            count += 1;
            self.pass(b':')?;
            self.value(levels)?;
            match self.next_byte()? {
                b',' => self.at += 1,
                _ => return self.pass(b'}'),
            }
        }
    }

    fn array(&mut self, levels: usize) -> Option<()> {
        self.pass(b'[')?;
        if self.next_byte()? == b']' {
            return self.pass(b']');
        }
        loop {
            self.value(levels)?;
            match self.next_byte()? {
                b',' => self.at += 1,
                _ => return self.pass(b']'),
            }
        }
    }

    /// Passes a string without escapes and control characters; gives what stands between the
    /// quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        if *self.bytes.get(self.at)? != b'"' {
            return None;
        }
        let tail = self.bytes.get(start..)?;
        let length = first(tail, |word| quotes(word) | controls(word))?;
        if *tail.get(length)? != b'"' {
            return None;
        }
        self.at = start + length + 1;
        self.text.get(start..start + length)
    }

    /// Passes an integer that is short, begins with no needless zero, and is no `-0`.
    fn integer(&mut self) -> Option<()> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(negative);
        let tail = self.bytes.get(self.at..)?;
        let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let zero = tail.first() == Some(&b'0');
        if !(1..=DIGITS_MAX).contains(&digits) || (zero && (digits > 1 || negative)) {
            return None;
        }
        self.at += digits;
        match self.bytes.get(self.at) {
            Some(b'.' | b'e' | b'E') => None,
            _ => Some(()),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let tail = self.bytes.get(self.at..)?;
        tail.starts_with(word.as_bytes())
            .then(|| self.at += word.len())
    }
}

/// The members of an object's text, in its order: the key as it reads, the value as it stands.
///
/// The text must have been accepted as JSON; of another one, the members end somewhere.
pub(crate) struct Members<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Members<'a> {
    /// Of an object's text; of another value's, there are none.
    pub(crate) fn of(text: &'a str) -> Self {
        let brace = text.bytes().position(|byte| !is_white(byte));
        let at = match brace {
            Some(at) if text.as_bytes().get(at) == Some(&b'{') => at + 1,
            _ => text.len(),
        };
        Self { text, at }
    }

    fn skip(&mut self, class: fn(u8) -> bool) {
        let tail = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += tail.iter().take_while(|byte| class(**byte)).count();
    }

    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match bytes.get(self.at)? {
                b'"' => {
                    self.at = string_end(bytes, self.at + 1);
                    if open == 0 {
                        break;
                    }
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' if open == 0 => break,
                b'}' | b']' => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        break;
                    }
                }
                byte if open == 0 && (*byte == b',' || is_white(*byte)) => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip(|byte| is_white(byte) || byte == b',');
        let bytes = self.text.as_bytes();
        if *bytes.get(self.at)? != b'"' {
            return None;
        }
        let end = string_end(bytes, self.at + 1);
        let key = string(self.text.get(self.at..end)?)?;
        self.at = end;
        self.skip(|byte| is_white(byte) || byte == b':');
        Some((key, self.value()?))
    }
}

/// What a string literal reads; `None` when it is none.
pub(crate) fn string(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    if inner.as_bytes().contains(&b'\\') {
        return serde_json::from_str::<String>(literal).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The offset after the quote that closes a string, or the end of the text.
pub(super) fn string_end(bytes: &[u8], mut offset: usize) -> usize {
    loop {
        let tail = bytes.get(offset..).unwrap_or_default();
        let Some(at) = first(tail, quotes) else {
            return bytes.len();
        };
        if tail.get(at) == Some(&b'"') {
            return offset.saturating_add(at + 1);
        }
        // Whatever follows a backslash does not close the string.
        offset = offset.saturating_add(at + 2);
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
