//! Refunds that the payee asks for.

use stiver_core::{Amount, problem::ProblemKind};
use stiver_method::artefact::RefusalKind;
use stiver_server::{
    Route,
    gate::{Recovered, RefundFailure, RefundOutcome},
    grant::PayeeFailure,
    limits::LEASE_MS,
    route::OnFailure,
};
use stiver_testkit::{fixtures, rail::Step};

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
    world.run(async move { gate.refund(&id, part.as_ref(), &reason).await })
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
