//! The ledger method between two strangers: a request as a hostile server sends it, a payload as a
//! hostile client does. A payload that its key did not sign for just this challenge is refused.
#![no_main]

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    Amount, Challenge, Currency, Timestamp,
    challenge::{Expires, Params},
    json::{EncodedObject, Object},
    name::{ChallengeId, IntentName, MethodName, Realm},
};
use stiver_ledger::{LedgerConfig, id::AccountId};
use stiver_method::{
    key::Ed25519Key,
    payee::{PayeeCharge, Presented, Quote},
    payer::{CallKey, Payer},
};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerApi, LedgerPayee, LedgerPayeeConfig, LedgerPayer, LedgerPayerConfig,
};
use stiver_testkit::simulation::Simulation;

/// What the honest challenge asks.
const PRICE: u128 = 10_000;

struct Honest {
    payee: LedgerPayee,
    payer: LedgerPayer,
    price: Amount,
    now: Timestamp,
    challenge: Challenge,
    payload: Object,
}

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let simulation = Simulation::new(1);
    let key = |seed| Arc::new(Ed25519Key::from_seed(&[seed; 32]));
    let (operator, seller, buyer) = (key(1), key(2), key(3));
    let config = LedgerConfig::new(Path::new("/ledger"), operator.did(), operator.did());
    let env = simulation.env();
    let opened = simulation.block_on(EmbeddedLedger::open(config, &env));
    let ledger = opened.expect("a new ledger opens");
    let usd = Currency::new("usd", 6).expect("usd is a currency");
    let (price, now) = (usd.units(PRICE), env.clock.now());
    let payer = LedgerPayer::new(LedgerPayerConfig {
        signer: buyer,
        account: None,
        ledgers: vec![ledger.id()],
        currencies: vec![usd.clone()],
        query: None,
    });
    let payee = LedgerPayee::new(LedgerPayeeConfig {
        account: AccountId::of_first_key(&seller.did()),
        ledger: Arc::new(ledger),
        signer: seller,
        currencies: vec![usd],
    });
    let expires = now.plus_millis(60_000);
    let quote = Quote {
        price: &price,
        description: None,
        external_id: None,
        now,
        expires,
    };
    let request = simulation
        .block_on(payee.quote(quote))
        .expect("the price can be asked");
    let challenge = challenge(&request, expires);
    let call = CallKey::from_bytes([4; 16]);
    let payload = simulation.block_on(async {
        let artefact = payer
            .prepare(&challenge, now, call)
            .await
            .expect("it can be paid");
        payer
            .execute(&artefact)
            .await
            .expect("the proof is made")
            .payload
    });
    let presented = Presented {
        challenge: &challenge,
        payload: &payload,
        source: None,
        now,
    };
    payee.precheck(presented).expect("an honest payment passes");
    Honest {
        payee,
        payer,
        price,
        now,
        challenge,
        payload,
    }
});

fn challenge(request: &Object, expires: Timestamp) -> Challenge {
    Challenge {
        id: ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa").expect("letters are an id"),
        params: Params {
            realm: Realm::new("api.example.com").expect("a host is a realm"),
            method: MethodName::new("ledger").expect("a word is a method"),
            intent: IntentName::charge(),
            request: EncodedObject::encode(request),
            expires: Some(Expires::at(expires)),
            digest: None,
            description: None,
            opaque: None,
        },
    }
}

/// The honest text with some bytes changed: three input bytes for each change.
fn changed(honest: &str, edits: &[u8]) -> Vec<u8> {
    let mut text = honest.as_bytes().to_vec();
    for edit in edits.chunks_exact(3) {
        let offset = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % text.len();
        text[offset] ^= edit[2];
    }
    text
}

/// What of a payload counts: unknown members do not.
fn proof(payload: &Object) -> [Option<&str>; 3] {
    ["order", "key", "signature"].map(|name| payload.get(name).and_then(|value| value.as_str()))
}

fuzz_target!(|data: &[u8]| {
    let honest = &*HONEST;
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let honest_request = honest.challenge.params.request.object();
    let (request, payload) = match how % 4 {
        0 => (
            changed(honest_request.as_str(), rest),
            honest.payload.as_str().into(),
        ),
        1 => (
            honest_request.as_str().into(),
            changed(honest.payload.as_str(), rest),
        ),
        2 => (rest.to_vec(), honest.payload.as_str().into()),
        _ => (honest_request.as_str().into(), rest.to_vec()),
    };
    let (Ok(request), Ok(payload)) = (Object::parse(&request), Object::parse(&payload)) else {
        return;
    };
    let challenge = challenge(&request, honest.now.plus_millis(60_000));
    let terms = honest.payee.terms(&request);
    if let Ok(view) = honest.payer.policy_view(&challenge) {
        let amount = request.get("amount").and_then(|amount| amount.as_str());
        assert_eq!(
            amount,
            Some(view.amount.to_wire().as_str()),
            "shows another amount"
        );
        let payee = request.get("recipient").and_then(|payee| payee.as_str());
        assert_eq!(payee, Some(view.payee.as_str()), "shows another payee");
    }
    let presented = Presented {
        challenge: &challenge,
        payload: &payload,
        source: None,
        now: honest.now,
    };
    if honest.payee.precheck(presented).is_ok() {
        assert_eq!(proof(&payload), proof(&honest.payload), "a forged payment");
        let expected = honest
            .payee
            .expected_terms(&honest.price)
            .expect("the price can be asked");
        assert_eq!(terms, Ok(expected), "paid for other terms");
    }
});
