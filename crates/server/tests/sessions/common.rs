//! One simulated machine with a gate that offers sessions, over the real store and an escrow.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use stiver_channel::Figures;
use stiver_core::{
    Amount, Challenge, Receipt, Timestamp,
    digest::BodyDigest,
    problem::{ProblemKind, SessionProblem},
};
use stiver_server::{
    BodyState, Gate, Outcome, Pricing, Refused, Request, Route,
    events::{Event, Observer},
    grant::{PayeeFailure, ResponseHead},
    session::{SessionLimits, SessionOffer},
};
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use stiver_testkit::{
    escrow::{Escrow, EscrowPayer},
    fixtures,
    simulation::Simulation,
};

/// What a request costs, base units.
pub(crate) const COST: u128 = 10;
/// What channels are opened with, base units.
pub(crate) const DEPOSIT: u128 = 1_000;

pub(crate) struct World {
    pub(crate) sim: Simulation,
    pub(crate) escrow: Escrow,
    pub(crate) store: EmbeddedStore,
    pub(crate) gate: Gate,
    pub(crate) payer: Arc<EscrowPayer>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Served(Option<Receipt>),
    /// The answer that was given before: its receipt as it stands, and its body.
    Again(Option<String>, Vec<u8>),
    State(u16, Receipt),
    Refused(Refused),
}

impl Answer {
    #[track_caller]
    pub(crate) fn served(self) -> Receipt {
        match self {
            Self::Served(Some(receipt)) => receipt,
            other => panic!("expected the resource, got {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn again(self) -> (Option<String>, Vec<u8>) {
        match self {
            Self::Again(receipt, body) => (receipt, body),
            other => panic!("expected the same answer, got {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn state(self) -> (u16, Receipt) {
        match self {
            Self::State(status, receipt) => (status, receipt),
            other => panic!("expected the channel's state, got {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn kind(self) -> ProblemKind {
        self.refused().problem.kind
    }

    #[track_caller]
    pub(crate) fn problem(self) -> SessionProblem {
        *self.refused().problem.session.unwrap_or_default()
    }
}

pub(crate) fn usd(units: u128) -> Amount {
    fixtures::micro_usd(units)
}

/// A member of a receipt.
#[track_caller]
pub(crate) fn member<'r>(receipt: &'r Receipt, name: &str) -> &'r str {
    match receipt.extra.get(name) {
        Some(stiver_core::json::Value::String(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

/// What the handler does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Works,
    /// Its whole answer is known.
    Says(&'static str),
    Fails,
    Dies,
}

/// One request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) authorization: Vec<String>,
    pub(crate) key: Option<&'static str>,
    pub(crate) body: Option<&'static [u8]>,
    pub(crate) run: Run,
}

pub(crate) fn get(credential: impl Into<Option<String>>) -> Ask {
    Ask {
        method: "GET",
        target: "/reading",
        authorization: credential.into().into_iter().collect(),
        key: None,
        body: None,
        run: Run::Works,
    }
}

impl Ask {
    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }
    pub(crate) fn key(self, key: &'static str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }
    pub(crate) fn run(self, run: Run) -> Self {
        Self { run, ..self }
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, SessionLimits::default())
    }

    pub(crate) fn with(seed: u64, limits: SessionLimits) -> Self {
        let sim = Simulation::new(seed);
        let escrow = Escrow::new("merchant", fixtures::usd());
        let store = open_store(&sim);
        let events = Arc::default();
        let gate = gate(&sim, &escrow, &store, limits, &events);
        Self {
            events,
            sim,
            escrow,
            store,
            gate,
            payer: Arc::new(EscrowPayer::new(1)),
        }
    }

    /// Kills the process and starts another one on the same disk.
    pub(crate) fn restart(&mut self) {
        self.sim.crash();
        self.reopen();
    }

    pub(crate) fn reopen(&mut self) {
        self.store = open_store(&self.sim);
        self.gate = gate(
            &self.sim,
            &self.escrow,
            &self.store,
            SessionLimits::default(),
            &self.events,
        );
    }

    pub(crate) fn offer(&self) -> SessionOffer {
        SessionOffer::per_request(Arc::new(self.escrow.clone()), usd(COST)).unwrap()
    }

    pub(crate) fn route(&self) -> Arc<Route> {
        Arc::new(Route::for_sessions(vec![self.offer()]).unwrap())
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let slot = self.start(future);
        self.sim.block_on(std::future::poll_fn(move |_| {
            match slot.lock().unwrap().take() {
                Some(value) => std::task::Poll::Ready(value),
                None => std::task::Poll::Pending,
            }
        }))
    }

    pub(crate) fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let slot = Arc::new(Mutex::new(None));
        let to = Arc::clone(&slot);
        self.sim.env().spawner.spawn(Box::pin(async move {
            let value = future.await;
            *to.lock().unwrap() = Some(value);
        }));
        slot
    }

    pub(crate) fn send(&self, ask: Ask) -> Answer {
        self.send_to(ask, &self.route())
    }

    pub(crate) fn send_to(&self, ask: Ask, route: &Arc<Route>) -> Answer {
        self.run(exchange(self.gate.clone(), ask, Arc::clone(route)))
    }

    pub(crate) fn challenge(&self) -> Challenge {
        let refused = self.send(get(None)).refused();
        assert_eq!(refused.problem.kind, ProblemKind::PaymentRequired);
        refused.challenges[0].clone()
    }

    /// Opens the payer's channel, and pays for one request.
    pub(crate) fn open(&self) -> Challenge {
        let challenge = self.challenge();
        let credential = self.payer.open(&challenge, &usd(DEPOSIT), COST);
        self.send(get(credential)).served();
        challenge
    }

    /// The payer's channel here.
    pub(crate) fn figures(&self) -> Figures {
        let channel = self.store.channels().channel(&self.payer.channel());
        channel.map(|it| it.figures()).unwrap_or_default()
    }

    /// What the gate told of money that was taken, base units.
    pub(crate) fn told(&self) -> Vec<u128> {
        let events = self.events.lock().unwrap();
        let taken = events.iter().filter_map(|it| match it {
            Event::Settled { payment, .. } => Some(payment.amount.units()),
            _ => None,
        });
        taken.collect()
    }

    /// What the merchant really took.
    pub(crate) fn captured(&self) -> u128 {
        let state = self.escrow.truth(&self.payer.channel());
        state.map_or(0, |it| it.settled)
    }
}

fn open_store(sim: &Simulation) -> EmbeddedStore {
    let mut config = EmbeddedStore::config("/data/store");
    // Small segments: a torn one is searched through.
    config.segment_bytes = 0;
    let env = sim.env();
    let opened = EmbeddedStore::open(config, &env, Limits::default());
    sim.block_on(opened).unwrap()
}

/// Keeps what the gate tells.
struct Told(Arc<Mutex<Vec<Event>>>);

impl Observer<Event> for Told {
    fn observe(&self, _: Timestamp, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn gate(
    sim: &Simulation,
    escrow: &Escrow,
    store: &EmbeddedStore,
    limits: SessionLimits,
    events: &Arc<Mutex<Vec<Event>>>,
) -> Gate {
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    Gate::builder(realm, keys, Arc::new(store.clone()), sim.env())
        .channels(Arc::new(store.clone()))
        .session_method(Arc::new(escrow.clone()))
        .session_limits(limits)
        .events(Told(Arc::clone(events)))
        .build()
        .unwrap()
}

/// One request through the gate and a handler.
pub(crate) async fn exchange(gate: Gate, ask: Ask, route: Arc<Route>) -> Answer {
    let lines = ask.authorization.iter().map(String::as_bytes);
    let authorization: Vec<&[u8]> = lines.collect();
    let keys: Vec<&[u8]> = ask.key.iter().map(|it| it.as_bytes()).collect();
    let request = Request {
        method: ask.method,
        target: ask.target,
        authorization: &authorization,
        accept_payment: &[],
        accept_language: &[],
        idempotency_key: &keys,
        body: match ask.body {
            Some(body) => BodyState::Digest(BodyDigest::of(body)),
            None => BodyState::None,
        },
    };
    let price = || std::future::ready(Pricing::Priced(route));
    let parse = |it: &str| Receipt::parse(it.as_bytes()).unwrap();
    match gate.admit(&request, price).await {
        Outcome::Refuse(refused) => Answer::Refused(refused),
        Outcome::Acknowledge(done) => Answer::State(done.status, parse(&done.receipt)),
        Outcome::Replay(replay) => Answer::Again(
            replay.receipt.map(|it| it.as_ref().to_owned()),
            replay.response.body.clone(),
        ),
        Outcome::Session(grant) => match ask.run {
            Run::Works | Run::Says(_) => {
                let body = match ask.run {
                    Run::Says(body) => Some(body.as_bytes()),
                    _ => None,
                };
                let headers: &[(&str, &[u8])] = &[("x-unit", b"C")];
                let status = 200;
                match grant.deliver(ResponseHead { status, headers }, body).await {
                    Ok(done) => Answer::Served(done.receipt.as_deref().map(parse)),
                    Err(refused) => Answer::Refused(refused),
                }
            }
            Run::Fails => Answer::Refused(grant.fail(PayeeFailure::MayHaveRun).await),
            Run::Dies => {
                drop(grant);
                Answer::Served(None)
            }
        },
        Outcome::Free | Outcome::Serve(_) => panic!("a session was asked"),
    }
}
