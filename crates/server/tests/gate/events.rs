//! What the gate tells while it works: every event once, in order, and never at the cost of a
//! request.

use stiver_core::problem::ProblemKind as Kind;
use stiver_method::artefact::RefusalKind;
use stiver_server::{
    Gate,
    events::{Event, Events, Payment, queue},
    grant::PayeeFailure,
    limits::RESUME_WINDOW_MS,
    route::{OnFailure, StoreResponses},
};
use stiver_testkit::{
    fixtures,
    rail::{LookupStep, Step},
};

use crate::common::{Ask, PRICE, Run, World};

/// A world whose gate tells its events to a queue.
fn watched(seed: u64, capacity: usize) -> (World, Events<Event>) {
    let mut world = World::new(seed);
    let events = watch(&mut world, capacity);
    (world, events)
}

fn watch(world: &mut World, capacity: usize) -> Events<Event> {
    let (told, events) = queue(capacity);
    let (keys, env) = (fixtures::key_ring(), world.sim.env());
    world.gate = Gate::builder(fixtures::realm(), keys, world.front.clone(), env)
        .method(std::sync::Arc::new(world.rail.clone()))
        .events(told)
        .build()
        .unwrap();
    events
}

/// The events that wait, as short words; each payment is checked on the way.
fn words(events: &mut Events<Event>) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(observed) = events.try_next() {
        words.push(match observed.event {
            Event::Challenged { challenges } => format!("challenged {challenges}"),
            Event::Refused { problem } => format!("refused {problem:?}"),
            Event::Claimed(payment) => checked("claimed", &payment),
            Event::Settled { payment, by, .. } => checked(&format!("settled {by:?}"), &payment),
            Event::Failed { payment, by } => checked(&format!("failed {by:?}"), &payment),
            Event::Unknown(payment) => checked("unknown", &payment),
            Event::Delivered {
                payment, status, ..
            } => checked(&format!("delivered {status}"), &payment),
            Event::Replayed { .. } => "replayed".to_owned(),
            Event::DeliveryFailed { payment, failure } => {
                checked(&format!("delivery failed {failure:?}"), &payment)
            }
            Event::Refunded(payment) => checked("refunded", &payment),
            Event::Kept(payment) => checked("kept", &payment),
            other => panic!("nobody expects {other:?}"),
        });
    }
    words
}

fn checked(word: &str, payment: &Payment) -> String {
    assert_eq!(payment.amount.units(), PRICE, "{word}");
    assert_eq!(&*payment.method, "hostile", "{word}");
    assert!(payment.challenge_id.len() > 20, "{word}");
    word.to_owned()
}

const ASKED: [&str; 2] = ["refused PaymentRequired", "challenged 1"];

#[test]
fn a_payment_is_told_from_its_challenge_to_its_replay() {
    let (world, mut events) = watched(1, 64);
    let route = world.route().store_responses(StoreResponses::Always);
    let ask = world.paid(&Ask::get("/reading"), &route);
    assert_eq!(words(&mut events), ASKED);
    world.send(&ask, &route).delivered();
    let paid = ["claimed", "settled Request", "delivered 200"];
    assert_eq!(words(&mut events), paid);
    world.send(&ask, &route);
    assert_eq!(words(&mut events), ["replayed"]);
}

#[test]
fn latencies_are_those_of_the_rail_and_of_the_handler() {
    let (world, mut events) = watched(2, 64);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let time = std::time::Duration::from_millis(1234);
    world.handler.script([Run::Takes(time)]);
    world.send(&ask, &route).delivered();
    let mut seen = Vec::new();
    while let Some(observed) = events.try_next() {
        match observed.event {
            Event::Settled { latency, .. } | Event::Delivered { latency, .. } => seen.push(latency),
            _ => {}
        }
    }
    assert_eq!(seen, [std::time::Duration::ZERO, time]);
}

#[test]
fn an_unknown_outcome_is_told_and_later_what_became_of_it() {
    let (world, mut events) = watched(3, 64);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    let told = words(&mut events);
    assert_eq!(told[2..], ["claimed", "unknown", "refused OutcomeUnknown"]);
    world.send(&ask, &route).delivered();
    assert_eq!(words(&mut events), ["settled Resume", "delivered 200"]);
}

#[test]
fn recovery_tells_what_it_finds_and_what_it_gives_back() {
    let (mut world, _) = watched(4, 64);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    let mut events = watch(&mut world, 64);
    let recover = |world: &World| {
        let gate = world.gate.clone();
        world.run(async move { gate.recover().await }).unwrap();
    };
    recover(&world);
    assert_eq!(words(&mut events), ["settled Recovery"]);
    world.pass(RESUME_WINDOW_MS);
    recover(&world);
    assert_eq!(words(&mut events), ["refunded"]);
}

#[test]
fn a_failed_delivery_is_told_with_what_becomes_of_the_payment() {
    for (on_failure, last) in [
        (OnFailure::Retry, None),
        (OnFailure::Refund, Some("refunded")),
        (OnFailure::Keep, Some("kept")),
    ] {
        let (world, mut events) = watched(5, 64);
        let route = world.route().on_failure(on_failure);
        let ask = world.paid(&Ask::get("/reading"), &route);
        world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
        assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
        let mut expected = vec!["claimed", "settled Request", "delivery failed MayHaveRun"];
        expected.extend(last);
        expected.push("refused UpstreamFailed");
        assert_eq!(words(&mut events)[2..], expected);
    }
}

#[test]
fn a_payment_that_the_rail_refuses_is_told_as_failed_with_fresh_challenges() {
    let (world, mut events) = watched(6, 64);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world
        .rail
        .script([Step::refused(RefusalKind::Insufficient)]);
    world.send(&ask, &route).refused();
    let told = words(&mut events);
    assert_eq!(told[2..4], ["claimed", "failed Request"]);
    assert!(told[4].starts_with("refused"), "{told:?}");
    assert_eq!(told[5..], ["challenged 1"]);
}

#[test]
fn a_queue_that_nobody_reads_holds_no_request_up_and_counts_what_is_lost() {
    let (world, mut events) = watched(7, 1);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    assert_eq!(words(&mut events).len(), 1);
    assert_eq!((events.lost(), world.gate.events_lost()), (4, 4));
}

#[test]
fn what_was_paid_for_and_not_delivered_is_counted_until_it_is() {
    let (world, _) = watched(8, 64);
    let route = world.route();
    let exposed = |world: &World| {
        let gate = world.gate.clone();
        let exposure = world.run(async move { gate.exposure().await }).unwrap();
        assert!(exposure.complete);
        let rows = exposure.rows.iter();
        let rows = rows.map(|row| (row.method.clone(), row.payments, row.amount.units()));
        rows.collect::<Vec<_>>()
    };
    let one = world.paid(&Ask::get("/one"), &route);
    let two = world.paid(&Ask::get("/two"), &route);
    world.send(&one, &route).delivered();
    assert_eq!(exposed(&world), []);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    assert_eq!(world.send(&two, &route).kind(), Kind::UpstreamFailed);
    assert_eq!(exposed(&world), [("hostile".to_owned(), 1, PRICE)]);
    world.send(&two, &route).delivered();
    assert_eq!(exposed(&world), []);
}
