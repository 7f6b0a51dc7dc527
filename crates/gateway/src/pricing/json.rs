//! One value of a JSON body, by a pointer (RFC 6901).
//!
//! The whole document is read, and what is not asked for is not kept. A member that stands twice in
//! an object on the way, or once more in another case, is refused: parsers differ in which they
//! take.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

use super::places::{Found, NotFound};

/// Deepest nesting of a body that a price depends on.
pub const JSON_DEPTH_MAX: usize = 128;

/// The value that a pointer names.
pub(super) fn find(body: &[u8], pointer: &str) -> Result<Found, NotFound> {
    let text = std::str::from_utf8(body).map_err(|_| NotFound::NotText)?;
    let tokens: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    let mut refusal = None;
    let mut reader = Deserializer::from_str(text);
    let seek = Seek {
        tokens: &tokens,
        refusal: &mut refusal,
    };
    let read = seek.deserialize(&mut reader).and_then(|found| {
        reader.end()?;
        Ok(found)
    });
    match (read, refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(found), None) => Ok(found),
        (Err(error), None) => Err(NotFound::NotJson {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// A name as parsers that do not look at its case read it.
pub(super) fn folded(name: &str) -> String {
    // Both ways: there are letters that only one of them joins, such as the long s.
    name.to_lowercase().to_uppercase()
}

/// The index that a token of a pointer names: plain digits.
fn index(token: &str) -> Option<usize> {
    let leading_zero = token.len() > 1 && token.starts_with('0');
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !leading_zero).then(|| token.parse().ok())?
}

/// Goes down the tokens. What is wrong with the value, and not with the document, is put aside.
struct Seek<'s> {
    tokens: &'s [String],
    refusal: &'s mut Option<NotFound>,
}

impl Seek<'_> {
    fn refuse<T, E: serde::de::Error>(self, refusal: NotFound) -> Result<T, E> {
        *self.refusal = Some(refusal);
        Err(E::custom("refused"))
    }

    /// A scalar, which is good only at the end of the way.
    fn scalar<E: serde::de::Error>(self, found: Found) -> Result<Found, E> {
        match self.tokens {
            [] => Ok(found),
            _ => self.refuse(NotFound::NoWay),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Found, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Found, E> {
        Ok(Found::Absent)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Found, E> {
        self.scalar(Found::Flag(flag))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Found, E> {
        self.scalar(Found::Number(number))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Found, E> {
        self.not_plain()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Found, E> {
        self.not_plain()
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Found, E> {
        self.scalar(Found::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else {
            return self.refuse(NotFound::NotScalar);
        };
        // Where an object is to stand, a list may be several of them to an upstream: it is not the
        // price of one.
        let Some(index) = index(token) else {
            return self.refuse(NotFound::NoWay);
        };
        let mut found = Found::Absent;
        let mut at = 0_usize;
        loop {
            if index == at {
                let seek = Seek {
                    tokens: rest,
                    refusal: &mut *self.refusal,
                };
                match items.next_element_seed(seek)? {
                    Some(value) => found = value,
                    None => return Ok(found),
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at = at.saturating_add(1);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else {
            return self.refuse(NotFound::NotScalar);
        };
        let (mut found, mut other) = (None, None);
        while let Some(name) = members.next_key::<String>()? {
            if name == *token {
                if found.is_some() {
                    return self.refuse(NotFound::Twice);
                }
                found = Some(members.next_value_seed(Seek {
                    tokens: rest,
                    refusal: &mut *self.refusal,
                })?);
                continue;
            }
            if folded(&name) == folded(token) {
                other = Some(name);
            }
            members.next_value::<IgnoredAny>()?;
        }
        match other {
            Some(other) => self.refuse(NotFound::Ambiguous { other }),
            None => Ok(found.unwrap_or(Found::Absent)),
        }
    }
}

impl Seek<'_> {
    /// A number with a sign, a fraction or an exponent, or beyond 64 bits.
    fn not_plain<E: serde::de::Error>(self) -> Result<Found, E> {
        match self.tokens {
            [] => self.refuse(NotFound::NotUnsigned),
            _ => self.refuse(NotFound::NoWay),
        }
    }
}
