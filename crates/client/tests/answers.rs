//! What comes back for a payment: answers of the application, and receipts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use stiver_client::{MoneyMoved, outbox::State};
use stiver_core::problem::{Problem, ProblemKind};
use support::{Act, Setup, World, charge};

#[test]
fn a_receipt_that_proves_nothing_is_told_and_the_goods_are_handed_over() {
    let world = World::new(Setup {
        doubt: Some("nobody signed it"),
        ..Setup::default()
    });
    world.server.script([charge(), Act::Serve]);
    let got = world.get().unwrap();
    assert_eq!(got.body, "goods");
    let payment = got.payment.unwrap();
    assert_eq!(payment.receipt_fault.as_deref(), Some("nobody signed it"));
    assert_eq!(world.entry().state, State::Paid);
    assert_eq!(world.entry().note.as_deref(), Some("nobody signed it"));
}

#[test]
fn an_applications_own_conflict_is_handed_over_whole_and_not_asked_for_again() {
    for status in [408, 409, 425, 429] {
        for problem in [None, Some(ProblemKind::IdempotencyConflict)] {
            let world = World::with([charge(), Act::ServeAndSay(status, problem)]);
            let got = world.get().unwrap();
            assert_eq!(got.status, status);
            let whole = problem.map(|kind| Problem::new(kind, support::DETAIL).to_json());
            assert_eq!(got.body, whole.unwrap_or_default());
            assert_eq!(got.payment.unwrap().moved, MoneyMoved::Yes);
            assert_eq!(world.server.paid().len(), 1, "{status} was asked for again");
            assert_eq!(world.entry().state, State::Settled);
        }
    }
}

#[test]
fn a_repeated_in_progress_of_an_upstream_is_handed_over() {
    let repeated = vec![("idempotency-replayed", "true".to_owned())];
    let problem = Some(ProblemKind::PaymentInProgress);
    let world = World::with([charge(), Act::Say(409, repeated, problem)]);
    assert_eq!(world.get().unwrap().status, 409);
    assert_eq!(world.server.paid().len(), 1);
}
