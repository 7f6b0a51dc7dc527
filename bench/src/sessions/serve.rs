//! The server whose sessions are measured: axum behind the gate, over the durable store.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{Router, routing::get};
use nix::sys::resource::{UsageWho, getrusage};
use stiver_core::{
    Currency,
    binding::{KeyRing, Secret},
    name::Realm,
};
use stiver_ledger::{LedgerConfig, id::AccountId};
use stiver_method::{key::Ed25519Key, session::PayeeSession};
use stiver_method_ledger::{EmbeddedLedger, LedgerSessionPayee, LedgerSessionPayeeConfig};
use stiver_server::{
    Gate,
    route::Route,
    session::{SessionFailure, SessionOffer},
    tower::PaymentLayer,
};
use stiver_store::{EmbeddedStore, Limits};

use super::signed::SignedPayee;
use crate::{
    server::{ANSWER, PAYER_SEED, fund},
    vouchers::Recovered,
};

/// What a request costs, base units.
pub const COST: u128 = 2;
/// Recoveries of one request to `/recover`.
pub const RECOVERIES: u32 = 2000;

/// Where each kind of session is served.
///
/// | path | |
/// |---|---|
/// | `/free` | the same handler, without a gate |
/// | `/kept` | the ledger's sessions: what a request costs is taken at once |
/// | `/held` | the same: reserved, and spent when the handler has answered |
/// | `/evmk` | EIP-712 vouchers, as `/kept` |
/// | `/usage` | the CPU time of this process so far: user and system, microseconds |
/// | `/recover` | does nothing but recover keys from signatures |
pub async fn app(folder: &Path) -> Result<Router> {
    let env = stiver_env::native::env();
    let operator = Ed25519Key::from_seed(&[1; 32]);
    let payee = Arc::new(Ed25519Key::from_seed(&[2; 32]));
    let payer = Ed25519Key::from_seed(&PAYER_SEED);
    let config = LedgerConfig::new(folder.join("ledger"), operator.did(), operator.did());
    let currencies: Vec<Currency> = config
        .currencies
        .iter()
        .map(|it| it.currency.clone())
        .collect();
    let currency = currencies.first().context("no currency")?.clone();
    let ledger = EmbeddedLedger::open(config, &env).await?;
    fund(ledger.ledger(), &operator, &payee, 1, &env).await?;
    fund(ledger.ledger(), &operator, &payer, 1_000_000_000_000, &env).await?;
    let ledger = LedgerSessionPayee::new(LedgerSessionPayeeConfig::new(
        Arc::new(ledger.clone()),
        AccountId::of_first_key(&payee.did()),
        payee,
        currencies,
    ));
    let ledger: Arc<dyn PayeeSession> = Arc::new(ledger.map_err(anyhow::Error::msg)?);
    let signed: Arc<dyn PayeeSession> = Arc::new(SignedPayee::new(currency.clone())?);
    let store = EmbeddedStore::config(folder.join("store"));
    let store = Arc::new(EmbeddedStore::open(store, &env, Limits::default()).await?);
    let keys = KeyRing::new(Secret::configured(&[7; 32])?);
    let journal = Arc::<EmbeddedStore>::clone(&store);
    let gate = Gate::builder(Realm::new("api.example.com")?, keys, journal, env)
        .channels(store)
        .session_method(Arc::clone(&ledger))
        .session_method(Arc::clone(&signed))
        .build()?;
    let price = currency.units(COST);
    let pays = |method: &Arc<dyn PayeeSession>, on_failure| -> Result<PaymentLayer> {
        let offer = SessionOffer::per_request(Arc::clone(method), price.clone())?;
        let route = Route::for_sessions(vec![offer.on_failure(on_failure)])?;
        Ok(PaymentLayer::fixed(gate.clone(), route))
    };
    let answer = get(async || ANSWER);
    let recover = Arc::new(Recovered::new()?.bare()?);
    let (keep, hold) = (SessionFailure::Keep, SessionFailure::Release);
    Ok(Router::new()
        .route("/free", answer.clone())
        .route("/kept", answer.clone().layer(pays(&ledger, keep)?))
        .route("/held", answer.clone().layer(pays(&ledger, hold)?))
        .route("/evmk", answer.layer(pays(&signed, keep)?))
        .route("/usage", get(async || usage()))
        .route(
            "/recover",
            get(async move || {
                let right = (0..RECOVERIES).all(|_| recover());
                right.to_string()
            }),
        ))
}

/// The CPU time of this process, user and system, microseconds.
fn usage() -> String {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return String::new();
    };
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    format!(
        "{} {}",
        micros(usage.user_time()),
        micros(usage.system_time())
    )
}
