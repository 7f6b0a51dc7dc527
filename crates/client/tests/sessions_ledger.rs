//! Sessions end to end: this client, the real gate over the real store, and channels on the real
//! ledger.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    convert::Infallible,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use stiver_client::{
    CallError, Exchange, Options, Parts, PayLayer, Payment, PaymentClient, Side, SideAnswer,
    outbox::MemoryOutbox,
    pins::MemoryPins,
    policy,
    session::{LaneSessions, Session, SessionLimits, SessionParts, SessionState, VoucherKind},
};
use stiver_core::{Amount, Currency};
use stiver_env::BoxFuture;
use stiver_ledger::{
    LedgerConfig,
    id::{AccountId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::{key::Ed25519Key, session::PayeeSession};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer,
    LedgerSessionPayerConfig, sign,
};
use stiver_server::{Gate, Route, session::SessionOffer, tower::PaymentLayer};
use stiver_store::{EmbeddedStore, Limits};
use stiver_testkit::{fixtures, simulation::Simulation};
use tower_layer::Layer;
use tower_service::Service;

const URL: &str = "https://api.example.com/reading";
const FOLDER: &str = "/home/alice/sessions";
/// What a request costs, base units.
const COST: u128 = 10_000;

fn usd() -> Currency {
    fixtures::usd()
}

fn key(number: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[number; 32])
}

const ISSUER: u8 = 1;
const SHOP: u8 = 2;
const ALICE: u8 = 3;

fn account(number: u8) -> AccountId {
    AccountId::of_first_key(&key(number).did())
}

/// A ledger on which shop and alice have a dollar each.
async fn ledger(simulation: &Simulation) -> EmbeddedLedger {
    let issuer = key(ISSUER).did();
    let config = LedgerConfig::new("/data/ledger", issuer, issuer);
    let env = simulation.env();
    let embedded = EmbeddedLedger::open(config, &env).await.unwrap();
    let ledger = embedded.ledger();
    for (number, name) in [(1_u8, SHOP), (2, ALICE)] {
        let order = Order {
            ledger: ledger.id(),
            account: account(ISSUER),
            nonce: Nonce::from_bytes([number; 16]),
            expires: ledger.time().await.unwrap().plus_millis(60_000),
            action: Action::Mint {
                to: account(name),
                amount: 1_000_000,
                currency: CurrencyCode::new("usd").unwrap(),
                first_key: Some(key(name).did()),
                owner: None,
            },
        };
        let signed = sign::order(&order, &key(ISSUER)).await.unwrap();
        ledger.execute(signed).await.unwrap();
    }
    embedded
}

/// The goods, behind the gate; it counts what it served.
#[derive(Clone)]
struct Shop {
    gate: Gate,
    route: Arc<Route>,
    served: Arc<AtomicU32>,
    /// Answers that are lost on the way back.
    lost: Arc<AtomicU32>,
}

impl Shop {
    async fn answer(self, request: Request<Bytes>) -> Result<Response<Full<Bytes>>, Lost> {
        let served = self.served.clone();
        let goods = tower::service_fn(move |_: Request<_>| {
            served.fetch_add(1, Ordering::SeqCst);
            let body = Full::new(Bytes::from_static(b"21 C"));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let mut service = PaymentLayer::fixed(self.gate.clone(), self.route.clone()).layer(goods);
        let (mut head, body) = request.into_parts();
        head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
        let paid = head.headers.contains_key("authorization");
        let request = Request::from_parts(head, Full::new(body));
        let response = match service.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        let take = |left: u32| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if paid && self.lost.fetch_update(order, order, take).is_ok() {
            return Err(Lost);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer was lost")]
struct Lost;

impl Service<Request<Full<Bytes>>> for Shop {
    type Response = Response<Full<Bytes>>;
    type Error = Lost;
    type Future = BoxFuture<'static, Result<Response<Full<Bytes>>, Lost>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let shop = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            shop.answer(Request::from_parts(head, body)).await
        })
    }
}

/// The way to the shop, for what is sent beside requests.
#[derive(Clone)]
struct Way(Shop);

impl Side for Way {
    fn ask(&self, request: Request<Bytes>) -> BoxFuture<'static, SideAnswer> {
        let shop = self.0.clone();
        Box::pin(async move {
            let (head, body) = shop.answer(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok((head.status, head.headers, body.to_vec()))
        })
    }
}

impl Exchange for Way {
    type Response = Response<Full<Bytes>>;
    fn send(
        &mut self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Self::Response, stiver_client::error::BoxError>> {
        let shop = self.0.clone();
        Box::pin(async move { Ok(shop.answer(request).await?) })
    }
    fn head(response: &Self::Response) -> (StatusCode, &http::HeaderMap) {
        (response.status(), response.headers())
    }
    fn read(response: Self::Response, _: usize) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move {
            let Ok(body) = response.into_body().collect().await;
            body.to_bytes().to_vec()
        })
    }
    fn peek(response: Self::Response, _: usize) -> BoxFuture<'static, (Vec<u8>, Self::Response)> {
        Box::pin(async move { (Vec::new(), response) })
    }
    fn watch(
        response: Self::Response,
        _: stiver_client::Delivery,
    ) -> BoxFuture<'static, Self::Response> {
        Box::pin(async move { response })
    }
    fn stream(response: Self::Response, _: stiver_client::SessionStream) -> Self::Response {
        response
    }
    fn side(&self) -> Arc<dyn Side> {
        Arc::new(self.clone())
    }
}

struct World {
    simulation: Simulation,
    ledger: EmbeddedLedger,
    shop: Shop,
    client: PaymentClient,
}

impl World {
    fn new(limits: SessionLimits) -> Self {
        Self::at(limits, (COST, 1))
    }

    /// So many base units for so many requests.
    fn at(limits: SessionLimits, (units, per): (u128, u64)) -> Self {
        let simulation = Simulation::new(1);
        let ledger = simulation.block_on(ledger(&simulation));
        let env = simulation.env();
        let method: Arc<dyn PayeeSession> = Arc::new(
            LedgerSessionPayee::new(LedgerSessionPayeeConfig::new(
                Arc::new(ledger.clone()),
                account(SHOP),
                Arc::new(key(SHOP)),
                vec![usd()],
            ))
            .unwrap(),
        );
        let config = EmbeddedStore::config("/data/store");
        let store = EmbeddedStore::open(config, &env, Limits::default());
        let store = simulation.block_on(store).unwrap();
        let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
        let gate = Gate::builder(realm, keys, Arc::new(store.clone()), simulation.env())
            .channels(Arc::new(store))
            .session_method(method.clone())
            .build()
            .unwrap();
        let offer = SessionOffer::for_requests(method, usd().units(units), per).unwrap();
        let shop = Shop {
            gate,
            route: Arc::new(Route::for_sessions(vec![offer]).unwrap()),
            served: Arc::default(),
            lost: Arc::default(),
        };
        let client = client(&simulation, &ledger, limits);
        Self {
            simulation,
            ledger,
            shop,
            client,
        }
    }

    fn send(&self) -> Result<(u16, Bytes, Option<Arc<Payment>>), CallError> {
        let mut service = PayLayer::new(self.client.clone()).layer(self.shop.clone());
        let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
        let response = self.simulation.block_on(service.call(request))?;
        let payment = response.extensions().get::<Arc<Payment>>().cloned();
        let status = response.status().as_u16();
        let body = self.simulation.block_on(response.into_body().collect());
        Ok((status, body.unwrap().to_bytes(), payment))
    }

    /// The program ends without a word, and another one begins.
    fn restart(&mut self, limits: SessionLimits) {
        // The first one holds its lane until it ends.
        let nobody = PaymentClient::new(Parts {
            env: self.simulation.env(),
            payers: Vec::new(),
            policy: Arc::new(policy::dangerous_allow_any_amount()),
            outbox: Arc::new(MemoryOutbox::new(self.simulation.env().clock)),
            pins: Arc::new(MemoryPins::new()),
            options: Options::default(),
        });
        drop(std::mem::replace(&mut self.client, nobody));
        self.simulation.run_for(std::time::Duration::from_secs(1));
        self.client = client(&self.simulation, &self.ledger, limits);
    }

    fn sessions(&self) -> Vec<Session> {
        self.simulation.block_on(self.client.sessions()).unwrap()
    }

    fn close(&self) -> Session {
        let id = self.sessions().last().unwrap().id;
        let way = Way(self.shop.clone());
        let closed = self.client.close_session(id, &way);
        self.simulation.block_on(closed).unwrap()
    }

    /// What an account can spend, and what is held of it.
    fn balance(&self, number: u8) -> (u128, u128) {
        let ledger = self.ledger.ledger();
        let told = self.simulation.block_on(ledger.account(account(number)));
        let told = told.unwrap().unwrap();
        let balance = told.balances.first().unwrap();
        (balance.available().units(), balance.held)
    }
}

/// A client whose journal is on the simulated disk.
fn client(
    simulation: &Simulation,
    ledger: &EmbeddedLedger,
    limits: SessionLimits,
) -> PaymentClient {
    let env = simulation.env();
    let payer = LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(key(ALICE)),
        ledger.ledger().id(),
        vec![usd()],
        Some(Arc::new(ledger.clone())),
    ))
    .with_receipt_key(ledger.ledger().id(), ledger.ledger().receipt_key());
    let journal = simulation.block_on(LaneSessions::open(Path::new(FOLDER), &env));
    PaymentClient::new(Parts {
        env: env.clone(),
        payers: Vec::new(),
        policy: Arc::new(policy::dangerous_allow_any_amount()),
        outbox: Arc::new(MemoryOutbox::new(env.clock.clone())),
        pins: Arc::new(MemoryPins::new()),
        options: Options::default(),
    })
    .with_sessions(SessionParts {
        payers: vec![Arc::new(payer)],
        journal: Arc::new(journal.unwrap()),
        limits,
    })
}

fn dollars(text: &str) -> Amount {
    usd().parse_decimal(text).unwrap()
}

#[test]
fn a_session_opens_pays_tops_up_and_closes_to_the_base_unit() {
    let limits = SessionLimits::new(dollars("0.5")).with_deposit(dollars("0.03"));
    let world = World::new(limits);
    for n in 1..=7_u128 {
        let (status, body, payment) = world.send().unwrap();
        assert_eq!((status, &body[..]), (200, &b"21 C"[..]));
        let payment = payment.unwrap();
        assert_eq!(payment.receipt_fault, None);
        assert_eq!(payment.terms.amount, usd().units(COST));
        let session = world.sessions().remove(0);
        let paid = n * COST;
        assert_eq!(
            (session.signed, session.agreed, session.spent),
            (paid, paid, paid)
        );
    }
    let session = world.sessions().remove(0);
    assert_eq!(session.deposit, 90_000, "topped up twice");
    assert_eq!(world.balance(ALICE), (910_000, 90_000));
    let closed = world.close();
    assert_eq!(
        (closed.state, closed.captured),
        (SessionState::Closed, Some(70_000))
    );
    assert_eq!(closed.note, None);
    assert_eq!(world.balance(ALICE), (930_000, 0));
    assert_eq!(world.balance(SHOP), (1_070_000, 0));
    assert_eq!(world.shop.served.load(Ordering::SeqCst), 7);
}

#[test]
fn a_hash_chain_pays_is_resumed_by_the_next_program_and_is_replaced_when_it_ends() {
    let limits = SessionLimits::new(dollars("0.5"))
        .with_deposit(dollars("0.03"))
        .with_voucher(VoucherKind::HashChain);
    let mut world = World::new(limits.clone());
    for _ in 0..5 {
        world.send().unwrap();
    }
    let before = world.sessions().remove(0);
    assert_eq!((before.bounds.grain, before.signed), (COST, 5 * COST));
    // Four deposits long, whatever may be set aside.
    assert_eq!((before.bounds.cap, before.deposit), (12 * COST, 6 * COST));
    world.restart(limits);
    for _ in 5..12 {
        let (_, _, payment) = world.send().unwrap();
        assert_eq!(payment.unwrap().terms.amount, usd().units(COST));
    }
    assert_eq!(world.sessions().len(), 1);
    // All words are shown: it is closed, and another one takes its place.
    let (status, ..) = world.send().unwrap();
    assert_eq!(status, 200);
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 2);
    let (first, second) = (&sessions[0], &sessions[1]);
    assert_eq!(
        (first.state, first.captured),
        (SessionState::Closed, Some(12 * COST))
    );
    assert_eq!((second.state, second.signed), (SessionState::Open, COST));
    assert_eq!(world.close().captured, Some(COST));
    assert_eq!(world.balance(SHOP), (1_000_000 + 13 * COST, 0));
    assert_eq!(world.shop.served.load(Ordering::SeqCst), 13);
}

#[test]
fn requests_below_a_base_unit_are_signed_for_as_they_become_due() {
    let world = World::at(SessionLimits::new(dollars("0.5")), (2, 5));
    for n in 1..=25_u128 {
        let (status, _, payment) = world.send().unwrap();
        assert_eq!(status, 200, "request {n}");
        assert_eq!(payment.unwrap().receipt_fault, None);
        let session = world.sessions().remove(0);
        let due = n * 2 / 5;
        assert_eq!((session.spent, session.agreed), (due, due), "after {n}");
        // At most the request that is rounded up is signed ahead.
        assert!(
            session.signed <= (n - 1) * 2 / 5 + 1,
            "{} after {n}",
            session.signed
        );
    }
    assert_eq!(world.close().captured, Some(10));
    assert_eq!(world.balance(SHOP), (1_000_010, 0));
}

#[test]
fn a_lost_answer_is_not_paid_twice() {
    let world = World::new(SessionLimits::new(dollars("0.5")));
    world.send().unwrap();
    world.shop.lost.store(2, Ordering::SeqCst);
    let (status, body, payment) = world.send().unwrap();
    assert_eq!((status, &body[..]), (200, &b"21 C"[..]), "as before");
    assert_eq!(payment.unwrap().receipt_fault, None);
    let closed = world.close();
    assert_eq!(closed.captured, Some(2 * COST));
    assert_eq!(world.balance(SHOP), (1_000_000 + 2 * COST, 0));
}

#[test]
fn the_next_program_goes_on_with_the_channel_that_the_last_one_left() {
    let mut world = World::new(SessionLimits::new(dollars("0.5")));
    world.send().unwrap();
    // The answer to the second never comes, and then the program ends.
    world.shop.lost.store(u32::MAX, Ordering::SeqCst);
    assert!(world.send().is_err());
    let before = world.sessions().remove(0);
    assert_eq!((before.signed, before.in_flight.len()), (2 * COST, 1));
    world.shop.lost.store(0, Ordering::SeqCst);
    world.restart(SessionLimits::new(dollars("0.5")));
    let (status, ..) = world.send().unwrap();
    assert_eq!(status, 200);
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1, "no second channel");
    let after = &sessions[0];
    assert_eq!((after.signed, after.spent), (3 * COST, 3 * COST));
    let closed = world.close();
    let served = u128::from(world.shop.served.load(Ordering::SeqCst));
    assert_eq!((closed.captured, served), (Some(3 * COST), 3));
}

#[test]
fn a_payee_that_is_gone_gives_the_rest_back_after_the_grace() {
    let world = World::new(SessionLimits::new(dollars("0.5")));
    world.send().unwrap();
    let id = world.sessions()[0].id;
    let forced = world
        .simulation
        .block_on(world.client.force_close(id))
        .unwrap();
    assert_eq!(forced.state, SessionState::Forced);
    let at = forced.withdrawable_at.unwrap();
    let wait = at.as_millis() - world.simulation.env().clock.now().as_millis();
    world
        .simulation
        .run_for(std::time::Duration::from_millis(wait + 1_000));
    let told = world
        .simulation
        .block_on(world.client.recover_sessions())
        .unwrap();
    assert!(told[0].1.is_none(), "{:?}", told[0].1);
    assert_eq!(told[0].0.state, SessionState::Withdrawn);
    assert_eq!(world.balance(ALICE), (1_000_000, 0));
}
