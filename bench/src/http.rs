//! The gate in front of an axum handler, against the same handler alone.
//!
//! | row | the gate | the baseline |
//! |---|---|---|
//! | `http-402` | no credential: 402 with a fresh challenge | 200 |
//! | `http-credential` | a good credential, refused by the method unseen: 403 | 200 |
//! | `http-wrong-proof` | a good challenge, a proof without sense: 402 | 200 |
//! | `http-replayed` | a credential that was paid with: 200, its stored answer | 200 |
//!
//! Both sides get the same request, credential and all.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use stiver_core::{Challenge, Credential, json::Object};
use stiver_ledger::id::LedgerId;
use stiver_method::{
    key::Ed25519Key,
    payer::{CallKey, Payer as _},
};
use stiver_method_ledger::{LedgerPayer, LedgerPayerConfig};

use crate::{
    load::{self, Answer, Expected, Load},
    measure::{Side, interleave},
    report::Finding,
    rows::Setting,
    server::{Kind, PAYER_SEED, Server},
};

/// Its rows.
pub const ROWS: [&str; 4] = [
    "http-402",
    "http-credential",
    "http-wrong-proof",
    "http-replayed",
];

/// Requests of one side of one round.
const REQUESTS: usize = 12_000;
/// What keeps an answer stored.
const KEY: (&str, &str) = ("idempotency-key", "\"bench\"");

/// Measures every row.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let plain = Server::start(Kind::Plain)?;
    let gate = Server::start(Kind::Gate)?;
    let target = Target {
        plain: &plain,
        gate: &gate,
        setting,
    };
    let requests = |fields: &[(&str, &str)], path: &str| vec![load::get(path, fields); REQUESTS];
    let wrongly = |path: &str| credential(challenge(gate.address(), path)?, &Pay::Wrongly);
    if setting.wants(ROWS[0]) {
        found(target.row(ROWS[0], &requests(&[], "/paid"), 402)?);
    }
    if setting.wants(ROWS[1]) {
        let credential = wrongly("/refused")?;
        let fields = [("authorization", credential.as_str())];
        found(target.row(ROWS[1], &requests(&fields, "/refused"), 403)?);
    }
    if setting.wants(ROWS[2]) {
        let credential = wrongly("/paid")?;
        let fields = [("authorization", credential.as_str())];
        found(target.row(ROWS[2], &requests(&fields, "/paid"), 402)?);
    }
    if setting.wants(ROWS[3]) {
        let payer = payer(Ed25519Key::from_seed(&PAYER_SEED), &gate, "/paid")?;
        let payer = Pay::By(Box::new(payer));
        let credential = credential(challenge(gate.address(), "/paid")?, &payer)?;
        let fields = [("authorization", credential.as_str()), KEY];
        found(target.row(ROWS[3], &requests(&fields, "/paid"), 200)?);
    }
    Ok(())
}

struct Target<'a> {
    plain: &'a Server,
    gate: &'a Server,
    setting: &'a Setting,
}

impl Target<'_> {
    fn row(&self, name: &str, requests: &[Vec<u8>], status: u16) -> Result<Finding> {
        let mut sides = [
            side(self.gate, requests, Expected { status })?,
            side(self.plain, requests, Expected { status: 200 })?,
        ];
        let medians = interleave(self.setting.rounds, &mut sides)?;
        Ok(Finding {
            name: name.to_owned(),
            unit: "us CPU per request",
            value: medians[0],
            baseline: Some(medians[1]),
        })
    }
}

/// A round of requests to one server: its CPU time for each, microseconds.
fn side<'a>(server: &'a Server, requests: &'a [Vec<u8>], expected: Expected) -> Result<Side<'a>> {
    let mut load = Load::new()?;
    load.connect(server.address())?;
    Ok(Box::new(move || {
        let before = server.cpu()?;
        load.run(requests, expected, &mut |_| Ok(()))?;
        Ok((server.cpu()? - before) / requests.len() as f64 / 1e3)
    }))
}

/// The challenge of an unpaid request.
pub fn challenge(address: SocketAddr, path: &str) -> Result<Challenge> {
    challenge_of(&load::ask(address, &load::get(path, &[]))?)
}

/// The challenge in an answer.
pub fn challenge_of(answer: &[u8]) -> Result<Challenge> {
    let answer = Answer::parse(answer)?.context("an answer cut short")?;
    let line = answer
        .field("www-authenticate")
        .context("an answer without a challenge")?;
    let challenge = Challenge::parse_all([line.as_bytes()]).into_iter().next();
    Ok(challenge.context("no challenge")??)
}

/// How a challenge is answered.
pub enum Pay {
    /// With a payload of the right size and no sense.
    Wrongly,
    /// By somebody with money.
    By(Box<LedgerPayer>),
}

/// An `Authorization` value that answers a challenge.
pub fn credential(challenge: Challenge, pay: &Pay) -> Result<String> {
    let (payload, source) = match pay {
        Pay::Wrongly => {
            let text = format!(
                r#"{{"key":"did:key:z6Mk{}","order":"{}","signature":"{}"}}"#,
                "k".repeat(44),
                "o".repeat(300),
                "s".repeat(86)
            );
            (Object::parse(text.as_bytes())?, None)
        }
        Pay::By(payer) => {
            let env = stiver_env::native::env();
            let call = CallKey::from_bytes(env.random());
            let proof = pollster::block_on(async {
                let artefact = payer.prepare(&challenge, env.clock.now(), call).await?;
                payer.execute(&artefact).await
            })?;
            (proof.payload, proof.source)
        }
    };
    let credential = Credential {
        challenge,
        payload,
        source,
    };
    Ok(credential.to_header())
}

/// The ledger that a challenge names.
pub fn ledger_of(challenge: &Challenge) -> Result<LedgerId> {
    let details = challenge.params.request.object().get("methodDetails");
    let ledger = details.and_then(|details| details.get("ledger")?.as_str());
    Ok(ledger.context("a challenge without a ledger")?.parse()?)
}

/// A payer who trusts the ledger that a server names.
pub fn payer(key: Ed25519Key, server: &Server, path: &str) -> Result<LedgerPayer> {
    let challenge = challenge(server.address(), path)?;
    let ledger = ledger_of(&challenge)?;
    Ok(LedgerPayer::new(LedgerPayerConfig {
        signer: std::sync::Arc::new(key),
        account: None,
        ledgers: vec![ledger],
        currencies: vec![stiver_core::Currency::new("usd", 6)?],
        query: None,
    }))
}
