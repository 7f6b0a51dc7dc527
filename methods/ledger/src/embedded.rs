//! A ledger in this process, and the key that signs its receipts.

use std::{io, path::PathBuf, sync::Arc};

use stiver_core::did::DidKey;
use stiver_env::Env;
use stiver_ledger::{
    ExecuteFailure, LOG_FOLDER, Ledger, LedgerConfig, LedgerError,
    id::{HoldId, LedgerId},
    order::{SignedOrder, VerifiedOrder},
    receipt::{ReceiptBody, SessionReceiptBody},
    view::{OrderStatus, Outcome},
};
use stiver_method::{
    BoxFuture,
    artefact::{ExecuteError, Lookup, RailUnavailable, Settled},
    key::{Ed25519Key, KEY_FILE_BYTES_MAX, KeyFileError},
    session::{ChannelLookup, ChannelMoved, ChannelState},
    signer::{Purpose, SignError, SignRequest, Signer},
};
use zeroize::Zeroizing;

use crate::{
    api::{
        ChannelLedger, LedgerApi, OrderQuery, SessionLedger, channel_of, channel_state, lookup_of,
        moved, settled_of,
    },
    refusal,
};

/// The file of the receipt key inside a ledger's folder.
const RECEIPT_KEY_FILE: &str = "ledger.key";

/// What an order is told that is about something else.
const NO_CHANNEL: &str = "the order is about no channel";

/// A ledger in this process. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedLedger {
    ledger: Ledger,
    receipt_signer: Arc<dyn Signer>,
}

impl EmbeddedLedger {
    /// A ledger and the signer of its receipts, wherever that keeps its key.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::OtherKey`] when the ledger's receipts are signed by another key.
    pub fn new(ledger: Ledger, receipt_signer: Arc<dyn Signer>) -> Result<Self, EmbeddedError> {
        let given = DidKey::from_public_key(receipt_signer.public_key());
        if given != ledger.receipt_key() {
            return Err(EmbeddedError::OtherKey {
                expected: ledger.receipt_key(),
                given,
            });
        }
        Ok(Self {
            ledger,
            receipt_signer,
        })
    }

    /// Opens a ledger whose receipt key is the file `ledger.key` in its folder, and begins it, with
    /// a new key, when there is none. `config.receipt_key` is not looked at. Blocks on disk.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`]: the key file or the ledger cannot be opened.
    pub async fn open(mut config: LedgerConfig, env: &Env) -> Result<Self, EmbeddedError> {
        let key = receipt_key(&config.folder, env)?;
        config.receipt_key = key.did();
        let ledger = Ledger::open(config, env)
            .await
            .map_err(EmbeddedError::Ledger)?;
        Self::new(ledger, Arc::new(key))
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Reads the receipt key, or makes one.
fn receipt_key(folder: &std::path::Path, env: &Env) -> Result<Ed25519Key, EmbeddedError> {
    let path = folder.join(RECEIPT_KEY_FILE);
    let bytes = match env.disk.read(&path, KEY_FILE_BYTES_MAX) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let log = env.disk.list(&folder.join(LOG_FOLDER)).unwrap_or_default();
            if !log.is_empty() {
                return Err(EmbeddedError::KeyFileLost { path });
            }
            let io = |source| EmbeddedError::KeyFile {
                path: path.clone(),
                source,
            };
            env.disk.create_folder(folder).map_err(io)?;
            let seed: Zeroizing<[u8; 32]> = Zeroizing::new(env.random());
            let key = Ed25519Key::from_seed(&seed);
            let text = key.to_file_text();
            env.disk
                .write_atomic(&path, text.as_bytes(), true)
                .map_err(io)?;
            return Ok(key);
        }
        Err(source) => return Err(EmbeddedError::KeyFile { path, source }),
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Ed25519Key::from_file_text(text).map_err(|source| EmbeddedError::BadKeyFile { path, source })
}

impl OrderQuery for EmbeddedLedger {
    fn lookup<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            let status = self.ledger.status(order).await;
            status
                .map(|status| lookup_of(self.ledger.id(), status))
                .map_err(|error| RailUnavailable(error.to_string()))
        })
    }
}

impl LedgerApi for EmbeddedLedger {
    fn id(&self) -> LedgerId {
        self.ledger.id()
    }

    fn receipt_key(&self) -> DidKey {
        self.ledger.receipt_key()
    }

    fn execute(&self, order: VerifiedOrder) -> BoxFuture<'_, Result<Settled, ExecuteError>> {
        Box::pin(async move {
            match self.ledger.execute(order).await {
                Ok(outcome) => settled_of(self.ledger.id(), outcome).ok_or_else(|| {
                    ExecuteError::Refused(refusal::invalid("the order moves no money"))
                }),
                Err(ExecuteFailure::Refused(refused)) => {
                    Err(ExecuteError::Refused(refusal::refusal(refused)))
                }
                Err(ExecuteFailure::Unknown(error)) => {
                    Err(ExecuteError::Unknown(error.to_string()))
                }
            }
        })
    }

    fn sign_receipt<'a>(
        &'a self,
        receipt: &'a ReceiptBody,
    ) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(async move {
            let message = receipt.encode();
            let request = SignRequest {
                purpose: Purpose::Receipt,
                message: &message,
            };
            self.receipt_signer.sign(request).await
        })
    }
}

impl EmbeddedLedger {
    /// A channel movement that was executed.
    async fn moved(
        &self,
        order: &SignedOrder,
        outcome: Outcome,
    ) -> Result<Option<ChannelMoved>, LedgerError> {
        let Some(channel) = channel_of(order) else {
            return Ok(None);
        };
        let at = match outcome {
            Outcome::Transfer(transfer) => transfer.at,
            _ => self.ledger.time().await?,
        };
        let hold = self.ledger.hold(channel).await?;
        let state = hold.as_ref().and_then(channel_state);
        Ok(Some(moved(channel, order, at, state)))
    }
}

impl ChannelLedger for EmbeddedLedger {
    fn channel(
        &self,
        channel: HoldId,
    ) -> BoxFuture<'_, Result<Option<ChannelState>, RailUnavailable>> {
        Box::pin(async move {
            let hold = self.ledger.hold(channel).await;
            hold.map(|hold| hold.as_ref().and_then(channel_state))
                .map_err(|error| RailUnavailable(error.to_string()))
        })
    }

    fn execute_on_channel(
        &self,
        order: VerifiedOrder,
    ) -> BoxFuture<'_, Result<ChannelMoved, ExecuteError>> {
        Box::pin(async move {
            let unknown = |error: LedgerError| ExecuteError::Unknown(error.to_string());
            let signed = order.signed().clone();
            if channel_of(&signed).is_none() {
                return Err(ExecuteError::Refused(refusal::invalid(NO_CHANNEL)));
            }
            match self.ledger.execute(order).await {
                Ok(outcome) => {
                    let moved = self.moved(&signed, outcome).await.map_err(unknown)?;
                    moved.ok_or_else(|| ExecuteError::Refused(refusal::invalid(NO_CHANNEL)))
                }
                Err(ExecuteFailure::Refused(refused)) => {
                    Err(ExecuteError::Refused(refusal::refusal(refused)))
                }
                Err(ExecuteFailure::Unknown(error)) => Err(unknown(error)),
            }
        })
    }

    fn lookup_on_channel<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        Box::pin(async move {
            let unavailable = |error: LedgerError| RailUnavailable(error.to_string());
            let status = self.ledger.status(order).await.map_err(unavailable)?;
            Ok(match status {
                OrderStatus::Pending => ChannelLookup::Pending,
                OrderStatus::Never(never) => ChannelLookup::Never(refusal::refusal(never)),
                OrderStatus::Executed(outcome) => {
                    match self.moved(order, outcome).await.map_err(unavailable)? {
                        Some(moved) => ChannelLookup::Done(Box::new(moved)),
                        None => ChannelLookup::Never(refusal::invalid(NO_CHANNEL)),
                    }
                }
            })
        })
    }
}

impl SessionLedger for EmbeddedLedger {
    fn id(&self) -> LedgerId {
        self.ledger.id()
    }

    fn receipt_key(&self) -> DidKey {
        self.ledger.receipt_key()
    }

    fn sign_session_receipt<'a>(
        &'a self,
        receipt: &'a SessionReceiptBody,
    ) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(async move {
            let message = receipt.encode();
            let request = SignRequest {
                purpose: Purpose::Receipt,
                message: &message,
            };
            self.receipt_signer.sign(request).await
        })
    }
}

/// Why an embedded ledger could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[source] LedgerError),
    /// The disk refused the key file.
    #[error("cannot read or write {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is a ledger, but its key file is gone.
    #[error("{} is gone: restore it, or its receipts cannot be signed", path.display())]
    KeyFileLost {
        /// The file.
        path: PathBuf,
    },
    /// The key file is no key file.
    #[error("{} is not a key file that can be used", path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyFileError,
    },
    /// The signer is not the ledger's.
    #[error("the ledger's receipts are signed by {expected}, not by {given}")]
    OtherKey {
        /// The ledger's.
        expected: DidKey,
        /// The signer's.
        given: DidKey,
    },
}
