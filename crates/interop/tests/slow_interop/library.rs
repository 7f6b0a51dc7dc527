//! Our libraries as a program of somebody else would use them.

use std::sync::Arc;

use stiver_client::{
    Options, Parts, PayingClient, PaymentClient, outbox::MemoryOutbox, pins::MemoryPins,
    policy::MaxAmount,
};
use stiver_core::{Challenge, Credential, Currency};
use stiver_env::Env;
use stiver_method::{
    key::Ed25519Key,
    payer::{CallKey, Payer as _},
};
use stiver_method_ledger::{LedgerPayer, LedgerPayerConfig};

use crate::stage::PRICE;

/// A payer with an account on the ledger that a challenge names.
pub(crate) struct Payer {
    env: Env,
    runtime: tokio::runtime::Runtime,
    method: Arc<LedgerPayer>,
}

impl Payer {
    pub(crate) fn new(key: Ed25519Key, challenge: &Challenge) -> Self {
        let request = challenge.params.request.object().as_str();
        let request: serde_json::Value = serde_json::from_str(request).unwrap();
        let ledger = request["methodDetails"]["ledger"].as_str().unwrap();
        let method = LedgerPayer::new(LedgerPayerConfig {
            signer: Arc::new(key),
            account: None,
            ledgers: vec![ledger.parse().unwrap()],
            currencies: vec![usd()],
            query: None,
        });
        Self {
            env: stiver_env::native::env(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            method: Arc::new(method),
        }
    }

    /// Fetches a page and pays for it: status, body, and the receipt's reference.
    pub(crate) fn fetch(&self, url: &str) -> Result<(u16, String, String), String> {
        let client = PaymentClient::new(Parts {
            env: self.env.clone(),
            payers: vec![Arc::<LedgerPayer>::clone(&self.method)],
            policy: Arc::new(MaxAmount::new(usd().units(PRICE))),
            outbox: Arc::new(MemoryOutbox::new(Arc::clone(&self.env.clock))),
            pins: Arc::new(MemoryPins::new()),
            options: Options::default(),
        });
        self.runtime.block_on(async {
            let client = PayingClient::new(client).map_err(|error| error.to_string())?;
            let request = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
            let answer = client
                .call(request)
                .await
                .map_err(|error| error.to_string())?;
            let payment = answer.payment.ok_or("nothing was paid")?;
            let receipt = payment.receipt.as_ref().ok_or("there is no receipt")?;
            let reference = receipt.reference.clone();
            let status = answer.response.status().as_u16();
            let body = answer.response.text().await;
            Ok((status, body.map_err(|error| error.to_string())?, reference))
        })
    }

    /// Answers a challenge.
    pub(crate) fn credential(&self, challenge: Challenge) -> Result<Credential, String> {
        self.runtime.block_on(async {
            let call = CallKey::from_bytes(self.env.random());
            let now = self.env.clock.now();
            let prepared = self.method.prepare(&challenge, now, call).await;
            let artefact = prepared.map_err(|error| error.to_string())?;
            let proof = self.method.execute(&artefact).await;
            let proof = proof.map_err(|error| error.to_string())?;
            Ok(Credential {
                challenge,
                payload: proof.payload,
                source: proof.source,
            })
        })
    }
}

fn usd() -> Currency {
    Currency::new("usd", 6).unwrap()
}
