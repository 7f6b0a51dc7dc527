//! Refunds that the payee asks for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use stiver_core::{Amount, json::Object, name::MethodName, problem::ProblemKind};
use stiver_env::BoxFuture;
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled},
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
};
use stiver_server::{
    Gate, Offer, Route,
    gate::{Recovered, RefundFailure, RefundOutcome},
    grant::PayeeFailure,
    limits::LEASE_MS,
    route::{OnFailure, StoreResponses},
};
use stiver_testkit::{
    fixtures,
    rail::{HostileRail, Step},
};

use crate::common::{Answer, Ask, PRICE, Run, World};

/// A delivered payment: its request, and the id of its challenge.
fn delivered(world: &World, route: &Route) -> (Ask, String) {
    let challenge = world.challenge(&Ask::get("/reading"), route);
    let id = challenge.id.as_str().to_owned();
    let ask = Ask::get("/reading").credential(&world.pay(&challenge));
    world.send(&ask, route).delivered();
    (ask, id)
}

fn refund(
    world: &World,
    id: &str,
    part: Option<u128>,
    reason: &str,
) -> Result<RefundOutcome, RefundFailure> {
    let (gate, id, reason) = (world.gate.clone(), id.to_owned(), reason.to_owned());
    let part: Option<Amount> = part.map(fixtures::micro_usd);
    world.run(async move { gate.refund(&id, part.as_ref(), &reason, None).await })
}

#[track_caller]
fn back(outcome: Result<RefundOutcome, RefundFailure>) -> u128 {
    match outcome.unwrap() {
        RefundOutcome::Refunded { amount, .. } => amount.units(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn delivered_payment_is_given_back_once_however_often_it_is_asked_for() {
    let world = World::new(1);
    let route = world.route();
    let (ask, id) = delivered(&world, &route);
    for _ in 0..3 {
        assert_eq!(back(refund(&world, &id, None, "sorry")), PRICE);
        assert_eq!(world.state(), "refunded");
        assert_eq!(world.rail.balance("alice"), 0);
        assert_eq!(world.rail.movements().len(), 2);
    }
    // What was given back buys nothing any more.
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, ProblemKind::InvalidChallenge);
    assert_eq!(world.handler.runs(), 1);
}

#[test]
fn refund_whose_answer_is_lost_is_finished_by_recovery_and_made_once() {
    let world = World::new(2);
    let route = world.route();
    let (_, id) = delivered(&world, &route);
    world.rail.script_refunds([Step::lost_request()]);
    let outcome = refund(&world, &id, None, "sorry").unwrap();
    assert_eq!(outcome, RefundOutcome::Pending);
    assert_eq!(world.state(), "refunding");
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!(back(refund(&world, &id, None, "sorry")), PRICE);
    assert_eq!(world.rail.balance("alice"), 0);
    assert_eq!(world.rail.movements().len(), 2);
}

#[test]
fn crash_after_the_journal_has_the_refund_loses_nothing() {
    let mut world = World::new(3);
    let route = world.route();
    let (_, id) = delivered(&world, &route);
    world.rail.script_refunds([Step::lost_request()]);
    refund(&world, &id, None, "sorry").unwrap();
    world.restart();
    world.pass(LEASE_MS);
    let gate = world.gate.clone();
    world.run(async move { gate.recover().await }).unwrap();
    assert_eq!(world.state(), "refunded");
    assert_eq!(world.rail.movements().len(), 2);
}

#[test]
fn part_is_given_back_once_for_the_same_words() {
    let world = World::new(4);
    let route = world.route();
    let (ask, id) = delivered(&world, &route);
    for _ in 0..2 {
        assert_eq!(back(refund(&world, &id, Some(1_000), "late")), 1_000);
    }
    assert_eq!(back(refund(&world, &id, Some(500), "late")), 500);
    let owed = i128::try_from(PRICE - 1_500).unwrap();
    assert_eq!(world.rail.balance("alice"), -owed);
    // It stays delivered, and its answer may be asked for as before.
    assert_eq!(world.state(), "delivered");
    let again = world.send(&ask, &route).refused();
    assert_eq!(again.problem.kind, ProblemKind::InvalidChallenge);
    assert_eq!(world.handler.runs(), 1);
}

#[test]
fn whole_refund_that_the_rail_refuses_leaves_the_payment_delivered() {
    let world = World::new(8);
    let route = world.route();
    let challenge = world.challenge(&Ask::get("/reading"), &route);
    let id = challenge.id.as_str().to_owned();
    let ask = Ask::get("/reading").credential(&world.pay(&challenge));
    let ask = ask.key("k");
    world.send(&ask, &route).delivered();
    assert_eq!(back(refund(&world, &id, Some(1_000), "late")), 1_000);
    world
        .rail
        .script_refunds([Step::refused(RefusalKind::Invalid)]);
    let refused = refund(&world, &id, None, "sorry").unwrap_err();
    assert!(matches!(refused, RefundFailure::Refused(_)), "{refused}");
    assert_eq!(world.state(), "delivered");
    let again = world.send(&ask, &route);
    assert!(matches!(again, Answer::Replayed { .. }), "its answer stays");
    let rest = PRICE - 1_000;
    assert_eq!(back(refund(&world, &id, Some(rest), "sorry")), rest);
    assert_eq!(world.rail.balance("alice"), 0);
}

#[test]
fn wrong_amounts_and_unknown_payments_move_nothing() {
    let world = World::new(5);
    let route = world.route();
    let (_, id) = delivered(&world, &route);
    for part in [0, PRICE + 1] {
        let refused = refund(&world, &id, Some(part), "no").unwrap_err();
        assert!(matches!(refused, RefundFailure::Amount { .. }), "{refused}");
    }
    let unknown = refund(&world, "nobody", None, "no").unwrap_err();
    assert!(matches!(unknown, RefundFailure::NoSuchPayment { .. }));
    assert_eq!(world.rail.movements().len(), 1);
    assert_eq!(world.state(), "delivered");
}

#[test]
fn method_without_refunds_leaves_the_payment_as_it_was() {
    let world = World::new(6);
    let route = world.route();
    let (_, id) = delivered(&world, &route);
    world.rail.refuse_refunds();
    for part in [None, Some(1)] {
        let refused = refund(&world, &id, part, "no").unwrap_err();
        assert!(matches!(refused, RefundFailure::Method(_)), "{refused}");
    }
    assert_eq!(world.state(), "delivered");
    assert_eq!(world.rail.movements().len(), 1);
}

#[test]
fn payment_that_is_stuck_before_its_delivery_is_given_back() {
    let world = World::new(7);
    let route = world.route();
    let challenge = world.challenge(&Ask::get("/reading"), &route);
    let id = challenge.id.as_str().to_owned();
    let ask = Ask::get("/reading").credential(&world.pay(&challenge));
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    world.send(&ask, &route).refused();
    assert_ne!(world.state(), "delivered");
    assert_eq!(back(refund(&world, &id, None, "it never came")), PRICE);
    assert_eq!(
        (world.state(), world.rail.balance("alice")),
        ("refunded", 0)
    );
}

fn recover(world: &World) -> Recovered {
    world.pass(LEASE_MS);
    let gate = world.gate.clone();
    world.run(async move { gate.recover().await }).unwrap()
}

#[test]
fn refund_that_the_rail_refuses_in_recovery_leaves_the_payment_delivered() {
    let world = World::new(9);
    let route = world.route();
    let (ask, id) = delivered(&world, &route);
    let no = Step::refused(RefusalKind::Invalid);
    world.rail.script_refunds([Step::lost_request(), no]);
    let outcome = refund(&world, &id, None, "sorry").unwrap();
    assert_eq!(outcome, RefundOutcome::Pending);
    assert_eq!(world.state(), "refunding");
    let done = recover(&world);
    assert_eq!((done.kept, done.refunded, done.left), (1, 0, 0));
    assert_eq!(world.state(), "delivered");
    assert_eq!(recover(&world).seen, 0);
    // Whoever brings the credential again hears that it was delivered.
    let again = world.send(&ask, &route).refused();
    assert_eq!(again.problem.kind, ProblemKind::InvalidChallenge);
    assert!(again.problem.detail.contains("already"), "{again:?}");
    assert_eq!(world.rail.movements().len(), 1);
}

#[test]
fn credential_that_meets_a_refund_for_ever_refused_hears_that_it_was_delivered() {
    let world = World::new(10);
    let route = world.route();
    let (ask, id) = delivered(&world, &route);
    let no = Step::refused(RefusalKind::Invalid);
    world.rail.script_refunds([Step::lost_request(), no]);
    refund(&world, &id, None, "sorry").unwrap();
    world.pass(LEASE_MS);
    let again = world.send(&ask, &route).refused();
    assert!(again.challenges.is_empty() || again.problem.kind == ProblemKind::InvalidChallenge);
    assert_eq!(world.state(), "delivered");
    assert_eq!((world.handler.runs(), world.rail.movements().len()), (1, 1));
}

#[test]
fn refund_that_nobody_wrote_down_as_refused_is_refused_at_once() {
    let world = World::new(11);
    let route = world.route();
    let (_, id) = delivered(&world, &route);
    for part in [None, Some(1_000)] {
        let no = Step::refused_for_now(RefusalKind::Invalid);
        world.rail.script_refunds([no]);
        let refused = refund(&world, &id, part, "sorry").unwrap_err();
        assert!(matches!(refused, RefundFailure::Refused(_)), "{refused}");
        assert_eq!(world.state(), "delivered");
    }
    // The payee's account was short: what was delivered stands, and the payee may ask again.
    let short = Step::refused_for_now(RefusalKind::Insufficient);
    world.rail.script_refunds([short]);
    let refused = refund(&world, &id, None, "sorry").unwrap_err();
    assert!(matches!(refused, RefundFailure::Refused(_)), "{refused}");
    assert_eq!(back(refund(&world, &id, None, "sorry")), PRICE);
    assert_eq!(world.rail.balance("alice"), 0);
}

#[test]
fn payment_that_was_never_delivered_waits_until_the_payee_can_give_it_back() {
    let world = World::new(12);
    let route = world.route().on_failure(OnFailure::Refund);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    let short = || Step::refused_for_now(RefusalKind::Insufficient);
    world.rail.script_refunds([short(), short()]);
    world.send(&ask, &route).refused();
    assert_eq!(recover(&world).left, 1);
    assert_eq!(world.state(), "refunding");
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!(world.rail.balance("alice"), 0);
}

#[test]
fn payment_that_was_never_delivered_is_kept_when_the_rail_refuses_for_good() {
    let world = World::new(13);
    let route = world.route().on_failure(OnFailure::Refund);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    let no = Step::refused(RefusalKind::Invalid);
    world.rail.script_refunds([Step::lost_request(), no]);
    world.send(&ask, &route).refused();
    assert_eq!(world.state(), "refunding");
    assert_eq!(recover(&world).kept, 1);
    assert_eq!(world.state(), "delivered");
    let again = world.send(&ask, &route).refused();
    assert!(again.problem.detail.contains("kept"), "{again:?}");
    assert_eq!(recover(&world).seen, 0);
}

/// A rail whose refunds carry the time they were prepared at, and of one key takes only the first.
#[derive(Clone)]
struct Dated {
    rail: HostileRail,
    taken: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl Dated {
    fn is_refund(artefact: &Artefact) -> bool {
        artefact.rail_key.starts_with(b"refund/")
    }

    /// What the rail knows: the artefact without its date.
    fn undated(artefact: &Artefact) -> Artefact {
        let bytes = &artefact.bytes[..artefact.bytes.len() - 8];
        Artefact {
            rail_key: artefact.rail_key.clone(),
            bytes: bytes.to_vec().into(),
        }
    }

    fn used() -> Refusal {
        Refusal {
            kind: RefusalKind::AlreadyUsed,
            detail: "the nonce was used".to_owned(),
        }
    }

    fn is_taken_by_another(&self, artefact: &Artefact) -> Option<bool> {
        let taken = self.taken.lock().unwrap();
        let by = taken.get(&artefact.rail_key)?;
        Some(by != artefact.bytes.as_slice())
    }
}

impl PayeeCharge for Dated {
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
            if !Self::is_refund(it) {
                return self.rail.execute(it).await;
            }
            if self.is_taken_by_another(it) == Some(true) {
                return Err(ExecuteError::Refused(Self::used()));
            }
            let done = self.rail.execute(&Self::undated(it)).await?;
            let mut taken = self.taken.lock().unwrap();
            taken.insert(it.rail_key.clone(), it.bytes.to_vec());
            Ok(done)
        })
    }
    fn lookup<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            match self.is_taken_by_another(it) {
                Some(true) => Ok(Lookup::Never(Self::used())),
                Some(false) => self.rail.lookup(&Self::undated(it)).await,
                None => self.rail.lookup(it).await,
            }
        })
    }
    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        Box::pin(async move {
            let date = refund.now.as_millis().to_be_bytes();
            let mut artefact = self.rail.prepare_refund(refund).await?;
            artefact.bytes.extend(date);
            Ok(artefact)
        })
    }
}

#[test]
fn part_that_is_asked_for_again_much_later_is_found_and_not_made_again() {
    const HOUR_MS: u64 = 60 * 60 * 1_000;
    let mut world = World::new(14);
    let dated = Dated {
        rail: world.rail.clone(),
        taken: Arc::default(),
    };
    let store = world.front.clone();
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    world.gate = Gate::builder(realm, keys, store, world.sim.env())
        .method(Arc::new(dated.clone()))
        .build()
        .unwrap();
    let offer = Offer::new(Arc::new(dated), fixtures::micro_usd(PRICE)).unwrap();
    let route = Route::new(vec![offer])
        .unwrap()
        .store_responses(StoreResponses::Always)
        .response_lifetime(Duration::from_millis(6 * HOUR_MS));
    let (_, id) = delivered(&world, &route);
    let named = |units, reason: &str, key: &str| {
        let (gate, id) = (world.gate.clone(), id.clone());
        let (reason, key) = (reason.to_owned(), key.to_owned());
        let part = fixtures::micro_usd(units);
        world.run(async move { gate.refund(&id, Some(&part), &reason, Some(&key)).await })
    };
    for hours in [0, 1, 3] {
        world.pass(hours * HOUR_MS);
        assert_eq!(back(refund(&world, &id, Some(1_000), "late")), 1_000);
        assert_eq!(back(named(300, "broken", "case 7")), 300);
        let refused = named(301, "broken", "case 7").unwrap_err();
        assert!(matches!(refused, RefundFailure::KeyUsed), "{refused}");
    }
    assert_eq!(back(named(300, "broken", "case 8")), 300);
    let owed = i128::try_from(PRICE - 1_600).unwrap();
    assert_eq!(world.rail.balance("alice"), -owed);
}

#[test]
fn journal_tells_an_operator_of_every_payment() {
    let world = World::new(15);
    let route = world.route().on_failure(OnFailure::Refund);
    let (_, first) = delivered(&world, &route);
    assert_eq!(back(refund(&world, &first, None, "sorry")), PRICE);
    world.pass(1);
    let challenge = world.challenge(&Ask::get("/secret?token=hunter2"), &route);
    let ask = Ask::get("/secret?token=hunter2").credential(&world.pay(&challenge));
    world.rail.script([Step::lost_request()]);
    world.send(&ask, &route).refused();
    let page = |after: Option<String>, limit| {
        let gate = world.gate.clone();
        world
            .run(async move { gate.payments(after.as_deref(), limit).await })
            .unwrap()
            .payments
    };
    let all = page(None, 9);
    let states: Vec<&str> = all.iter().map(|it| it.state).collect();
    assert_eq!(states, ["settling", "refunded"], "work first");
    assert_eq!(all[0].resource, "GET /secret", "a query may hold a secret");
    assert_eq!(all[0].settled, None);
    assert_eq!(all[1].challenge_id, first);
    assert!(all[1].settled.is_some() && all[1].kept_until.is_some());
    let given_back = all[1].refunded.as_ref().unwrap();
    assert_eq!(given_back.amount.units(), PRICE);
    assert_eq!(page(None, 1), all[..1]);
    assert_eq!(page(Some(all[0].challenge_id.clone()), 1), all[1..]);
    let gate = world.gate.clone();
    let one = world.run(async move { gate.payment(&first).await });
    assert_eq!(one.unwrap().as_ref(), Some(&all[1]));
}
