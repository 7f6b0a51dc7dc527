//! Finding a value in a request, in the one way that every upstream reads it.

use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::{Inputs, json, query};
use crate::config::pricing::Place;

/// Most known values that a refusal names.
const KNOWN_SHOWN_MAX: usize = 8;

/// What stands in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or JSON's `null`.
    Absent,
    /// An unsigned integer, written plainly.
    Number(u64),
    /// A text that is no such number.
    Text(String),
    /// JSON's `true` or `false`.
    Flag(bool),
}

/// Why nothing can be read from a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// It is not there, and has no default.
    #[error("it is missing")]
    Absent,
    /// It is no unsigned integer.
    #[error("it must be an unsigned integer, written in plain digits")]
    NotUnsigned,
    /// It is no known value.
    #[error("it must be one of {}", list(.known))]
    Unknown {
        /// The known ones.
        known: Vec<String>,
    },
    /// It is an object or an array.
    #[error("it must be a number or a string")]
    NotScalar,
    /// It stands there more than once.
    #[error("it is given more than once")]
    Twice,
    /// A name stands there that an upstream may take for it.
    #[error("{other:?} is there too, which may be read as the same: send one of them")]
    Ambiguous {
        /// The other name.
        other: String,
    },
    /// The body, or a value on the way, is no object that could have it.
    #[error("the body, or what it is to be in, must be a JSON object")]
    NoWay,
    /// The body streams past.
    #[error("the body is too long to be read first")]
    Streams,
    /// The body is not said to be JSON.
    #[error("the body must be sent as Content-Type: application/json, in UTF-8")]
    NotSaidToBeJson,
    /// The body is compressed.
    #[error("the body must be sent without Content-Encoding")]
    Encoded,
    /// The body is no JSON.
    #[error("the body is not valid JSON at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The text is not UTF-8 or does not decode.
    #[error("it does not decode as text")]
    NotText,
}

fn list(known: &[String]) -> String {
    let shown: Vec<&str> = known
        .iter()
        .take(KNOWN_SHOWN_MAX)
        .map(String::as_str)
        .collect();
    let more = if known.len() > shown.len() {
        ", ..."
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

/// Finds the value of a place.
pub(super) fn find(place: &Place, inputs: &Inputs<'_>) -> Result<Found, NotFound> {
    match place {
        Place::Json(pointer) => {
            let body = inputs.body.ok_or(NotFound::Streams)?;
            if body.is_empty() {
                return Ok(Found::Absent);
            }
            is_json(inputs.headers)?;
            json::find(body, pointer)
        }
        Place::Query(name) => query::find(inputs.query.unwrap_or_default(), name).map(plain),
        Place::Header(name) => header(name.as_str(), inputs.headers).map(plain),
    }
}

/// A text, or the number that it is.
fn plain(text: Option<String>) -> Found {
    match text {
        None => Found::Absent,
        Some(text) => unsigned(&text).map_or(Found::Text(text), Found::Number),
    }
}

/// An unsigned integer in plain digits: no sign, no space, no leading zero.
fn unsigned(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (digits && !leading_zero).then(|| text.parse().ok())?
}

/// Whether two names are one to upstreams that get header fields as variables: `x-units` and
/// `x_units`.
pub(super) fn alike(name: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Refuses a header field that an upstream may take for the one with this name.
pub(super) fn only_spelling(name: &str, headers: &HeaderMap) -> Result<(), NotFound> {
    let mut keys = headers.keys().map(HeaderName::as_str);
    match keys.find(|key| *key != name && alike(key, name)) {
        Some(other) => Err(NotFound::Ambiguous {
            other: other.to_owned(),
        }),
        None => Ok(()),
    }
}

fn header(name: &str, headers: &HeaderMap) -> Result<Option<String>, NotFound> {
    only_spelling(name, headers)?;
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(NotFound::Twice);
    }
    let Some(value) = value else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| NotFound::NotText)?;
    Ok(Some(text.trim_matches([' ', '\t']).to_owned()))
}

/// An upstream that is told another type, or an encoding, may read something else in the same
/// bytes.
fn is_json(headers: &HeaderMap) -> Result<(), NotFound> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    }) {
        return Err(NotFound::Encoded);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return Err(NotFound::NotSaidToBeJson);
    };
    let text = value.to_str().map_err(|_| NotFound::NotSaidToBeJson)?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if json && utf8 {
        Ok(())
    } else {
        Err(NotFound::NotSaidToBeJson)
    }
}
