//! Secret Service on Linux, Keychain on macOS.

use std::sync::{Arc, Mutex, PoisonError};

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
use keyring_core::{Entry, Error, api::CredentialStoreApi};
#[cfg(not(target_os = "macos"))]
use zbus_secret_service_keyring_store::Store;
use zeroize::{Zeroize, Zeroizing};

use super::{KEYRING_SERVICE, Keyring, KeyringError};

/// The operating system's keyring: the Secret Service on the session bus of Linux, the login
/// keychain of macOS. Connected to at the first use.
#[derive(Default)]
pub struct SystemKeyring {
    store: Mutex<Option<Arc<Store>>>,
}

impl SystemKeyring {
    fn entry(&self, item: &str) -> Result<Entry, KeyringError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match store.as_ref() {
            Some(open) => Arc::clone(open),
            None => {
                let open = Store::new().map_err(|error| unavailable(&error))?;
                Arc::clone(store.insert(open))
            }
        };
        open.build(KEYRING_SERVICE, item, None)
            .map_err(|error| failed(item, error))
    }
}

impl Keyring for SystemKeyring {
    fn store(&self, item: &str, secret: &str) -> Result<(), KeyringError> {
        self.entry(item)?
            .set_secret(secret.as_bytes())
            .map_err(|error| failed(item, error))
    }

    fn load(&self, item: &str) -> Result<Zeroizing<String>, KeyringError> {
        let bytes = self.entry(item)?.get_secret();
        let bytes = bytes.map_err(|error| failed(item, error))?;
        String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|error| {
                error.into_bytes().zeroize();
                KeyringError::NotAKey {
                    item: item.to_owned(),
                }
            })
    }

    fn remove(&self, item: &str) -> Result<(), KeyringError> {
        match self.entry(item)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(failed(item, error)),
        }
    }
}

fn unavailable(error: &Error) -> KeyringError {
    match error {
        Error::PlatformFailure(cause) | Error::NoStorageAccess(cause) => {
            KeyringError::Unavailable(cause.to_string())
        }
        other => KeyringError::Unavailable(kind(other).to_owned()),
    }
}

/// Some errors carry what was read: they are told by their kind only.
fn failed(item: &str, mut error: Error) -> KeyringError {
    let item = item.to_owned();
    match &mut error {
        Error::NoEntry => KeyringError::NoItem { item },
        Error::BadEncoding(bytes) | Error::BadDataFormat(bytes, _) => {
            bytes.zeroize();
            KeyringError::NotAKey { item }
        }
        Error::NoStorageAccess(cause) => KeyringError::Locked(cause.to_string()),
        Error::PlatformFailure(cause) => KeyringError::Failed(cause.to_string()),
        other => KeyringError::Failed(kind(other).to_owned()),
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Ambiguous(_) => "it has several items of this name",
        Error::TooLong(..) => "the item is too long for it",
        Error::NotSupportedByStore(_) => "it cannot do this",
        _ => "its answer was not understood",
    }
}
