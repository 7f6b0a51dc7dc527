//! Names on the wire: realm, method, intent, challenge id.

use crate::limits::{CHALLENGE_ID_BYTES_MAX, NAME_BYTES_MAX, REALM_BYTES_MAX};
use alloc::sync::Arc;

/// A protection space: 1 to 255 visible ASCII characters or spaces, no `|`, `"` or `\`.
///
/// `|` would let one challenge's parameters pass for another's in the binding; the other two
/// would need escapes in the header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm(Arc<str>);

/// A payment method: `[a-z][a-z0-9:_-]*`, at most 64 bytes.
///
/// # Spec
/// draft-httpauth-payment-00 allows `a-z` only. Deployed names (`x402`) do not keep to it, so
/// digits and `:_-` are read too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodName(Arc<str>);

/// A payment intent: `[A-Za-z0-9-]+`, at most 64 bytes. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentName(Arc<str>);

/// A challenge id: 1 to 256 visible ASCII characters. Not a secret, and no proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChallengeId(Arc<str>);

/// The rules of one kind of name.
struct Rule {
    kind: NameKind,
    bytes_max: usize,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
}

/// Checks a text against a rule.
fn check(text: &str, rule: &Rule) -> Result<Arc<str>, NameError> {
    let kind = rule.kind;
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > rule.bytes_max {
        return Err(NameError::TooLong {
            kind,
            bytes: text.len(),
            bytes_max: rule.bytes_max,
        });
    }
    for (offset, byte) in text.bytes().enumerate() {
        let allowed = if offset == 0 { rule.first } else { rule.rest };
        if !allowed(byte) {
            return Err(NameError::Character { kind, offset });
        }
    }
    Ok(Arc::from(text))
}

fn is_realm(byte: u8) -> bool {
    (0x20..=0x7E).contains(&byte) && !matches!(byte, b'|' | b'"' | b'\\')
}

fn is_method(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'_' | b'-')
}

fn is_intent(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

macro_rules! name {
    ($type:ident, $bytes_max:expr, $first:expr, $rest:expr) => {
        impl $type {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// [`NameError`] says which rule of this kind of name is broken, and where.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let rule = Rule {
                    kind: NameKind::$type,
                    bytes_max: $bytes_max,
                    first: $first,
                    rest: $rest,
                };
                check(text, &rule).map(Self)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl core::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
name!(Realm, REALM_BYTES_MAX, is_realm, is_realm);
name!(
    MethodName,
    NAME_BYTES_MAX,
    |byte| byte.is_ascii_lowercase(),
    is_method
);
name!(IntentName, NAME_BYTES_MAX, is_intent, is_intent);
name!(
    ChallengeId,
    CHALLENGE_ID_BYTES_MAX,
    |byte| byte.is_ascii_graphic(),
    |byte| byte.is_ascii_graphic()
);

impl IntentName {
    /// The `charge` intent.
    #[must_use]
    pub fn charge() -> Self {
        Self(Arc::from("charge"))
    }

    /// The `session` intent.
    #[must_use]
    pub fn session() -> Self {
        Self(Arc::from("session"))
    }
}

/// The kinds of name, as [`NameError`] speaks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// [`Realm`]
    Realm,
    /// [`MethodName`]
    MethodName,
    /// [`IntentName`]
    IntentName,
    /// [`ChallengeId`]
    ChallengeId,
}

impl NameKind {
    /// What may stand in it, in words.
    #[must_use]
    pub fn allowed(self) -> &'static str {
        match self {
            Self::Realm => "visible ASCII and spaces without | \" \\",
            Self::MethodName => "a-z 0-9 : _ - with a letter first",
            Self::IntentName => "A-Z a-z 0-9 -",
            Self::ChallengeId => "visible ASCII without spaces",
        }
    }
}

impl core::fmt::Display for NameKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Realm => "realm",
            Self::MethodName => "method",
            Self::IntentName => "intent",
            Self::ChallengeId => "id",
        })
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    #[error("the {kind} is empty")]
    Empty {
        /// Of which kind.
        kind: NameKind,
    },
    /// Longer than its limit.
    #[error("the {kind} has {bytes} bytes: the limit is {bytes_max}")]
    TooLong {
        /// Of which kind.
        kind: NameKind,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// A character that may not stand there.
    #[error("byte {offset} of the {kind} is not allowed: use {}", .kind.allowed())]
    Character {
        /// Of which kind.
        kind: NameKind,
        /// Where, in bytes from the start.
        offset: usize,
    },
}

#[cfg(test)]
mod tests;
