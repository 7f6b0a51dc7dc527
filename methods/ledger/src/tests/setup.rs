//! A ledger with money on it, a shop and a payer.

use std::{future::Future, sync::Arc};

use stiver_core::{
    Amount, Challenge, Credential, Currency, Timestamp,
    binding::{KeyRing, Secret},
    challenge::{Expires, Params},
    json::{EncodedObject, Object},
    name::{IntentName, MethodName, Realm},
};
use stiver_ledger::{
    Ledger, LedgerConfig,
    id::{AccountId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
    view::Outcome,
};
use stiver_method::{
    artefact::Refusal,
    key::Ed25519Key,
    payee::{PayeeCharge, Plan, Presented, Quote},
    payer::{CallKey, Payer},
};
use stiver_testkit::simulation::Simulation;

use crate::{
    EmbeddedLedger, LedgerPayee, LedgerPayeeConfig, LedgerPayer, LedgerPayerConfig,
    api::OrderQuery, sign,
};

/// The key of a number.
pub(crate) fn key(number: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[number; 32])
}

/// The account that a key opens.
pub(crate) fn account(number: u8) -> AccountId {
    AccountId::of_first_key(&key(number).did())
}

pub(crate) const ISSUER: u8 = 1;
pub(crate) const SHOP: u8 = 2;
pub(crate) const ALICE: u8 = 3;
pub(crate) const MALLORY: u8 = 4;

/// US dollars.
pub(crate) fn usd() -> Currency {
    Currency::new("usd", 6).unwrap()
}

/// One cent.
pub(crate) fn price() -> Amount {
    usd().units(10_000)
}

/// A ledger, a shop on it, and alice with a dollar.
pub(crate) struct Setup {
    pub(crate) simulation: Simulation,
    pub(crate) embedded: EmbeddedLedger,
    pub(crate) payee: LedgerPayee,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let simulation = Simulation::new(1);
        let env = simulation.env();
        let embedded = simulation.block_on(async {
            let issuer = key(ISSUER).did();
            let config = LedgerConfig::new("/data/ledger", issuer, issuer);
            let embedded = EmbeddedLedger::open(config, &env).await.unwrap();
            for (number, name) in [(1_u8, SHOP), (2, ALICE)] {
                let mint = Action::Mint {
                    to: account(name),
                    amount: 1_000_000,
                    currency: CurrencyCode::new("usd").unwrap(),
                    first_key: Some(key(name).did()),
                    owner: None,
                };
                execute(embedded.ledger(), ISSUER, [number; 16], mint).await;
            }
            embedded
        });
        let payee = LedgerPayee::new(LedgerPayeeConfig {
            ledger: Arc::new(embedded.clone()),
            account: account(SHOP),
            signer: Arc::new(key(SHOP)),
            currencies: vec![usd()],
        });
        Self {
            simulation,
            embedded,
            payee,
        }
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.simulation.block_on(future)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.simulation.env().clock.now()
    }

    /// A payer with one ledger.
    pub(crate) fn payer(&self, number: u8, query: Option<Arc<dyn OrderQuery>>) -> LedgerPayer {
        LedgerPayer::new(LedgerPayerConfig {
            signer: Arc::new(key(number)),
            account: None,
            ledgers: vec![self.embedded.ledger().id()],
            currencies: vec![usd()],
            query,
        })
    }

    /// A challenge for a cent, good for 5 minutes. `nonce` makes its id another.
    pub(crate) fn challenge(&self, nonce: u8) -> Challenge {
        let expires = self.now().plus_millis(300_000);
        let price = price();
        let request = self.run(self.payee.quote(Quote {
            price: &price,
            description: Some("a reading"),
            external_id: None,
            now: self.now(),
            expires,
        }));
        self.challenge_of(&request.unwrap(), nonce, Some(expires))
    }

    pub(crate) fn challenge_of(
        &self,
        request: &Object,
        nonce: u8,
        expires: Option<Timestamp>,
    ) -> Challenge {
        let opaque = Object::parse(format!(r#"{{"n":"{nonce}"}}"#).as_bytes()).unwrap();
        let ring = KeyRing::new(Secret::from_bytes(&[b's'; 32]));
        ring.bind(Params {
            realm: Realm::new("api.example.com").unwrap(),
            method: MethodName::new("ledger").unwrap(),
            intent: IntentName::charge(),
            request: EncodedObject::encode(request),
            expires: expires.map(Expires::at),
            digest: None,
            description: None,
            opaque: Some(EncodedObject::encode(&opaque)),
        })
    }

    /// What alice sends for a challenge.
    pub(crate) fn pay(&self, payer: &LedgerPayer, challenge: &Challenge, call: u8) -> Credential {
        self.run(async {
            let artefact = payer
                .prepare(challenge, self.now(), CallKey::from_bytes([call; 16]))
                .await
                .unwrap();
            let proof = payer.execute(&artefact).await.unwrap();
            Credential {
                challenge: challenge.clone(),
                payload: proof.payload,
                source: proof.source,
            }
        })
    }

    pub(crate) fn precheck(&self, credential: &Credential) -> Result<Plan, Refusal> {
        self.payee.precheck(Presented {
            challenge: &credential.challenge,
            payload: &credential.payload,
            source: credential.source.as_deref(),
            now: self.now(),
        })
    }

    /// What an account can spend.
    pub(crate) fn available(&self, number: u8) -> u128 {
        let view = self.run(self.embedded.ledger().account(account(number)));
        let view = view.unwrap().unwrap();
        view.balance("usd").unwrap().available().units()
    }
}

/// Signs and executes an order of a key's own account.
pub(crate) async fn execute(
    ledger: &Ledger,
    number: u8,
    nonce: [u8; 16],
    action: Action,
) -> Outcome {
    let order = Order {
        ledger: ledger.id(),
        account: account(number),
        nonce: Nonce::from_bytes(nonce),
        expires: ledger.time().await.unwrap().plus_millis(60_000),
        action,
    };
    let signed = sign::order(&order, &key(number)).await.unwrap();
    ledger.execute(signed).await.unwrap()
}
