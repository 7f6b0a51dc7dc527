//! One value of a JSON document, as it stands there.
//!
//! Numbers are not read as floats: their text is what is charged by.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize as _,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Longest pointer, bytes.
const POINTER_BYTES_MAX: usize = 256;

/// A JSON pointer (RFC 6901) to a member or an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Box<[String]>);

/// What a pointer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'j> {
    /// Nothing, or `null`, or the document is no JSON.
    Absent,
    /// A number, or a string without escapes: its text.
    Plain(&'j str),
    /// Something else, or a member that stands twice.
    Other,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        if text.len() > POINTER_BYTES_MAX {
            return None;
        }
        let tokens = rest.split('/').map(|token| {
            let escapes = token.split('~').skip(1);
            let sound = escapes
                .into_iter()
                .all(|it| it.starts_with('0') || it.starts_with('1'));
            sound.then(|| token.replace("~1", "/").replace("~0", "~"))
        });
        tokens.collect::<Option<_>>().map(Self)
    }

    pub(super) fn find<'j>(&self, json: &'j [u8]) -> Found<'j> {
        let Ok(text) = std::str::from_utf8(json) else {
            return Found::Absent;
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let found = Seek(&self.0).deserialize(&mut reader);
        match (found, reader.end()) {
            (Ok(found), Ok(())) => found,
            _ => Found::Absent,
        }
    }
}

struct Seek<'t>(&'t [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Found<'de>, D::Error> {
        if !self.0.is_empty() {
            return reader.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(reader)?.get();
        Ok(match text.as_bytes() {
            b"null" => Found::Absent,
            [b'-' | b'0'..=b'9', ..] => Found::Plain(text),
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => text
                .get(1..text.len().saturating_sub(1))
                .map_or(Found::Other, Found::Plain),
            _ => Found::Other,
        })
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found<'de>, E> {
        Ok(Found::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found<'de>, A::Error> {
        let (token, rest) = self.0.split_first().map_or(("", self.0), |(t, r)| (t, r));
        let plain = token == "0" || !token.starts_with(['0', '+']);
        let wanted: Option<usize> = token.parse().ok().filter(|_| plain);
        let mut found = Found::Absent;
        let mut at = 0_usize;
        loop {
            if wanted == Some(at) {
                match items.next_element_seed(Seek(rest))? {
                    Some(it) => found = it,
                    None => return Ok(found),
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at = at.saturating_add(1);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found<'de>, A::Error> {
        let (token, rest) = self.0.split_first().map_or(("", self.0), |(t, r)| (t, r));
        let mut found = None;
        while let Some(Name(name)) = members.next_key()? {
            if name != token {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let it = members.next_value_seed(Seek(rest))?;
            found = Some(match found {
                None => it,
                Some(_) => Found::Other,
            });
        }
        Ok(found.unwrap_or(Found::Absent))
    }
}

/// A member's name, without a copy where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'j>(#[serde(borrow)] Cow<'j, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'j>(json: &'j str, pointer: &str) -> Found<'j> {
        Pointer::parse(pointer).unwrap().find(json.as_bytes())
    }

    #[test]
    fn values_are_found_as_they_stand() {
        let json = r#"{"a":{"b/c":[1,{"~":"0.25"}]},"n":0.10,"big":18446744073709551616,
                       "neg":-1,"e":1e3,"x":null,"t":true,"o":{},"esc":"\u0031","2":5}"#;
        for (pointer, found) in [
            ("/a/b~1c/0", Found::Plain("1")),
            ("/a/b~1c/1/~0", Found::Plain("0.25")),
            ("/a/b~1c/2", Found::Absent),
            ("/a/b~1c/00", Found::Absent),
            ("/a/b~1c/-", Found::Absent),
            ("/n", Found::Plain("0.10")),
            ("/n/x", Found::Absent),
            ("/big", Found::Plain("18446744073709551616")),
            ("/neg", Found::Plain("-1")),
            ("/e", Found::Plain("1e3")),
            ("/x", Found::Absent),
            ("/t", Found::Other),
            ("/o", Found::Other),
            ("/esc", Found::Other),
            ("/2", Found::Plain("5")),
            ("/none", Found::Absent),
        ] {
            assert_eq!(find(json, pointer), found, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_json_or_says_it_twice_tells_nothing() {
        for json in ["", "{", "{\"a\":1", "{\"a\":1} x", "[1]", "7", "\u{0}"] {
            assert_eq!(find(json, "/a"), Found::Absent, "{json}");
        }
        assert_eq!(find(r#"{"a":1,"a":2}"#, "/a"), Found::Other);
        assert_eq!(find(r#"{"a":1,"\u0061":2}"#, "/a"), Found::Other);
        let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(
            find(&deep, "/0"),
            Found::Other,
            "what is passed over takes no stack"
        );
        assert_eq!(find(&deep, &"/0".repeat(128)), Found::Absent);
    }

    #[test]
    fn a_text_that_is_no_pointer_is_refused() {
        for text in ["", "usage", "/a~", "/a~2", "/a/b~/c"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
        assert_eq!(Pointer::parse(&"/a".repeat(200)), None);
        assert!(Pointer::parse("/~0~1").is_some());
    }
}
