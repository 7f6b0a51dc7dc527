//! What a later start finishes by itself.

use stiver_core::problem::ProblemKind as Kind;
use stiver_server::{
    gate::Recovered,
    grant::PayeeFailure,
    limits::{LEASE_MS, RESUME_WINDOW_MS},
    route::OnFailure,
};
use stiver_testkit::rail::{LookupStep, REPLAYABLE_MS, Step};

use crate::common::{Ask, Run, World};

fn recover(world: &World) -> Recovered {
    let gate = world.gate.clone();
    world.run(async move { gate.recover().await }).unwrap()
}

/// A payment that the rail has made and the gate has not heard of.
fn unheard(world: &World, route: &stiver_server::Route) -> Ask {
    let ask = world.paid(&Ask::get("/reading"), route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    assert_eq!(world.send(&ask, route).kind(), Kind::OutcomeUnknown);
    assert_eq!(world.state(), "settling");
    ask
}

#[test]
fn payment_that_was_made_is_found_and_waits_for_its_credential() {
    let mut world = World::new(1);
    let route = world.route();
    let ask = unheard(&world, &route);
    world.restart();
    let done = recover(&world);
    assert_eq!((done.seen, done.settled), (1, 1));
    assert_eq!(world.state(), "settled");
    assert_eq!(recover(&world).left, 1, "the client may still come");
    world.send(&ask, &route).delivered();
    assert_eq!((world.payments(), world.handler.delivered()), (1, 1));
}

#[test]
fn payment_whose_client_never_comes_is_refunded_after_the_window() {
    let mut world = World::new(2);
    let route = world.route();
    let ask = unheard(&world, &route);
    world.restart();
    recover(&world);
    world.pass(RESUME_WINDOW_MS);
    let done = recover(&world);
    assert_eq!((done.refunded, world.state()), (1, "refunded"));
    assert_eq!(world.rail.balance("alice"), 0);
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    assert_eq!(recover(&world), Recovered::default());
}

#[test]
fn payment_whose_client_never_comes_is_kept_where_the_route_says_so() {
    let mut world = World::new(3);
    let route = world.route().on_failure(OnFailure::Keep);
    let ask = unheard(&world, &route);
    world.restart();
    world.pass(RESUME_WINDOW_MS);
    let done = recover(&world);
    assert_eq!(
        (done.settled, done.kept, world.state()),
        (1, 1, "delivered")
    );
    let refused = world.send(&ask, &route).refused();
    assert!(refused.problem.detail.contains("kept") && refused.challenges.is_empty());
    assert_eq!(world.handler.runs(), 0);
}

#[test]
fn nobody_is_charged_behind_a_client_that_went_away() {
    let mut world = World::new(4);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_request()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    assert_eq!(recover(&world).left, 1);
    assert_eq!((world.payments(), world.state()), (0, "settling"));
    world.send(&ask, &route).delivered();
    assert_eq!(world.payments(), 1);
}

#[test]
fn payment_that_can_land_no_more_is_closed() {
    let mut world = World::new(5);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([
        Step::lost_request(),
        Step::refused(stiver_method::artefact::RefusalKind::Expired),
    ]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    world.pass(REPLAYABLE_MS);
    let done = recover(&world);
    assert_eq!(
        (done.failed, world.state(), world.payments()),
        (1, "failed", 0)
    );
}

#[test]
fn lapsed_payment_is_closed_as_soon_as_the_rail_says_never() {
    let mut world = World::new(6);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lapses(2)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    let passes: Vec<_> = (0..3).map(|_| recover(&world).failed).collect();
    assert_eq!(passes.iter().sum::<usize>(), 1, "{passes:?}");
    assert_eq!(world.state(), "failed");
}

#[test]
fn lost_run_of_an_order_is_refunded_at_the_next_start() {
    let mut world = World::new(7);
    let route = world.route();
    let ask = world.paid(&Ask::post("/order", b"one"), &route);
    world.front.die_at(3, false);
    let slot = world.start(crate::common::exchange(
        world.gate.clone(),
        ask.clone(),
        stiver_server::Pricing::Priced(std::sync::Arc::new(route.clone())),
        std::sync::Arc::clone(&world.handler),
    ));
    world.sim.run_until_idle();
    assert!(slot.lock().unwrap().is_none());
    assert_eq!(world.state(), "delivering");
    world.restart();
    assert_eq!(recover(&world).refunded, 1);
    assert_eq!(
        (world.state(), world.rail.balance("alice")),
        ("refunded", 0)
    );
}

#[test]
fn live_leases_are_not_touched_after_a_start() {
    let world = World::new(8);
    let route = world.route();
    let ask = world.paid(&Ask::post("/order", b"one"), &route);
    world.front.die_at(3, false);
    let _slot = world.start(crate::common::exchange(
        world.gate.clone(),
        ask,
        stiver_server::Pricing::Priced(std::sync::Arc::new(route)),
        std::sync::Arc::clone(&world.handler),
    ));
    world.sim.run_until_idle();
    let (_front, other) = world.another_gate();
    let early = other.clone();
    let done = world.run(async move { early.recover().await }).unwrap();
    assert_eq!((done, world.state()), (Recovered::default(), "delivering"));
    world.pass(LEASE_MS);
    let done = world.run(async move { other.recover().await }).unwrap();
    assert_eq!((done.refunded, world.state()), (1, "refunded"));
}

#[test]
fn crash_during_a_refund_refunds_once() {
    for (number, carried_out) in [(4, false), (4, true), (5, false), (5, true)] {
        let mut world = World::new(9);
        let route = world.route().on_failure(OnFailure::Refund);
        let ask = world.paid(&Ask::get("/reading"), &route);
        world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
        // claim, settled, [get] refund, refunded.
        world.front.die_at(number - 1, carried_out);
        let slot = world.start(crate::common::exchange(
            world.gate.clone(),
            ask.clone(),
            stiver_server::Pricing::Priced(std::sync::Arc::new(route.clone())),
            std::sync::Arc::clone(&world.handler),
        ));
        world.sim.run_until_idle();
        assert!(world.front.has_died());
        assert!(slot.lock().unwrap().is_none());
        world.restart();
        recover(&world);
        assert_eq!(world.state(), "refunded", "{number} {carried_out}");
        assert_eq!(world.rail.balance("alice"), 0);
        assert_eq!(world.rail.movements().len(), 2);
        assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    }
}

#[test]
fn recovery_runs_again_and_again_until_it_is_dropped() {
    let mut world = World::new(10);
    let route = world.route();
    unheard(&world, &route);
    world.restart();
    let gate = world.gate.clone();
    let _task = world.start(async move {
        gate.keep_recovering(std::time::Duration::from_secs(60))
            .await;
    });
    world.pass(1_000);
    assert_eq!(world.state(), "settled");
    world.pass(RESUME_WINDOW_MS + 60_000);
    assert_eq!(world.state(), "refunded");
}
