//! The seller: the very gateway that `stiver serve` runs, with its configuration file, its keys and
//! its books on a simulated disk.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use stiver_core::{Amount, Currency};
use stiver_env::Env;
use stiver_gateway::{Gateway, StartError, books, config::Config, init, keys};
use stiver_ledger::{
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::key::Ed25519Key;
use stiver_method_ledger::sign;

/// Where the gateway listens.
pub const PORT: u16 = 8402;
/// What the buyer begins with, base units.
pub const PURSE: u128 = 5_000_000;
/// What a reading costs, base units.
pub const READING: u128 = 10_000;
/// What an order costs, base units.
pub const ORDER: u128 = 30_000;
/// What a tick costs, base units.
pub const TICK: u128 = 2_000;
/// What an event costs, base units.
pub const EVENT: u128 = 1_000;
/// What a stream delivers before it is paid for, base units.
pub const WINDOW: u128 = 4 * EVENT;

const FOLDER: &str = "/shop";

const ROUTES: &str = r#"
[sessions]
grace_s = 60

[[route]]
path = "/reading/**"
price = "0.01 USD"
max_attempts = 10

[[route]]
path = "/order/**"
methods = ["POST"]
price = "0.03 USD"
on_failure = "refund"

[[route]]
path = "/tick/**"
price = "0.002 USD per request"

[[route]]
path = "/stream/**"
price = "0.001 USD per event"

[route.session]
window = "0.004 USD"
suggested_deposit = "0.05 USD"
"#;

/// What everybody may know of the shop.
#[derive(Clone)]
pub struct About {
    /// Its ledger.
    pub ledger: LedgerId,
    /// The key that signs the ledger's receipts.
    pub receipt_key: stiver_core::did::DidKey,
    /// The shop's own account.
    pub payee: AccountId,
    /// The currency of its prices.
    pub currency: Currency,
}

impl About {
    /// So many base units.
    pub fn amount(&self, units: u128) -> Amount {
        self.currency.units(units)
    }
}

/// A gateway that runs, or why it does not.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    gateway: Option<Gateway>,
    failed: Option<String>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway, to be stopped.
    pub fn take(&self) -> Option<Gateway> {
        self.lock().gateway.take()
    }

    /// Why the last start failed.
    pub fn take_failure(&self) -> Option<String> {
        self.lock().failed.take()
    }
}

/// Writes the configuration, opens the books and gives the buyer its money.
///
/// # Errors
///
/// Nothing should go wrong here: no fault has happened yet.
pub async fn set_up(env: &Env, buyer: &Ed25519Key) -> Result<About> {
    let folder = Path::new(FOLDER);
    env.disk.create_folder(folder)?;
    let new = init::NewGateway {
        upstream: format!("http://127.0.0.1:{}", crate::api::PORT),
        listen: format!("127.0.0.1:{PORT}"),
        realm: "shop".to_owned(),
        price: "0.01 USD".to_owned(),
    };
    let written = init::init(folder, &new, env)?;
    let text = env.disk.read(&written.config_file, 1 << 20)?;
    let text = String::from_utf8(text)?;
    let head = text.split("[[route]]").next().unwrap_or_default();
    let text = format!("{head}{ROUTES}");
    env.disk
        .write_atomic(&written.config_file, text.as_bytes(), false)?;
    let config = config(env)?;
    let issuer = keys::read_key(&config.issuer_key_file(), env)?;
    let payee = keys::read_key(&config.payee_key_file(), env)?;
    let ledger = books::open(&config, issuer.did(), env).await?;
    let payee = books::open_payee(&ledger, &payee, env).await?;
    let currency = config.currencies.first().context("a currency")?.clone();
    let books = ledger.ledger();
    let order = Order {
        ledger: books.id(),
        account: AccountId::of_first_key(&issuer.did()),
        nonce: Nonce::from_bytes(env.random()),
        expires: books.time().await?.plus_millis(60_000),
        action: Action::Mint {
            to: AccountId::of_first_key(&buyer.did()),
            amount: PURSE,
            currency: CurrencyCode::new(currency.code())?,
            first_key: Some(buyer.did()),
            owner: None,
        },
    };
    let order = sign::order(&order, issuer.as_ref()).await?;
    books.execute(order).await?;
    let about = About {
        ledger: books.id(),
        receipt_key: books.receipt_key(),
        payee,
        currency,
    };
    books.close().await?;
    Ok(about)
}

/// The configuration, as the gateway reads it.
///
/// # Errors
///
/// The file.
pub fn config(env: &Env) -> Result<Config> {
    let file: PathBuf = Path::new(FOLDER).join("stiver.toml");
    Ok(Config::read(&file, env)?)
}

/// Starts the gateway.
pub async fn start(env: Env, running: Running) {
    let started = match config(&env) {
        Ok(config) => Gateway::start(&config, &env).await.map_err(told),
        Err(error) => Err(format!("{error:#}")),
    };
    let mut state = running.lock();
    match started {
        Ok(gateway) => state.gateway = Some(gateway),
        Err(error) => state.failed = Some(error),
    }
}

fn told(error: StartError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
