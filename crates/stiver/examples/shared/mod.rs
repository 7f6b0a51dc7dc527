//! What the examples share: a payment method of our own, a gate that takes it, a client that pays
//! by it. A real program takes a method from a crate, such as `stiver-method-ledger`.
#![expect(dead_code, reason = "each example uses one side")]

pub(crate) mod tab;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use stiver::{
    client::{
        Options, Parts, PaymentClient, outbox::MemoryOutbox, pins::MemoryPins, policy::MaxAmount,
    },
    core::{
        Currency,
        binding::{KeyRing, Secret},
        name::{IntentName, MethodName, Realm},
    },
    env::Env,
    server::Gate,
    store::{EmbeddedStore, Limits},
};
use tab::{Bar, Guest};

/// Any error.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

const GUEST: &str = "anna";
const GUEST_SECRET: &[u8] = b"what anna and the bar know, and nobody else";
const CHALLENGE_SECRET: &[u8] = b"thirty-two bytes that the bar keeps to itself";

/// A bar that knows one guest.
pub(crate) fn bar() -> Result<Arc<Bar>, BoxError> {
    Ok(Arc::new(Bar {
        name: MethodName::new("tab")?,
        bar: "The Anchor".to_owned(),
        currency: Currency::new("usd", 6)?,
        guests: BTreeMap::from([(GUEST.to_owned(), GUEST_SECRET.to_vec())]),
        tab: std::sync::Mutex::default(),
    }))
}

/// A gate that charges on the bar's tab, and remembers in a folder what was claimed and delivered.
pub(crate) async fn gate(folder: &Path, bar: Arc<Bar>, env: &Env) -> Result<Gate, BoxError> {
    let limits = Limits::default();
    let store = EmbeddedStore::open(EmbeddedStore::config(folder), env, limits).await?;
    let keys = KeyRing::new(Secret::configured(CHALLENGE_SECRET)?);
    let gate = Gate::builder(
        Realm::new("The Anchor")?,
        keys,
        Arc::new(store),
        env.clone(),
    )
    .currency(bar.currency.clone())
    .method(bar)
    .build()?;
    Ok(gate)
}

/// The guest's client: at most 0.05 USD for each call. This one forgets its journal when it ends;
/// a wallet (`stiver-wallet`) has one on disk.
pub(crate) fn payments(env: &Env) -> Result<PaymentClient, BoxError> {
    let currency = Currency::new("usd", 6)?;
    let guest = Guest {
        name: MethodName::new("tab")?,
        intents: vec![IntentName::charge()],
        guest: GUEST.to_owned(),
        secret: GUEST_SECRET.to_vec(),
        currency: currency.clone(),
    };
    Ok(PaymentClient::new(Parts {
        env: env.clone(),
        payers: vec![Arc::new(guest)],
        policy: Arc::new(MaxAmount::new(currency.parse_decimal("0.05")?)),
        outbox: Arc::new(MemoryOutbox::new(env.clock.clone())),
        pins: Arc::new(MemoryPins::new()),
        options: Options::default(),
    }))
}
