//! Refunds that cannot be prepared, that lapse, and that are prepared again.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use stiver_core::{Amount, json::Object, name::MethodName};
use stiver_env::BoxFuture;
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled},
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
    signer::SignError,
};
use stiver_server::{
    Gate, Offer, Route, gate::Recovered, grant::PayeeFailure, limits::LEASE_MS, route::OnFailure,
};
use stiver_testkit::{
    fixtures,
    rail::{HostileRail, LookupStep, Step},
};

use crate::common::{Ask, PRICE, Run, World};

/// A rail whose refunds carry an expiry: those of an earlier round than the current one have
/// lapsed. And its signer may be away.
#[derive(Clone)]
struct Lapsing {
    rail: HostileRail,
    round: Arc<AtomicU8>,
    signer: Arc<AtomicU8>,
}

const SIGNER_HERE: u8 = 0;
const SIGNER_AWAY: u8 = 1;

impl Lapsing {
    /// The refund as the rail knows it, unless it has lapsed.
    fn open(&self, artefact: &Artefact) -> Result<Artefact, Refusal> {
        if !artefact.rail_key.starts_with(b"refund/") {
            return Ok(artefact.clone());
        }
        let (round, bytes) = artefact.bytes.split_last().unwrap();
        if *round < self.round.load(Ordering::SeqCst) {
            return Err(Refusal {
                kind: RefusalKind::Expired,
                detail: "the refund has lapsed".to_owned(),
            });
        }
        Ok(Artefact {
            rail_key: artefact.rail_key.clone(),
            bytes: bytes.to_vec().into(),
        })
    }
}

impl PayeeCharge for Lapsing {
    fn name(&self) -> &MethodName {
        self.rail.name()
    }
    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        self.rail.quote(quote)
    }
    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        self.rail.expected_terms(price)
    }
    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        self.rail.terms(request)
    }
    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal> {
        self.rail.precheck(presented)
    }
    fn execute<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        Box::pin(async move {
            let inner = self.open(it).map_err(ExecuteError::Refused)?;
            self.rail.execute(&inner).await
        })
    }
    fn lookup<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            match self.open(it) {
                Ok(inner) => self.rail.lookup(&inner).await,
                Err(lapsed) => Ok(Lookup::Never(lapsed)),
            }
        })
    }
    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        Box::pin(async move {
            if self.signer.load(Ordering::SeqCst) == SIGNER_AWAY {
                let away = SignError::Unavailable("scripted".to_owned());
                return Err(RefundError::Sign(away));
            }
            let mut artefact = self.rail.prepare_refund(refund).await?;
            artefact.bytes.push(self.round.load(Ordering::SeqCst));
            Ok(artefact)
        })
    }
}

/// A world whose gate has the lapsing rail, and its route.
fn world(seed: u64) -> (World, Lapsing, Route) {
    let mut world = World::new(seed);
    let lapsing = Lapsing {
        rail: world.rail.clone(),
        round: Arc::default(),
        signer: Arc::default(),
    };
    let store = world.front.clone();
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    world.gate = Gate::builder(realm, keys, store, world.sim.env())
        .method(Arc::new(lapsing.clone()))
        .build()
        .unwrap();
    let offer = Offer::new(Arc::new(lapsing.clone()), fixtures::micro_usd(PRICE)).unwrap();
    let route = Route::new(vec![offer])
        .unwrap()
        .on_failure(OnFailure::Refund);
    (world, lapsing, route)
}

fn recover(world: &World) -> Recovered {
    world.pass(LEASE_MS);
    let gate = world.gate.clone();
    world.run(async move { gate.recover().await }).unwrap()
}

#[test]
fn refund_that_lapsed_is_prepared_again_and_made_once() {
    let (world, lapsing, route) = world(1);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    world.rail.script_refunds([Step::lost_request()]);
    let refused = world.send(&ask, &route).refused();
    assert!(refused.problem.detail.contains("is being refunded"));
    assert_eq!(world.state(), "refunding");
    lapsing.round.store(1, Ordering::SeqCst);
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!(world.state(), "refunded");
    assert_eq!(world.rail.balance("alice"), 0);
    assert_eq!(world.rail.movements().len(), 2);
}

#[test]
fn refund_whose_fate_is_unknown_is_not_prepared_again() {
    let (world, lapsing, route) = world(2);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    // It was made, and nobody has heard of it: the order stays the one order.
    world
        .rail
        .script_refunds([Step::lost_answer(), Step::lost_answer()]);
    world
        .rail
        .script_lookups([LookupStep::pending(), LookupStep::pending()]);
    world.send(&ask, &route).refused();
    let done = recover(&world);
    assert_eq!(
        (done.refunded, done.left),
        (0, 1),
        "only what was given back counts"
    );
    assert_eq!(world.state(), "refunding");
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!(lapsing.round.load(Ordering::SeqCst), 0);
    assert_eq!(world.rail.movements().len(), 2);
}

#[test]
fn payment_is_not_kept_because_the_signer_is_away() {
    let (world, lapsing, route) = world(3);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    lapsing.signer.store(SIGNER_AWAY, Ordering::SeqCst);
    let refused = world.send(&ask, &route).refused();
    assert!(refused.problem.detail.contains("is being refunded"));
    assert!(refused.challenges.is_empty());
    assert_eq!(world.state(), "delivering");
    let done = recover(&world);
    assert_eq!((done.refunded, done.kept, done.left), (0, 0, 1));
    lapsing.signer.store(SIGNER_HERE, Ordering::SeqCst);
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!((world.state(), world.handler.runs()), ("refunded", 1));
    assert_eq!(world.rail.balance("alice"), 0);
}
