//! A program can watch what it spends: each call is told from its challenge to its end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::Arc;

use stiver_client::{
    MoneyMoved,
    events::{Event, Spending},
    policy::MaxAmount,
};
use stiver_core::problem::ProblemKind;
use stiver_method::artefact::RefusalKind;
use stiver_testkit::{fixtures, rail::LookupStep};
use support::{Act, Setup, World, charge, fails, refuse};

fn word(event: &Event) -> String {
    match event {
        Event::Challenged { payable, .. } => format!("challenged {payable}"),
        Event::Declined { .. } => "declined".to_owned(),
        Event::Signed(spending) => checked("signed", spending),
        Event::Paid { spending, answered } => checked(&format!("paid {answered}"), spending),
        Event::Refused { spending, problem } => checked(&format!("refused {problem:?}"), spending),
        Event::Unknown(spending) => checked("unknown", spending),
        other => panic!("nobody expects {other:?}"),
    }
}

fn checked(word: &str, spending: &Spending) -> String {
    assert_eq!(spending.amount, fixtures::micro_usd(10_000));
    assert_eq!(
        (&*spending.method, &*spending.payee),
        ("hostile", "merchant")
    );
    word.to_owned()
}

fn words(world: &World) -> Vec<String> {
    world.told().iter().map(word).collect()
}

#[test]
fn a_paid_call_is_told_and_a_free_one_is_not() {
    let world = World::with([Act::Free, charge(), Act::Serve]);
    world.get().unwrap();
    assert_eq!(words(&world), [""; 0]);
    world.get().unwrap();
    assert_eq!(words(&world), ["challenged 1", "signed", "paid true"]);
}

#[test]
fn a_call_that_the_policy_declines_signs_nothing() {
    let world = World::new(Setup {
        policy: Arc::new(MaxAmount::new(fixtures::micro_usd(1))),
        ..Setup::default()
    });
    world.server.script([charge()]);
    fails(world.get(), MoneyMoved::No);
    assert_eq!(words(&world), ["challenged 1", "declined"]);
}

#[test]
fn a_refusal_is_told_with_its_problem_when_nothing_moved() {
    let world = World::with([charge(), refuse(ProblemKind::Forbidden)]);
    world
        .rail
        .script_lookups([LookupStep::lying_never(RefusalKind::Denied)]);
    fails(world.get(), MoneyMoved::No);
    let told = words(&world);
    assert_eq!(told[..2], ["challenged 1", "signed"]);
    assert_eq!(told[2..], ["refused Some(Forbidden)"]);
}

#[test]
fn a_call_of_unknown_outcome_is_told_as_such_and_its_resumption_as_paid() {
    let world = World::with([charge()]);
    world.server.then(Act::Cut);
    world.rail.script_lookups([LookupStep::unavailable()]);
    let error = fails(world.get(), MoneyMoved::Maybe);
    assert_eq!(words(&world), ["challenged 1", "signed", "unknown"]);
    world.server.then(Act::Serve);
    assert_eq!(world.resume(error.call().unwrap()).unwrap(), 200);
    assert_eq!(words(&world), ["paid true"]);
}
