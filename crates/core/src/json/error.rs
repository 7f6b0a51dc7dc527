//! Why JSON was refused.

use crate::{
    base64url::Base64UrlError,
    limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX},
    untrusted::Untrusted,
};
use alloc::string::String;

/// Why a JSON text was refused. `offset` counts bytes from its start.
///
/// Messages never quote a value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Longer than [`JSON_BYTES_MAX`]; not read at all.
    #[error("a JSON text of {bytes} bytes is too long: the limit is {JSON_BYTES_MAX}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the JSON text is not UTF-8 from byte {offset} on")]
    Utf8 {
        /// Of the first byte that is not.
        offset: usize,
    },
    /// More than [`JSON_DEPTH_MAX`] arrays and objects within each other.
    #[error("the JSON text nests deeper than {JSON_DEPTH_MAX} levels at byte {offset}")]
    TooDeep {
        /// Of the bracket that is one too many.
        offset: usize,
    },
    /// An integer that a double would round.
    #[error(
        "the integer at byte {offset} of the JSON text is too large to be exact: send a string"
    )]
    InexactInteger {
        /// Of its first character.
        offset: usize,
    },
    /// A number beyond the largest double.
    #[error("the number at byte {offset} of the JSON text is beyond the largest double")]
    NotFinite {
        /// Of its first character.
        offset: usize,
    },
    /// Two members of one object have the same key.
    #[error("the key {:?} stands twice in one JSON object, at byte {offset}", Untrusted(.key))]
    DuplicateKey {
        /// The key, its escapes resolved.
        key: String,
        /// Of the quote that ends the second one.
        offset: usize,
    },
    /// A key that a JSON library keeps for itself.
    #[error("the JSON text holds a key that begins with $serde_json::private::, which is reserved")]
    ReservedKey,
    /// Not the grammar of JSON.
    #[error("not JSON at byte {offset}")]
    Syntax {
        /// Where the parser stopped.
        offset: usize,
    },
    /// The text ends in the middle of a value.
    #[error("the JSON text ends too early")]
    UnexpectedEnd,
    /// Something after the value.
    #[error("the JSON text goes on after its value, at byte {offset}")]
    Trailing {
        /// Where the rest begins.
        offset: usize,
    },
    /// JSON, but no object.
    #[error("the JSON text is {found}, not an object")]
    NotObject {
        /// What it is, in words.
        found: &'static str,
    },
    /// An object without a member that must be there.
    #[error("the JSON object lacks the member {:?}", Untrusted(.path))]
    MissingMember {
        /// Keys and indices from the root, joined by points.
        path: String,
    },
    /// A member that the type reading it does not know and does not ignore.
    #[error("the JSON member {:?} is not known here", Untrusted(.path))]
    UnknownMember {
        /// Keys and indices from the root, joined by points.
        path: String,
    },
    /// A member of another type or value than it must have.
    #[error("the JSON member {:?} is not {expected}", Untrusted(.path))]
    Member {
        /// Keys and indices from the root, joined by points. Empty for the root.
        path: String,
        /// What it must be, in words.
        expected: String,
    },
    /// A value that JSON cannot carry.
    #[error("the value cannot be written as JSON")]
    Unwritable,
}

/// Why an encoded object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodedObjectError {
    /// Not unpadded base64url.
    #[error("not unpadded base64url")]
    Base64(#[source] Base64UrlError),
    /// Base64url of something that is no acceptable JSON object.
    #[error("not a JSON object")]
    Json(#[source] JsonError),
}
