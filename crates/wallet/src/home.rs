//! The home folder: which wallets there are, and where their keys are kept.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stiver_client::pins::FilePins;
use stiver_env::{Env, disk::Lock};
use stiver_method::key::{Ed25519Key, KEY_FILE_BYTES_MAX};
use zeroize::Zeroizing;

use crate::{
    Keyring, KeyringError, Passphrases, Wallet, WalletError, WalletName,
    keyfile::{BadKeyFile, KeyFile, KeyringItem},
    keyring::{KEYRING_SERVICE, NoKeyring},
    passphrase::NoPassphrases,
    sealed::{KdfCost, PASSPHRASE_BYTES_MIN, SealRandom, SealedKey},
};

/// How often and how long a lock that another process holds is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Where to keep a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In a file that only its owner can read.
    PlainFile,
    /// In a file, under a passphrase.
    EncryptedFile,
    /// In the operating system's keyring.
    Keyring,
}

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// By this machine.
    In(Keep),
    /// By whoever started this process: it was given in the environment.
    Environment,
}

impl Kept {
    /// The word for it: `plain-file`, `encrypted-file`, `keyring` or `environment`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In(Keep::PlainFile) => "plain-file",
            Self::In(Keep::EncryptedFile) => "encrypted-file",
            Self::In(Keep::Keyring) => "keyring",
            Self::Environment => "environment",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A wallet whose key is kept elsewhere now.
pub struct Moved {
    /// The wallet.
    pub wallet: Wallet,
    /// The keyring's old item, when it could not be removed: it still holds the secret.
    pub left: Option<LeftItem>,
}

/// An item that is still in the keyring, though no file names it.
#[derive(Debug, thiserror::Error)]
#[error("the keyring still has the item {item:?} of the service {KEYRING_SERVICE:?}")]
pub struct LeftItem {
    /// Its name.
    pub item: String,
    /// Why it could not be removed.
    pub source: KeyringError,
}

/// The home folder of a payer's wallets. Cheap to clone.
#[derive(Clone)]
pub struct Home {
    folder: PathBuf,
    pub(crate) env: Env,
    pub(crate) passphrases: Arc<dyn Passphrases>,
    pub(crate) keyring: Arc<dyn Keyring>,
    given: Option<Arc<Ed25519Key>>,
    cost: KdfCost,
}

impl Home {
    /// The wallets in a folder. It is made at the first [`Home::create`]. Encrypted keys need
    /// [`Home::with_passphrases`], keys in the keyring [`Home::with_keyring`].
    pub fn new(folder: impl Into<PathBuf>, env: Env) -> Self {
        Self {
            folder: folder.into(),
            env,
            passphrases: Arc::new(NoPassphrases),
            keyring: Arc::new(NoKeyring),
            given: None,
            cost: KdfCost::RECOMMENDED,
        }
    }

    /// Asks this for passphrases.
    #[must_use]
    pub fn with_passphrases(mut self, passphrases: Arc<dyn Passphrases>) -> Self {
        self.passphrases = passphrases;
        self
    }

    /// Keeps keys in this keyring, when asked to.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Arc<dyn Keyring>) -> Self {
        self.keyring = keyring;
        self
    }

    /// Uses a key that this process was given, for whichever wallet is opened: nothing of it is
    /// written. A wallet that has a key file of another key is refused.
    #[must_use]
    pub fn with_given_key(mut self, key: Ed25519Key) -> Self {
        self.given = Some(Arc::new(key));
        self
    }

    /// Seals new keys at this cost.
    #[must_use]
    pub fn with_kdf_cost(mut self, cost: KdfCost) -> Self {
        self.cost = cost;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a wallet with a fresh key. The key is durable before this returns.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`]: a key is never replaced. Otherwise the place it is kept in.
    pub async fn create(&self, name: &WalletName, keep: Keep) -> Result<Wallet, WalletError> {
        let seed = Zeroizing::new(self.env.random::<32>());
        self.import(name, Ed25519Key::from_seed(&seed), keep).await
    }

    /// Makes a wallet with a key that is there already.
    ///
    /// # Errors
    ///
    /// As [`Home::create`].
    pub async fn import(
        &self,
        name: &WalletName,
        key: Ed25519Key,
        keep: Keep,
    ) -> Result<Wallet, WalletError> {
        let _lock = self.lock_keys().await?;
        self.check_free(name)?;
        self.write_key(name, &key, keep)?;
        Ok(Wallet::opened(self, name, Kept::In(keep), key))
    }

    /// Makes a wallet with a key that is encrypted already: it stays under its passphrase, and
    /// nothing of it is written in the clear.
    ///
    /// # Errors
    ///
    /// As [`Home::create`]; and the passphrase does not open the key.
    pub async fn import_sealed(
        &self,
        name: &WalletName,
        sealed: &SealedKey,
        passphrase: &str,
    ) -> Result<Wallet, WalletError> {
        let key = sealed.open(passphrase).map_err(|source| {
            let name = name.clone();
            WalletError::Sealed { name, source }
        })?;
        let _lock = self.lock_keys().await?;
        self.check_free(name)?;
        self.write_file(name, &sealed.to_file_text())?;
        let kept = Kept::In(Keep::EncryptedFile);
        Ok(Wallet::opened(self, name, kept, key))
    }

    /// A key is never replaced by another.
    fn check_free(&self, name: &WalletName) -> Result<(), WalletError> {
        let path = self.key_path(name);
        match self.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => {
                let name = name.clone();
                Err(WalletError::Exists { name, path })
            }
            Err(source) => Err(WalletError::Disk { path, source }),
        }
    }

    /// Keeps a wallet's key elsewhere, or under another passphrase. The new place has it, durably
    /// and read back, before the old one is cleared. What a disk remembers of a file that was
    /// replaced is the disk's affair.
    ///
    /// # Errors
    ///
    /// Whatever keeps the key from being read, or the new place from taking it: then it is where
    /// it was. An old item that stays in the keyring is none: see [`Moved::left`].
    pub async fn keep(&self, name: &WalletName, keep: Keep) -> Result<Moved, WalletError> {
        let _lock = self.lock_keys().await?;
        let file = self.read_file(name)?;
        let before = Wallet::of_file(self, name, &file);
        let item = match &file {
            KeyFile::Keyring(item) => Some(item.item.clone()),
            KeyFile::Plain(_) | KeyFile::Sealed(_) => None,
        };
        let key = before.open(file)?;
        self.write_key(name, &key, keep)?;
        self.clear_cut_off(name);
        let wallet = Wallet::opened(self, name, Kept::In(keep), key);
        let left = item.and_then(|item| {
            let source = self.keyring.remove(&item).err()?;
            Some(LeftItem { item, source })
        });
        Ok(Moved { wallet, left })
    }

    /// Removes what writes of the key file left behind that were cut off: it may hold the key as it
    /// was kept before. Best effort, under the lock of the keys, so that nobody is writing.
    fn clear_cut_off(&self, name: &WalletName) {
        let folder = self.keys_folder();
        let begins = format!(".{name}.key.");
        for file in self.env.disk.list(&folder).unwrap_or_default() {
            let left = file.to_str().is_some_and(|file| {
                file.starts_with(&begins) && file.ends_with(".tmp") && file.len() > begins.len()
            });
            if left {
                // What stays is no worse than before.
                let _ = self.env.disk.remove(&folder.join(&file));
            }
        }
    }

    /// Opens a wallet: its key file is checked. A secret that needs a passphrase or the keyring is
    /// asked for at the first [`Wallet::key`], and once only.
    ///
    /// # Errors
    ///
    /// [`WalletError::NoSuchWallet`], or a damaged key file.
    pub fn wallet(&self, name: &WalletName) -> Result<Wallet, WalletError> {
        let file = match (&self.given, self.read_file(name)) {
            (None, file) => file?,
            (Some(given), Ok(file)) if file.did() != given.did() => {
                let path = self.key_path(name);
                let name = name.clone();
                return Err(WalletError::OtherKey { name, path });
            }
            (Some(given), Ok(_) | Err(WalletError::NoSuchWallet { .. })) => {
                return Ok(Wallet::given(self, name, given));
            }
            (Some(_), Err(error)) => return Err(error),
        };
        let wallet = Wallet::of_file(self, name, &file);
        Ok(match file {
            KeyFile::Plain(key) => Wallet::opened(self, name, Kept::In(Keep::PlainFile), *key),
            KeyFile::Sealed(_) | KeyFile::Keyring(_) => wallet,
        })
    }

    /// Every wallet that has a key file, by name. Files that are no wallets are passed over; no
    /// passphrase is asked for.
    ///
    /// # Errors
    ///
    /// The first damaged key file.
    pub fn wallets(&self) -> Result<Vec<Wallet>, WalletError> {
        self.names()?
            .into_iter()
            .map(|name| {
                let file = self.read_file(&name)?;
                Ok(Wallet::of_file(self, &name, &file))
            })
            .collect()
    }

    /// The names of the wallets that have a key file, sorted. The files are not read.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn names(&self) -> Result<Vec<WalletName>, WalletError> {
        let folder = self.keys_folder();
        let files = match self.env.disk.list(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                let path = folder;
                return Err(WalletError::Disk { path, source });
            }
        };
        let names = files.iter().filter_map(|file| {
            let stem = file.to_str()?.strip_suffix(".key")?;
            WalletName::new(stem).ok()
        });
        Ok(names.collect())
    }

    /// What is remembered of origins, for [`stiver_client::Parts`].
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn pins(&self) -> Result<FilePins, WalletError> {
        let folder = self.folder.join("pins");
        for folder in [&self.folder, &folder] {
            self.make(folder)?;
        }
        Ok(FilePins::new(folder, self.env.clone()))
    }

    /// The key file of a wallet, whether or not it is there.
    pub fn key_path(&self, name: &WalletName) -> PathBuf {
        self.keys_folder().join(format!("{name}.key"))
    }

    fn keys_folder(&self) -> PathBuf {
        self.folder.join("keys")
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let bytes = self.env.disk.read(path, KEY_FILE_BYTES_MAX);
        bytes.map(Zeroizing::new)
    }

    /// Reads a key file that only its owner can read.
    pub(crate) fn read_file(&self, name: &WalletName) -> Result<KeyFile, WalletError> {
        let path = self.key_path(name);
        let bytes = match self.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = name.clone();
                return Err(WalletError::NoSuchWallet { name, path });
            }
            Err(source) => return Err(WalletError::Disk { path, source }),
        };
        match self.env.disk.is_private(&path) {
            Ok(true) => {}
            Ok(false) => return Err(WalletError::NotPrivate { path }),
            Err(source) => return Err(WalletError::Disk { path, source }),
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        KeyFile::from_text(text).map_err(|source: BadKeyFile| WalletError::Key { path, source })
    }

    /// Writes a key to its place, and its file.
    fn write_key(
        &self,
        name: &WalletName,
        key: &Ed25519Key,
        keep: Keep,
    ) -> Result<(), WalletError> {
        let text = match keep {
            Keep::PlainFile => key.to_file_text(),
            Keep::EncryptedFile => Zeroizing::new(self.seal(name, key)?.to_file_text()),
            Keep::Keyring => {
                let item = self.put_into_keyring(name, key)?;
                Zeroizing::new(item.to_file_text())
            }
        };
        self.write_file(name, &text)
    }

    fn write_file(&self, name: &WalletName, text: &str) -> Result<(), WalletError> {
        let path = self.key_path(name);
        self.env
            .disk
            .write_atomic(&path, text.as_bytes(), true)
            .map_err(|source| WalletError::Disk { path, source })
    }

    /// Puts a key under a fresh passphrase.
    ///
    /// # Errors
    ///
    /// There is no passphrase, or it is too short.
    pub fn seal(&self, name: &WalletName, key: &Ed25519Key) -> Result<SealedKey, WalletError> {
        let no_passphrase = |source| WalletError::Passphrase {
            name: name.clone(),
            source,
        };
        let passphrase = self.passphrases.fresh(name).map_err(no_passphrase)?;
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(no_passphrase(crate::PassphraseError::TooShort));
        }
        let random = SealRandom {
            salt: self.env.random(),
            nonce: self.env.random(),
        };
        SealedKey::seal(key, &passphrase, self.cost, random).map_err(|source| {
            let name = name.clone();
            WalletError::Sealed { name, source }
        })
    }

    /// Stores a key in the keyring, and reads it back: a file must not point to nothing.
    fn put_into_keyring(
        &self,
        name: &WalletName,
        key: &Ed25519Key,
    ) -> Result<KeyringItem, WalletError> {
        let item = KeyringItem::new(key.did(), &self.env.random());
        let secret = key.to_secret_text();
        let stored = self.keyring.store(&item.item, &secret);
        let read = stored.and_then(|()| self.keyring.load(&item.item));
        let read = read.map_err(|source| WalletError::Keyring {
            name: name.clone(),
            source,
        })?;
        if *read == *secret {
            Ok(item)
        } else {
            Err(WalletError::KeyringMismatch { name: name.clone() })
        }
    }

    pub(crate) fn make(&self, folder: &Path) -> Result<(), WalletError> {
        self.env
            .disk
            .create_folder(folder)
            .map_err(|source| WalletError::Disk {
                path: folder.to_owned(),
                source,
            })
    }

    /// Takes the lock of the folder of keys, which is made when it is not there.
    async fn lock_keys(&self) -> Result<Box<dyn Lock>, WalletError> {
        let folder = self.keys_folder();
        for folder in [&self.folder, &folder] {
            self.make(folder)?;
        }
        for _ in 0..LOCK_TRIES {
            match self.env.disk.lock(&folder) {
                Ok(lock) => return Ok(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.env.clock.sleep(LOCK_PAUSE).await;
                }
                Err(source) => {
                    let path = folder;
                    return Err(WalletError::Disk { path, source });
                }
            }
        }
        Err(WalletError::Locked { path: folder })
    }
}
