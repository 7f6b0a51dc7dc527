//! What vouchers buy.

use std::{sync::Arc, time::Duration};
use stiver_core::problem::ProblemKind;
use stiver_server::{
    Route,
    limits::CHALLENGE_LIFETIME_MS,
    session::{SessionFailure, SessionLimits},
};
use stiver_store::Command;
use stiver_store::Store as _;

use crate::common::{Answer, COST, DEPOSIT, Run, World, exchange, get, member, usd};

#[test]
fn an_open_pays_for_its_request_and_vouchers_pay_for_the_next() {
    let world = World::new(1);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
    let receipt = world.send(get(open)).served();
    assert_eq!(member(&receipt, "intent"), "session");
    assert_eq!(member(&receipt, "acceptedCumulative"), "10");
    assert_eq!(member(&receipt, "spent"), "10");
    assert_eq!(member(&receipt, "units"), "1");
    assert_eq!(member(&receipt, "channelId"), receipt.reference);
    assert_eq!(receipt.challenge_id, Some(challenge.id.clone()));
    for n in 2..=5 {
        let voucher = world.payer.voucher(&challenge, COST * n);
        let receipt = world.send(get(voucher)).served();
        assert_eq!(member(&receipt, "spent"), (COST * n).to_string());
    }
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (COST * 5, 0));
    assert_eq!(figures.deposit, DEPOSIT);
    assert_eq!(world.escrow.executions(), 1);
}

#[test]
fn an_open_whose_voucher_is_too_low_is_told_what_is_missing_and_its_channel_stands() {
    let world = World::new(30);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST - 1);
    let answer = world.send(get(open.clone()));
    assert_eq!(answer.problem().required_top_up, Some(1));
    let figures = world.figures();
    assert_eq!((figures.accepted, figures.spent), (COST - 1, 0));
    // Sent again it is known: the state, and no goods.
    let (status, receipt) = world.send(get(open)).state();
    assert_eq!((status, member(&receipt, "spent")), (200, "0"));
    world
        .send(get(world.payer.voucher(&challenge, COST)))
        .served();
    assert_eq!(world.escrow.executions(), 1);
}

#[test]
fn a_voucher_outlives_its_challenge_and_an_open_does_not() {
    let world = World::new(2);
    let challenge = world.open();
    let stale = world.challenge();
    world
        .sim
        .run_for(Duration::from_millis(CHALLENGE_LIFETIME_MS + 1));
    world
        .send(get(world.payer.voucher(&challenge, COST * 2)))
        .served();
    let other = stiver_testkit::escrow::EscrowPayer::new(2);
    let late = world.send(get(other.open(&stale, &usd(DEPOSIT), COST)));
    assert_eq!(late.kind(), ProblemKind::SessionChallengeNotFound);
    let late = world.send(get(world.payer.top_up(&stale, &usd(5), 1)));
    assert_eq!(late.kind(), ProblemKind::SessionChallengeNotFound);
    assert_eq!(world.escrow.executions(), 1);
}

#[test]
fn a_new_challenge_never_resets_what_was_spent() {
    let world = World::new(3);
    world.open();
    let fresh = world.challenge();
    let answer = world.send(get(world.payer.voucher(&fresh, COST)));
    let (status, receipt) = answer.state();
    assert_eq!((status, member(&receipt, "spent")), (200, "10"));
    assert_eq!(world.figures().spent, COST);
}

#[test]
fn an_equal_voucher_is_answered_with_the_state_and_with_the_resource_if_it_covers_it() {
    let world = World::new(4);
    let challenge = world.open();
    let voucher = world.payer.voucher(&challenge, COST * 3);
    world.send(get(voucher.clone())).served();
    // What is left of it covers one more request.
    world.send(get(voucher.clone())).served();
    let (status, receipt) = world.send(get(voucher)).state();
    assert_eq!((status, member(&receipt, "spent")), (200, "30"));
    // It says that nothing came with it.
    assert_eq!(member(&receipt, "units"), "0");
    let delivered = receipt.extra.get("delivered");
    assert_eq!(delivered, Some(&stiver_core::json::Value::Bool(false)));
    assert_eq!(world.figures().spent, COST * 3);
}

#[test]
fn too_low_a_voucher_is_told_what_is_missing_and_stands() {
    let world = World::new(5);
    let challenge = world.open();
    let answer = world.send(get(world.payer.voucher(&challenge, COST + 4)));
    let refused = answer.clone().refused();
    assert_eq!(
        refused.problem.kind,
        ProblemKind::SessionInsufficientBalance
    );
    assert_eq!(refused.status(), 402);
    assert_eq!(refused.challenges.len(), 1);
    assert_eq!(answer.problem().required_top_up, Some(6));
    assert!(refused.body().contains(r#""requiredTopUp":"6""#));
    assert_eq!((world.figures().accepted, world.figures().spent), (14, 10));
    world
        .send(get(world.payer.voucher(&challenge, COST * 2)))
        .served();
}

#[test]
fn a_handler_that_fails_costs_nothing_unless_the_offer_says_so() {
    let world = World::new(7);
    let challenge = world.open();
    let voucher = world.payer.voucher(&challenge, COST * 2);
    let failed = world.send(get(voucher.clone()).key("k").run(Run::Fails));
    assert_eq!(failed.kind(), ProblemKind::UpstreamFailed);
    assert_eq!((world.figures().spent, world.figures().reserved), (COST, 0));
    let dropped = world.send(get(voucher.clone()).key("k").run(Run::Dies));
    assert_eq!(dropped, Answer::Served(None));
    world.sim.run_until_idle();
    assert_eq!((world.figures().spent, world.figures().reserved), (COST, 0));
    world.send(get(voucher).key("k")).served();
    assert_eq!(
        world.told(),
        [COST, COST],
        "what was taken, and nothing else"
    );

    let keeps = world.offer().on_failure(SessionFailure::Keep);
    let keeps = Arc::new(Route::for_sessions(vec![keeps]).unwrap());
    let voucher = world.payer.voucher(&challenge, COST * 3);
    let failed = world.send_to(get(voucher).run(Run::Fails), &keeps);
    assert_eq!(failed.kind(), ProblemKind::UpstreamFailed);
    assert_eq!(world.figures().spent, COST * 3);
}

#[test]
fn head_and_an_empty_post_bring_vouchers_and_ask_for_nothing() {
    let world = World::new(8);
    let challenge = world.open();
    for (n, method) in [(2, "HEAD"), (3, "POST")] {
        let ask = get(world.payer.voucher(&challenge, COST * n)).method(method);
        let (status, receipt) = world.send(ask.clone()).state();
        assert_eq!((status, member(&receipt, "spent")), (204, "10"));
        let (status, _) = world.send(ask).state();
        assert_eq!(status, 200, "nothing is new");
    }
    assert_eq!(world.figures().accepted, COST * 3);
    // A body asks for something.
    let mut post = get(world.payer.voucher(&challenge, COST * 3)).method("POST");
    post.body = Some(b"question");
    world.send(post).served();
    assert_eq!(world.figures().spent, COST * 2);
}

#[test]
fn vouchers_that_are_sent_in_order_are_all_served_and_a_lower_one_buys_nothing() {
    let world = World::new(9);
    let challenge = world.open();
    let route = world.route();
    let send = |n: u128| {
        let ask = get(world.payer.voucher(&challenge, COST * n));
        exchange(world.gate.clone(), ask, Arc::clone(&route))
    };
    let together = futures_util::future::join_all((2..10).map(send));
    let answers = world.run(together);
    assert!(
        answers
            .iter()
            .all(|it| matches!(it, Answer::Served(Some(_))))
    );
    let mixed = [13, 11, 12, 14].map(send);
    let answers = world.run(futures_util::future::join_all(mixed));
    let served = answers
        .iter()
        .filter(|it| matches!(it, Answer::Served(Some(_))));
    let served = u128::try_from(served.count()).unwrap();
    assert_eq!(world.figures().spent, COST * (9 + served));
    assert!((2..4).contains(&served), "{served}");
}

#[test]
fn a_channel_keeps_to_its_rate_of_vouchers() {
    let limits = SessionLimits {
        vouchers_per_second: 3,
        ..SessionLimits::default()
    };
    let world = World::with(10, limits);
    let challenge = world.open();
    let send = |n| world.send(get(world.payer.voucher(&challenge, COST * n)));
    send(2).served();
    send(3).served();
    let refused = send(4).refused();
    assert_eq!(refused.problem.kind, ProblemKind::TooManyRequests);
    assert_eq!(refused.retry_after, Some(1));
    assert_eq!(world.figures().accepted, COST * 3);
    world.sim.run_for(Duration::from_secs(1));
    send(4).served();
}

#[test]
fn what_is_reserved_when_the_process_dies_is_free_again() {
    let mut world = World::new(11);
    let challenge = world.open();
    let ask = get(world.payer.voucher(&challenge, COST * 2));
    let route = world.route();
    let gate = world.gate.clone();
    // The handler never ends.
    let reserved = world.start(async move {
        let lines = [ask.authorization[0].as_bytes()];
        let request = stiver_server::Request {
            method: "GET",
            target: "/reading",
            authorization: &lines,
            accept_payment: &[],
            accept_language: &[],
            idempotency_key: &[],
            body: stiver_server::BodyState::None,
        };
        let outcome = gate.admit_at(&request, &route).await;
        std::future::pending::<()>().await;
        drop(outcome);
    });
    world.sim.run_until_idle();
    assert!(reserved.lock().unwrap().is_none());
    assert_eq!(world.figures().reserved, COST);
    world.restart();
    let figures = world.figures();
    assert_eq!((figures.reserved, figures.spent), (0, COST));
    assert_eq!(figures.accepted, COST * 2);
    world
        .send(get(world.payer.voucher(&challenge, COST * 2)))
        .served();
    let counts = world.store.clone();
    let counts = world.run(async move { counts.submit(Command::Count).await });
    assert!(counts.is_ok());
}
