//! Why a challenge is refused.

use super::{HeaderError, Param};
use crate::{json::EncodedObjectError, limits, name::NameError, time::TimestampError};
use alloc::string::String;

/// Why a challenge was refused: one variant for each rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// All lines together are over [`limits::CHALLENGE_HEADER_BYTES_MAX`].
    #[error(
        "WWW-Authenticate is over {} bytes",
        limits::CHALLENGE_HEADER_BYTES_MAX
    )]
    HeaderTooLong {
        /// Bytes up to and with the line that went over.
        bytes: usize,
    },
    /// More than [`limits::CHALLENGES_MAX`] challenges; those after are not read.
    #[error("more than {} Payment challenges", limits::CHALLENGES_MAX)]
    TooManyChallenges,
    /// The line breaks here.
    #[error("malformed WWW-Authenticate")]
    Header(#[source] HeaderError),
    /// `Payment` followed by a single word.
    #[error("the Payment challenge has a word in place of parameters")]
    NoParams,
    /// More than [`limits::AUTH_PARAMS_MAX`] parameters.
    #[error(
        "{count} parameters in one challenge, at most {} are read",
        limits::AUTH_PARAMS_MAX
    )]
    TooManyParams {
        /// How many.
        count: usize,
    },
    /// A parameter stands twice, letter case apart.
    #[error("the parameter `{name}` stands twice")]
    DuplicateParam {
        /// Its name in lower case, cut at [`limits::NAME_BYTES_MAX`].
        name: String,
    },
    /// A value is no UTF-8.
    #[error("`{param}` is not UTF-8")]
    NotUtf8 {
        /// Which.
        param: Param,
    },
    /// A required parameter is absent.
    #[error("`{param}` is missing")]
    Missing {
        /// Which.
        param: Param,
    },
    /// A parameter that must have a value is empty.
    #[error("`{param}` is empty")]
    Empty {
        /// Which.
        param: Param,
    },
    /// `id` breaks its grammar.
    #[error("`id` is malformed")]
    Id(#[source] NameError),
    /// `realm` breaks its grammar.
    #[error("`realm` is malformed")]
    Realm(#[source] NameError),
    /// `method` breaks its grammar.
    #[error("`method` is malformed")]
    Method(#[source] NameError),
    /// `intent` breaks its grammar.
    #[error("`intent` is malformed")]
    Intent(#[source] NameError),
    /// `request` is no base64url JSON object.
    #[error("`request` is malformed")]
    Request(#[source] EncodedObjectError),
    /// `expires` is no RFC 3339 date-time.
    #[error("`expires` is malformed")]
    Expires(#[source] TimestampError),
    /// `digest` is over [`limits::DIGEST_PARAM_BYTES_MAX`].
    #[error(
        "`digest` is {bytes} bytes long, at most {} are read",
        limits::DIGEST_PARAM_BYTES_MAX
    )]
    DigestTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// `digest` holds something else than visible ASCII, or `|`.
    #[error("`digest` holds a character that it may not, at byte {offset}")]
    DigestCharacter {
        /// Where, from the start of the value.
        offset: usize,
    },
    /// `opaque` is no base64url JSON object.
    #[error("`opaque` is malformed")]
    Opaque(#[source] EncodedObjectError),
    /// `opaque` has a member that is no string.
    #[error("`opaque` is no flat object of strings")]
    OpaqueNotFlat,
}
