//! Where passphrases come from.

use zeroize::Zeroizing;

use crate::WalletName;

/// Tells the passphrases of encrypted key files: a terminal, a file, a password manager.
///
/// May block: whoever opens a key from inside of a task says so to its runtime.
pub trait Passphrases: Send + Sync {
    /// The passphrase that opens this wallet's key.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    fn existing(&self, wallet: &WalletName) -> Result<Zeroizing<String>, PassphraseError>;
    /// A new passphrase to put this wallet's key under. A person is asked twice.
    ///
    /// # Errors
    ///
    /// There is none to be had, or the two differ.
    fn fresh(&self, wallet: &WalletName) -> Result<Zeroizing<String>, PassphraseError>;
    /// How often [`Passphrases::existing`] is worth asking: more than once for a person, who may
    /// mistype.
    fn tries(&self) -> u32 {
        1
    }
}

/// Why there is no passphrase. Holds nothing of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Nobody was named who could tell it.
    #[error("no passphrase was given")]
    NotGiven,
    /// Too short for a new one.
    #[error(
        "a passphrase needs at least {} bytes",
        crate::sealed::PASSPHRASE_BYTES_MIN
    )]
    TooShort,
    /// The two that were typed are not the same.
    #[error("the two passphrases differ")]
    Differ,
    /// Who was to tell it did not, and why.
    #[error("no passphrase from {from}")]
    Failed {
        /// A file, a command, a terminal.
        from: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Tells none: for wallets whose keys lie in plain files, in a keyring or in the environment.
pub(crate) struct NoPassphrases;

impl Passphrases for NoPassphrases {
    fn existing(&self, _: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        Err(PassphraseError::NotGiven)
    }
    fn fresh(&self, _: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        Err(PassphraseError::NotGiven)
    }
}
