//! A paid response whose body was not read to its end: what was paid for can still be had, once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use stiver_client::{
    CallError, CallId, MoneyMoved, Retry,
    error::NotResumable,
    outbox::{State, totals},
};
use stiver_core::problem::ProblemKind;
use stiver_testkit::{fixtures, rail::LookupStep};
use support::{Act, Setup, URL, World, charge, refuse};

fn request() -> Request<Full<Bytes>> {
    Request::get(URL).body(Full::default()).unwrap()
}

/// A world whose only call was paid and cut in the middle of its body.
fn cut() -> (World, CallId) {
    cut_in(Setup::default())
}

fn cut_in(setup: Setup) -> (World, CallId) {
    let world = World::new(setup);
    world.server.script([charge(), Act::ServeAndBreak]);
    let response = world.head(request()).unwrap();
    world.run(response.into_body().collect()).unwrap_err();
    let entry = world.entry();
    assert_eq!(entry.state, State::Unread);
    (world, entry.id)
}

#[test]
fn a_body_that_was_cut_is_fetched_again_and_paid_once() {
    let (world, id) = cut();
    assert_eq!(world.entry().money_moved(), MoneyMoved::Yes);
    assert!(world.entry().receipt.is_some());
    let open = world.run(world.client.recover()).unwrap();
    assert_eq!(open.len(), 1);

    world.server.script([Act::ServeAndBreak, Act::Serve]);
    assert_eq!(world.resume(id).unwrap(), 200);
    assert_eq!(world.entry().state, State::Unread);
    assert_eq!(world.resume(id).unwrap(), 200);
    assert_eq!(world.entry().state, State::Paid);
    assert_eq!(world.server.credentials(), 1);
    let paid = world.server.paid();
    assert!(paid.iter().all(|seen| seen.headers == paid[0].headers));
    assert_eq!(world.moved(), 10_000);
    let totals = totals(&world.outbox.history()).unwrap();
    assert_eq!(totals["usd"].moved, fixtures::micro_usd(10_000));
    assert_eq!(totals["usd"].maybe, fixtures::micro_usd(0));
}

#[test]
fn a_body_that_nobody_reads_leaves_the_call_open_and_nobody_else_at_it() {
    let world = World::with([charge(), Act::Serve]);
    let response = world.head(request()).unwrap();
    let id = world.entry().id;
    assert!(world.run(world.client.recover()).unwrap().is_empty());
    let error = world.resume(id).unwrap_err();
    let under_way = NotResumable::UnderWay;
    assert!(matches!(error, CallError::NotResumable { why, .. } if why == under_way));
    drop(response);
    assert_eq!(world.run(world.client.recover()).unwrap().len(), 1);
    // Whoever does not want it asks the rail, which closes it.
    assert_eq!(
        world.run(world.client.look_up(id)).unwrap(),
        MoneyMoved::Yes
    );
    assert_eq!(world.entry().state, State::Settled);
}

#[test]
fn a_reader_that_stops_at_the_announced_length_has_read_it_all() {
    let world = World::with([charge(), Act::Serve]);
    let mut body = world.head(request()).unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    for (frame, state) in [("g", State::Unread), ("oods", State::Paid)] {
        assert!(!body.is_end_stream());
        let next = world.run(body.frame()).unwrap().unwrap();
        assert_eq!(next.into_data().unwrap(), frame);
        assert_eq!(world.entry().state, state);
    }
    assert!(body.is_end_stream());
}

#[test]
fn an_answer_without_a_body_is_read_when_it_comes() {
    let world = World::with([charge(), Act::Say(204, vec![], None)]);
    let response = world.head(request()).unwrap();
    assert_eq!(world.entry().state, State::Paid);
    assert!(response.body().is_end_stream());
}

#[test]
fn what_the_server_no_longer_has_ends_as_settled() {
    for gone in [
        refuse(ProblemKind::InvalidChallenge),
        Act::Say(422, vec![], Some(ProblemKind::IdempotencyConflict)),
        Act::Say(404, vec![], None),
    ] {
        for rail_answers in [true, false] {
            let (world, id) = cut();
            if !rail_answers {
                world.rail.script_lookups([LookupStep::unavailable()]);
            }
            world.server.script([gone.clone()]);
            if let Err(error) = world.resume(id) {
                assert_eq!(error.money_moved(), MoneyMoved::Yes, "{error}");
                assert_eq!(error.retry(), Retry::No, "{error}");
            }
            let entry = world.entry();
            assert_eq!(entry.state, State::Settled);
            assert!(entry.reference.is_some());
            let error = world.resume(id).unwrap_err();
            let over = NotResumable::NotOpen;
            assert!(matches!(error, CallError::NotResumable { why, .. } if why == over));
            assert_eq!(world.moved(), 10_000);
        }
    }
}

#[test]
fn a_server_that_is_away_leaves_it_paid_and_to_be_fetched() {
    let (world, id) = cut();
    world.server.then(Act::Cut);
    let error = world.resume(id).unwrap_err();
    assert_eq!(error.money_moved(), MoneyMoved::Yes);
    assert_eq!(error.retry(), Retry::Resume(id));
    assert_eq!(world.entry().state, State::Unread);
    world.server.then(Act::Serve);
    assert_eq!(world.resume(id).unwrap(), 200);
    assert_eq!(world.entry().state, State::Paid);
}

#[test]
fn a_doubted_receipt_settles_nothing_while_the_rail_cannot_tell() {
    let (world, id) = cut_in(Setup {
        doubt: Some("nobody signed it"),
        ..Setup::default()
    });
    world.rail.script_lookups([LookupStep::unavailable()]);
    world.server.script([refuse(ProblemKind::InvalidChallenge)]);
    let error = world.resume(id).unwrap_err();
    assert_eq!(error.money_moved(), MoneyMoved::Maybe);
    assert_eq!(error.retry(), Retry::Resume(id));
    assert_eq!(world.entry().state, State::Unread);
}
