//! What a payer keeps: keys, the accounts they sign for, and the journal of what was paid.
//!
//! Everything lies in one home folder, readable by its owner only:
//!
//! ```text
//! keys/NAME.key        the Ed25519 key of the wallet NAME (secret, mode 0600)
//! accounts/NAME.json   the ledger account it signs for, and where to ask about it
//! outbox/NAME/         the journal of its paid calls (see stiver_client::outbox)
//! pins/pins.json       realms and payees remembered by origin, for all wallets
//! ```
//!
//! Any number of processes may use one wallet at once: nothing here is locked for longer than it
//! takes to write a small file, but an outbox lane, of which each process takes its own.
//!
//! ```
//! use stiver_testkit::simulation::Simulation;
//! use stiver_wallet::{Home, WalletName};
//!
//! let machine = Simulation::new(1);
//! let home = Home::new("/home/anna/.stiver", machine.env());
//! let name = WalletName::new("main").unwrap();
//! let wallet = machine.block_on(home.create(&name)).unwrap();
//! assert_eq!(home.wallet(&name).unwrap().did(), wallet.did());
//! ```
#![forbid(unsafe_code)]

mod account;
mod name;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use stiver_client::{
    outbox::{Entry, HistoryFilter, LaneOutbox, OutboxError, history},
    pins::FilePins,
};
use stiver_core::did::DidKey;
use stiver_env::{Env, disk::Lock};
use stiver_method::key::{Ed25519Key, KEY_FILE_BYTES_MAX, KeyFileError};
use zeroize::Zeroizing;

pub use account::{Account, AccountFileError};
pub use name::{NameError, WalletName};

/// How often and how long a lock that another process holds is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);
/// Longest account file, bytes.
const ACCOUNT_FILE_BYTES_MAX: u64 = 16 * 1024;

/// The home folder of a payer's wallets. Cheap to clone.
#[derive(Clone)]
pub struct Home {
    folder: PathBuf,
    env: Env,
}

/// One wallet: a key, and what is kept for it.
#[derive(Clone)]
pub struct Wallet {
    home: Home,
    name: WalletName,
    did: DidKey,
}

impl Home {
    /// The wallets in a folder. It is made at the first [`Home::create`].
    pub fn new(folder: impl Into<PathBuf>, env: Env) -> Self {
        Self {
            folder: folder.into(),
            env,
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a wallet with a fresh key. The key is durable before this returns.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`]: a key is never replaced. Otherwise the disk.
    pub async fn create(&self, name: &WalletName) -> Result<Wallet, WalletError> {
        let seed = Zeroizing::new(self.env.random::<32>());
        self.import(name, &Ed25519Key::from_seed(&seed)).await
    }

    /// Makes a wallet with a key that is there already.
    ///
    /// # Errors
    ///
    /// As [`Home::create`].
    pub async fn import(&self, name: &WalletName, key: &Ed25519Key) -> Result<Wallet, WalletError> {
        let folder = self.folder.join("keys");
        for folder in [&self.folder, &folder] {
            self.make(folder)?;
        }
        let _lock = self.lock(&folder).await?;
        let path = self.key_path(name);
        match self
            .env
            .disk
            .read(&path, KEY_FILE_BYTES_MAX)
            .map(Zeroizing::new)
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => {
                let name = name.clone();
                return Err(WalletError::Exists { name, path });
            }
            Err(source) => return Err(WalletError::Disk { path, source }),
        }
        let text = key.to_file_text();
        self.env
            .disk
            .write_atomic(&path, text.as_bytes(), true)
            .map_err(|source| WalletError::Disk { path, source })?;
        Ok(Wallet {
            home: self.clone(),
            name: name.clone(),
            did: key.did(),
        })
    }

    /// Opens a wallet: its key file is read and checked.
    ///
    /// # Errors
    ///
    /// [`WalletError::NoSuchWallet`], or a damaged key file.
    pub fn wallet(&self, name: &WalletName) -> Result<Wallet, WalletError> {
        let key = self.read_key(name)?;
        Ok(Wallet {
            home: self.clone(),
            name: name.clone(),
            did: key.did(),
        })
    }

    /// Every wallet, by name. Files that are no wallets are passed over.
    ///
    /// # Errors
    ///
    /// The first damaged key file.
    pub fn wallets(&self) -> Result<Vec<Wallet>, WalletError> {
        let folder = self.folder.join("keys");
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
        names.map(|name| self.wallet(&name)).collect()
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

    fn key_path(&self, name: &WalletName) -> PathBuf {
        self.folder.join("keys").join(format!("{name}.key"))
    }

    fn read_key(&self, name: &WalletName) -> Result<Ed25519Key, WalletError> {
        let path = self.key_path(name);
        let bytes = match self.env.disk.read(&path, KEY_FILE_BYTES_MAX) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = name.clone();
                return Err(WalletError::NoSuchWallet { name, path });
            }
            Err(source) => return Err(WalletError::Disk { path, source }),
        };
        let key = match std::str::from_utf8(&bytes) {
            Ok(text) => Ed25519Key::from_file_text(text),
            Err(_) => Err(KeyFileError::NotAKeyFile),
        };
        key.map_err(|source| WalletError::Key { path, source })
    }

    fn make(&self, folder: &Path) -> Result<(), WalletError> {
        self.env
            .disk
            .create_folder(folder)
            .map_err(|source| WalletError::Disk {
                path: folder.to_owned(),
                source,
            })
    }

    async fn lock(&self, folder: &Path) -> Result<Box<dyn Lock>, WalletError> {
        let path = folder.to_owned();
        for _ in 0..LOCK_TRIES {
            match self.env.disk.lock(folder) {
                Ok(lock) => return Ok(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.env.clock.sleep(LOCK_PAUSE).await;
                }
                Err(source) => return Err(WalletError::Disk { path, source }),
            }
        }
        Err(WalletError::Locked { path })
    }
}

impl Wallet {
    /// Its name.
    pub fn name(&self) -> &WalletName {
        &self.name
    }

    /// Its public key.
    pub fn did(&self) -> DidKey {
        self.did
    }

    /// Reads its key, for signing. It is wiped when dropped; hold it no longer than needed.
    ///
    /// # Errors
    ///
    /// The key file is gone or damaged since the wallet was opened.
    pub fn key(&self) -> Result<Ed25519Key, WalletError> {
        self.home.read_key(&self.name)
    }

    /// The account it signs for; `None` until one is bound.
    ///
    /// # Errors
    ///
    /// [`WalletError::Account`] for a damaged file.
    pub fn account(&self) -> Result<Option<Account>, WalletError> {
        let path = self.account_path();
        let bytes = match self.home.env.disk.read(&path, ACCOUNT_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(WalletError::Disk { path, source }),
        };
        let account = Account::from_file(&bytes);
        let account = account.map_err(|source| WalletError::Account { path, source })?;
        Ok(Some(account))
    }

    /// Binds it to an account, in place of the one before.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn bind(&self, account: &Account) -> Result<(), WalletError> {
        self.home.make(&self.home.folder.join("accounts"))?;
        let path = self.account_path();
        let text = account.to_file();
        self.home
            .env
            .disk
            .write_atomic(&path, text.as_bytes(), true)
            .map_err(|source| WalletError::Disk { path, source })
    }

    /// Opens its journal, for [`stiver_client::Parts`]. Never waits for another process.
    ///
    /// # Errors
    ///
    /// Those of [`LaneOutbox::open`].
    pub async fn outbox(&self) -> Result<LaneOutbox, OutboxError> {
        let home = &self.home;
        let outboxes = home.folder.join("outbox");
        for folder in [&home.folder, &outboxes] {
            home.env
                .disk
                .create_folder(folder)
                .map_err(|source| OutboxError::Disk {
                    path: folder.clone(),
                    source,
                })?;
        }
        LaneOutbox::open(&self.outbox_folder(), &home.env).await
    }

    /// Its paid calls, oldest first. Takes no lock.
    ///
    /// # Errors
    ///
    /// A damaged log.
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<Entry>, OutboxError> {
        history(&self.outbox_folder(), &self.home.env, filter)
    }

    /// The folder of its journal.
    pub fn outbox_folder(&self) -> PathBuf {
        self.home.folder.join("outbox").join(self.name.as_str())
    }

    fn account_path(&self) -> PathBuf {
        let file = format!("{}.json", self.name);
        self.home.folder.join("accounts").join(file)
    }
}

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
    /// A damaged key file. The error holds nothing of the key.
    #[error("the key file {} cannot be used", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyFileError,
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

#[cfg(test)]
mod tests;
