//! The same credential again, at every state of the journal, on a rail that is slow, loses answers,
//! settles late and lies.

use std::{sync::Arc, time::Duration};

use crate::common::{Answer, Ask, PRICE, Run, World};
use stiver_core::problem::ProblemKind as Kind;
use stiver_method::artefact::RefusalKind;
use stiver_server::{
    grant::PayeeFailure,
    limits::{LEASE_MS, RAIL_MS_MAX, RESUME_WINDOW_MS},
    route::{OnFailure, UpstreamRepeats},
};
use stiver_testkit::{
    rail::{Gate as RailGate, LookupStep, Step},
    store_memory::Fault,
};

/// Money moved once, and the handler delivered once.
#[track_caller]
fn once(world: &World) {
    assert_eq!((world.payments(), world.handler.delivered()), (1, 1));
    assert_eq!(world.state(), "delivered");
}

#[test]
fn paid_request_is_settled_and_delivered_once() {
    let world = World::new(1);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let receipt = world.send(&ask, &route).delivered();
    once(&world);
    let receipt = stiver_core::Receipt::parse(receipt.as_bytes()).unwrap();
    assert_eq!(receipt.reference, "hostile-1");
    let text = |name: &str| receipt.extra[name].as_str().unwrap().to_owned();
    assert_eq!(text("payer"), "alice");
    assert_eq!(text("payee"), "merchant");
    assert_eq!(text("amount"), PRICE.to_string());
    assert_eq!(text("currency"), "usd");
    assert_eq!(text("resource"), "GET /reading");
    let paid = world.handler.seen().remove(0);
    assert_eq!(paid.payer.as_deref(), Some("alice"));
    assert_eq!(paid.amount.units(), PRICE);
    assert_eq!(receipt.challenge_id.unwrap().as_str(), &*paid.challenge_id);
}

#[test]
fn three_writes_carry_a_paid_request() {
    let world = World::new(2);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.send(&ask, &route).delivered();
    let writes = world.front.writes();
    assert_eq!(writes, ["claim", "settled and deliver", "delivered"]);
}

#[test]
fn crash_at_any_arrow_ends_in_one_movement_and_one_delivery() {
    for carried_out in [true, false] {
        for number in 1..=3 {
            let mut world = World::new(u64::try_from(number).unwrap());
            let route = world.route();
            let ask = world.paid(&Ask::get("/reading"), &route).key("k");
            world.front.die_at(number, carried_out);
            let answer = world.start(crate::common::exchange(
                world.gate.clone(),
                ask.clone(),
                stiver_server::Pricing::Priced(Arc::new(route.clone())),
                Arc::clone(&world.handler),
            ));
            world.sim.run_until_idle();
            assert!(world.front.has_died(), "{number} {carried_out}");
            assert!(answer.lock().unwrap().is_none());
            assert_eq!(world.handler.delivered(), 0);
            world.restart();
            match world.send(&ask, &route) {
                // The last write was durable: it counts as delivered, and is repeated.
                Answer::Replayed {
                    status: 200,
                    receipt: Some(_),
                    ..
                } => {
                    assert_eq!((number, carried_out), (3, true));
                    assert_eq!(world.handler.runs(), 1);
                }
                Answer::Delivered { receipt: Some(_) } => {
                    assert_ne!((number, carried_out), (3, true));
                    assert_eq!(world.handler.delivered(), 1);
                }
                other => panic!("{number} {carried_out}: {other:?}"),
            }
            assert_eq!(world.payments(), 1, "{number} {carried_out}");
            assert_eq!(world.state(), "delivered");
        }
    }
}

#[test]
fn crash_during_the_rail_call_ends_in_one_movement_and_one_delivery() {
    let closed = || (RailGate::closed(), RailGate::closed());
    for after in [false, true] {
        let mut world = World::new(5);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route);
        let (before_gate, after_gate) = closed();
        let step = if after {
            Step::honest().holding_answer(&after_gate)
        } else {
            Step::slow(&before_gate)
        };
        world.rail.script([step]);
        let answer = world.start(crate::common::exchange(
            world.gate.clone(),
            ask.clone(),
            stiver_server::Pricing::Priced(Arc::new(route.clone())),
            Arc::clone(&world.handler),
        ));
        world.sim.run_until_idle();
        assert!(answer.lock().unwrap().is_none());
        assert_eq!(world.payments(), usize::from(after));
        assert_eq!(world.state(), "settling");
        world.restart();
        world.send(&ask, &route).delivered();
        once(&world);
    }
}

#[test]
fn lost_answer_is_found_by_looking_up() {
    let world = World::new(6);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_answer()]);
    world.send(&ask, &route).delivered();
    once(&world);
}

#[test]
fn unknown_outcome_is_a_503_without_a_challenge_and_the_same_credential_goes_on() {
    let world = World::new(7);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::unavailable()]);
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::OutcomeUnknown);
    assert_eq!(refused.status(), 503);
    assert!(refused.challenges.is_empty() && refused.retry_after.is_some());
    assert_eq!(world.state(), "settling");
    world.send(&ask, &route).delivered();
    once(&world);
}

#[test]
fn lost_request_is_executed_again_by_the_same_credential() {
    let world = World::new(8);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lost_request()]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    assert_eq!(world.payments(), 0);
    world.send(&ask, &route).delivered();
    once(&world);
}

#[test]
fn late_settlement_is_waited_for_and_delivered_once() {
    let world = World::new(9);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::late(4)]);
    let mut refusals = 0;
    loop {
        match world.send(&ask, &route) {
            Answer::Refused(refused) => {
                assert_eq!(refused.problem.kind, Kind::OutcomeUnknown);
                assert!(refused.challenges.is_empty());
                refusals += 1;
                assert!(refusals < 10);
            }
            Answer::Delivered { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(refusals > 0);
    once(&world);
}

#[test]
fn slow_rail_is_unknown_after_the_limit_and_resumes_when_it_answers() {
    let world = World::new(10);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let gate = RailGate::closed();
    world.rail.script([Step::honest().holding_answer(&gate)]);
    world
        .rail
        .script_lookups([LookupStep::honest().behind(&gate)]);
    let before = world.sim.env().clock.monotonic();
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    let waited = world.sim.env().clock.monotonic() - before;
    assert_eq!(waited, Duration::from_millis(2 * RAIL_MS_MAX));
    gate.open();
    world.send(&ask, &route).delivered();
    once(&world);
}

#[test]
fn refusals_of_the_rail_have_their_problem_and_a_fresh_challenge_and_stay() {
    for (kind, problem, challenges) in [
        (RefusalKind::Invalid, Kind::VerificationFailed, 1),
        (RefusalKind::Insufficient, Kind::PaymentInsufficient, 1),
        (RefusalKind::Expired, Kind::PaymentExpired, 1),
        (RefusalKind::AlreadyUsed, Kind::VerificationFailed, 1),
        (RefusalKind::Denied, Kind::Forbidden, 0),
    ] {
        let world = World::new(11);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route);
        world.rail.script([Step::refused(kind)]);
        for _ in 0..2 {
            let refused = world.send(&ask, &route).refused();
            assert_eq!(refused.problem.kind, problem);
            assert_eq!(refused.challenges.len(), challenges);
            assert!(refused.problem.detail.contains("the hostile rail refuses"));
        }
        assert_eq!(world.state(), "failed");
        assert_eq!((world.payments(), world.handler.runs()), (0, 0));
    }
}

#[test]
fn lapsed_payment_fails_for_good_and_a_new_one_works() {
    let world = World::new(12);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lapses(1)]);
    assert_eq!(world.send(&ask, &route).kind(), Kind::OutcomeUnknown);
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::VerificationFailed);
    let again = ask.clone().credential(&world.pay(&refused.challenges[0]));
    world.send(&again, &route).delivered();
    assert_eq!(world.payments(), 1);
}

#[test]
fn settlement_of_another_amount_or_payee_delivers_nothing_and_is_refunded() {
    for step in [Step::lying_units(1), Step::lying_payee("mallory")] {
        let world = World::new(13);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route);
        world.rail.script([step]);
        for _ in 0..2 {
            let refused = world.send(&ask, &route).refused();
            assert_eq!(refused.problem.kind, Kind::Internal);
            assert!(refused.challenges.is_empty());
        }
        assert_eq!((world.handler.runs(), world.state()), (0, "settled"));
        let gate = world.gate.clone();
        world.run(async move { gate.recover().await }).unwrap();
        assert_eq!((world.handler.runs(), world.state()), (0, "refunded"));
    }
}

#[test]
fn more_than_was_asked_is_delivered() {
    let world = World::new(14);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.rail.script([Step::lying_units(PRICE + 1)]);
    world.send(&ask, &route).delivered();
    once(&world);
}

#[test]
fn handler_that_dies_is_run_again_for_the_same_credential() {
    let world = World::new(15);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Dies]);
    assert!(matches!(world.send(&ask, &route), Answer::Died));
    world.send(&ask, &route).delivered();
    assert_eq!(world.handler.runs(), 2);
    once(&world);
    let keys: Vec<_> = world
        .handler
        .seen()
        .into_iter()
        .map(|paid| paid.upstream_key)
        .collect();
    assert_eq!(
        keys[0], keys[1],
        "the upstream can tell that it is one payment"
    );
    assert_eq!(keys[0].len(), 22);
}

#[test]
fn client_that_goes_away_while_settling_loses_nothing() {
    let world = World::new(16);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    let gate = RailGate::closed();
    world.rail.script([Step::honest().holding_answer(&gate)]);
    {
        let request = crate::common::exchange(
            world.gate.clone(),
            ask.clone(),
            stiver_server::Pricing::Priced(Arc::new(route.clone())),
            Arc::clone(&world.handler),
        );
        let clock = world.sim.env().clock.clone();
        world.run(async move {
            let patience = clock.sleep(Duration::from_secs(1));
            let request = std::pin::pin!(request);
            let first = futures_util::future::select(request, patience).await;
            assert!(matches!(first, futures_util::future::Either::Right(_)));
        });
    }
    gate.open();
    assert_eq!(world.payments(), 1);
    world.send(&ask, &route).delivered();
    once(&world);
}

/// What the same credential gets after a failure.
#[derive(Debug, Clone, Copy)]
enum Then {
    Served,
    Refunded,
    Kept,
}

/// Fails one run under a policy, and sends the same credential again.
fn fail_once(
    policy: OnFailure,
    (ask, repeats): (&Ask, UpstreamRepeats),
    failure: PayeeFailure,
    then: Then,
) {
    let case = format!("{policy:?} {} {repeats:?} {failure:?}", ask.method);
    let world = World::new(17);
    let route = world.route().on_failure(policy).upstream_repeats(repeats);
    let paid = world.paid(ask, &route);
    world.handler.script([Run::Fails(failure)]);
    let refused = world.send(&paid, &route).refused();
    assert_eq!(refused.problem.kind, Kind::UpstreamFailed, "{case}");
    assert!(refused.challenges.is_empty(), "{case}");
    let price = i128::try_from(PRICE).unwrap();
    let (state, balance, status, says) = match then {
        Then::Served => {
            assert_eq!(world.state(), "settled", "{case}");
            world.send(&paid, &route).delivered();
            assert_eq!(world.handler.runs(), 2, "{case}");
            return once(&world);
        }
        Then::Refunded => ("refunded", 0, 402, "refunded"),
        Then::Kept => ("delivered", price, 502, "kept"),
    };
    assert_eq!(world.state(), state, "{case}");
    let refused = world.send(&paid, &route).refused();
    assert_eq!(refused.status(), status, "{case}");
    assert_eq!(refused.challenges.is_empty(), status != 402, "{case}");
    assert!(refused.problem.detail.contains(says), "{case}");
    assert_eq!(world.rail.balance("merchant"), balance, "{case}");
    assert_eq!((world.payments(), world.handler.runs()), (1, 1), "{case}");
}

#[test]
fn upstream_failure_follows_the_route() {
    let (down, cut) = (PayeeFailure::NotReached, PayeeFailure::MayHaveRun);
    let (get, post) = (Ask::get("/reading"), Ask::post("/order", b"one"));
    let reading = (&get, UpstreamRepeats::ByMethod);
    let order = (&post, UpstreamRepeats::ByMethod);
    let keyed = (&post, UpstreamRepeats::HonoursKey);
    fail_once(OnFailure::Retry, reading, down, Then::Served);
    fail_once(OnFailure::Retry, reading, cut, Then::Served);
    fail_once(OnFailure::Retry, order, down, Then::Served);
    fail_once(OnFailure::Retry, keyed, cut, Then::Served);
    fail_once(OnFailure::Retry, order, cut, Then::Refunded);
    fail_once(OnFailure::Refund, reading, down, Then::Refunded);
    fail_once(OnFailure::Refund, keyed, cut, Then::Refunded);
    fail_once(OnFailure::Keep, reading, down, Then::Kept);
    fail_once(OnFailure::Keep, keyed, cut, Then::Kept);
}

#[test]
fn payment_is_kept_where_the_method_cannot_refund() {
    let world = World::new(18);
    world.rail.refuse_refunds();
    let route = world.route().on_failure(OnFailure::Refund);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    let refused = world.send(&ask, &route).refused();
    assert!(
        refused.problem.detail.contains("kept"),
        "{}",
        refused.problem.detail
    );
    assert_eq!(world.state(), "delivered");
    let refused = world.send(&ask, &route).refused();
    assert_eq!((refused.status(), refused.challenges.len()), (502, 0));
}

#[test]
fn attempts_are_bounded_and_then_the_payment_goes_back() {
    let world = World::new(19);
    let route = world.route().attempts_max(3);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world
        .handler
        .script([Run::Fails(PayeeFailure::MayHaveRun); 3]);
    for run in 1..=3 {
        let refused = world.send(&ask, &route).refused();
        assert_eq!(refused.problem.kind, Kind::UpstreamFailed);
        assert_eq!(refused.problem.detail.contains("was refunded"), run == 3);
    }
    assert_eq!((world.handler.runs(), world.state()), (3, "refunded"));
    assert_eq!(world.rail.balance("alice"), 0);
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
}

#[test]
fn handlers_that_die_are_bounded_like_those_that_fail() {
    let world = World::new(20);
    let route = world.route().attempts_max(2);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Dies, Run::Dies]);
    for _ in 0..2 {
        assert!(matches!(world.send(&ask, &route), Answer::Died));
    }
    let refused = world.send(&ask, &route).refused();
    assert_eq!(refused.problem.kind, Kind::UpstreamFailed);
    assert_eq!((world.handler.runs(), world.state()), (2, "refunded"));
}

#[test]
fn lost_run_of_a_request_that_may_not_be_repeated_is_refunded() {
    let world = World::new(21);
    let route = world.route();
    let ask = world.paid(&Ask::post("/order", b"one"), &route);
    world.handler.script([Run::Dies]);
    assert!(matches!(world.send(&ask, &route), Answer::Died));
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    assert_eq!((world.handler.runs(), world.state()), (1, "refunded"));
}

#[test]
fn resume_window_ends_further_runs() {
    let world = World::new(22);
    let route = world.route();
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::NotReached)]);
    world.send(&ask, &route).refused();
    world.pass(RESUME_WINDOW_MS);
    assert_eq!(world.send(&ask, &route).kind(), Kind::UpstreamFailed);
    assert_eq!((world.handler.runs(), world.state()), (1, "refunded"));
}

#[test]
fn unanswered_refund_stays_open_and_is_made_once() {
    let world = World::new(23);
    let route = world.route().on_failure(OnFailure::Refund);
    let ask = world.paid(&Ask::get("/reading"), &route);
    world.handler.script([Run::Fails(PayeeFailure::MayHaveRun)]);
    world.rail.script_refunds([Step::lost_answer()]);
    world.rail.script_lookups([LookupStep::pending()]);
    let refused = world.send(&ask, &route).refused();
    assert!(refused.problem.detail.contains("is being refunded"));
    assert_eq!(world.state(), "refunding");
    assert_eq!(world.send(&ask, &route).kind(), Kind::InvalidChallenge);
    assert_eq!(
        (world.state(), world.rail.balance("alice")),
        ("refunded", 0)
    );
    assert_eq!(world.rail.movements().len(), 2);
}

#[test]
fn status_below_500_is_a_delivery_and_only_success_has_a_receipt() {
    for (status, receipt) in [(200, true), (304, true), (404, false), (422, false)] {
        let world = World::new(24);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route).key("k");
        world.handler.script([Run::Answers(status)]);
        let Answer::Delivered { receipt: first } = world.send(&ask, &route) else {
            panic!("{status}");
        };
        assert_eq!(first.is_some(), receipt, "{status}");
        let Answer::Replayed {
            status: again,
            receipt: second,
            ..
        } = world.send(&ask, &route)
        else {
            panic!("{status}");
        };
        assert_eq!((again, second), (status, first), "{status}");
        assert_eq!(world.handler.runs(), 1);
    }
}

#[test]
fn journal_that_loses_one_command_or_answer_is_asked_again() {
    for fault in [Fault::LosesCommand, Fault::LosesAnswer] {
        for number in 0..3 {
            let world = World::new(25);
            let route = world.route();
            let ask = world.paid(&Ask::get("/reading"), &route);
            let before = std::iter::repeat_n(Fault::None, number);
            world.memory.script(before.chain([fault]));
            world.send(&ask, &route).delivered();
            once(&world);
        }
    }
}

#[test]
fn journal_that_loses_a_take_over_is_asked_again() {
    for fault in [Fault::LosesCommand, Fault::LosesAnswer] {
        for number in 0..4 {
            let world = World::new(26);
            let route = world.route();
            let ask = world.paid(&Ask::get("/reading"), &route);
            world.handler.script([Run::Dies]);
            world.send(&ask, &route);
            world.sim.run_until_idle();
            // get, take over, delivery failed, take over, deliver, delivered.
            let before = std::iter::repeat_n(Fault::None, number);
            world.memory.script(before.chain([fault]));
            world.send(&ask, &route).delivered();
            once(&world);
        }
    }
}

#[test]
fn journal_that_stays_silent_never_asks_for_another_payment() {
    for number in 0..3 {
        let world = World::new(27);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route);
        let before = std::iter::repeat_n(Fault::None, number);
        world
            .memory
            .script(before.chain([Fault::LosesAnswer, Fault::LosesCommand]));
        let refused = world.send(&ask, &route).refused();
        assert_eq!((refused.status(), refused.challenges.len()), (503, 0));
        assert!(refused.retry_after.is_some());
        assert_eq!(world.handler.delivered(), 0);
        world.pass(LEASE_MS);
        match world.send(&ask, &route) {
            Answer::Delivered { .. } => assert_eq!(world.handler.delivered(), 1),
            // The lost answer was that of the delivery: it counts as delivered.
            Answer::Refused(refused) => {
                assert_eq!(number, 2);
                assert!(refused.problem.detail.contains("already redeemed"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.payments(), 1);
    }
}
