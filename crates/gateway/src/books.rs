//! The ledger of a gateway: opened with what its configuration says.

use stiver_core::did::DidKey;
use stiver_env::Env;
use stiver_ledger::{
    CurrencyConfig, ExecuteFailure, LedgerConfig, LedgerError,
    id::{AccountId, Nonce},
    order::{Action, Order},
};
use stiver_method::{key::Ed25519Key, signer::SignError};
use stiver_method_ledger::{EmbeddedError, EmbeddedLedger, sign};

use crate::config::Config;

/// How long an order that we sign for ourselves is valid, milliseconds: one minute.
const OWN_ORDER_LIFETIME_MS: u64 = 60_000;

/// Opens a gateway's ledger, and begins it when there is none. The issuer's key is its operator.
///
/// # Errors
///
/// [`BooksError`]; [`BooksError::is_locked`] when another process holds the log.
pub async fn open(
    config: &Config,
    issuer: DidKey,
    env: &Env,
) -> Result<EmbeddedLedger, BooksError> {
    let mut ledger = LedgerConfig::new(config.ledger_dir(), issuer, issuer);
    ledger.currencies = config
        .currencies
        .iter()
        .map(|currency| CurrencyConfig {
            currency: currency.clone(),
            issuer,
        })
        .collect();
    EmbeddedLedger::open(ledger, env)
        .await
        .map_err(BooksError::Open)
}

/// Opens the account of the gateway's payee, unless it is open.
///
/// # Errors
///
/// [`BooksError`]
pub async fn open_payee(
    ledger: &EmbeddedLedger,
    payee: &Ed25519Key,
    env: &Env,
) -> Result<AccountId, BooksError> {
    let books = ledger.ledger();
    let account = AccountId::of_first_key(&payee.did());
    if books
        .account(account)
        .await
        .map_err(BooksError::Ledger)?
        .is_some()
    {
        return Ok(account);
    }
    let now = books.time().await.map_err(BooksError::Ledger)?;
    let order = Order {
        ledger: books.id(),
        account,
        nonce: Nonce::from_bytes(env.random()),
        expires: now.plus_millis(OWN_ORDER_LIFETIME_MS),
        action: Action::Open {
            first_key: payee.did(),
            owner: None,
        },
    };
    let order = sign::order(&order, payee).await.map_err(BooksError::Sign)?;
    books.execute(order).await.map_err(BooksError::Execute)?;
    Ok(account)
}

/// Why a gateway's ledger is not open.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// It could not be opened.
    #[error("the ledger could not be opened")]
    Open(#[source] EmbeddedError),
    /// It does not answer.
    #[error("the ledger does not answer")]
    Ledger(#[source] LedgerError),
    /// The payee's key did not sign.
    #[error("the payee's account could not be opened")]
    Sign(#[source] SignError),
    /// The ledger refused to open the payee's account.
    #[error("the payee's account could not be opened")]
    Execute(#[source] ExecuteFailure),
}

impl BooksError {
    /// True when another process, such as a running gateway, holds the log.
    pub fn is_locked(&self) -> bool {
        matches!(
            self,
            Self::Open(EmbeddedError::Ledger(LedgerError::Open(
                stiver_wal::OpenError::Locked { .. }
            )))
        )
    }
}
