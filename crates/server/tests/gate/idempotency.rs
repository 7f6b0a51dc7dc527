//! Stored responses and the Idempotency-Key.

use std::{sync::Arc, time::Duration};

use stiver_core::problem::ProblemKind as Kind;
use stiver_server::{
    grant::PayeeFailure,
    route::{OnFailure, StoreResponses},
};

use stiver_testkit::rail::Step;

use crate::common::{Answer, Ask, Run, World};

#[test]
fn stored_response_is_repeated_byte_for_byte_without_another_run() {
    let world = World::new(1);
    let route = world.route();
    let ask = world
        .paid(&Ask::post("/order", b"one"), &route)
        .key("\"k-1\"");
    let first = world.send(&ask, &route).delivered();
    for _ in 0..3 {
        let Answer::Replayed {
            status,
            body,
            receipt,
        } = world.send(&ask, &route)
        else {
            panic!("not repeated");
        };
        assert_eq!((status, body.as_slice()), (200, &b"reading 1"[..]));
        assert_eq!(receipt.as_ref(), Some(&first));
    }
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn redeemed_credential_with_nothing_stored_is_refused_by_name() {
    let world = World::new(2);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert_eq!((refused.status(), refused.challenges.len()), (402, 1));
    assert!(refused.problem.detail.contains("already redeemed"));
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn credential_redeemed_on_one_request_is_refused_on_another() {
    let world = World::new(3);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    let other = Ask {
        target: "/other".to_owned(),
        ..ask
    };
    let refused = world.send(&other, &route).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert!(refused.problem.detail.contains("another request"));
}

#[test]
fn key_of_another_request_is_a_conflict() {
    let world = World::new(4);
    let route = world.route();
    let ask = world.paid(&Ask::post("/order", b"one"), &route).key("k");
    world.send(&ask, &route).delivered();
    let writes = world.front.writes().len();
    // The same credential, another body; and another key for the same request.
    let other_body = Ask {
        body: Ask::post("", b"two").body,
        ..ask.clone()
    };
    let other_key = ask.clone().key("l");
    for ask in [other_body, other_key] {
        let refused = world.send(&ask, &route).refused();
        assert_eq!(refused.problem.kind, Kind::IdempotencyConflict);
        assert_eq!((refused.status(), refused.challenges.len()), (422, 0));
    }
    assert_eq!(world.front.writes().len(), writes);
    // Another payment by the same payer under the same key, for another request.
    let other = world.paid(&Ask::post("/order", b"two"), &route).key("k");
    assert_eq!(world.send(&other, &route).kind(), Kind::IdempotencyConflict);
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn same_payer_with_a_new_credential_under_the_same_key_is_not_charged_again() {
    let world = World::new(5);
    let route = world.route();
    let order = Ask::post("/order", b"one");
    let first = world.paid(&order, &route).key("k");
    let receipt = world.send(&first, &route).delivered();
    let second = world.paid(&order, &route).key("k");
    assert_ne!(first.authorization, second.authorization);
    let Answer::Replayed {
        body,
        receipt: again,
        ..
    } = world.send(&second, &route)
    else {
        panic!("not repeated");
    };
    assert_eq!((body.as_slice(), again), (&b"reading 1"[..], Some(receipt)));
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn another_payer_under_the_same_key_gets_nothing_of_the_first() {
    let world = World::new(6);
    let route = world.route();
    let order = Ask::post("/order", b"one");
    world
        .send(&world.paid(&order, &route).key("k"), &route)
        .delivered();
    let bob = Arc::new(world.rail.payer("bob").without_nonces());
    let challenge = world.challenge(&order, &route);
    let ask = order.key("k").credential(&world.pay_as(&bob, &challenge));
    world.send(&ask, &route).delivered();
    assert_eq!((world.handler.runs(), world.payments()), (2, 2));
}

#[test]
fn key_whose_response_is_gone_is_spent_and_asks_for_no_payment() {
    let world = World::new(7);
    let route = world.route().response_lifetime(Duration::from_secs(60));
    let order = Ask::post("/order", b"one");
    world
        .send(&world.paid(&order, &route).key("k"), &route)
        .delivered();
    world.pass(60_000);
    let refused = world
        .send(&world.paid(&order, &route).key("k"), &route)
        .refused();
    assert_eq!(refused.problem.kind, Kind::IdempotencyConflict);
    assert!(refused.challenges.is_empty());
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn unfinished_delivery_goes_on_under_the_same_key_with_a_new_credential() {
    let world = World::new(8);
    let route = world.route();
    let reading = Ask::get("/reading");
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    let first = world.paid(&reading, &route).key("k");
    assert_eq!(world.send(&first, &route).kind(), Kind::UpstreamFailed);
    let second = world.paid(&reading, &route).key("k");
    world.send(&second, &route).delivered();
    assert_eq!((world.handler.runs(), world.payments()), (2, 1));
}

#[test]
fn key_of_a_payment_that_fails_meanwhile_is_free_for_the_next_try() {
    let world = World::new(11);
    let route = world.route();
    let reading = Ask::get("/reading");
    let first = world.paid(&reading, &route).key("k");
    world.rail.script([Step::lapses(1)]);
    assert_eq!(world.send(&first, &route).kind(), Kind::OutcomeUnknown);
    let second = world.paid(&reading, &route).key("k");
    assert_eq!(world.send(&second, &route).kind(), Kind::PaymentInProgress);
    world.send(&second, &route).delivered();
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn refunded_payment_frees_its_key() {
    let world = World::new(9);
    let route = world.route().on_failure(OnFailure::Refund);
    let order = Ask::post("/order", b"one");
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    let first = world.paid(&order, &route).key("k");
    world.send(&first, &route).refused();
    world
        .send(&world.paid(&order, &route).key("k"), &route)
        .delivered();
    assert_eq!((world.handler.runs(), world.payments()), (2, 2));
}

#[test]
fn routes_say_what_is_stored() {
    for (choice, key, stored) in [
        (StoreResponses::Never, Some("k"), false),
        (StoreResponses::WithIdempotencyKey, Some("k"), true),
        (StoreResponses::WithIdempotencyKey, None, false),
        (StoreResponses::Always, None, true),
    ] {
        let world = World::new(10);
        let route = world.route().store_responses(choice);
        let mut ask = world.paid(&Ask::get("/reading"), &route);
        if let Some(key) = key {
            ask = ask.key(key);
        }
        world.send(&ask, &route).delivered();
        let again = world.send(&ask, &route);
        assert_eq!(
            matches!(again, Answer::Replayed { .. }),
            stored,
            "{choice:?} {key:?}"
        );
    }
}

#[test]
fn another_user_of_one_wallet_does_not_get_the_first_ones_response() {
    let world = World::new(30);
    let route = world.route();
    let user = |ask: &Ask, token: &str| {
        let mut ask = ask.clone();
        ask.authorization
            .push(format!("Bearer {token}").into_bytes());
        ask
    };
    let order = || world.paid(&Ask::post("/order", b"one"), &route).key("k");
    let first = order();
    world.send(&user(&first, "ann"), &route).delivered();
    // The same wallet, key and request: of another user, it is another order.
    world.send(&user(&order(), "ben"), &route).delivered();
    assert_eq!((world.handler.runs(), world.payments()), (2, 2));
    // Of the same user, it is the same one: nothing is charged.
    let Answer::Replayed { body, .. } = world.send(&user(&order(), "ann"), &route) else {
        panic!("not repeated");
    };
    assert_eq!(body, b"reading 1");
    // And the same credential is itself the proof, also with a renewed token.
    let Answer::Replayed { body, .. } = world.send(&user(&first, "ann-2"), &route) else {
        panic!("not repeated");
    };
    assert_eq!(body, b"reading 1");
    assert_eq!((world.handler.runs(), world.payments()), (2, 2));
}
