//! Settlement after the handler: what it earns is taken once, and what fails takes nothing.

use std::{sync::Arc, time::Duration};

use stiver_core::problem::ProblemKind as Kind;
use stiver_method::artefact::RefusalKind;
use stiver_server::{
    BodyState, Outcome, Pricing, Request, Route,
    gate::Recovered,
    grant::PayeeFailure,
    limits::{RESUME_WINDOW_MS, UNSETTLED_MAX},
    route::{OnFailure, Settle, UpstreamRepeats},
};
use stiver_testkit::rail::{LookupStep, REPLAYABLE_MS, Step};

use crate::common::{Answer, Ask, Run, World, exchange};

fn route(world: &World) -> Route {
    world.route().settle(Settle::After)
}

fn recover(world: &World) -> Recovered {
    let gate = world.gate.clone();
    world.run(async move { gate.recover().await }).unwrap()
}

#[test]
fn payment_settles_between_the_handler_and_the_first_byte() {
    let world = World::new(1);
    let route = route(&world);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    assert_eq!(
        world.front.writes(),
        ["claim", "capture", "captured"],
        "three writes, as with settlement first"
    );
    let seen = world.handler.seen().remove(0);
    assert_eq!(seen.reference, None, "the handler runs on a promise");
    assert_eq!((world.payments(), world.state()), (1, "delivered"));
}

#[test]
fn response_of_a_keyed_request_is_repeated_and_others_are_over() {
    let world = World::new(2);
    let route = route(&world);
    let keyed = world.paid(&Ask::get("/reading"), &route).key("k");
    world.send(&keyed, &route).delivered();
    assert!(matches!(
        world.send(&keyed, &route),
        Answer::Replayed { status: 200, .. }
    ));
    let bare = world.paid(&Ask::get("/reading"), &route);
    world.send(&bare, &route).delivered();
    assert_eq!(world.send(&bare, &route).kind(), Kind::InvalidChallenge);
    assert_eq!((world.payments(), world.handler.runs()), (2, 2));
}

#[test]
fn what_fails_takes_nothing_under_every_policy_and_says_so() {
    use PayeeFailure::{MayHaveRun, NotReached};
    let post = || Ask::post("/order", b"one");
    let get = || Ask::get("/reading");
    // Policy, request, failure, and whether the same credential may try again.
    let table = [
        (OnFailure::Retry, get(), NotReached, true),
        (OnFailure::Retry, get(), MayHaveRun, true),
        (OnFailure::Retry, post(), NotReached, true),
        (OnFailure::Retry, post(), MayHaveRun, false),
        (OnFailure::Refund, get(), NotReached, false),
        (OnFailure::Refund, get(), MayHaveRun, false),
        (OnFailure::Refund, post(), NotReached, false),
        (OnFailure::Refund, post(), MayHaveRun, false),
        (OnFailure::Keep, get(), NotReached, false),
        (OnFailure::Keep, get(), MayHaveRun, false),
        (OnFailure::Keep, post(), NotReached, false),
        (OnFailure::Keep, post(), MayHaveRun, false),
    ];
    for (policy, ask, failure, again) in table {
        let case = format!("{policy:?}, {}, {failure:?}", ask.method);
        let world = World::new(3);
        let route = route(&world).on_failure(policy);
        let ask = world.paid(&ask, &route);
        world.handler.script([Run::Fails(failure)]);
        let refused = world.send(&ask, &route).refused();
        assert_eq!(refused.problem.kind, Kind::UpstreamFailed, "{case}");
        let detail = &refused.problem.detail;
        assert!(detail.contains("nothing was taken"), "{case}: {detail}");
        assert!(refused.challenges.is_empty(), "{case}");
        assert_eq!(refused.retry_after.is_some(), again, "{case}");
        assert_eq!(world.payments(), 0, "{case}");
        let second = world.send(&ask, &route);
        if again {
            second.delivered();
        } else {
            let refused = second.refused();
            assert_eq!(refused.problem.kind, Kind::InvalidChallenge, "{case}");
            assert!(!refused.challenges.is_empty(), "{case}");
        }
        let runs = if again { 2 } else { 1 };
        assert_eq!(world.handler.runs(), runs, "{case}");
        assert_eq!(world.payments(), usize::from(again), "{case}");
    }
}

#[test]
fn lost_run_is_repeated_where_it_may_be_and_else_takes_nothing() {
    let cases = [
        (OnFailure::Retry, UpstreamRepeats::HonoursKey, true),
        (OnFailure::Retry, UpstreamRepeats::ByMethod, false),
        (OnFailure::Refund, UpstreamRepeats::HonoursKey, false),
        (OnFailure::Keep, UpstreamRepeats::HonoursKey, false),
    ];
    for (policy, repeats, again) in cases {
        let mut world = World::new(4);
        let route = route(&world).on_failure(policy).upstream_repeats(repeats);
        let ask = world.paid(&Ask::post("/order", b"one"), &route);
        world.handler.script([Run::Dies]);
        assert!(matches!(world.send(&ask, &route), Answer::Died));
        world.restart();
        let answer = world.send(&ask, &route);
        if again {
            answer.delivered();
        } else {
            assert_eq!(answer.kind(), Kind::InvalidChallenge, "{policy:?}");
            assert_eq!(world.state(), "failed");
        }
        assert_eq!(world.payments(), usize::from(again), "{policy:?}");
    }
}

#[test]
fn errors_of_the_handler_are_passed_on_and_take_nothing() {
    let world = World::new(5);
    let route = route(&world);
    let ask = world.paid(&Ask::get("/nothing-here"), &route);
    world.handler.script([Run::Answers(404)]);
    let answer = world.send(&ask, &route);
    assert!(
        matches!(answer, Answer::Delivered { receipt: None }),
        "{answer:?}"
    );
    assert_eq!((world.payments(), world.state()), (0, "failed"));
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
    assert!(refused.problem.detail.contains("nothing was taken"));
}

#[test]
fn refused_settlement_withholds_the_response_and_asks_anew() {
    let world = World::new(6);
    let route = route(&world);
    let ask = world.paid(&Ask::get("/reading"), &route).key("k");
    world
        .rail
        .script([Step::refused(RefusalKind::Insufficient)]);
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::PaymentInsufficient);
    assert_eq!(refused.challenges.len(), 1, "paying is the remedy");
    assert_eq!(
        refused.problem.challenge_id.as_ref(),
        Some(&refused.challenges[0].id)
    );
    assert_eq!((world.payments(), world.state()), (0, "failed"));
    let again = world.send(&ask, &route).refused();
    assert_eq!(again.problem.kind, Kind::PaymentInsufficient);
    assert_eq!(world.handler.runs(), 1, "and never for the same credential");
}

#[test]
fn unknown_outcome_keeps_the_response_until_the_rail_can_tell() {
    let mut world = World::new(7);
    let route = route(&world);
    // No key: nothing would be stored otherwise.
    let ask = world.paid(&Ask::post("/order", b"one"), &route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::OutcomeUnknown);
    assert_eq!((world.state(), refused.challenges.len()), ("capturing", 0));
    world.restart();
    let answer = world.send(&ask, &route);
    let Answer::Replayed {
        status,
        body,
        receipt,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!((status, body), (200, b"reading 1".to_vec()));
    assert!(receipt.is_some());
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn recovery_delivers_what_was_earned_and_kept() {
    let mut world = World::new(8);
    let route = route(&world);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    let done = recover(&world);
    assert_eq!((done.settled, world.state()), (1, "delivered"));
    assert!(matches!(world.send(&ask, &route), Answer::Replayed { .. }));
    assert_eq!((world.handler.runs(), world.payments()), (1, 1));
}

#[test]
fn response_that_was_not_kept_follows_the_failure_policy() {
    let cases = [
        (OnFailure::Retry, Ask::get("/large"), "delivered", 2),
        (OnFailure::Retry, Ask::post("/large", b"x"), "refunded", 1),
        (OnFailure::Refund, Ask::get("/large"), "refunded", 1),
        (OnFailure::Keep, Ask::get("/large"), "delivered", 1),
    ];
    for (policy, ask, ends, runs) in cases {
        let mut world = World::new(9);
        let route = route(&world).on_failure(policy);
        let ask = world.paid(&ask, &route);
        world.handler.script([Run::AnswersLarge, Run::Answers(200)]);
        world.rail.script([Step::lost_answer()]);
        world.rail.script_lookups([LookupStep::unavailable()]);
        assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
        world.restart();
        drop(world.send(&ask, &route));
        assert_eq!(world.state(), ends, "{policy:?}");
        assert_eq!(world.handler.runs(), runs, "{policy:?}");
        assert!(world.payments() == 1, "{policy:?}: taken once");
    }
}

#[test]
fn capture_that_never_reached_the_rail_is_executed_for_its_credential_only() {
    let mut world = World::new(10);
    let route = route(&world);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_request()]);
    world
        .rail
        .script_lookups([LookupStep::pending(), LookupStep::pending()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    assert_eq!(recover(&world).left, 1);
    assert_eq!(world.payments(), 0, "nobody is charged behind a client");
    assert!(matches!(world.send(&ask, &route), Answer::Replayed { .. }));
    assert_eq!((world.payments(), world.handler.runs()), (1, 1));
}

#[test]
fn nothing_is_executed_for_a_response_that_is_lost() {
    let mut world = World::new(14);
    let route = route(&world);
    let ask = world.paid(&Ask::post("/large", b"x"), &route);
    world.handler.script([Run::AnswersLarge]);
    world.rail.script([Step::lost_request()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.restart();
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    assert_eq!((world.payments(), world.state()), (0, "capturing"));
    world.pass(REPLAYABLE_MS);
    world.rail.script([Step::refused(RefusalKind::Expired)]);
    assert_eq!((recover(&world).failed, world.state()), (1, "failed"));
    assert_eq!((world.payments(), world.handler.runs()), (0, 1));
}

#[test]
fn response_that_is_kept_no_longer_is_not_paid_for() {
    let world = World::new(15);
    let route = route(&world)
        .on_failure(OnFailure::Refund)
        .resume_window(Duration::from_millis(RESUME_WINDOW_MS / 2));
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_request()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    world.pass(RESUME_WINDOW_MS / 2);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    assert_eq!((world.payments(), world.state()), (0, "capturing"));
}

#[test]
fn handlers_at_work_before_their_payments_settle_are_bounded() {
    let world = World::new(16);
    let route = Arc::new(route(&world));
    let admit = |ask: Ask| {
        let (gate, route) = (world.gate.clone(), Arc::clone(&route));
        world.run(async move {
            let lines: Vec<&[u8]> = ask.authorization.iter().map(|it| it.as_slice()).collect();
            let request = Request {
                method: "GET",
                target: "/reading",
                authorization: &lines,
                accept_payment: &[],
                accept_language: &[],
                idempotency_key: &[],
                body: BodyState::None,
            };
            gate.admit_at(&request, &route).await
        })
    };
    let fresh = || world.paid(&Ask::get("/reading"), &route);
    let mut grants = Vec::new();
    for _ in 0..UNSETTLED_MAX {
        match admit(fresh()) {
            Outcome::Serve(grant) => grants.push(grant),
            _ => panic!("not served"),
        }
    }
    let before = world.front.writes();
    let ask = fresh();
    let Outcome::Refuse(refused) = admit(ask.clone()) else {
        panic!("not refused");
    };
    assert_eq!(refused.problem.kind, Kind::Unavailable);
    assert_eq!(world.front.writes(), before, "nothing is claimed");
    let ended = grants.pop().unwrap();
    world.run(async move { ended.fail(PayeeFailure::NotReached).await });
    assert!(matches!(admit(ask), Outcome::Serve(_)));
}

#[test]
fn claims_that_nobody_comes_back_for_end_without_taking_anything() {
    let mut world = World::new(11);
    let route = route(&world).resume_window(Duration::from_millis(RESUME_WINDOW_MS / 2));
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    assert_eq!(world.state(), "authorised");
    world.restart();
    assert_eq!(recover(&world).left, 1, "the client may still come");
    world.pass(RESUME_WINDOW_MS);
    assert_eq!((recover(&world).failed, world.state()), (1, "failed"));
    assert_eq!(world.payments(), 0);
}

#[test]
fn proof_that_the_rail_accepts_no_more_starts_no_handler() {
    let world = World::new(12);
    let route = route(&world).resume_window(Duration::from_millis(10 * REPLAYABLE_MS));
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    world.pass(REPLAYABLE_MS);
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    assert_eq!((world.handler.runs(), world.payments()), (1, 0));
}

#[test]
fn many_with_one_credential_run_the_handler_once_and_pay_once() {
    for seed in 0..8 {
        let world = World::new(seed);
        let route = route(&world);
        let ask = world.paid(&Ask::get("/reading"), &route);
        let pricing = Pricing::Priced(Arc::new(route));
        let (_front, other) = world.another_gate();
        let gates = [world.gate.clone(), other];
        let slots: Vec<_> = (0..50)
            .map(|number| {
                let gate = gates[number % 2].clone();
                let handler = Arc::clone(&world.handler);
                world.start(exchange(gate, ask.clone(), pricing.clone(), handler))
            })
            .collect();
        world.pass(60_000);
        let answers = slots
            .iter()
            .map(|slot| slot.lock().unwrap().take().unwrap());
        let delivered = answers.filter(|it| matches!(it, Answer::Delivered { .. }));
        assert_eq!(delivered.count(), 1, "seed {seed}");
        assert_eq!(
            (world.handler.runs(), world.payments()),
            (1, 1),
            "seed {seed}"
        );
    }
}
