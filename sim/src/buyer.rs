//! The payer: the client engine over its journals on a simulated disk, buying one thing after the
//! other, and going on after every crash with what it left open.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use stiver_client::{
    CallError, MoneyMoved, Options, Parts, PayLayer, PayService, PaymentClient, Retry, WatchedBody,
    outbox::LaneOutbox,
    pins::MemoryPins,
    policy,
    session::{LaneSessions, SessionLimits, SessionParts, SessionState},
};
use stiver_core::json::{Object, Value};
use stiver_env::{BoxFuture, Env};
use stiver_gateway::LEDGER_PATH;
use stiver_method::{artefact::RailUnavailable, key::Ed25519Key};
use stiver_method_ledger::{
    LedgerPayer, LedgerPayerConfig, LedgerSessionPayer, LedgerSessionPayerConfig,
    query::{AskError, QueryTransport, RemoteLedger},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    http::Http,
    plan::Purchase,
    shop::{self, About},
};

/// The buyer's journals.
pub const OUTBOX: &str = "/buyer/outbox";
/// The buyer's journal of channels.
pub const SESSIONS: &str = "/buyer/sessions";
/// How often one thing is tried to be bought.
const ATTEMPTS_MAX: u32 = 4;
/// How long the buyer waits before it tries again.
const PAUSE: Duration = Duration::from_secs(3);
/// It thinks for at most 255 of these before it buys something.
const THOUGHT: Duration = Duration::from_millis(10);
/// How long it waits for an answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The client's code for a journal that failed.
const JOURNAL_FAILED: &str = "journal-failed";

/// What the buyer was told, of one attempt.
#[derive(Debug, Clone)]
pub struct Told {
    /// What was asked for.
    pub path: String,
    /// What it is.
    pub purchase: Purchase,
    /// What came.
    pub got: Got,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The goods, whole; so many events of a stream.
    Goods {
        /// Events of a stream.
        events: u64,
    },
    /// An answer that is no success, or one that broke off after so many events.
    Other {
        /// Events of a stream.
        events: u64,
        /// In words.
        why: String,
    },
    /// An error of the client.
    Failed {
        /// Whether money moved.
        moved: MoneyMoved,
        /// [`CallError::code`].
        code: &'static str,
        /// In words.
        why: String,
    },
}

/// What the buyer has done. Outlives its process.
#[derive(Default)]
pub struct Basket {
    /// What is left to buy: its number and what it is.
    pub left: Vec<(usize, Purchase)>,
    /// Attempts, in the order of their ends.
    pub told: Vec<Told>,
    /// Attempts begun.
    pub begun: u32,
    /// Nothing is left to do for the process that runs.
    pub rests: bool,
    /// The buyer's process could not start.
    pub failed: Option<String>,
}

/// A basket, shared.
pub type SharedBasket = Arc<Mutex<Basket>>;

/// Locks a basket.
pub fn open(basket: &SharedBasket) -> MutexGuard<'_, Basket> {
    basket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buyer's key.
pub fn key() -> Ed25519Key {
    Ed25519Key::from_seed(&[7; 32])
}

/// A process of the buyer.
#[derive(Clone)]
pub struct Buyer {
    env: Env,
    client: PaymentClient,
    http: Http,
    basket: SharedBasket,
}

impl Buyer {
    /// Opens the journals.
    ///
    /// # Errors
    ///
    /// A journal that cannot be opened.
    pub async fn start(env: &Env, about: &About, basket: SharedBasket) -> Result<Self> {
        for folder in ["/buyer", OUTBOX, SESSIONS] {
            env.disk.create_folder(Path::new(folder))?;
        }
        let outbox = LaneOutbox::open(Path::new(OUTBOX), env).await?;
        let sessions = LaneSessions::open(Path::new(SESSIONS), env).await?;
        let http = Http::new(env);
        let remote = Arc::new(RemoteLedger {
            ledger: about.ledger,
            account: stiver_ledger::id::AccountId::of_first_key(&key().did()),
            signer: Arc::new(key()),
            transport: Arc::new(Transport(http.clone())),
            clock: Arc::clone(&env.clock),
        });
        let currencies = vec![about.currency.clone()];
        let payer = LedgerPayer::new(LedgerPayerConfig {
            signer: Arc::new(key()),
            account: None,
            ledgers: vec![about.ledger],
            currencies: currencies.clone(),
            query: Some(remote.clone()),
        });
        let payer = payer.with_receipt_key(about.ledger, about.receipt_key);
        let config =
            LedgerSessionPayerConfig::new(Arc::new(key()), about.ledger, currencies, Some(remote));
        let channels = LedgerSessionPayer::new(config);
        let channels = channels.with_receipt_key(about.ledger, about.receipt_key);
        let mut options = Options::default();
        options.reply_timeout = REPLY_TIMEOUT;
        let client = PaymentClient::new(Parts {
            env: env.clone(),
            payers: vec![Arc::new(payer)],
            policy: Arc::new(policy::dangerous_allow_any_amount()),
            outbox: Arc::new(outbox),
            pins: Arc::new(MemoryPins::new()),
            options,
        });
        let limits = SessionLimits::new(about.amount(500_000)).with_deposit(about.amount(40_000));
        let client = client.with_sessions(SessionParts {
            payers: vec![Arc::new(channels)],
            journal: Arc::new(sessions),
            limits,
        });
        Ok(Self {
            env: env.clone(),
            client,
            http,
            basket,
        })
    }

    /// Buys what is left, `at_once` things at a time, after what an earlier process left open.
    pub async fn shop(self, at_once: usize) {
        self.go_on().await;
        let workers = (0..at_once).map(|_| {
            let buyer = self.clone();
            async move {
                loop {
                    let next = open(&buyer.basket).left.pop();
                    let Some((number, purchase)) = next else {
                        break;
                    };
                    let [thought] = buyer.env.random::<1>();
                    buyer.env.clock.sleep(THOUGHT * u32::from(thought)).await;
                    buyer.buy(number, purchase).await;
                }
            }
        });
        futures_util::future::join_all(workers).await;
        self.go_on().await;
        open(&self.basket).rests = true;
    }

    /// Brings what is open to an end, as far as it can be now.
    pub async fn go_on(&self) {
        // Channels first: they may be needed for what follows.
        let _ = self.client.recover_sessions().await;
        let Ok(calls) = self.client.recover().await else {
            return;
        };
        for call in calls {
            let resumed = self.service().resume(call.id).await;
            if let Ok(response) = resumed {
                let _ = response.into_body().collect().await;
            }
        }
    }

    /// Ends everything: open calls, and channels; by force when the shop does not agree. True when
    /// nothing is open any more.
    pub async fn finish(&self, by_force: bool) -> bool {
        self.go_on().await;
        let _ = self.client.close_sessions(&self.http).await;
        let _ = self.client.recover_sessions().await;
        let Ok(sessions) = self.client.sessions().await else {
            return false;
        };
        let mut all = true;
        for session in sessions.iter().filter(|it| !it.state.is_final()) {
            all = false;
            let open = matches!(session.state, SessionState::Open | SessionState::Closing);
            if by_force && open {
                let _ = self.client.force_close(session.id).await;
            }
        }
        match self.client.recover().await {
            Ok(open) => all && open.is_empty(),
            Err(_) => false,
        }
    }

    fn service(&self) -> PayService<Http> {
        PayLayer::new(self.client.clone()).layer(self.http.clone())
    }

    async fn buy(&self, number: usize, purchase: Purchase) {
        let mut resuming = None;
        let mut path = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let answer = match resuming.take() {
                Some(call) => self.service().resume(call).await,
                None => {
                    let attempt = {
                        let mut basket = open(&self.basket);
                        basket.begun += 1;
                        basket.begun
                    };
                    path = path_of(purchase, number, attempt);
                    self.service().call(request(purchase, &path)).await
                }
            };
            let (got, retry) = match answer {
                Ok(response) => (read(response).await, Retry::No),
                Err(error) => failed(&error),
            };
            let is = |it: &Got| matches!(it, Got::Failed { code, .. } if *code == JOURNAL_FAILED);
            let journal_failed = is(&got);
            open(&self.basket).told.push(Told {
                path: path.clone(),
                purchase,
                got,
            });
            if journal_failed {
                // A journal that failed stays so: somebody starts the process again.
                let why = "its journal failed".to_owned();
                open(&self.basket).failed = Some(why);
                return std::future::pending().await;
            }
            match retry {
                Retry::Resume(call) => resuming = Some(call),
                Retry::NewCall => {}
                _ => return,
            }
            self.env.clock.sleep(PAUSE).await;
        }
    }
}

fn failed(error: &CallError) -> (Got, Retry) {
    let got = Got::Failed {
        moved: error.money_moved(),
        code: error.code(),
        why: error.to_string(),
    };
    (got, error.retry())
}

fn path_of(purchase: Purchase, number: usize, attempt: u32) -> String {
    match purchase {
        Purchase::Reading => format!("/reading/{number}-{attempt}"),
        Purchase::Order => format!("/order/{number}-{attempt}"),
        Purchase::Tick => format!("/tick/{number}-{attempt}"),
        Purchase::Stream { events } => format!("/stream/{number}-{attempt}/{events}"),
    }
}

fn request(purchase: Purchase, path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    let uri = format!("http://127.0.0.1:{}{path}", shop::PORT).parse();
    *request.uri_mut() = uri.unwrap_or_default();
    if purchase == Purchase::Order {
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = Full::new(Bytes::from_static(b"one of them"));
    }
    request
}

/// Reads an answer to its end, and counts its events.
async fn read(response: Response<WatchedBody<Incoming>>) -> Got {
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    let mut broke_off = None;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend(frame.into_data().unwrap_or_default()),
            Err(error) => {
                broke_off = Some(error.to_string());
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&text);
    let events = text.matches("data: ").count();
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    match broke_off {
        Some(why) => Got::Other { events, why },
        None if status == StatusCode::OK && !text.is_empty() => Got::Goods { events },
        None => Got::Other {
            events,
            why: status.to_string(),
        },
    }
}

/// Asks the shop's ledger over the simulated network.
struct Transport(Http);

impl QueryTransport for Transport {
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let unavailable = |error: stiver_client::error::BoxError| {
                AskError::from(RailUnavailable(error.to_string()))
            };
            let url = format!("http://127.0.0.1:{}{LEDGER_PATH}", shop::PORT);
            let request = Request::post(url).body(Full::new(Bytes::from(body)));
            let request = request.map_err(|error| unavailable(error.into()))?;
            let (status, _, body) = self.0.ask(request).await.map_err(unavailable)?;
            if status.is_success() {
                return Ok(body.to_vec());
            }
            let object = Object::parse(&body).ok();
            let text = |name: &str| match object.as_ref()?.get(name)? {
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
            Err(AskError::Refused {
                code: text("code"),
                detail: text("detail").unwrap_or_default(),
            })
        })
    }
}
