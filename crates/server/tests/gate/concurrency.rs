//! Many at once: one settlement, one delivery.

use std::{sync::Arc, time::Duration};

use stiver_core::problem::ProblemKind as Kind;
use stiver_server::{Pricing, limits::LEASE_MS};
use stiver_testkit::rail::{Gate as RailGate, Step};

use crate::common::{Answer, Ask, Run, World, exchange};

/// Sends one request so many times at once, over these gates in turn.
fn at_once(world: &World, ask: &Ask, count: usize, gates: &[stiver_server::Gate]) -> Vec<Answer> {
    let pricing = Pricing::Priced(Arc::new(world.route()));
    let slots: Vec<_> = (0..count)
        .map(|number| {
            let gate = gates[number % gates.len()].clone();
            let handler = Arc::clone(&world.handler);
            world.start(exchange(gate, ask.clone(), pricing.clone(), handler))
        })
        .collect();
    world.pass(60_000);
    slots
        .iter()
        .map(|slot| slot.lock().unwrap().take().expect("every request ends"))
        .collect()
}

#[test]
fn two_hundred_with_one_credential_settle_once_and_deliver_once() {
    for seed in 0..8 {
        let world = World::new(seed);
        let ask = world.paid(&Ask::get("/reading"), &world.route());
        let (_front, other) = world.another_gate();
        let gates = [world.gate.clone(), other];
        let answers = at_once(&world, &ask, 200, &gates);
        let delivered = answers
            .iter()
            .filter(|it| matches!(it, Answer::Delivered { .. }))
            .count();
        assert_eq!((delivered, world.handler.runs()), (1, 1), "seed {seed}");
        assert_eq!(world.payments(), 1, "seed {seed}");
        for answer in answers {
            if let Answer::Refused(refused) = answer {
                let kind = refused.problem.kind;
                let expected = matches!(kind, Kind::PaymentInProgress | Kind::InvalidChallenge);
                assert!(expected, "seed {seed}: {kind:?}");
            }
        }
    }
}

#[test]
fn waiting_requests_get_the_stored_response() {
    let world = World::new(31);
    let ask = world.paid(&Ask::get("/reading"), &world.route()).key("k");
    world
        .handler
        .script([Run::Takes(Duration::from_millis(500))]);
    let answers = at_once(&world, &ask, 50, std::slice::from_ref(&world.gate));
    let replayed = answers
        .iter()
        .filter(|it| matches!(it, Answer::Replayed { .. }))
        .count();
    assert_eq!(
        (replayed, world.handler.runs(), world.payments()),
        (49, 1, 1)
    );
}

#[test]
fn waiting_is_bounded_and_ends_without_a_challenge() {
    let world = World::new(32);
    let ask = world.paid(&Ask::get("/reading"), &world.route());
    world.handler.script([Run::Takes(Duration::from_secs(30))]);
    let answers = at_once(&world, &ask, 10, std::slice::from_ref(&world.gate));
    let mut conflicts = 0;
    for answer in answers {
        if let Answer::Refused(refused) = answer {
            assert_eq!(refused.problem.kind, Kind::PaymentInProgress);
            assert_eq!((refused.status(), refused.challenges.len()), (409, 0));
            assert!(refused.retry_after.is_some());
            conflicts += 1;
        }
    }
    assert_eq!(
        (conflicts, world.handler.runs(), world.payments()),
        (9, 1, 1)
    );
}

#[test]
fn long_handlers_keep_their_lease_and_are_not_stolen() {
    let world = World::new(33);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let work = Duration::from_millis(LEASE_MS * 4);
    world.handler.script([Run::Takes(work)]);
    let pricing = Pricing::Priced(Arc::new(route));
    let handler = Arc::clone(&world.handler);
    let slot = world.start(exchange(
        world.gate.clone(),
        ask.clone(),
        pricing.clone(),
        handler,
    ));
    let (_front, other) = world.another_gate();
    for _ in 0..4 {
        world.pass(LEASE_MS - 2_500);
        let recovering = other.clone();
        let recovered = world
            .run(async move { recovering.recover().await })
            .unwrap();
        assert_eq!(recovered.seen, 0, "live work is not listed");
        let handler = Arc::clone(&world.handler);
        let stranger = exchange(other.clone(), ask.clone(), pricing.clone(), handler);
        assert_eq!(world.run(stranger).kind(), Kind::PaymentInProgress);
    }
    world.pass(LEASE_MS * 4);
    let first = slot.lock().unwrap().take().unwrap();
    first.delivered();
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
    assert!(world.front.writes().iter().any(|name| name == "renew"));
}

#[test]
fn work_that_lost_its_lease_cannot_deliver() {
    let world = World::new(34);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    // The first instance stalls in its handler and reaches the store no more for a while.
    world.handler.script([Run::Takes(Duration::from_secs(100))]);
    let pricing = Pricing::Priced(Arc::new(route));
    let handler = Arc::clone(&world.handler);
    let stalled = world.start(exchange(
        world.gate.clone(),
        ask.clone(),
        pricing.clone(),
        handler,
    ));
    world.sim.run_until_idle();
    assert_eq!(world.state(), "delivering");
    world.front.hold(true);
    world.pass(LEASE_MS);
    let (_front, other) = world.another_gate();
    let handler = Arc::clone(&world.handler);
    world
        .run(exchange(other, ask, pricing, handler))
        .delivered();
    world.front.hold(false);
    world.pass(200_000);
    let refused = stalled.lock().unwrap().take().unwrap().refused();
    assert_eq!(refused.problem.kind, Kind::PaymentInProgress);
    assert_eq!((world.handler.delivered(), world.payments()), (1, 1));
}

#[test]
fn two_credentials_for_one_challenge_have_one_winner() {
    let world = World::new(35);
    let route = world.route();
    let ask = Ask::get("/reading");
    let challenge = world.challenge(&ask, &route);
    let bob = Arc::new(world.rail.payer("bob").without_nonces());
    let first = ask.clone().credential(&world.pay(&challenge));
    let second = ask.credential(&world.pay_as(&bob, &challenge));
    world.send(&first, &route).delivered();
    let refused = world.send(&second, &route).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert!(refused.problem.detail.contains("another credential"));
    assert_eq!(world.payments(), 1);
}

#[test]
fn one_proof_pays_for_one_challenge() {
    let world = World::new(36);
    let route = world.route();
    let ask = Ask::get("/reading");
    let payer = Arc::new(world.rail.payer("carol"));
    let (one, two) = (world.challenge(&ask, &route), world.challenge(&ask, &route));
    // One call, one nonce: the replay key is the same in both.
    let first = ask.clone().credential(&world.pay_as(&payer, &one));
    let second = ask.credential(&world.pay_as(&payer, &two));
    world.send(&first, &route).delivered();
    let refused = world.send(&second, &route).refused();
    assert_eq!(refused.problem.kind, Kind::VerificationFailed);
    assert_eq!((world.payments(), world.handler.runs()), (1, 1));
}

#[test]
fn slow_rail_blocks_only_its_own_credential() {
    let world = World::new(37);
    let route = world.route();
    let stuck = world.paid(&Ask::get("/reading"), &route);
    let free = world.paid(&Ask::get("/reading"), &route);
    let gate = RailGate::closed();
    world.rail.script([Step::slow(&gate)]);
    let pricing = Pricing::Priced(Arc::new(route.clone()));
    let handler = Arc::clone(&world.handler);
    let slot = world.start(exchange(world.gate.clone(), stuck, pricing, handler));
    world.sim.run_until_idle();
    world.send(&free, &route).delivered();
    assert!(slot.lock().unwrap().is_none());
    gate.open();
    world.sim.run_until_idle();
    slot.lock().unwrap().take().unwrap().delivered();
    assert_eq!(world.payments(), 2);
}
