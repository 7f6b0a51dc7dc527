//! The keyring of the operating system, as a place for keys.

#[cfg(feature = "keyring")]
mod system;

use zeroize::Zeroizing;

#[cfg(feature = "keyring")]
pub use system::SystemKeyring;

/// The service that Stiver's items carry in a keyring.
pub const KEYRING_SERVICE: &str = "stiver";

/// Keeps secrets by name. The operating system's is behind the feature `keyring`.
///
/// May block, and may ask the user to unlock it.
pub trait Keyring: Send + Sync {
    /// Keeps a secret under a name, in place of the one before.
    ///
    /// # Errors
    ///
    /// The keyring is not there, or does not take it.
    fn store(&self, item: &str, secret: &str) -> Result<(), KeyringError>;
    /// The secret under a name.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoItem`], or the keyring is not there.
    fn load(&self, item: &str) -> Result<Zeroizing<String>, KeyringError>;
    /// Removes the secret under a name; nothing happens when there is none.
    ///
    /// # Errors
    ///
    /// The keyring is not there.
    fn remove(&self, item: &str) -> Result<(), KeyringError>;
}

/// Why a keyring could not be used. Holds nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// This program was built without one.
    #[error("this program has no keyring: build it with the feature `keyring`")]
    NotBuilt,
    /// Nobody answers.
    #[error(
        "no keyring answers ({0}); install and start one: on Linux a Secret Service on the \
         session bus, such as the package gnome-keyring (with dbus)"
    )]
    Unavailable(String),
    /// It is locked, and was not unlocked.
    #[error("the keyring is locked ({0}): unlock it, then try again")]
    Locked(String),
    /// Nothing under this name.
    #[error("the keyring has no item {item:?} of the service {KEYRING_SERVICE:?}")]
    NoItem {
        /// The name.
        item: String,
    },
    /// What is there is none of ours.
    #[error("the keyring's item {item:?} holds no key")]
    NotAKey {
        /// The name.
        item: String,
    },
    /// It said no.
    #[error("the keyring failed: {0}")]
    Failed(String),
}

/// No keyring.
pub(crate) struct NoKeyring;

impl Keyring for NoKeyring {
    fn store(&self, _: &str, _: &str) -> Result<(), KeyringError> {
        Err(KeyringError::NotBuilt)
    }
    fn load(&self, _: &str) -> Result<Zeroizing<String>, KeyringError> {
        Err(KeyringError::NotBuilt)
    }
    fn remove(&self, _: &str) -> Result<(), KeyringError> {
        Err(KeyringError::NotBuilt)
    }
}
