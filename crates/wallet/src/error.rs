//! Why a wallet could not be used.

use std::{io, path::PathBuf};

use crate::{
    AccountFileError, KeyringError, PassphraseError, WalletName, keyfile::BadKeyFile,
    sealed::SealedKeyError,
};

/// Why a wallet could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// No key file of this name.
    #[error(
        "there is no wallet {name}: {} is not there; `stiver wallet new {name}` makes one",
        path.display()
    )]
    NoSuchWallet {
        /// The name.
        name: WalletName,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A key file of this name is there. It is never replaced: it may hold money.
    #[error("there is a wallet {name} already: {}", path.display())]
    Exists {
        /// The name.
        name: WalletName,
        /// Its key file.
        path: PathBuf,
    },
    /// Others than its owner may read the key file.
    #[error(
        "the key file {0} may be read by others than you: run `chmod 600 {0}`; if somebody may \
         have read it, make a new wallet and move the money",
        path.display()
    )]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
    /// A damaged key file. The error holds nothing of the key.
    #[error("the key file {} cannot be used", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadKeyFile,
    },
    /// An encrypted key was not opened or not sealed.
    #[error("the key of the wallet {name}")]
    Sealed {
        /// Whose.
        name: WalletName,
        /// Why.
        #[source]
        source: SealedKeyError,
    },
    /// There was no passphrase.
    #[error("the key of the wallet {name} needs a passphrase")]
    Passphrase {
        /// Whose.
        name: WalletName,
        /// Why there is none.
        #[source]
        source: PassphraseError,
    },
    /// The keyring did not do what it should.
    #[error("the key of the wallet {name}")]
    Keyring {
        /// Whose.
        name: WalletName,
        /// Why.
        #[source]
        source: KeyringError,
    },
    /// The keyring's item is another key than the file says.
    #[error("the keyring holds another key than the wallet {name} names")]
    KeyringMismatch {
        /// Whose.
        name: WalletName,
    },
    /// The key that was given belongs to another wallet.
    #[error(
        "the environment's key is not the key of the wallet {name} ({}): unset it, or name \
         another wallet",
        path.display()
    )]
    OtherKey {
        /// The name.
        name: WalletName,
        /// Its key file.
        path: PathBuf,
    },
    /// A damaged account file.
    #[error("the account file {} cannot be used", path.display())]
    Account {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: AccountFileError,
    },
    /// The disk.
    #[error("{} could not be used", path.display())]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process held a lock for too long.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// Which folder.
        path: PathBuf,
    },
}

impl WalletError {
    /// A stable name for what happened, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchWallet { .. } => "no-such-wallet",
            Self::Exists { .. } => "wallet-exists",
            Self::NotPrivate { .. } => "key-file-not-private",
            Self::Key { .. } => "key-file-damaged",
            Self::Sealed {
                source: SealedKeyError::Passphrase,
                ..
            } => "wrong-passphrase",
            Self::Sealed { .. } => "key-file-damaged",
            Self::Passphrase { .. } => "no-passphrase",
            Self::Keyring { .. } => "keyring-failed",
            Self::KeyringMismatch { .. } | Self::OtherKey { .. } => "other-key",
            Self::Account { .. } => "account-file-damaged",
            Self::Disk { .. } => "disk-failed",
            Self::Locked { .. } => "wallet-in-use",
        }
    }
}
