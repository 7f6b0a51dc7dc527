//! Bad input: the exact problem, and nothing moved.

use std::sync::Arc;
use stiver_core::{Currency, problem::ProblemKind};
use stiver_server::{
    Route,
    session::{SessionLimits, SessionOffer},
};
use stiver_testkit::escrow::EscrowPayer;

use crate::common::{Answer, Ask, COST, DEPOSIT, World, get, usd};

/// Sends what must be refused, and looks that nothing moved.
#[track_caller]
fn refused(world: &World, ask: Ask, kind: ProblemKind) {
    let before = (world.figures(), world.escrow.executions());
    let answer = world.send(ask);
    let refused = match answer {
        Answer::Refused(refused) => refused,
        other => panic!("expected {kind:?}, got {other:?}"),
    };
    assert_eq!(refused.problem.kind, kind, "{}", refused.problem.detail);
    assert_eq!((world.figures(), world.escrow.executions()), before);
}

#[test]
fn lower_over_deposit_and_over_wide_vouchers_are_refused() {
    let world = World::new(1);
    let challenge = world.open();
    world
        .send(get(world.payer.voucher(&challenge, 50)))
        .served();
    let voucher = |cumulative| get(world.payer.voucher(&challenge, cumulative));
    refused(&world, voucher(49), ProblemKind::SessionDeltaTooSmall);
    refused(&world, voucher(0), ProblemKind::SessionDeltaTooSmall);
    let over = ProblemKind::SessionAmountExceedsDeposit;
    refused(&world, voucher(DEPOSIT + 1), over);
    refused(&world, voucher(u128::MAX), over);
}

#[test]
fn a_step_below_the_least_is_refused() {
    let world = World::new(2);
    let offer = world.offer().min_voucher_delta(20);
    let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
    let challenge = world.send_to(get(None), &route).refused().challenges[0].clone();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
    world.send_to(get(open), &route).served();
    let small = get(world.payer.voucher(&challenge, COST + 19));
    let answer = world.send_to(small, &route);
    assert_eq!(answer.kind(), ProblemKind::SessionDeltaTooSmall);
    assert_eq!(world.figures().accepted, COST);
    world
        .send_to(get(world.payer.voucher(&challenge, COST + 20)), &route)
        .served();
}

#[test]
fn forged_vouchers_are_refused_singly_and_amid_genuine_ones() {
    let world = World::new(3);
    let challenge = world.open();
    let kind = ProblemKind::SessionInvalidSignature;
    let forged = |cumulative, proof: &[u8]| get(world.payer.forged(&challenge, cumulative, proof));
    refused(&world, forged(30, &[0; 64]), kind);
    refused(&world, forged(30, &world.payer.sign(31)), kind);
    refused(&world, forged(30, &[]), kind);
    refused(&world, forged(30, &[1; 65]), kind);
    // An equal amount with another proof is no voucher that was accepted.
    refused(&world, forged(COST, &[9; 64]), kind);
    // Signed by another payer, for this channel's id.
    refused(&world, forged(30, &EscrowPayer::new(7).sign(30)), kind);
    // A burst: the forged one in it is not served on the strength of the others.
    let route = world.route();
    let mut slots = Vec::new();
    for n in 2..12_u128 {
        let credential = match n {
            6 => world.payer.forged(&challenge, COST * n, &[3; 64]),
            _ => world.payer.voucher(&challenge, COST * n),
        };
        let it = crate::common::exchange(world.gate.clone(), get(credential), Arc::clone(&route));
        slots.push((n, world.start(it)));
    }
    world.sim.run_until_idle();
    for (n, slot) in slots {
        let answer = slot.lock().unwrap().take().unwrap();
        if n == 6 {
            assert_eq!(answer.kind(), kind);
        }
    }
}

#[test]
fn a_channel_nobody_opened_is_not_found() {
    let world = World::new(4);
    let challenge = world.challenge();
    let kind = ProblemKind::SessionChannelNotFound;
    refused(&world, get(world.payer.voucher(&challenge, 10)), kind);
    refused(&world, get(world.payer.close(&challenge, 10)), kind);
    refused(
        &world,
        get(world.payer.top_up(&challenge, &usd(5), 1)),
        kind,
    );
    let head = get(world.payer.voucher(&challenge, 10)).method("HEAD");
    refused(&world, head, kind);
    let answer = world
        .send(get(world.payer.voucher(&challenge, 10)))
        .refused();
    assert_eq!(answer.status(), 410);
}

#[test]
fn vouchers_and_top_ups_after_the_close_are_refused() {
    let world = World::new(5);
    let challenge = world.open();
    let (status, _) = world.send(get(world.payer.close(&challenge, COST))).state();
    assert_eq!(status, 204);
    let kind = ProblemKind::SessionChannelFinalized;
    refused(&world, get(world.payer.voucher(&challenge, 20)), kind);
    let top_up = world.payer.top_up(&world.challenge(), &usd(5), 1);
    refused(&world, get(top_up), kind);
    let answer = world
        .send(get(world.payer.voucher(&challenge, 20)))
        .refused();
    assert_eq!(answer.status(), 410);
}

#[test]
fn a_voucher_at_a_price_that_changed_is_refused_with_the_new_one() {
    let world = World::new(6);
    let challenge = world.open();
    let dearer = SessionOffer::per_request(Arc::new(world.escrow.clone()), usd(COST * 2));
    let dearer = Arc::new(Route::for_sessions(vec![dearer.unwrap()]).unwrap());
    let answer = world.send_to(get(world.payer.voucher(&challenge, 40)), &dearer);
    let refused = answer.refused();
    assert_eq!(refused.problem.kind, ProblemKind::InvalidChallenge);
    assert_eq!(world.figures().accepted, COST);
    let fresh = &refused.challenges[0];
    world
        .send_to(get(world.payer.voucher(fresh, 40)), &dearer)
        .served();
    assert_eq!(world.figures().spent, COST + COST * 2);
    // An earlier form of the route that is honoured keeps its price.
    let honouring = Arc::new((*dearer).clone().honouring(world.route()));
    world
        .send_to(get(world.payer.voucher(&challenge, 50)), &honouring)
        .served();
    assert_eq!(world.figures().spent, COST + COST * 2 + COST);
}

#[test]
fn altered_challenges_and_malformed_payloads_are_refused() {
    let world = World::new(7);
    let challenge = world.open();
    let mut altered = challenge.clone();
    altered.params.realm = stiver_core::name::Realm::new("other.example").unwrap();
    let kind = ProblemKind::InvalidChallenge;
    refused(&world, get(world.payer.voucher(&altered, 20)), kind);
    let wrong = stiver_core::Credential {
        challenge: challenge.clone(),
        payload: stiver_core::json::Object::parse(br#"{"action":"spend"}"#).unwrap(),
        source: None,
    };
    let kind = ProblemKind::VerificationFailed;
    refused(&world, get(wrong.to_header()), kind);
    let mut two = get(world.payer.voucher(&challenge, 20));
    two.authorization.push(world.payer.voucher(&challenge, 30));
    refused(&world, two, ProblemKind::MultipleCredentials);
}

#[test]
fn a_forged_close_closes_nothing() {
    let world = World::new(8);
    let challenge = world.open();
    world
        .send(get(world.payer.voucher(&challenge, 60)))
        .served();
    // A voucher that was superseded does not cover what was served.
    let low = get(world.payer.close(&challenge, COST));
    refused(&world, low, ProblemKind::SessionInsufficientBalance);
    let forged = world.payer.forged_close(&challenge, 61, &[5; 64]);
    refused(&world, get(forged), ProblemKind::SessionInvalidSignature);
    let over = get(world.payer.close(&challenge, DEPOSIT + 1));
    refused(&world, over, ProblemKind::SessionAmountExceedsDeposit);
    assert_eq!(world.captured(), 0);
}

#[test]
fn a_channel_of_another_currency_pays_for_nothing() {
    let world = World::new(40);
    world.open();
    // A million of the one is a dollar, and a hundred of the other.
    let dear = Currency::new("eur", 2).unwrap();
    let escrow = Arc::new(world.escrow.clone().priced_in(dear.clone()));
    let offer = SessionOffer::per_request(escrow, dear.units(COST)).unwrap();
    let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
    let refused = world.send_to(get(None), &route).refused();
    let challenge = refused.challenges[0].clone();
    let before = world.figures();
    let voucher = world.payer.voucher(&challenge, COST * 2);
    let answer = world.send_to(get(voucher), &route);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    assert_eq!(world.figures().spent, before.spent);
}

#[test]
fn strangers_do_not_use_up_a_channels_rate() {
    let limits = SessionLimits {
        vouchers_per_second: 3,
        ..SessionLimits::default()
    };
    let world = World::with(41, limits);
    let challenge = world.open();
    for n in 2..20 {
        let forged = world.payer.forged(&challenge, COST * n, &[7; 64]);
        let kind = world.send(get(forged)).kind();
        assert_eq!(kind, ProblemKind::SessionInvalidSignature);
        let forged = world.payer.forged_close(&challenge, COST * n, &[7; 64]);
        let kind = world.send(get(forged)).kind();
        assert_eq!(kind, ProblemKind::SessionInvalidSignature);
    }
    let voucher = world.payer.voucher(&challenge, COST * 2);
    world.send(get(voucher)).served();
}
