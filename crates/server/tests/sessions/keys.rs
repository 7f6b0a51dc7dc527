//! Requests under an Idempotency-Key: charged once, and answered as they were.

use std::{sync::Arc, time::Duration};

use stiver_core::{Receipt, problem::ProblemKind};
use stiver_server::{
    Route,
    limits::{SESSION_ANSWER_BYTES_MAX, SESSION_RERUNS_MAX},
    session::SessionFailure,
};
use stiver_store::{
    ChannelStore as _,
    limits::{CHANNEL_KEYS_MAX, SPEND_KEY_RETAIN_MS},
};
use stiver_testkit::{entropy::Random, escrow::EscrowPayer};

use crate::common::{Answer, Ask, COST, DEPOSIT, Run, World, exchange, get, member, usd};

const SAYS: Run = Run::Says("21 C");

/// What a receipt looks like on the wire.
fn line(receipt: &Receipt) -> Option<String> {
    Some(receipt.to_header())
}

fn post(credential: String) -> Ask {
    let mut ask = get(credential).method("POST");
    ask.body = Some(b"question");
    ask
}

#[test]
fn a_lost_answer_is_told_again_with_the_same_receipt_also_after_a_crash() {
    let mut world = World::new(1);
    let challenge = world.open();
    let first = get(world.payer.voucher(&challenge, COST * 2))
        .key("k")
        .run(SAYS);
    let receipt = world.send(first.clone()).served();
    let lost = (line(&receipt), b"21 C".to_vec());
    assert_eq!(world.send(first.clone()).again(), lost);
    // The channel goes on: the receipt is that of then.
    let next = get(world.payer.voucher(&challenge, COST * 3)).key("l");
    world.send(next.clone()).served();
    world.sim.run_for(Duration::from_secs(60));
    assert_eq!(world.send(first.clone()).again(), lost);
    world.restart();
    assert_eq!(
        world.send(first.clone()).again(),
        lost,
        "overtaken, and after a crash"
    );
    let higher = get(world.payer.voucher(&challenge, COST * 5)).key("k");
    assert_eq!(world.send(higher).again(), lost, "its voucher stands");
    let figures = world.figures();
    assert_eq!((figures.spent, figures.accepted), (COST * 3, COST * 5));
    assert_eq!(world.told(), [COST, COST, COST]);
    // After the close too: nothing is served, and nothing is taken.
    world
        .send(get(world.payer.close(&challenge, COST * 5)))
        .state();
    assert_eq!(world.send(first).again(), lost);
    assert_eq!(world.captured(), COST * 3);
}

#[test]
fn a_key_is_bound_to_its_request_and_to_its_channel() {
    let world = World::new(2);
    let challenge = world.open();
    let voucher = world.payer.voucher(&challenge, COST * 4);
    world.send(get(voucher.clone()).key("k").run(SAYS)).served();
    let mut elsewhere = get(voucher.clone()).key("k");
    elsewhere.target = "/reading?n=2";
    let mut with_body = post(voucher.clone()).key("k");
    for other in [elsewhere.clone(), with_body.clone(), elsewhere] {
        let refused = world.send(other).refused();
        assert_eq!(refused.problem.kind, ProblemKind::IdempotencyConflict);
        assert_eq!(refused.status(), 422);
    }
    with_body.body = Some(b"another");
    with_body.key = Some("b");
    world.send(with_body.clone().run(SAYS)).served();
    with_body.body = Some(b"question");
    assert_eq!(
        world.send(with_body).kind(),
        ProblemKind::IdempotencyConflict
    );
    assert_eq!(world.figures().spent, COST * 3);
    // Somebody else's key of the same name is another one.
    let other = EscrowPayer::new(2);
    let theirs = other.open(&world.challenge(), &usd(DEPOSIT), COST);
    world.send(get(theirs).key("k").run(SAYS)).served();
    // And so is that of another user of the same wallet.
    let mut user = get(voucher).key("k");
    user.authorization.push("Bearer somebody".to_owned());
    world.send(user).served();
    assert_eq!(world.figures().spent, COST * 4);
}

#[test]
fn a_safe_request_whose_answer_is_not_kept_runs_again_so_often_and_no_more() {
    let mut world = World::new(3);
    let challenge = world.open();
    let ask = get(world.payer.voucher(&challenge, COST * 2)).key("k");
    let first = world.send(ask.clone()).served();
    assert_eq!(member(&first, "spent"), "20");
    for n in 0..SESSION_RERUNS_MAX {
        if n == 1 {
            // How often it ran is no secret of one process.
            world.restart();
        }
        let again = world.send(ask.clone()).served();
        assert_eq!(
            (member(&again, "spent"), member(&again, "units")),
            ("20", "1")
        );
    }
    let refused = world.send(ask).refused();
    assert_eq!(refused.problem.kind, ProblemKind::AnswerNotKept);
    assert_eq!((refused.status(), refused.challenges.len()), (422, 0));
    let session = refused.problem.session.clone().unwrap();
    assert_eq!(
        (session.spent, session.accepted_cumulative),
        (Some(20), Some(20))
    );
    assert!(
        refused
            .body()
            .contains(r#""acceptedCumulative":"20","spent":"20""#)
    );
    assert_eq!(world.figures().spent, COST * 2);
    assert_eq!(world.told(), [COST, COST], "it was charged once");
}

#[test]
fn the_answer_of_a_run_without_a_charge_is_kept_too() {
    let world = World::new(4);
    let challenge = world.open();
    let ask = get(world.payer.voucher(&challenge, COST * 2)).key("k");
    world.send(ask.clone()).served();
    let failed = world.send(ask.clone().run(Run::Fails)).refused();
    assert_eq!(failed.problem.kind, ProblemKind::UpstreamFailed);
    assert_eq!(failed.retry_after, Some(1), "its runs are not used up");
    let again = world.send(ask.clone().run(SAYS)).served();
    let told = (line(&again), b"21 C".to_vec());
    for _ in 0..5 {
        assert_eq!(world.send(ask.clone()).again(), told);
    }
    assert_eq!(world.figures().spent, COST * 2);
}

#[test]
fn an_unsafe_request_whose_answer_is_not_kept_is_told_so_and_never_run_again() {
    let world = World::new(5);
    let challenge = world.open();
    let large: &'static str = "x".repeat(SESSION_ANSWER_BYTES_MAX * 4 + 1).leak();
    for (n, run) in [(2, Run::Works), (3, Run::Says(large))] {
        let key = if n == 2 { "a" } else { "b" };
        let ask = post(world.payer.voucher(&challenge, COST * n)).key(key);
        world.send(ask.clone().run(run)).served();
        let refused = world.send(ask).refused();
        assert_eq!(refused.problem.kind, ProblemKind::AnswerNotKept);
        assert!(refused.problem.detail.contains("nor charged again"));
    }
    assert_eq!(world.figures().spent, COST * 3);
}

#[test]
fn what_is_taken_before_the_handler_runs_is_answered_again_as_well() {
    let mut world = World::new(6);
    let challenge = world.open();
    let keeps = world.offer().on_failure(SessionFailure::Keep);
    let keeps = Arc::new(Route::for_sessions(vec![keeps]).unwrap());
    let ask = get(world.payer.voucher(&challenge, COST * 2)).key("k");
    // Its handler fails, and it was charged: the same key may run it again.
    let failed = world.send_to(ask.clone().run(Run::Fails), &keeps).refused();
    assert_eq!(failed.problem.kind, ProblemKind::UpstreamFailed);
    assert_eq!(failed.retry_after, Some(1));
    let receipt = world.send_to(ask.clone().run(SAYS), &keeps).served();
    world.restart();
    let again = world.send_to(ask, &keeps).again();
    assert_eq!(again, (line(&receipt), b"21 C".to_vec()));
    let ask = post(world.payer.voucher(&challenge, COST * 3)).key("p");
    let failed = world.send_to(ask.clone().run(Run::Fails), &keeps).refused();
    assert_eq!(failed.retry_after, None, "it may have had its effect");
    assert_eq!(
        world.send_to(ask, &keeps).kind(),
        ProblemKind::AnswerNotKept
    );
    assert_eq!(world.figures().spent, COST * 3);
}

#[test]
fn of_many_at_once_under_one_key_one_is_served_and_charged() {
    for (seed, keeps) in [(7, false), (8, true)] {
        let world = World::new(seed);
        let challenge = world.open();
        let offer = match keeps {
            true => world.offer().on_failure(SessionFailure::Keep),
            false => world.offer(),
        };
        let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
        let ask = |n: u128| {
            get(world.payer.voucher(&challenge, COST * n))
                .key("k")
                .run(SAYS)
        };
        let start = |n| world.start(exchange(world.gate.clone(), ask(n), Arc::clone(&route)));
        let slots: Vec<_> = (2..10).map(start).collect();
        let mut other = ask(12);
        other.target = "/reading?n=2";
        let other = world.start(exchange(world.gate.clone(), other, Arc::clone(&route)));
        world.sim.run_until_idle();
        let other = other.lock().unwrap().take().unwrap();
        assert_eq!(other.kind(), ProblemKind::IdempotencyConflict);
        let mut served = 0;
        for slot in slots {
            match slot.lock().unwrap().take().unwrap() {
                Answer::Served(Some(_)) => served += 1,
                Answer::Again(..) => {}
                other => assert_eq!(other.kind(), ProblemKind::PaymentInProgress),
            }
        }
        assert_eq!((served, world.figures().spent), (1, COST * 2));
        world.send_to(ask(12), &route).again();
    }
}

#[test]
fn a_key_is_forgotten_after_its_hour_and_not_before() {
    let world = World::new(9);
    let challenge = world.open();
    let ask = get(world.payer.voucher(&challenge, COST * 2))
        .key("k")
        .run(SAYS);
    world.send(ask.clone()).served();
    world
        .sim
        .run_for(Duration::from_millis(SPEND_KEY_RETAIN_MS - 1_000));
    world.send(ask.clone()).again();
    world.sim.run_for(Duration::from_secs(2));
    let (status, receipt) = world.send(ask).state();
    assert_eq!((status, member(&receipt, "spent")), (200, "20"));
    let fresh = get(world.payer.voucher(&challenge, COST * 3)).key("k");
    world.send(fresh).served();
}

#[test]
fn a_channel_that_uses_too_many_keys_is_told_to_wait_and_is_served_without_one() {
    let world = World::new(10);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(1 << 60), 1 << 50);
    world.send(get(open)).served();
    // Straight to the store: so many requests take long through the gate.
    let (store, id) = (world.store.clone(), world.payer.channel());
    world.run(async move {
        let most = u64::try_from(CHANNEL_KEYS_MAX).unwrap();
        for first in (0..most).step_by(4_096) {
            let each = (first..first + 4_096).map(|n| store.channel(spend(id, n)));
            for reply in futures_util::future::join_all(each).await {
                assert!(reply.is_ok());
            }
        }
    });
    let before = world.figures();
    let voucher = world.payer.voucher(&challenge, 1 << 51);
    let refused = world.send(get(voucher.clone()).key("k")).refused();
    assert_eq!(refused.problem.kind, ProblemKind::TooManyRequests);
    assert!(refused.retry_after.is_some_and(|it| (1..=60).contains(&it)));
    assert_eq!(world.figures().spent, before.spent);
    world.send(get(voucher)).served();
}

fn spend(id: stiver_channel::ChannelId, n: u64) -> stiver_store::ChannelCommand {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    let present = stiver_store::Present {
        id,
        rules: stiver_channel::Rules {
            caps: stiver_channel::Caps::LEDGER,
            voucher_delta_min: 0,
        },
        voucher: None,
        take: stiver_store::Take::Spend(1),
        key: Some(stiver_store::SpendKey {
            key,
            request: [0; 32],
        }),
        reruns: 0,
    };
    stiver_store::ChannelCommand::Present(Box::new(present))
}

/// One request under a key, its power cut after so many writes, and asked again.
fn cut_off(cut: u64, run: Run) -> (bool, Answer, u128) {
    let mut world = World::new(100 + cut);
    let challenge = world.open();
    let ask = get(world.payer.voucher(&challenge, COST * 2)).key("k");
    world.sim.disk.cut_power_after(cut);
    let it = exchange(world.gate.clone(), ask.clone().run(run), world.route());
    let slot = world.start(it);
    for _ in 0..Random::new(cut).below(200) {
        world.sim.executor.step();
    }
    let heard = slot.lock().unwrap().take();
    world.restart();
    let answer = world.send(ask.run(SAYS));
    (
        matches!(heard, Some(Answer::Served(_))),
        answer,
        world.figures().spent,
    )
}

#[test]
fn a_process_that_dies_between_any_two_steps_charges_once_and_answers_in_the_end() {
    let (mut told_again, mut served_anew) = (0, 0);
    for cut in 0..60 {
        let (heard, answer, spent) = cut_off(cut, SAYS);
        assert_eq!(spent, COST * 2, "cut {cut}");
        match answer {
            Answer::Again(receipt, body) => {
                assert_eq!(body, b"21 C", "cut {cut}");
                assert!(receipt.is_some(), "cut {cut}");
                told_again += 1;
            }
            // What it had reserved was free again.
            Answer::Served(Some(_)) if !heard => served_anew += 1,
            other => panic!("cut {cut}, heard {heard}: {other:?}"),
        }
    }
    assert!(
        told_again > 5 && served_anew > 5,
        "{told_again}, {served_anew}"
    );
}
