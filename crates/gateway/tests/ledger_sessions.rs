//! Sessions over the embedded ledger, both sides: from the opening to the close, the books of the
//! gate and of the ledger say the same.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::sync::Arc;

use stiver_channel::{Voucher, voucher::chain::SKIP_MAX};
use stiver_core::{Credential, Currency, Receipt, problem::ProblemKind};
use stiver_ledger::{
    Ledger, LedgerConfig,
    id::{AccountId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::{
    key::Ed25519Key,
    payer::CallKey,
    session::{OpenRequest, PayerSession as _, TopUpRequest, VoucherScheme, VoucherSigner},
};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer,
    LedgerSessionPayerConfig, sign,
};
use stiver_server::{
    BodyState, Gate, Outcome, Pricing, Refused, Request, Route, session::SessionOffer,
};
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use stiver_testkit::{fixtures, simulation::Simulation};
use zeroize::Zeroizing;

const ISSUER: u8 = 1;
const SHOP: u8 = 2;
const ALICE: u8 = 3;
const COST: u128 = 20;
const DEPOSIT: u128 = 10_000;
const START: u128 = 1_000_000;

struct World {
    sim: Simulation,
    ledger: EmbeddedLedger,
    payer: LedgerSessionPayer,
    gate: Gate,
    route: Arc<Route>,
    store: EmbeddedStore,
}

enum Answer {
    Served(Receipt),
    State(u16, Receipt),
    Refused(Refused),
}

fn key(number: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[number; 32])
}

fn account(number: u8) -> AccountId {
    AccountId::of_first_key(&key(number).did())
}

fn usd() -> Currency {
    fixtures::usd()
}

async fn mint(ledger: &Ledger, to: u8) {
    let action = Action::Mint {
        to: account(to),
        amount: START,
        currency: CurrencyCode::new("usd").unwrap(),
        first_key: Some(key(to).did()),
        owner: None,
    };
    let order = Order {
        ledger: ledger.id(),
        account: account(ISSUER),
        nonce: Nonce::from_bytes([to; 16]),
        expires: ledger.time().await.unwrap().plus_millis(60_000),
        action,
    };
    let signed = sign::order(&order, &key(ISSUER)).await.unwrap();
    ledger.execute(signed).await.unwrap();
}

impl World {
    fn new() -> Self {
        Self::seeded(1)
    }

    fn seeded(seed: u64) -> Self {
        let sim = Simulation::new(seed);
        let env = sim.env();
        let (ledger, store) = sim.block_on(async {
            let issuer = key(ISSUER).did();
            let config = LedgerConfig::new("/data/ledger", issuer, issuer);
            let ledger = EmbeddedLedger::open(config, &env).await.unwrap();
            mint(ledger.ledger(), SHOP).await;
            mint(ledger.ledger(), ALICE).await;
            let config = EmbeddedStore::config("/data/store");
            let store = EmbeddedStore::open(config, &env, Limits::default()).await;
            (ledger, store.unwrap())
        });
        let reached = Arc::new(ledger.clone());
        let (signer, currencies) = (Arc::new(key(SHOP)), vec![usd()]);
        let config =
            LedgerSessionPayeeConfig::new(reached.clone(), account(SHOP), signer, currencies);
        let payee = Arc::new(LedgerSessionPayee::new(config).unwrap());
        let id = ledger.ledger().id();
        let payer =
            LedgerSessionPayerConfig::new(Arc::new(key(ALICE)), id, vec![usd()], Some(reached));
        let payer = LedgerSessionPayer::new(payer);
        let payer = payer.with_receipt_key(id, ledger.ledger().receipt_key());
        let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
        let gate = Gate::builder(realm, keys, Arc::new(store.clone()), env)
            .channels(Arc::new(store.clone()))
            .session_method(payee.clone())
            .build()
            .unwrap();
        let offer = SessionOffer::per_request(payee, usd().units(COST)).unwrap();
        let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
        Self {
            sim,
            ledger,
            payer,
            gate,
            route,
            store,
        }
    }

    fn send(&self, credential: Option<&Credential>) -> Answer {
        let line = credential.map(Credential::to_header);
        let lines: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
        let request = Request {
            method: "GET",
            target: "/reading",
            authorization: &lines,
            accept_payment: &[],
            accept_language: &[],
            idempotency_key: &[],
            body: BodyState::None,
        };
        let parse = |it: &str| Receipt::parse(it.as_bytes()).unwrap();
        self.sim.block_on(async {
            let price = || std::future::ready(Pricing::Priced(Arc::clone(&self.route)));
            match self.gate.admit(&request, price).await {
                Outcome::Refuse(refused) => Answer::Refused(refused),
                Outcome::Acknowledge(done) => Answer::State(done.status, parse(&done.receipt)),
                Outcome::Session(grant) => {
                    let done = grant.complete(200).await.unwrap();
                    Answer::Served(parse(&done.receipt.unwrap()))
                }
                _ => panic!("a session was asked"),
            }
        })
    }

    fn challenge(&self) -> stiver_core::Challenge {
        match self.send(None) {
            Answer::Refused(refused) => refused.challenges[0].clone(),
            _ => panic!("nothing was paid"),
        }
    }

    fn sign(&self, signer: &mut dyn VoucherSigner, cumulative: u128) -> Voucher {
        self.sim.block_on(signer.sign(cumulative, None)).unwrap()
    }

    fn available(&self, number: u8) -> u128 {
        let view = self
            .sim
            .block_on(self.ledger.ledger().account(account(number)));
        view.unwrap()
            .unwrap()
            .balance("usd")
            .unwrap()
            .available()
            .units()
    }
}

fn credential(
    challenge: &stiver_core::Challenge,
    proof: stiver_method::payer::Proof,
) -> Credential {
    Credential {
        challenge: challenge.clone(),
        payload: proof.payload,
        source: proof.source,
    }
}

fn spent(receipt: &Receipt) -> String {
    match receipt.extra.get("spent") {
        Some(stiver_core::json::Value::String(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn top_up_twice(world: &World, record: &[u8]) {
    let fresh = world.challenge();
    let top_up = TopUpRequest {
        challenge: &fresh,
        record,
        add: &usd().units(500),
        call: CallKey::from_bytes([2; 16]),
        now: world.sim.env().clock.now(),
    };
    let artefact = world
        .sim
        .block_on(world.payer.prepare_top_up(top_up))
        .unwrap();
    let top_up = world
        .sim
        .block_on(world.payer.fund(&artefact, None))
        .unwrap();
    let top_up = credential(&fresh, top_up);
    for _ in 0..2 {
        assert!(matches!(world.send(Some(&top_up)), Answer::State(204, _)));
    }
    assert_eq!(world.available(ALICE), START - DEPOSIT - 500);
}

fn told_where_it_stands(world: &World, challenge: &stiver_core::Challenge, early: &Voucher) {
    // One that has signed too little is told where the channel stands, by a fresh challenge.
    let answer = world.send(Some(&credential(
        challenge,
        world.payer.spend(early).unwrap(),
    )));
    let Answer::Refused(refused) = answer else {
        panic!("it is below the highest");
    };
    assert_eq!(refused.problem.kind, ProblemKind::SessionDeltaTooSmall);
    let told = world
        .payer
        .view(&refused.challenges[0])
        .unwrap()
        .snapshot
        .unwrap();
    assert_eq!((told.channel, told.deposit), (early.channel, DEPOSIT));
    assert_eq!((told.accepted, told.spent), (COST * 10, COST * 10));
    assert_eq!(world.payer.view(&world.challenge()).unwrap().snapshot, None);
}

fn a_session(scheme: Option<VoucherScheme>) {
    let world = World::new();
    let challenge = world.challenge();
    let view = world.payer.view(&challenge).unwrap();
    assert_eq!(view.prices[0].amount, usd().units(COST));
    let open = OpenRequest {
        challenge: &challenge,
        deposit: &usd().units(DEPOSIT),
        scheme,
        call: CallKey::from_bytes([1; 16]),
        entropy: Zeroizing::new([7; 32]),
        now: world.sim.env().clock.now(),
    };
    let prepared = world.sim.block_on(world.payer.prepare_open(open)).unwrap();
    let mut signer = world.payer.signer(&prepared.record).unwrap();
    let first = world.sign(signer.as_mut(), COST);
    let fund = world.payer.fund(&prepared.artefact, Some(&first));
    let fund = credential(&challenge, world.sim.block_on(fund).unwrap());
    let Answer::Served(receipt) = world.send(Some(&fund)) else {
        panic!("the first voucher pays");
    };
    assert_eq!(spent(&receipt), "20");
    assert_eq!(world.available(ALICE), START - DEPOSIT);

    let (early, mut last) = (first.clone(), first);
    for n in 2..=10 {
        last = world.sign(signer.as_mut(), COST * n);
        let voucher = credential(&challenge, world.payer.spend(&last).unwrap());
        match world.send(Some(&voucher)) {
            Answer::Served(receipt) => assert_eq!(spent(&receipt), (COST * n).to_string()),
            Answer::State(..) => panic!("voucher {n} is new"),
            Answer::Refused(refused) => panic!("{n}: {}", refused.problem.detail),
        }
    }
    told_where_it_stands(&world, &challenge, &early);
    // Another opening of the same order opens nothing.
    assert!(matches!(world.send(Some(&fund)), Answer::Refused(_)));

    top_up_twice(&world, &prepared.record);
    let close = credential(&challenge, world.payer.close(&last).unwrap());
    let Answer::State(204, receipt) = world.send(Some(&close)) else {
        panic!("it is closed");
    };
    assert_eq!(spent(&receipt), "200");
    world.payer.check_receipt(&receipt).unwrap();
    assert_eq!(world.available(ALICE), START - COST * 10);
    assert_eq!(world.available(SHOP), START + COST * 10);
    let late = credential(&challenge, world.payer.spend(&last).unwrap());
    match world.send(Some(&late)) {
        Answer::Refused(refused) => {
            assert_eq!(refused.problem.kind, ProblemKind::SessionChannelFinalized);
        }
        _ => panic!("the channel is closed"),
    }
}

#[test]
fn signed_vouchers_pay_from_the_opening_to_the_close_and_the_books_match() {
    a_session(None);
}

#[test]
fn a_hash_chain_pays_from_the_opening_to_the_close_and_the_books_match() {
    a_session(Some(VoucherScheme::HashChain { step: COST }));
}

/// What is refused by name, and moves nothing.
fn refused(world: &World, challenge: &stiver_core::Challenge, voucher: &Voucher, says: &str) {
    let seen = |world: &World| {
        let channel = world.store.channels().channel(&voucher.channel);
        (channel, world.available(ALICE), world.available(SHOP))
    };
    let before = seen(world);
    let credential = credential(challenge, world.payer.spend(voucher).unwrap());
    let Answer::Refused(refused) = world.send(Some(&credential)) else {
        panic!("{says}");
    };
    let kind = refused.problem.kind;
    assert_eq!(kind, ProblemKind::SessionInvalidSignature, "{says}");
    let detail = refused.problem.detail;
    assert!(detail.contains(says), "{detail}");
    assert_eq!(seen(world), before, "{says}");
}

/// Opens a channel with a first voucher of one request.
fn opened(world: &World, scheme: Option<VoucherScheme>) -> (stiver_core::Challenge, Signer) {
    let challenge = world.challenge();
    let open = OpenRequest {
        challenge: &challenge,
        deposit: &usd().units(100_000),
        scheme,
        call: CallKey::from_bytes([1; 16]),
        entropy: Zeroizing::new([7; 32]),
        now: world.sim.env().clock.now(),
    };
    let prepared = world.sim.block_on(world.payer.prepare_open(open)).unwrap();
    let mut signer = world.payer.signer(&prepared.record).unwrap();
    let first = world.sign(signer.as_mut(), COST);
    let fund = world.payer.fund(&prepared.artefact, Some(&first));
    let fund = credential(&challenge, world.sim.block_on(fund).unwrap());
    assert!(matches!(world.send(Some(&fund)), Answer::Served(_)));
    (challenge, signer)
}

type Signer = Box<dyn VoucherSigner>;

#[test]
fn a_forged_word_and_an_oversized_skip_are_refused_by_name_and_move_nothing() {
    let world = World::new();
    let chain = VoucherScheme::HashChain { step: COST };
    let (challenge, mut signer) = opened(&world, Some(chain));
    let good = world.sign(signer.as_mut(), COST * 2);
    let mut forged = good.clone();
    let last = forged.proof.len() - 1;
    forged.proof[last] ^= 1;
    refused(&world, &challenge, &forged, "word");
    // The word of one step, said to be that of the next.
    let mut claimed = good.clone();
    claimed.proof[3] += 1;
    claimed.cumulative += COST;
    refused(&world, &challenge, &claimed, "word");
    let mut dear = good.clone();
    dear.cumulative += 1;
    refused(&world, &challenge, &dear, "amount");
    let far = world.sign(signer.as_mut(), COST * (u128::from(SKIP_MAX) + 3));
    refused(&world, &challenge, &far, "skip");
    // None of it spoils the chain.
    let good = credential(&challenge, world.payer.spend(&good).unwrap());
    assert!(matches!(world.send(Some(&good)), Answer::Served(_)));
}

#[test]
fn a_voucher_of_another_channel_or_ledger_pays_for_nothing_here() {
    let (world, elsewhere) = (World::new(), World::seeded(2));
    let (challenge, mut signer) = opened(&world, None);
    let (_, mut other) = opened(&elsewhere, None);
    assert_ne!(world.ledger.ledger().id(), elsewhere.ledger.ledger().id());
    let mut moved = elsewhere.sign(other.as_mut(), COST * 2);
    let good = world.sign(signer.as_mut(), COST * 2);
    moved.channel = good.channel;
    refused(&world, &challenge, &moved, "");
    let mut raised = good.clone();
    raised.cumulative += COST;
    refused(&world, &challenge, &raised, "");
    let good = credential(&challenge, world.payer.spend(&good).unwrap());
    assert!(matches!(world.send(Some(&good)), Answer::Served(_)));
}
