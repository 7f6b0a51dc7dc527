//! Prices below one base unit: never rounded away, and never rounded up.

use std::sync::Arc;

use stiver_channel::PhaseName;
use stiver_server::{
    Route,
    session::{SessionFailure, SessionOffer},
};
use stiver_store::ChannelStore as _;

use crate::common::{Ask, DEPOSIT, Run, World, get, member, usd};

/// Two base units for every five requests.
fn route(world: &World, failure: SessionFailure) -> Arc<Route> {
    let method = Arc::new(world.escrow.clone());
    let offer = SessionOffer::for_requests(method, usd(2), 5).unwrap();
    Arc::new(Route::for_sessions(vec![offer.on_failure(failure)]).unwrap())
}

fn open(world: &World, route: &Arc<Route>) -> stiver_core::Challenge {
    let challenge = world.send_to(get(None), route).refused().challenges[0].clone();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), 1);
    let receipt = world.send_to(get(open), route).served();
    assert_eq!(member(&receipt, "spent"), "0");
    assert_eq!(receipt.extra["carried"].to_jcs(), r#"{"request":"2/5"}"#);
    challenge
}

fn keyed(credential: String, key: &'static str) -> Ask {
    get(credential).key(key)
}

#[test]
fn requests_below_a_base_unit_cost_exactly_their_price_in_all_over_restarts_too() {
    let mut world = World::new(50);
    let route_of = |world: &World| route(world, SessionFailure::Release);
    let mut signed = 1;
    let mut route = route_of(&world);
    let mut challenge = open(&world, &route);
    for n in 2..=100_u128 {
        if n % 9 == 0 {
            world.restart();
            route = route_of(&world);
            challenge = world.send_to(get(None), &route).refused().challenges[0].clone();
        }
        // What is due before this request, and the most that it can cost.
        signed = signed.max((n - 1) * 2 / 5 + 1);
        let voucher = world.payer.voucher(&challenge, signed);
        let receipt = world.send_to(get(voucher), &route).served();
        let due = n * 2 / 5;
        assert_eq!(member(&receipt, "spent"), due.to_string(), "after {n}");
        let carried = receipt.extra.get("carried").map(|it| it.to_jcs());
        let left = n * 2 % 5;
        let told = format!(r#"{{"request":"{left}/5"}}"#);
        assert_eq!(carried, (left > 0).then_some(told), "after {n}");
    }
    assert_eq!(world.figures().spent, 40);
    let close = world.payer.close(&challenge, signed);
    world.send_to(get(close), &route).state();
    assert_eq!(world.captured(), 40, "the books are exact");
    let channel = world.store.channels().channel(&world.payer.channel());
    assert_eq!(channel.unwrap().phase().name(), PhaseName::Closed);
}

#[test]
fn a_request_is_charged_once_a_key_and_a_failed_one_costs_nothing_unless_kept() {
    for (failure, cost) in [(SessionFailure::Release, 0), (SessionFailure::Keep, 2)] {
        let world = World::new(51);
        let route = route(&world, failure);
        let challenge = open(&world, &route);
        let voucher = world.payer.voucher(&challenge, 2);
        world
            .send_to(keyed(voucher.clone(), "one"), &route)
            .served();
        // The handler runs once more, and nothing is charged.
        let receipt = world.send_to(keyed(voucher, "one"), &route).served();
        assert_eq!(receipt.extra["carried"].to_jcs(), r#"{"request":"4/5"}"#);
        let voucher = world.payer.voucher(&challenge, 3);
        world
            .send_to(get(voucher).run(Run::Fails), &route)
            .refused();
        let carried = world.store.channels().carried(&world.payer.channel());
        let fifths = world.figures().spent * 5
            + carried
                .meters
                .iter()
                .map(|it| u128::from(it.carry.parts()))
                .sum::<u128>();
        assert_eq!(fifths, 4 + cost);
        assert_eq!(world.figures().reserved, 0);
    }
}

#[test]
fn an_authorisation_that_does_not_cover_the_rounded_up_price_is_told_what_is_missing() {
    let world = World::new(52);
    let route = route(&world, SessionFailure::Release);
    let challenge = open(&world, &route);
    for n in [2, 3] {
        // The same voucher buys while what is left of it covers the most that one can cost.
        let voucher = world.payer.voucher(&challenge, 1);
        let answer = world.send_to(get(voucher), &route);
        assert!(
            matches!(&answer, crate::common::Answer::Served(_)),
            "{n}: {answer:?}"
        );
    }
    assert_eq!(world.figures().spent, 1, "six fifths");
    let voucher = world.payer.voucher(&challenge, 1);
    let (status, _) = world.send_to(get(voucher), &route).state();
    assert_eq!(status, 200, "it is used up, and buys nothing");
}

#[test]
fn what_the_events_tell_is_what_was_taken() {
    let world = World::new(53);
    let route = route(&world, SessionFailure::Release);
    let challenge = open(&world, &route);
    for n in 2..=10 {
        let voucher = world.payer.voucher(&challenge, n);
        world.send_to(get(voucher), &route).served();
    }
    assert_eq!(world.told().iter().sum::<u128>(), 4);
    assert_eq!(world.figures().spent, 4);
}
