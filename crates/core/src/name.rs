//! Names on the wire: realm, method, intent, challenge id.

use alloc::sync::Arc;

/// A protection space: 1 to 255 visible ASCII characters or spaces, no `|`, `"` or `\`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm(Arc<str>);

/// A payment method: `[a-z][a-z0-9:_-]*`, at most 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodName(Arc<str>);

/// A payment intent: `[A-Za-z0-9-]+`, at most 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentName(Arc<str>);

/// A challenge id: 1 to 256 visible ASCII characters. Not a secret, and no proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChallengeId(Arc<str>);

macro_rules! name {
    ($type:ident, $error:literal) => {
        impl $type {
            /// Checks and keeps a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                todo!()
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name!(Realm, "realm");
name!(MethodName, "method");
name!(IntentName, "intent");
name!(ChallengeId, "id");

impl IntentName {
    /// The `charge` intent.
    pub fn charge() -> Self {
        todo!()
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Placeholder, the implementer completes this list.
    #[error("the name is empty")]
    Empty,
}
