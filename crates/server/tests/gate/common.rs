//! One simulated machine with a gate, a hostile rail and a store that can be watched and cut off.

use std::{
    future::{Future, pending, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use stiver_core::{
    Challenge, Credential, binding::KeyRing, digest::BodyDigest, problem::ProblemKind,
};
use stiver_env::{BoxFuture, Env};
use stiver_method::payer::{CallKey, Payer as _};
use stiver_server::{
    BodyState, Gate, Offer, Outcome, Paid, Pricing, Refused, Request, Route,
    grant::{PayeeFailure, ResponseHead},
    limits::LEASE_MS,
};
use stiver_store::{Command, Reply, Store, StoreError, StoredResponse};
use stiver_testkit::{
    fixtures,
    rail::{HostileRail, RailPayer},
    simulation::Simulation,
    store_memory::MemoryStore,
};

/// The price of [`World::route`], in millionths of a dollar.
pub(crate) const PRICE: u128 = 10_000;

/// A simulated machine, and what outlives its gate: rail and store.
pub(crate) struct World {
    pub(crate) sim: Simulation,
    pub(crate) rail: HostileRail,
    pub(crate) payer: Arc<RailPayer>,
    pub(crate) memory: MemoryStore,
    pub(crate) front: Arc<Front>,
    pub(crate) gate: Gate,
    pub(crate) handler: Arc<Handler>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Simulation::new(seed);
        let rail = HostileRail::new("merchant", fixtures::usd());
        let clock = Arc::new(sim.clock.clone());
        let memory = MemoryStore::new(clock, stiver_store::Limits::default(), seed);
        let front = Front::new(&memory);
        let gate = gate(&sim.env(), &rail, &front, fixtures::key_ring());
        let payer = Arc::new(rail.payer("alice").without_nonces());
        Self {
            sim,
            rail,
            payer,
            memory,
            front,
            gate,
            handler: Arc::default(),
        }
    }

    /// Another instance on the same store and rail.
    pub(crate) fn another_gate(&self) -> (Arc<Front>, Gate) {
        let front = Front::new(&self.memory);
        let gate = gate(&self.sim.env(), &self.rail, &front, fixtures::key_ring());
        (front, gate)
    }

    /// Kills the process: its tasks end where they stand and nothing of it reaches the store any
    /// more. A new one starts on the same store, after the old one's leases have ended.
    pub(crate) fn restart(&mut self) {
        self.front.cut();
        self.sim.executor.kill();
        self.sim.run_until_idle();
        self.sim.executor.kill();
        (self.front, self.gate) = self.another_gate();
        self.pass(LEASE_MS);
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, millis: u64) {
        self.sim.run_for(Duration::from_millis(millis));
    }

    /// Runs a future as a task of its own, so that it is polled only when it is woken.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let slot = self.start(future);
        self.sim
            .block_on(poll_fn(move |_| match slot.lock().unwrap().take() {
                Some(value) => Poll::Ready(value),
                None => Poll::Pending,
            }))
    }

    /// Starts a future as a task; its value comes into the slot.
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

    pub(crate) fn offer(&self, units: u128) -> Offer {
        Offer::new(Arc::new(self.rail.clone()), fixtures::micro_usd(units)).unwrap()
    }

    pub(crate) fn route(&self) -> Route {
        Route::new(vec![self.offer(PRICE)]).unwrap()
    }

    /// One request through the gate and the handler.
    pub(crate) fn send(&self, ask: &Ask, route: &Route) -> Answer {
        self.run(exchange(
            self.gate.clone(),
            ask.clone(),
            Pricing::Priced(Arc::new(route.clone())),
            Arc::clone(&self.handler),
        ))
    }

    /// The first challenge for a request without a credential.
    pub(crate) fn challenge(&self, ask: &Ask, route: &Route) -> Challenge {
        let mut ask = ask.clone();
        ask.authorization.clear();
        let refused = self.send(&ask, route).refused();
        assert_eq!(refused.problem.kind, ProblemKind::PaymentRequired);
        refused.challenges[0].clone()
    }

    /// The credential that answers a challenge, as a header value.
    pub(crate) fn pay(&self, challenge: &Challenge) -> String {
        self.pay_as(&self.payer, challenge)
    }

    pub(crate) fn pay_as(&self, payer: &Arc<RailPayer>, challenge: &Challenge) -> String {
        self.credential(payer, challenge).to_header()
    }

    pub(crate) fn credential(&self, payer: &Arc<RailPayer>, challenge: &Challenge) -> Credential {
        let (payer, challenge) = (Arc::clone(payer), challenge.clone());
        let now = self.sim.env().clock.now();
        self.run(async move {
            let call = CallKey::from_bytes([1; 16]);
            let artefact = payer.prepare(&challenge, now, call).await.unwrap();
            let proof = payer.execute(&artefact).await.unwrap();
            Credential {
                challenge,
                payload: proof.payload,
                source: None,
            }
        })
    }

    /// A request with a fresh credential for it.
    pub(crate) fn paid(&self, ask: &Ask, route: &Route) -> Ask {
        ask.clone()
            .credential(&self.pay(&self.challenge(ask, route)))
    }

    /// The state of the only claim, by name.
    pub(crate) fn state(&self) -> &'static str {
        let mut counts = self.counts();
        assert_eq!(counts.len(), 1, "{counts:?}");
        counts.remove(0).0
    }

    /// Claims by state, without the empty ones.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let memory = self.memory.clone();
        let counts = self.run(async move {
            loop {
                // A scripted fault may befall this question too.
                if let Ok(Reply::Counts(counts)) = memory.submit(Command::Count).await {
                    return counts;
                }
            }
        });
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// The names of the header fields that are stored for a credential's response.
    pub(crate) fn stored_headers(&self, credential: &str) -> Vec<String> {
        let token = credential.strip_prefix("Payment ").unwrap();
        let challenge_id = Credential::parse(token.as_bytes()).unwrap().challenge.id;
        let command = Command::Get {
            challenge_id: challenge_id.as_str().to_owned(),
        };
        let memory = self.memory.clone();
        let reply = self.run(async move { memory.submit(command).await });
        let Ok(Reply::Found(claim)) = reply else {
            panic!("there is no such claim");
        };
        let delivery = claim.state.delivery().unwrap();
        let response = delivery.response.as_ref().unwrap();
        response
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How often money moved from payers to the merchant.
    pub(crate) fn payments(&self) -> usize {
        let movements = self.rail.movements();
        movements.iter().filter(|it| it.to == "merchant").count()
    }
}

fn gate(env: &Env, rail: &HostileRail, front: &Arc<Front>, keys: KeyRing) -> Gate {
    Gate::builder(fixtures::realm(), keys, front.clone(), env.clone())
        .method(Arc::new(rail.clone()))
        .currency(fixtures::usd())
        .build()
        .unwrap()
}

/// A request that owns its parts.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) authorization: Vec<Vec<u8>>,
    pub(crate) accept_payment: Vec<Vec<u8>>,
    pub(crate) accept_language: Vec<Vec<u8>>,
    pub(crate) idempotency_key: Vec<Vec<u8>>,
    pub(crate) body: BodyState,
}

impl Ask {
    pub(crate) fn get(target: &str) -> Self {
        Self {
            method: "GET",
            target: target.to_owned(),
            authorization: Vec::new(),
            accept_payment: Vec::new(),
            accept_language: Vec::new(),
            idempotency_key: Vec::new(),
            body: BodyState::None,
        }
    }

    pub(crate) fn post(target: &str, body: &[u8]) -> Self {
        Self {
            method: "POST",
            body: BodyState::Digest(BodyDigest::of(body)),
            ..Self::get(target)
        }
    }

    pub(crate) fn credential(mut self, header: &str) -> Self {
        self.authorization = vec![header.as_bytes().to_vec()];
        self
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.idempotency_key = vec![key.as_bytes().to_vec()];
        self
    }

    pub(crate) fn accept(mut self, lines: &[&str]) -> Self {
        self.accept_payment = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        self
    }
}

/// What a handler does, run by run; when nothing is left, it works.
#[derive(Default)]
pub(crate) struct Handler {
    pub(crate) runs: AtomicUsize,
    pub(crate) delivered: AtomicUsize,
    script: Mutex<Vec<Run>>,
    seen: Mutex<Vec<Paid>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Answers with this status.
    Answers(u16),
    /// Fails so.
    Fails(PayeeFailure),
    /// Panics, or its client goes away: the grant is dropped.
    Dies,
    /// Answers 200 with more than the journal keeps.
    AnswersLarge,
    /// Works for so long first, then answers 200.
    Takes(Duration),
}

impl Handler {
    pub(crate) fn script(&self, runs: impl IntoIterator<Item = Run>) {
        let mut script = self.script.lock().unwrap();
        script.extend(runs);
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn delivered(&self) -> usize {
        self.delivered.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Paid> {
        self.seen.lock().unwrap().clone()
    }

    fn next(&self) -> Run {
        let mut script = self.script.lock().unwrap();
        if script.is_empty() {
            Run::Answers(200)
        } else {
            script.remove(0)
        }
    }
}

/// What came of one exchange.
#[derive(Debug)]
pub(crate) enum Answer {
    Free,
    Delivered {
        receipt: Option<Arc<str>>,
    },
    Replayed {
        status: u16,
        body: Vec<u8>,
        receipt: Option<Arc<str>>,
    },
    Refused(Refused),
    Died,
}

impl Answer {
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
    pub(crate) fn delivered(self) -> Arc<str> {
        match self {
            Self::Delivered { receipt } => receipt.expect("a receipt"),
            other => panic!("expected a delivery, got {other:?}"),
        }
    }
}

/// One request through a gate and a handler.
pub(crate) async fn exchange(
    gate: Gate,
    ask: Ask,
    pricing: Pricing,
    handler: Arc<Handler>,
) -> Answer {
    let authorization: Vec<&[u8]> = ask.authorization.iter().map(Vec::as_slice).collect();
    let accept: Vec<&[u8]> = ask.accept_payment.iter().map(Vec::as_slice).collect();
    let language: Vec<&[u8]> = ask.accept_language.iter().map(Vec::as_slice).collect();
    let keys: Vec<&[u8]> = ask.idempotency_key.iter().map(Vec::as_slice).collect();
    let request = Request {
        method: ask.method,
        target: &ask.target,
        authorization: &authorization,
        accept_payment: &accept,
        accept_language: &language,
        idempotency_key: &keys,
        body: ask.body,
    };
    let outcome = gate
        .admit(&request, || std::future::ready(pricing.clone()))
        .await;
    let grant = match outcome {
        Outcome::Free => return Answer::Free,
        Outcome::Refuse(refused) => return Answer::Refused(refused),
        Outcome::Replay(replay) => {
            let StoredResponse { status, body, .. } = &*replay.response;
            return Answer::Replayed {
                status: *status,
                body: body.clone(),
                receipt: replay.receipt,
            };
        }
        Outcome::Serve(grant) => grant,
        Outcome::Session(_) | Outcome::Acknowledge(_) => panic!("no session is offered"),
    };
    handler.runs.fetch_add(1, Ordering::SeqCst);
    handler.seen.lock().unwrap().push(grant.paid().clone());
    let mut large = false;
    let status = match handler.next() {
        Run::Answers(status) => status,
        Run::AnswersLarge => {
            large = true;
            200
        }
        Run::Fails(failure) => return Answer::Refused(grant.fail(failure).await),
        Run::Dies => return Answer::Died,
        Run::Takes(time) => {
            gate.env().clock.sleep(time).await;
            200
        }
    };
    let body = format!("reading {}", handler.runs()).into_bytes();
    let head = ResponseHead {
        status,
        headers: &[("content-type", b"text/plain"), ("connection", b"close")],
    };
    let body = (grant.wants_body() && !large).then_some(body.as_slice());
    // An error that settles nothing is passed on, and is no delivery.
    let earns = !grant.settles_after() || status < 400;
    match grant.complete(head, body).await {
        Ok(delivered) => {
            if earns {
                handler.delivered.fetch_add(1, Ordering::SeqCst);
            }
            Answer::Delivered {
                receipt: delivered.receipt,
            }
        }
        Err(refused) => {
            let price = || std::future::ready(pricing.clone());
            Answer::Refused(gate.renew(refused, &request, price).await)
        }
    }
}

/// A gate's own way to the store: it counts commands, and it can be cut.
pub(crate) struct Front {
    store: MemoryStore,
    commands: Mutex<Vec<String>>,
    cut: AtomicBool,
    held: AtomicBool,
    /// From the command of this number on, there is no answer.
    fails_from: AtomicUsize,
    /// The command at which the process dies, and whether it is still carried out.
    dies: Mutex<Option<(usize, bool)>>,
}

impl Front {
    fn new(store: &MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            commands: Mutex::default(),
            cut: AtomicBool::new(false),
            held: AtomicBool::new(false),
            fails_from: AtomicUsize::new(usize::MAX),
            dies: Mutex::default(),
        })
    }

    /// From now on nothing goes through and nothing is answered.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// While held, the store gives no answer.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// From the command of this number on, there is no answer and nothing happens.
    pub(crate) fn fail_from(&self, number: usize) {
        self.fails_from.store(number, Ordering::SeqCst);
    }

    /// The command of this number is the last that is sent; it is carried out, or lost.
    pub(crate) fn die_at(&self, number: usize, carried_out: bool) {
        *self.dies.lock().unwrap() = Some((number, carried_out));
    }

    pub(crate) fn has_died(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// The names of the commands so far.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    /// Those that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        let commands = self.commands();
        let reads = ["get", "count", "unfinished"];
        commands
            .into_iter()
            .filter(|name| !reads.contains(&name.as_str()))
            .collect()
    }
}

impl Store for Front {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>> {
        Box::pin(async move {
            if self.cut.load(Ordering::SeqCst) {
                return pending().await;
            }
            if self.held.load(Ordering::SeqCst) {
                return Err(StoreError("held".to_owned()));
            }
            let number = {
                let mut commands = self.commands.lock().unwrap();
                commands.push(name(&command));
                commands.len()
            };
            if number >= self.fails_from.load(Ordering::SeqCst) {
                return Err(StoreError("scripted".to_owned()));
            }
            let dies = *self.dies.lock().unwrap();
            if let Some((at, carried_out)) = dies
                && at == number
            {
                self.cut();
                if carried_out {
                    drop(self.store.submit(command).await);
                }
                return pending().await;
            }
            self.store.submit(command).await
        })
    }

    fn might_know(&self, challenge_id: &str) -> bool {
        self.store.might_know(challenge_id)
    }
}

fn name(command: &Command) -> String {
    match command {
        Command::Claim(_) => "claim",
        Command::Advance { to, .. } => to.name(),
        Command::TakeOver { .. } => "take over",
        Command::Renew { .. } => "renew",
        Command::Get { .. } => "get",
        Command::Unfinished { .. } => "unfinished",
        Command::List { .. } => "list",
        _ => "count",
    }
    .to_owned()
}
