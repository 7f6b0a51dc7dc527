//! Sockets end to end: this client, a paid socket of the real gate, and channels on the real
//! ledger, over a connection of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::{net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use stiver_client::{
    CallError, Options, Parts, PayingClient, PaymentClient, SessionFailure,
    outbox::MemoryOutbox,
    pins::MemoryPins,
    policy,
    session::{LaneSessions, Session, SessionLimits, SessionParts, SessionState},
    socket::{PaidSocket, SocketAnswer, SocketEnd, SocketMessage},
};
use stiver_core::{Amount, Currency, name::Realm};
use stiver_env::Env;
use stiver_ledger::{
    LedgerConfig,
    id::{AccountId, Nonce},
    order::{Action, Order},
    text::CurrencyCode,
};
use stiver_method::{key::Ed25519Key, session::UnitPrice};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer,
    LedgerSessionPayerConfig, sign,
};
use stiver_server::{
    Gate,
    session::SessionOffer,
    socket::{PaidSocket as Selling, Socket},
};
use stiver_store::{EmbeddedStore, Limits};
use stiver_testkit::fixtures;
use tokio::net::TcpListener;

const ISSUER: u8 = 1;
const SHOP: u8 = 2;
const ALICE: u8 = 3;
/// What a message costs, base units.
const EACH: u128 = 100;
/// Two messages.
const WINDOW: u128 = 200;

fn usd() -> Currency {
    fixtures::usd()
}

fn key(number: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[number; 32])
}

fn account(number: u8) -> AccountId {
    AccountId::of_first_key(&key(number).did())
}

async fn ledger(env: &Env, folder: &Path) -> EmbeddedLedger {
    let issuer = key(ISSUER).did();
    let config = LedgerConfig::new(folder.join("ledger"), issuer, issuer);
    let embedded = EmbeddedLedger::open(config, env).await.unwrap();
    let ledger = embedded.ledger();
    for name in [SHOP, ALICE] {
        let order = Order {
            ledger: ledger.id(),
            account: account(ISSUER),
            nonce: Nonce::from_bytes([name; 16]),
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

struct World {
    ledger: EmbeddedLedger,
    client: PayingClient,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// Says `count` readings, then everything it hears, until nobody listens.
async fn shop(socket: Socket, count: u32) {
    let (mut reader, writer) = socket.split();
    for reading in 0..count {
        if writer.send(format!("reading {reading}")).await.is_err() {
            return;
        }
    }
    while let Some(message) = reader.recv().await {
        if message == "enough".into() || writer.send(message).await.is_err() {
            return;
        }
    }
}

impl World {
    async fn new(limits: SessionLimits, count: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = stiver_env::native::env();
        let ledger = ledger(&env, folder.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let payee = LedgerSessionPayeeConfig::new(
            Arc::new(ledger.clone()),
            account(SHOP),
            Arc::new(key(SHOP)),
            vec![usd()],
        );
        let payee = Arc::new(LedgerSessionPayee::new(payee).unwrap());
        let config = EmbeddedStore::config(folder.path().join("store"));
        let store = EmbeddedStore::open(config, &env, Limits::default()).await;
        let store = Arc::new(store.unwrap());
        let realm = Realm::new("127.0.0.1").unwrap();
        let gate = Gate::builder(realm, fixtures::key_ring(), store.clone(), env.clone())
            .channels(store)
            .session_method(payee.clone())
            .build()
            .unwrap();
        let each = UnitPrice {
            amount: usd().units(EACH),
            per: 1,
            unit: Some("event".to_owned()),
        };
        let offer = SessionOffer::metered(payee, vec![each], &usd().units(WINDOW)).unwrap();
        let selling = Selling::new(gate, vec![offer], move |socket| shop(socket, count));
        tokio::spawn(serve(listener, selling.unwrap()));
        let client = client(&env, &ledger, limits, folder.path()).await;
        Self {
            ledger,
            client,
            address,
            _folder: folder,
        }
    }

    async fn open(&self) -> Result<PaidSocket, CallError> {
        let url = format!("ws://{}/readings", self.address);
        let request = Request::get(url).body(Bytes::new()).unwrap();
        match self.client.socket(request).await? {
            SocketAnswer::Open(socket, payment) => {
                assert_eq!(payment.receipt_fault, None);
                Ok(socket)
            }
            SocketAnswer::Other(status, body, _) => {
                panic!("{status}: {}", String::from_utf8_lossy(&body))
            }
        }
    }

    async fn session(&self) -> Session {
        let mut sessions = self.client.payments().sessions().await.unwrap();
        sessions.pop().unwrap()
    }

    async fn close(&self) -> Session {
        let id = self.session().await.id;
        let exchange = self.client.exchange();
        let closed = self.client.payments().close_session(id, &exchange);
        closed.await.unwrap()
    }

    /// What the shop has beyond its first million.
    async fn taken(&self) -> u128 {
        let told = self.ledger.ledger().account(account(SHOP)).await;
        let told = told.unwrap().unwrap();
        told.balances.first().unwrap().available().units() - 1_000_000
    }
}

async fn serve(listener: TcpListener, selling: Selling) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(selling.clone());
        let http = hyper::server::conn::http1::Builder::new();
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

async fn client(
    env: &Env,
    ledger: &EmbeddedLedger,
    limits: SessionLimits,
    folder: &Path,
) -> PayingClient {
    let payer = LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(key(ALICE)),
        ledger.ledger().id(),
        vec![usd()],
        Some(Arc::new(ledger.clone())),
    ))
    .with_receipt_key(ledger.ledger().id(), ledger.ledger().receipt_key());
    let journal = LaneSessions::open(&folder.join("sessions"), env).await;
    let payments = PaymentClient::new(Parts {
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
    });
    PayingClient::new(payments).unwrap()
}

fn dollars(text: &str) -> Amount {
    usd().parse_decimal(text).unwrap()
}

/// This deposit, and the payee's window ahead.
fn limits(deposit: &str) -> SessionLimits {
    let mut limits = SessionLimits::new(dollars("0.5")).with_deposit(dollars(deposit));
    limits.sign_ahead = Some(usd().units(WINDOW));
    limits
}

async fn all(socket: &mut PaidSocket) -> Vec<SocketMessage> {
    let mut got = Vec::new();
    while let Some(message) = socket.recv().await {
        got.push(message);
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_paid_for_by_vouchers_in_it_and_books_match_after_the_close() {
    let limits = limits("0.003");
    let world = World::new(limits, 20).await;
    let mut socket = world.open().await.unwrap();
    for reading in 0..20 {
        let message = socket.recv().await.unwrap();
        assert_eq!(message, format!("reading {reading}").into());
    }
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), "hello".into());
    socket.send(Bytes::from_static(&[1, 2])).await.unwrap();
    let binary = SocketMessage::Binary(Bytes::from_static(&[1, 2]));
    assert_eq!(socket.recv().await.unwrap(), binary);
    socket.send("enough").await.unwrap();
    assert_eq!(socket.recv().await, None);
    assert_eq!(socket.end(), Some(SocketEnd::Complete));
    let session = world.session().await;
    assert_eq!(
        (session.state, session.agreed),
        (SessionState::Open, 22 * EACH)
    );
    assert!(session.in_flight.is_empty());
    let closed = world.close().await;
    assert_eq!(closed.captured, Some(22 * EACH));
    assert_eq!(world.taken().await, 22 * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_that_is_too_small_is_topped_up_while_the_socket_waits() {
    let limits = limits("0.0005");
    let world = World::new(limits, 30).await;
    let mut socket = world.open().await.unwrap();
    socket.send("enough").await.unwrap();
    assert_eq!(all(&mut socket).await.len(), 30);
    let session = world.session().await;
    assert!(session.deposit >= 30 * EACH, "{session:?}");
    assert_eq!(world.close().await.captured, Some(30 * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_that_wants_no_more_says_so_and_pays_for_what_came() {
    let limits = limits("0.01");
    let world = World::new(limits, 5).await;
    let mut socket = world.open().await.unwrap();
    for _ in 0..5 {
        socket.recv().await.unwrap();
    }
    socket.close().await.unwrap();
    assert_eq!(all(&mut socket).await, []);
    assert_eq!(socket.end(), Some(SocketEnd::Complete));
    // Another socket uses the same channel.
    let mut again = world.open().await.unwrap();
    again.send("enough").await.unwrap();
    assert_eq!(all(&mut again).await.len(), 5);
    assert_eq!(world.client.payments().sessions().await.unwrap().len(), 1);
    assert_eq!(world.close().await.captured, Some(10 * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_payer_stops_a_socket_that_asks_for_more() {
    let mut limits = limits("0.01");
    limits.max_request = Some(usd().units(6 * EACH));
    let world = World::new(limits, 1_000).await;
    let mut socket = world.open().await.unwrap();
    let mut came = 0;
    for _ in 0..4 {
        socket.recv().await.unwrap();
        came += 1;
    }
    // Nobody pays for a seventh: the payer leaves.
    socket.close().await.unwrap();
    while socket.recv().await.is_some() {
        came += 1;
    }
    assert!(came <= 6, "{came}");
    let session = world.session().await;
    assert!(session.signed <= 6 * EACH, "{session:?}");
    assert_eq!(world.close().await.captured, Some(came * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_without_a_limit_for_sessions_opens_nothing() {
    let world = World::new(SessionLimits::new(usd().units(1)), 1).await;
    match world.open().await {
        Err(CallError::Session { failure, .. }) => {
            assert!(
                matches!(*failure, SessionFailure::OverLimit(_)),
                "{failure}"
            );
        }
        other => panic!("opened: {}", other.is_ok()),
    }
    assert_eq!(world.taken().await, 0);
}

/// A payee that takes a first voucher and then asks for as much as it likes, and for others'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_that_asks_for_anything_gets_no_more_than_the_window_beyond_what_came() {
    use tokio_tungstenite::{connect_async, tungstenite::Message};
    let limits = limits("0.1");
    let world = World::new(limits, 0).await;
    // It stands between the two, and changes what the real payee says.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let real = world.address;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0_u8; 1024];
                let read = stream.peek(&mut head).await.unwrap();
                let is_socket = String::from_utf8_lossy(&head[..read]).contains("websocket");
                if !is_socket {
                    let mut onward = tokio::net::TcpStream::connect(real).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
                    return;
                }
                let mut payer = tokio_tungstenite::accept_async(stream).await.unwrap();
                let url = format!("ws://{real}/readings");
                let (mut payee, _) = connect_async(url).await.unwrap();
                let first = payer.next().await.unwrap().unwrap();
                payee.send(first).await.unwrap();
                let receipt = payee.next().await.unwrap().unwrap();
                let text = receipt.to_text().unwrap().to_owned();
                payer.send(receipt).await.unwrap();
                let channel = text.split(r#""channelId":""#).nth(1).unwrap();
                let channel = channel.split('"').next().unwrap().to_owned();
                for (channel, required) in [("other", 300), (channel.as_str(), 90_000)] {
                    let need = format!(
                        r#"{{"mpp":"payment-need-voucher","data":{{"channelId":"{channel}","#
                    ) + &format!(
                        r#""requiredCumulative":"{required}","acceptedCumulative":"0","#
                    ) + r#""deposit":"100000"}}"#;
                    payer.send(Message::text(need)).await.unwrap();
                }
                // Whatever it gets goes to the real one.
                while let Some(Ok(message)) = payer.next().await {
                    let _ = payee.send(message).await;
                }
            });
        }
    });
    let url = format!("ws://{between}/readings");
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let SocketAnswer::Open(mut socket, _) = world.client.socket(request).await.unwrap() else {
        panic!("it opens");
    };
    socket.close().await.unwrap();
    drop(socket.recv());
    let session = world.session().await;
    assert!(session.signed <= WINDOW, "{session:?}");
}
