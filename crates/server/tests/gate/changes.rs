//! Prices, secrets and clocks that change between the challenge and the credential, or after the
//! money was taken.

use std::{sync::Arc, time::Duration};

use stiver_core::{
    binding::{KeyRing, Secret},
    problem::ProblemKind as Kind,
};
use stiver_server::{
    Route,
    grant::PayeeFailure,
    limits::{CHALLENGE_LIFETIME_MS, CLOCK_MARGIN_MS, LEASE_MS},
};
use stiver_testkit::{
    fixtures,
    rail::{REPLAYABLE_MS, Step},
};

use crate::common::{Ask, PRICE, Run, World, exchange};

fn secret(byte: u8) -> Secret {
    Secret::configured(&[byte; 32]).unwrap()
}

#[test]
fn fixed_price_that_rises_refuses_the_old_challenge() {
    let world = World::new(1);
    let ask = world.paid(&Ask::get("/reading"), &world.route());
    let dearer = Route::new(vec![world.offer(PRICE * 2)]).unwrap();
    let refused = world.send(&ask, &dearer).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert!(refused.problem.detail.contains("amount"));
    assert!(world.front.writes().is_empty());
    let paid = Ask::get("/reading").credential(&world.pay(&refused.challenges[0]));
    world.send(&paid, &dearer).delivered();
    assert_eq!(world.handler.seen()[0].amount.units(), PRICE * 2);
}

#[test]
fn computed_price_stays_good_for_its_challenge() {
    let world = World::new(2);
    let route = world.route().computed("list-1");
    let ask = world.paid(&Ask::get("/reading"), &route);
    let later = Route::new(vec![world.offer(PRICE * 2)])
        .unwrap()
        .computed("list-1");
    world.send(&ask, &later).delivered();
    assert_eq!(world.handler.seen()[0].amount.units(), PRICE);
}

#[test]
fn computed_price_of_an_old_list_is_refused() {
    let world = World::new(3);
    let ask = world.paid(&Ask::get("/reading"), &world.route().computed("list-1"));
    for route in [world.route().computed("list-2"), world.route()] {
        let refused = world.send(&ask, &route).refused();
        assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
        assert!(refused.problem.detail.contains("price list"));
    }
    let fixed = world.paid(&Ask::get("/reading"), &world.route());
    let refused = world
        .send(&fixed, &world.route().computed("list-1"))
        .refused();
    assert!(refused.problem.detail.contains("price list"));
    assert!(world.front.writes().is_empty());
}

/// A fixed price becomes dearer, then a computed one, while challenges for each are out.
#[test]
fn prices_of_earlier_forms_are_honoured_until_their_challenges_expire() {
    let world = World::new(14);
    let (first, computed) = (world.route(), world.route().computed("list-1"));
    let asks: Vec<_> = [&first, &computed]
        .map(|route| {
            let one = world.paid(&Ask::get("/reading"), route);
            (one, world.paid(&Ask::get("/reading"), route))
        })
        .into();
    let now = Route::new(vec![world.offer(PRICE * 2)])
        .unwrap()
        .honouring(Arc::new(computed))
        .honouring(Arc::new(first));
    let elsewhere = world.paid(&Ask::get("/other"), &world.route());
    let moved = Ask {
        target: "/reading".to_owned(),
        ..elsewhere
    };
    let refused = world.send(&moved, &now).refused();
    assert_eq!(
        refused.problem.kind,
        Kind::InvalidChallenge,
        "another scope"
    );
    let refused = world.send(&Ask::get("/reading"), &now).refused();
    let fresh = Ask::get("/reading").credential(&world.pay(&refused.challenges[0]));
    for (early, _) in &asks {
        world.send(early, &now).delivered();
    }
    world.send(&fresh, &now).delivered();
    let paid: Vec<_> = world
        .handler
        .seen()
        .iter()
        .map(|run| run.amount.units())
        .collect();
    assert_eq!(
        paid,
        [PRICE, PRICE, PRICE * 2],
        "new challenges ask the new price"
    );
    world.pass(CHALLENGE_LIFETIME_MS);
    for (_, late) in &asks {
        let refused = world.send(late, &now).refused();
        let detail = &refused.problem.detail;
        assert!(detail.contains("expired"), "{detail}");
    }
}

#[test]
fn taken_money_survives_expiry_price_and_route() {
    let world = World::new(4);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    world.pass(CHALLENGE_LIFETIME_MS * 2);
    let dearer = Route::new(vec![world.offer(PRICE * 9)])
        .unwrap()
        .computed("list-9");
    world.send(&ask, &dearer).delivered();
    assert_eq!(world.handler.seen()[1].amount.units(), PRICE);
    assert_eq!(world.payments(), 1);
}

#[test]
fn rotated_secret_verifies_until_its_end() {
    let world = World::new(5);
    let route = world.route();
    world.gate.set_key_ring(KeyRing::new(secret(1)));
    let (early, late) = (
        world.paid(&Ask::get("/reading"), &route),
        world.paid(&Ask::get("/reading"), &route),
    );
    let until = world.sim.env().clock.now().plus_millis(1_000);
    world
        .gate
        .set_key_ring(KeyRing::new(secret(2)).with_previous(secret(1), until));
    world.send(&early, &route).delivered();
    world.pass(1_000);
    let refused = world.send(&late, &route).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    let fresh = Ask::get("/reading").credential(&world.pay(&refused.challenges[0]));
    world.send(&fresh, &route).delivered();
}

#[test]
fn taken_money_survives_the_loss_of_its_secret() {
    let world = World::new(6);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let unused = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    world.gate.set_key_ring(KeyRing::new(secret(9)));
    assert_eq!(world.send(&unused, &route).kind(), Kind::InvalidChallenge);
    world.send(&ask, &route).delivered();
    assert_eq!((world.payments(), world.handler.delivered()), (1, 1));
}

#[test]
fn forged_credential_for_a_known_challenge_learns_nothing() {
    let world = World::new(7);
    let route = world.route();
    let get = Ask::get("/reading");
    let challenge = world.challenge(&get, &route);
    world
        .send(&get.clone().credential(&world.pay(&challenge)), &route)
        .delivered();
    let mut forged = world.credential(&world.payer, &challenge);
    forged.challenge.params.expires = None;
    let refused = world
        .send(&get.credential(&forged.to_header()), &route)
        .refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert!(refused.problem.detail.contains("not issued here"));
}

#[test]
fn restart_keeps_what_was_taken_and_what_was_served() {
    let mut world = World::new(8);
    let route = world.route();
    let served = world.paid(&Ask::get("/reading"), &route).key("k");
    let taken = world.paid(&Ask::get("/reading"), &route);
    world.send(&served, &route).delivered();
    world.handler.script([Run::Dies]);
    world.send(&taken, &route);
    world.restart();
    assert!(matches!(
        world.send(&served, &route),
        crate::common::Answer::Replayed { .. }
    ));
    world.send(&taken, &route).delivered();
    assert_eq!((world.payments(), world.handler.delivered()), (2, 2));
}

#[test]
fn clock_that_steps_back_does_not_settle_twice() {
    let world = World::new(9);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    let now = world.sim.env().clock.now().as_millis();
    let earlier = stiver_core::Timestamp::from_millis(now - LEASE_MS);
    world.sim.clock.set_wall(earlier);
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    assert_eq!((world.payments(), world.handler.runs()), (1, 1));
    assert_eq!(fixtures::realm(), *world.gate.realm());
}

#[test]
fn clock_that_steps_forward_does_not_take_live_work_over() {
    let world = World::new(10);
    let route = world.route();
    let ask = world.paid(&Ask::post("/order", b"one"), &route);
    world.handler.script([Run::Takes(Duration::from_secs(2))]);
    let pricing = stiver_server::Pricing::Priced(Arc::new(route.clone()));
    let (gate, handler) = (world.gate.clone(), Arc::clone(&world.handler));
    let slot = world.start(exchange(gate, ask.clone(), pricing, handler));
    world.pass(1_000);
    assert_eq!(world.state(), "delivering");
    let now = world.sim.env().clock.now();
    world.sim.clock.set_wall(now.plus_millis(2 * LEASE_MS));
    let gate = world.gate.clone();
    let done = world.run(async move { gate.recover().await }).unwrap();
    assert_eq!((done.refunded, world.state()), (0, "delivering"));
    // A second request with the credential waits for the first one.
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    let first = slot.lock().unwrap().take().unwrap();
    first.delivered();
    assert_eq!((world.handler.runs(), world.handler.delivered()), (1, 1));
    assert_eq!(world.rail.movements().len(), 1);
}

#[test]
fn failed_payment_is_forgotten_once_its_proof_is_of_no_use() {
    let world = World::new(11);
    let route = world.route().resume_window(Duration::from_secs(86_400));
    let ask = world.paid(&Ask::get("/reading"), &route);
    let refused = stiver_method::artefact::RefusalKind::Insufficient;
    world.rail.script([Step::refused(refused)]);
    world.send(&ask, &route).refused();
    world.pass(REPLAYABLE_MS);
    assert_eq!(
        world.counts(),
        [("failed", 1)],
        "the proof might come again"
    );
    world.pass(CLOCK_MARGIN_MS);
    assert_eq!(world.counts(), []);
}
