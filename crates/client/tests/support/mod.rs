//! A client on a simulated machine, and a server that does what a script says.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use stiver_client::{
    CallError, MoneyMoved, Options, Parts, PayLayer, Payment, PaymentClient, WatchedBody,
    events::{Event, Events, queue},
    outbox::{Entry, MemoryOutbox, Outbox, State},
    pins::MemoryPins,
    policy::{self, Policy},
};
use stiver_core::{
    Credential, Receipt, Timestamp,
    challenge::{Challenge, DigestText, Expires, Params},
    credential::{Presented, presented},
    json::EncodedObject,
    name::{IntentName, MethodName, Realm},
    problem::{Problem, ProblemKind},
};
use stiver_env::{BoxFuture, Env};
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable},
    payee::{PayeeCharge, Presented as Paying, Quote},
    payer::{CallKey, PayError, Payer, PolicyView, Proof, Unpayable},
};
use stiver_testkit::{
    fixtures,
    rail::{HostileRail, RailPayer},
    simulation::Simulation,
};
use tower_layer::Layer;
use tower_service::Service;

pub(crate) const URL: &str = "https://api.example/data";
/// What the server says in its problems.
pub(crate) const DETAIL: &str = "because\u{1b}[31m of the test";

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// 402 with these challenges, and a problem if there is one.
    Charge(Vec<Price>, Option<ProblemKind>),
    /// Redeems the credential on the rail and answers 200 with a receipt.
    Serve,
    /// The same, but the connection breaks in the middle of the body.
    ServeAndBreak,
    /// The same, but the connection breaks before the answer.
    ServeAndCut,
    /// The same, but no answer ever comes.
    ServeAndHang,
    /// The same, but this status and problem instead of 200; with a 402 comes a fresh challenge.
    ServeAndSay(u16, Option<ProblemKind>),
    /// The connection breaks before anything happens.
    Cut,
    /// No answer ever comes.
    Hang,
    /// This status, with these fields, and this problem.
    Say(u16, Vec<(&'static str, String)>, Option<ProblemKind>),
    /// 200 without a receipt.
    Free,
}

/// What a challenge asks.
#[derive(Debug, Clone)]
pub(crate) struct Price {
    pub(crate) units: u128,
    pub(crate) realm: String,
    pub(crate) lifetime_ms: Option<i64>,
    pub(crate) digest: Option<String>,
    pub(crate) payee: String,
    pub(crate) intent: String,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            units: 10_000,
            realm: "api.example".into(),
            lifetime_ms: Some(300_000),
            digest: None,
            payee: "merchant".into(),
            intent: "charge".into(),
        }
    }
}

/// Asks the usual price.
pub(crate) fn charge() -> Act {
    Act::Charge(vec![Price::default()], Some(ProblemKind::PaymentRequired))
}

/// Refuses with a fresh challenge.
pub(crate) fn refuse(kind: ProblemKind) -> Act {
    Act::Charge(vec![Price::default()], Some(kind))
}

/// One request as the server saw it.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) credential: Option<Credential>,
    /// What the journal said of the call when the request arrived.
    pub(crate) journal: Option<State>,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Server {
    inside: Arc<Mutex<Inside>>,
    env: Env,
    rail: HostileRail,
    outbox: Arc<dyn Outbox>,
}

struct Inside {
    script: VecDeque<Act>,
    /// When the script has run out.
    then: Act,
    seen: Vec<Seen>,
}

impl Server {
    pub(crate) fn new(env: Env, rail: HostileRail, outbox: Arc<dyn Outbox>) -> Self {
        Self {
            inside: Arc::new(Mutex::new(Inside {
                script: VecDeque::new(),
                then: Act::Free,
                seen: Vec::new(),
            })),
            env,
            rail,
            outbox,
        }
    }

    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.inside.lock().unwrap().script.extend(acts);
    }

    pub(crate) fn then(&self, act: Act) {
        self.inside.lock().unwrap().then = act;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inside.lock().unwrap().seen.clone()
    }

    /// The requests that came with a credential.
    pub(crate) fn paid(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.credential.is_some());
        seen
    }

    /// Distinct credentials seen.
    pub(crate) fn credentials(&self) -> usize {
        let mut headers: Vec<String> = self
            .paid()
            .iter()
            .filter_map(|seen| seen.credential.as_ref().map(Credential::to_header))
            .collect();
        headers.sort();
        headers.dedup();
        headers.len()
    }

    fn quote(&self, price: &Price) -> String {
        let rail = HostileRailQuote {
            rail: &self.rail,
            price,
        };
        let now = self.env.clock.now();
        let mut params = Params::new(
            Realm::new(&price.realm).unwrap(),
            PayeeCharge::name(&self.rail).clone(),
            IntentName::new(&price.intent).unwrap(),
            rail.request(&self.env),
        );
        params.expires = price.lifetime_ms.map(|lifetime| {
            let at = now.as_millis().saturating_add_signed(lifetime);
            Expires::at(Timestamp::from_millis(at))
        });
        params.digest = price
            .digest
            .as_ref()
            .map(|text| DigestText::new(text).unwrap());
        let id: [u8; 16] = self.env.random();
        params.description = Some(format!("nonce {id:?}"));
        let mut challenge = fixtures::key_ring().bind(params);
        // Each challenge has an id of its own, as a nonce in `opaque` would make it.
        challenge.id =
            stiver_core::name::ChallengeId::new(&stiver_core::base64url::encode(&id)).unwrap();
        challenge.to_header()
    }

    async fn redeem(&self, credential: &Credential) -> Result<String, ExecuteError> {
        let plan = self
            .rail
            .precheck(Paying {
                challenge: &credential.challenge,
                payload: &credential.payload,
                source: credential.source.as_deref(),
                now: self.env.clock.now(),
            })
            .map_err(ExecuteError::Refused)?;
        let settled = self.rail.execute(&plan.artefact).await?;
        Ok(settled.reference)
    }

    async fn answer(self, request: Request<Bytes>) -> Result<Response<Goods>, Broken> {
        let lines = ["authorization", "payment-authorization"]
            .into_iter()
            .flat_map(|name| request.headers().get_all(name));
        let credential = match presented(lines.map(HeaderValue::as_bytes)) {
            Presented::One(token) => Some(Credential::parse(token).unwrap()),
            Presented::None => None,
            Presented::Several => panic!("the client sent two credentials"),
        };
        let open = self.outbox.open_calls().await.unwrap();
        let seen = Seen {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
            body: request.body().clone(),
            credential: credential.clone(),
            journal: open.last().map(|entry| entry.state),
        };
        let act = {
            let mut inside = self.inside.lock().unwrap();
            inside.seen.push(seen);
            inside
                .script
                .pop_front()
                .unwrap_or_else(|| inside.then.clone())
        };
        self.act(act, credential).await
    }

    async fn act(
        self,
        act: Act,
        credential: Option<Credential>,
    ) -> Result<Response<Goods>, Broken> {
        match act {
            Act::Charge(prices, problem) => {
                let mut response = say(402, problem);
                for price in &prices {
                    let line = HeaderValue::from_str(&self.quote(price)).unwrap();
                    response.headers_mut().append("www-authenticate", line);
                }
                Ok(response)
            }
            Act::Free => Ok(say(200, None)),
            Act::Cut => Err(Broken),
            Act::Hang => std::future::pending().await,
            Act::Say(status, fields, problem) => {
                let mut response = say(status, problem);
                for (name, value) in fields {
                    let value = HeaderValue::from_str(&value).unwrap();
                    response.headers_mut().append(name, value);
                }
                Ok(response)
            }
            Act::Serve
            | Act::ServeAndBreak
            | Act::ServeAndCut
            | Act::ServeAndHang
            | Act::ServeAndSay(..) => {
                let Some(credential) = credential else {
                    return Ok(say(402, None));
                };
                let redeemed = self.redeem(&credential).await;
                match (act, redeemed) {
                    (Act::ServeAndCut, _) => Err(Broken),
                    (Act::ServeAndHang, _) => std::future::pending().await,
                    (Act::ServeAndSay(402, problem), _) => {
                        let again = Act::Charge(vec![Price::default()], problem);
                        Box::pin(self.act(again, None)).await
                    }
                    (Act::ServeAndSay(status, problem), _) => Ok(say(status, problem)),
                    (act, Ok(reference)) => {
                        let mut response = receipt(&credential, reference, &self.env);
                        response.body_mut().breaks = matches!(act, Act::ServeAndBreak);
                        Ok(response)
                    }
                    (_, Err(ExecuteError::Refused(_))) => {
                        Ok(say(402, Some(ProblemKind::VerificationFailed)))
                    }
                    (_, Err(ExecuteError::Unknown(_))) => {
                        Ok(say(503, Some(ProblemKind::OutcomeUnknown)))
                    }
                }
            }
        }
    }
}

struct HostileRailQuote<'a> {
    rail: &'a HostileRail,
    price: &'a Price,
}

impl HostileRailQuote<'_> {
    fn request(&self, env: &Env) -> EncodedObject {
        let price = fixtures::micro_usd(self.price.units);
        let now = env.clock.now();
        let quoted = pollster::block_on(self.rail.quote(Quote {
            price: &price,
            description: None,
            external_id: None,
            now,
            expires: now.plus_millis(300_000),
        }))
        .unwrap();
        let mut members = match quoted.to_value() {
            stiver_core::json::Value::Object(members) => members,
            _ => unreachable!(),
        };
        let payee = stiver_core::json::Value::String(self.price.payee.clone());
        members.insert("recipient".into(), payee);
        EncodedObject::encode(&stiver_core::json::Object::from_members(members))
    }
}

pub(crate) fn say(status: u16, problem: Option<ProblemKind>) -> Response<Goods> {
    let body = problem.map(|kind| Problem::new(kind, DETAIL).to_json());
    let mut response = Response::new(Goods::whole(Bytes::from(body.unwrap_or_default())));
    if problem.is_some() {
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert("content-type", problem);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(crate) fn receipt(credential: &Credential, reference: String, env: &Env) -> Response<Goods> {
    let receipt = Receipt {
        method: credential.challenge.params.method.clone(),
        timestamp: env.clock.now(),
        reference,
        challenge_id: Some(credential.challenge.id.clone()),
        extra: Default::default(),
    };
    let mut response = Response::new(Goods::whole(Bytes::from_static(b"goods")));
    let value = HeaderValue::from_str(&receipt.to_header()).unwrap();
    response.headers_mut().insert("payment-receipt", value);
    response
}

/// A response body that says how long it is, and may break in the middle.
pub(crate) struct Goods {
    rest: Bytes,
    breaks: bool,
    /// Lets a server flush before it breaks.
    pub(crate) flushes: bool,
}

impl Goods {
    fn whole(rest: Bytes) -> Self {
        Self {
            rest,
            breaks: false,
            flushes: false,
        }
    }
}

impl Body for Goods {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Two frames: the first byte, and the rest.
        let next = match self.rest.len() {
            0 => return Poll::Ready(None),
            5.. => self.rest.split_to(1),
            _ if self.flushes && self.breaks => {
                self.flushes = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ if self.breaks => return Poll::Ready(Some(Err(Broken))),
            _ => std::mem::take(&mut self.rest),
        };
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap())
    }
}

/// The connection broke.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection broke")
    }
}

impl std::error::Error for Broken {}

impl Service<Request<Full<Bytes>>> for Server {
    type Response = Response<Goods>;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Response<Goods>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => {
                    let never: Infallible = never;
                    match never {}
                }
            };
            server.answer(Request::from_parts(head, body)).await
        })
    }
}

/// A payer that may doubt receipts.
struct Doubting {
    payer: RailPayer,
    doubt: Option<&'static str>,
}

impl Payer for Doubting {
    fn name(&self) -> &MethodName {
        self.payer.name()
    }

    fn intents(&self) -> &[IntentName] {
        self.payer.intents()
    }

    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable> {
        self.payer.policy_view(challenge)
    }

    fn prepare<'a>(
        &'a self,
        challenge: &'a Challenge,
        now: Timestamp,
        call: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        self.payer.prepare(challenge, now, call)
    }

    fn shares_call_key(&self) -> bool {
        self.payer.shares_call_key()
    }

    fn execute<'a>(&'a self, artefact: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>> {
        self.payer.execute(artefact)
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        self.payer.lookup(artefact)
    }

    fn check_receipt(&self, _: &Receipt) -> Result<(), String> {
        self.doubt.map_or(Ok(()), |doubt| Err(doubt.to_owned()))
    }
}

/// A client, a server and a rail on one simulated machine.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) server: Server,
    pub(crate) rail: HostileRail,
    pub(crate) outbox: Arc<MemoryOutbox>,
    pub(crate) client: PaymentClient,
    pub(crate) events: Mutex<Events<Event>>,
}

/// How a world is set up.
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) nonces: bool,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) options: Options,
    /// What the payer says against every receipt.
    pub(crate) doubt: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            nonces: true,
            policy: Arc::new(policy::dangerous_allow_any_amount()),
            options: Options::default(),
            doubt: None,
        }
    }
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let simulation = Simulation::new(setup.seed);
        Self::on(simulation, |_| setup)
    }

    /// On a machine that is there already.
    pub(crate) fn on(simulation: Simulation, setup: impl FnOnce(Env) -> Setup) -> Self {
        let env = simulation.env();
        let setup = setup(env.clone());
        let rail = HostileRail::new("merchant", fixtures::usd());
        let mut payer = rail.payer("alice");
        if !setup.nonces {
            payer = payer.without_nonces();
        }
        let payers: Vec<Arc<dyn Payer>> = vec![Arc::new(Doubting {
            payer,
            doubt: setup.doubt,
        })];
        let outbox = Arc::new(MemoryOutbox::new(env.clock.clone()));
        let (told, events) = queue(64);
        let parts = Parts {
            env: env.clone(),
            payers,
            policy: setup.policy,
            outbox: outbox.clone(),
            pins: Arc::new(MemoryPins::new()),
            options: setup.options,
        };
        let client = PaymentClient::with_events(parts, vec![Arc::new(told)]);
        let server = Server::new(env, rail.clone(), outbox.clone());
        Self {
            simulation,
            server,
            rail,
            outbox,
            client,
            events: Mutex::new(events),
        }
    }

    /// What the client has told since it was asked last.
    pub(crate) fn told(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap();
        std::iter::from_fn(|| events.try_next())
            .map(|observed| observed.event)
            .collect()
    }

    /// A world with everything as usual, and this script.
    pub(crate) fn with(acts: impl IntoIterator<Item = Act>) -> Self {
        let world = Self::new(Setup::default());
        world.server.script(acts);
        world
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.simulation.block_on(future)
    }

    /// Sends a request through the tower layer; the body is still to be read.
    pub(crate) fn head(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<WatchedBody<Goods>>, CallError> {
        let mut service = PayLayer::new(self.client.clone()).layer(self.server.clone());
        self.run(service.call(request))
    }

    /// Sends a request through the tower layer and reads what comes.
    pub(crate) fn send(&self, request: Request<Full<Bytes>>) -> Result<Got, CallError> {
        let response = self.head(request)?;
        let payment = response.extensions().get::<Arc<Payment>>().cloned();
        let status = response.status().as_u16();
        let body = self.run(response.into_body().collect()).unwrap().to_bytes();
        Ok(Got {
            status,
            body,
            payment,
        })
    }

    /// A GET of [`URL`].
    pub(crate) fn get(&self) -> Result<Got, CallError> {
        self.send(Request::get(URL).body(Full::default()).unwrap())
    }

    /// Resumes a call through the tower layer and reads what comes.
    pub(crate) fn resume(&self, call: stiver_client::CallId) -> Result<u16, CallError> {
        let mut service = PayLayer::new(self.client.clone()).layer(self.server.clone());
        let resumed = self.run(service.resume::<Full<Bytes>, _>(call))?;
        let status = resumed.status().as_u16();
        let _ = self.run(resumed.into_body().collect());
        Ok(status)
    }

    /// Everything that moved, in base units.
    pub(crate) fn moved(&self) -> u128 {
        self.rail.movements().iter().map(|m| m.units).sum()
    }

    /// The only call of the journal.
    pub(crate) fn entry(&self) -> Entry {
        let mut entries = self.outbox.history();
        assert_eq!(entries.len(), 1, "one call in the journal");
        entries.remove(0)
    }
}

/// A response that came through.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) payment: Option<Arc<Payment>>,
}

/// Fails unless the call failed, and tells of the money what is true.
pub(crate) fn fails(result: Result<Got, CallError>, moved: MoneyMoved) -> CallError {
    let error = result.expect_err("the call must fail");
    assert_eq!(error.money_moved(), moved, "{error}");
    error
}
