//! One wallet.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use stiver_client::{
    outbox::{Entry, HistoryFilter, LaneOutbox, OutboxError, history},
    session::{LaneSessions, Session, SessionJournalError, session_history},
};
use stiver_core::did::DidKey;
use stiver_method::{
    BoxFuture,
    key::Ed25519Key,
    signer::{SignError, SignRequest, Signer},
};

use crate::{
    Account, Home, Keep, Kept, WalletError, WalletName,
    keyfile::{KeyFile, KeyringItem},
    sealed::{SealedKey, SealedKeyError},
};

/// Longest account file, bytes.
const ACCOUNT_FILE_BYTES_MAX: u64 = 16 * 1024;

/// One wallet: a key, and what is kept for it. All clones share the key once it was read.
#[derive(Clone)]
pub struct Wallet {
    home: Home,
    name: WalletName,
    did: DidKey,
    kept: Kept,
    key: Arc<Mutex<Option<Arc<Ed25519Key>>>>,
}

impl Wallet {
    fn new(home: &Home, name: &WalletName, did: DidKey, kept: Kept) -> Self {
        Self {
            home: home.clone(),
            name: name.clone(),
            did,
            kept,
            key: Arc::default(),
        }
    }

    /// A wallet whose secret is not read yet.
    pub(crate) fn of_file(home: &Home, name: &WalletName, file: &KeyFile) -> Self {
        let keep = match file {
            KeyFile::Plain(_) => Keep::PlainFile,
            KeyFile::Sealed(_) => Keep::EncryptedFile,
            KeyFile::Keyring(_) => Keep::Keyring,
        };
        Self::new(home, name, file.did(), Kept::In(keep))
    }

    /// A wallet whose secret was read.
    pub(crate) fn opened(home: &Home, name: &WalletName, kept: Kept, key: Ed25519Key) -> Self {
        let mut wallet = Self::new(home, name, key.did(), kept);
        wallet.key = Arc::new(Mutex::new(Some(Arc::new(key))));
        wallet
    }

    /// A wallet whose secret this process was given.
    pub(crate) fn given(home: &Home, name: &WalletName, key: &Arc<Ed25519Key>) -> Self {
        let mut wallet = Self::new(home, name, key.did(), Kept::Environment);
        wallet.key = Arc::new(Mutex::new(Some(Arc::clone(key))));
        wallet
    }

    /// Its name.
    pub fn name(&self) -> &WalletName {
        &self.name
    }

    /// Its public key.
    pub fn did(&self) -> DidKey {
        self.did
    }

    /// Where its key is kept.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// Its key, for signing. It is read once, at the first call, which may ask for a passphrase or
    /// wait for the keyring, and so block; it is wiped when the last clone of the wallet and of the
    /// key is dropped.
    ///
    /// # Errors
    ///
    /// The key file is gone or damaged since the wallet was opened, there is no passphrase, or the
    /// keyring has no such key.
    pub fn key(&self) -> Result<Arc<Ed25519Key>, WalletError> {
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = held.as_ref() {
            return Ok(Arc::clone(key));
        }
        let file = self.home.read_file(&self.name)?;
        let key = Arc::new(self.open(file)?);
        Ok(Arc::clone(held.insert(key)))
    }

    /// Signs with its key, which is read at the first signature: what needs none asks for no
    /// passphrase. Signing may block as [`Wallet::key`] may.
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::new(WalletSigner(self.clone()))
    }

    /// Opens a key file of any kind. It must be the key this wallet was opened with.
    pub(crate) fn open(&self, file: KeyFile) -> Result<Ed25519Key, WalletError> {
        let name = || self.name.clone();
        let key = match file {
            KeyFile::Plain(key) => *key,
            KeyFile::Sealed(sealed) => self.unseal(&sealed)?,
            KeyFile::Keyring(item) => self.load_from_keyring(&item)?,
        };
        if key.did() == self.did {
            Ok(key)
        } else {
            Err(WalletError::KeyringMismatch { name: name() })
        }
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<Ed25519Key, WalletError> {
        let passphrases = &self.home.passphrases;
        let mut tries = passphrases.tries().max(1);
        loop {
            let passphrase = passphrases.existing(&self.name);
            let passphrase = passphrase.map_err(|source| WalletError::Passphrase {
                name: self.name.clone(),
                source,
            })?;
            tries -= 1;
            match sealed.open(&passphrase) {
                Err(SealedKeyError::Passphrase) if tries > 0 => {}
                result => {
                    return result.map_err(|source| WalletError::Sealed {
                        name: self.name.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn load_from_keyring(&self, item: &KeyringItem) -> Result<Ed25519Key, WalletError> {
        let secret = self.home.keyring.load(&item.item);
        let key = secret.and_then(|secret| {
            Ed25519Key::from_secret_text(&secret).map_err(|_| crate::KeyringError::NotAKey {
                item: item.item.clone(),
            })
        });
        key.map_err(|source| WalletError::Keyring {
            name: self.name.clone(),
            source,
        })
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
        let accounts = self.home.folder().join("accounts");
        for folder in [self.home.folder(), &accounts] {
            self.home.make(folder)?;
        }
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
        let outboxes = home.folder().join("outbox");
        for folder in [home.folder(), &outboxes] {
            home.env
                .disk
                .create_folder(folder)
                .map_err(|source| OutboxError::Disk {
                    path: folder.to_owned(),
                    source,
                })?;
        }
        LaneOutbox::open(&self.outbox_folder(), &home.env).await
    }

    /// Opens its journal of sessions, for [`stiver_client::session::SessionParts`]. Never waits for
    /// another process: channels that another one uses stay the other's.
    ///
    /// # Errors
    ///
    /// Those of [`LaneSessions::open`].
    pub async fn sessions(&self) -> Result<LaneSessions, SessionJournalError> {
        let home = &self.home;
        let folders = home.folder().join("sessions");
        for folder in [home.folder(), &folders] {
            home.env.disk.create_folder(folder).map_err(|source| {
                SessionJournalError::Disk(OutboxError::Disk {
                    path: folder.to_owned(),
                    source,
                })
            })?;
        }
        LaneSessions::open(&self.sessions_folder(), &home.env).await
    }

    /// Its sessions, oldest first, those in use by other processes too. Takes no lock.
    ///
    /// # Errors
    ///
    /// A damaged log.
    pub fn session_history(&self) -> Result<Vec<Session>, SessionJournalError> {
        session_history(&self.sessions_folder(), &self.home.env)
    }

    /// The folder of its journal of sessions.
    pub fn sessions_folder(&self) -> PathBuf {
        self.home.folder().join("sessions").join(self.name.as_str())
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
        self.home.folder().join("outbox").join(self.name.as_str())
    }

    fn account_path(&self) -> PathBuf {
        let file = format!("{}.json", self.name);
        self.home.folder().join("accounts").join(file)
    }
}

/// A wallet's key, read when it is needed.
struct WalletSigner(Wallet);

impl Signer for WalletSigner {
    fn public_key(&self) -> [u8; 32] {
        *self.0.did.public_key()
    }

    fn sign<'a>(&'a self, request: SignRequest<'a>) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(async move {
            let key = self.0.key().map_err(|error| {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                SignError::Unavailable(text)
            })?;
            key.sign(request).await
        })
    }
}
