//! A wallet made ready to pay: its key, its account, its journal, and a client over them.

use std::{env::VarError, path::PathBuf, sync::Arc, time::Duration};

use anyhow::anyhow;
use http::StatusCode;
use stiver_client::{
    CallError, Options, Parts, PayingClient, PaymentClient,
    policy::Policy,
    session::{SessionLimits, SessionParts},
};
use stiver_core::{
    Amount, Currency, amount::parse_base_units, did::DidKey, json::Object, untrusted::Untrusted,
};
use stiver_env::{BoxFuture, Env};
use stiver_gateway::LEDGER_PATH;
use stiver_ledger::id::{AccountId, LedgerId};
use stiver_method::{artefact::RailUnavailable, key::Ed25519Key, payer::Payer};
use stiver_method_ledger::{
    ChannelLedger, LedgerPayer, LedgerPayerConfig, LedgerSessionPayer, LedgerSessionPayerConfig,
    query::{Answer, AskError, QueryTransport, Question, RemoteLedger},
};
use stiver_wallet::{Account, Home, SystemKeyring, Wallet, WalletError, WalletName};
use zeroize::Zeroizing;

use crate::{
    args::{HomeChoice, WalletChoice},
    commands::get::Connect,
    failure::{Failure, FailureKind, UsageContext},
    passphrase::{Asked, KEY_VARIABLE},
};

/// Longest answer of a ledger's endpoint, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long a ledger's endpoint may take.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(20);

/// The folder of wallets: as given, or `~/.stiver`.
pub(crate) fn home_folder(given: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(folder) => Ok(folder.clone()),
        None => std::env::home_dir()
            .map(|home| home.join(".stiver"))
            .ok_or_else(|| Failure::usage("there is no home folder: give --home FOLDER")),
    }
}

/// The wallets of a folder, with what the command line says about passphrases.
pub(crate) fn open_home(
    choice: &HomeChoice,
    passphrases: Asked,
    env: &Env,
) -> Result<Home, Failure> {
    let folder = home_folder(choice.home.as_ref())?;
    Ok(Home::new(folder, env.clone())
        .with_passphrases(Arc::new(passphrases))
        .with_keyring(Arc::new(SystemKeyring::default())))
}

/// The key in the environment, if there is one.
pub(crate) fn environment_key() -> Result<Option<Ed25519Key>, Failure> {
    let text = match std::env::var(KEY_VARIABLE) {
        Ok(text) => Zeroizing::new(text),
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(_)) => {
            return Err(Failure::usage(format!("{KEY_VARIABLE} is not text")));
        }
    };
    let key = Ed25519Key::from_secret_text(text.trim()).usage(KEY_VARIABLE)?;
    Ok(Some(key))
}

/// Opens a wallet: by the key of the environment when there is one.
pub(crate) fn open_wallet(choice: &WalletChoice, env: &Env) -> Result<(Home, Wallet), Failure> {
    let home = open_home(&choice.home, Asked::new(&choice.home), env)?;
    let home = match environment_key()? {
        Some(key) => home.with_given_key(key),
        None => home,
    };
    let name = WalletName::new(&choice.wallet).usage(format!("--wallet {:?}", choice.wallet))?;
    let wallet = home.wallet(&name).map_err(wallet_failure)?;
    Ok((home, wallet))
}

/// A wallet that cannot be used is for the user to put right; a disk that fails is not.
pub(crate) fn wallet_failure(error: WalletError) -> Failure {
    match error {
        WalletError::Disk { .. } | WalletError::Locked { .. } => {
            Failure::new(FailureKind::Other, error)
        }
        error => Failure::new(FailureKind::Usage, error),
    }
}

/// A wallet's key. It may ask the terminal or the keyring, and so keep this thread waiting.
pub(crate) fn key_of(wallet: &Wallet) -> Result<Arc<Ed25519Key>, Failure> {
    tokio::task::block_in_place(|| wallet.key()).map_err(wallet_failure)
}

/// The account a wallet is bound to, or what to do about it.
pub(crate) fn bound_account(wallet: &Wallet) -> Result<Account, Failure> {
    wallet.account()?.ok_or_else(|| {
        Failure::usage(format!(
            "the wallet {} is bound to no ledger: run `stiver wallet join URL` with the URL of \
             the gateway to pay",
            wallet.name()
        ))
    })
}

/// Reads an amount in one of an account's currencies.
pub(crate) fn amount_of(text: &str, account: &Account) -> Result<Amount, Failure> {
    let find = |code: &str| {
        account
            .currencies
            .iter()
            .find(|known| known.code().eq_ignore_ascii_case(code))
            .cloned()
    };
    Amount::parse_human(text, find).usage(format!("the amount {text:?}"))
}

/// Puts a paying client together.
pub(crate) async fn paying_client(
    home: &Home,
    wallet: &Wallet,
    account: &Account,
    policy: Arc<dyn Policy>,
    reply_timeout: Duration,
    env: &Env,
) -> Result<PayingClient, Failure> {
    let mut options = Options::default();
    options.reply_timeout = reply_timeout;
    let connect = Connect::default();
    let payer: Arc<dyn Payer> = Arc::new(ledger_payer(wallet, account, &connect, env)?);
    let parts = Parts {
        env: env.clone(),
        payers: vec![payer],
        policy,
        outbox: Arc::new(wallet.outbox().await?),
        pins: Arc::new(home.pins()?),
        options,
    };
    Ok(PayingClient::new(PaymentClient::new(parts))?)
}

/// The wallet as a payer by the ledger method.
pub(crate) fn ledger_payer(
    wallet: &Wallet,
    account: &Account,
    connect: &Connect,
    env: &Env,
) -> Result<LedgerPayer, Failure> {
    let ledger: LedgerId = account.ledger.parse()?;
    let id: AccountId = account.account.parse()?;
    let payer = LedgerPayer::new(LedgerPayerConfig {
        signer: wallet.signer(),
        account: Some(id),
        ledgers: vec![ledger],
        currencies: account.currencies.clone(),
        query: match &account.query_url {
            Some(_) => Some(Arc::new(remote_ledger(wallet, account, connect, env)?)),
            None => None,
        },
    });
    match &account.receipt_key {
        Some(key) => Ok(payer.with_receipt_key(ledger, key.parse()?)),
        None => Ok(payer),
    }
}

/// The wallet as a payer of sessions by the ledger method, with its journal.
pub(crate) async fn session_parts(
    wallet: &Wallet,
    account: &Account,
    connect: &Connect,
    limits: SessionLimits,
    env: &Env,
) -> Result<SessionParts, Failure> {
    let payer = ledger_session_payer(wallet, account, connect, env)?;
    Ok(SessionParts {
        payers: vec![Arc::new(payer)],
        journal: Arc::new(wallet.sessions().await?),
        limits,
    })
}

/// The wallet as a payer of sessions by the ledger method.
pub(crate) fn ledger_session_payer(
    wallet: &Wallet,
    account: &Account,
    connect: &Connect,
    env: &Env,
) -> Result<LedgerSessionPayer, Failure> {
    let ledger: LedgerId = account.ledger.parse()?;
    let reached_by: Option<Arc<dyn ChannelLedger>> = match &account.query_url {
        Some(_) => Some(Arc::new(remote_ledger(wallet, account, connect, env)?)),
        None => None,
    };
    let currencies = account.currencies.clone();
    let mut config = LedgerSessionPayerConfig::new(wallet.signer(), ledger, currencies, reached_by);
    config.account = Some(account.account.parse()?);
    let payer = LedgerSessionPayer::new(config);
    Ok(match &account.receipt_key {
        Some(key) => payer.with_receipt_key(ledger, key.parse()?),
        None => payer,
    })
}

/// The ledger a wallet is bound to, asked over HTTP.
pub(crate) fn remote_ledger(
    wallet: &Wallet,
    account: &Account,
    connect: &Connect,
    env: &Env,
) -> Result<RemoteLedger, Failure> {
    let url = account
        .query_url
        .clone()
        .ok_or_else(|| Failure::usage("the wallet knows no URL of its ledger"))?;
    Ok(RemoteLedger {
        ledger: account.ledger.parse()?,
        account: account.account.parse()?,
        signer: wallet.signer(),
        transport: Arc::new(HttpTransport {
            http: plain_client(&url, connect)?,
            url,
        }),
        clock: Arc::clone(&env.clock),
    })
}

/// What a ledger says of an account.
pub(crate) struct Funds {
    /// What can be spent, and what is held, by currency.
    pub(crate) balances: Vec<(Amount, Amount)>,
    /// Nothing can be spent while it is.
    pub(crate) frozen: bool,
}

/// Asks a ledger what an account has. One that nobody has funded has nothing.
pub(crate) async fn funds(ledger: &RemoteLedger) -> Result<Funds, Failure> {
    let told = match ledger.ask(Question::Account).await {
        Ok(Answer::Account(told)) => told,
        Ok(_) => {
            return Err(anyhow!("the ledger answered something else than it was asked").into());
        }
        Err(error) if error.is_no_account() => {
            return Ok(Funds {
                balances: Vec::new(),
                frozen: false,
            });
        }
        Err(error) => return Err(Failure::new(FailureKind::Network, error)),
    };
    let mut balances = Vec::new();
    for row in &told.balances {
        let currency = Currency::new(&row.currency, row.decimals)?;
        let available = currency.units(parse_base_units(&row.available, 128)?);
        let held = currency.units(parse_base_units(&row.held, 128)?);
        balances.push((available, held));
    }
    Ok(Funds {
        balances,
        frozen: told.frozen,
    })
}

/// Asks a ledger's endpoint over HTTP; pays nothing and follows nothing.
struct HttpTransport {
    url: String,
    http: reqwest::Client,
}

/// What is for this machine goes through no proxy: over plain HTTP one could answer what it likes.
fn plain_client(url: &str, connect: &Connect) -> Result<reqwest::Client, Failure> {
    let builder = connect.builder_for(url);
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    let plain = url.starts_with("http://");
    let builder = if plain { builder.no_proxy() } else { builder };
    Ok(builder.timeout(ENDPOINT_TIMEOUT).build()?)
}

/// The status and at most [`ANSWER_BYTES_MAX`] bytes of an answer.
async fn read(mut response: reqwest::Response) -> reqwest::Result<(StatusCode, Vec<u8>)> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    Ok((response.status(), body))
}

impl QueryTransport for HttpTransport {
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let unavailable = |error: reqwest::Error| RailUnavailable(error.to_string());
            let request = self
                .http
                .post(&self.url)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body);
            let response = request.send().await.map_err(unavailable)?;
            let (status, body) = read(response).await.map_err(unavailable)?;
            if status.is_success() {
                return Ok(body);
            }
            let told: Refused = Object::parse(&body)
                .and_then(|object| object.deserialize())
                .unwrap_or_default();
            let detail = told.detail.unwrap_or_default();
            Err(AskError::Refused {
                code: told.code,
                detail: format!("{status}: {}", Untrusted(&detail)),
            })
        })
    }
}

/// Asks a gateway which ledger it has.
pub(crate) async fn discover(gateway: &str, wallet: &Wallet) -> Result<Account, Failure> {
    let uri: http::Uri = gateway.parse().usage(format!("the URL {gateway:?}"))?;
    let origin = stiver_client::Origin::of(&uri).usage(format!("the URL {gateway:?}"))?;
    if !origin.is_secure() && !origin.is_loopback() {
        return Err(Failure::usage(CallError::PlainHttp(origin)));
    }
    let url = format!("{origin}{LEDGER_PATH}");
    let network = |error: reqwest::Error| Failure::new(FailureKind::Network, error);
    let response = plain_client(&url, &Connect::default())?
        .get(&url)
        .send()
        .await
        .map_err(network)?;
    let (status, body) = read(response).await.map_err(network)?;
    if !status.is_success() {
        let message = format!("{url} answered {status}: is it a Stiver gateway?");
        return Err(Failure::new(FailureKind::Network, anyhow!(message)));
    }
    let about: About = Object::parse(&body)?.deserialize()?;
    let ledger: LedgerId = about.ledger.parse()?;
    let receipt_key: DidKey = about.receipt_key.parse()?;
    let currencies: Result<Vec<Currency>, _> = about
        .currencies
        .iter()
        .map(|row| Currency::new(&row.code, row.decimals))
        .collect();
    Ok(Account {
        ledger: ledger.to_string(),
        account: AccountId::of_first_key(&wallet.did()).to_string(),
        currencies: currencies?,
        query_url: Some(url),
        receipt_key: Some(receipt_key.to_string()),
    })
}

/// What a ledger's endpoint says when it refuses: a problem, with a code of its own.
#[derive(Default, serde::Deserialize)]
struct Refused {
    detail: Option<String>,
    code: Option<String>,
}

/// What a ledger's endpoint says of itself.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    ledger: String,
    receipt_key: String,
    currencies: Vec<AboutCurrency>,
}

#[derive(serde::Deserialize)]
struct AboutCurrency {
    code: String,
    decimals: u8,
}
