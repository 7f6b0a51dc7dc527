//! Channels are funded once, whatever the rail says and whenever the process dies.

use std::{sync::Arc, time::Duration};

use stiver_core::problem::ProblemKind;
use stiver_method::session::{ChannelState, Ended};
use stiver_server::{gate::RefundFailure, limits::LEASE_MS, session::SessionLimits};
use stiver_store::ChannelStore as _;
use stiver_testkit::{
    escrow::{Does, EscrowPayer},
    fixtures,
};

use crate::common::{Answer, COST, DEPOSIT, World, exchange, get, member, usd};

#[test]
fn an_open_that_comes_again_opens_nothing_and_is_charged_nothing() {
    let world = World::new(1);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
    world.send(get(open.clone())).served();
    let (status, receipt) = world.send(get(open)).state();
    assert_eq!((status, member(&receipt, "spent")), (200, "10"));
    assert_eq!((world.escrow.channels(), world.escrow.executions()), (1, 1));
}

#[test]
fn many_of_one_open_at_once_fund_one_channel() {
    let world = World::new(2);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
    let route = world.route();
    let mut slots = Vec::new();
    for _ in 0..8 {
        let it = exchange(world.gate.clone(), get(open.clone()), Arc::clone(&route));
        slots.push(world.start(it));
    }
    world.sim.run_until_idle();
    let answers = slots.iter().filter_map(|slot| slot.lock().unwrap().take());
    let served = answers
        .filter(|it| matches!(it, Answer::Served(Some(_))))
        .count();
    assert_eq!(served, 1, "one voucher pays for one request");
    assert_eq!((world.escrow.channels(), world.figures().spent), (1, COST));
}

#[test]
fn a_challenge_opens_one_channel_and_a_proof_is_used_once() {
    let world = World::new(3);
    let challenge = world.open();
    let other = EscrowPayer::new(2);
    let taken = world.send(get(other.open(&challenge, &usd(DEPOSIT), COST)));
    assert_eq!(taken.kind(), ProblemKind::SessionChallengeNotFound);
    let again = world.challenge();
    let again = world.payer.open(&again, &usd(DEPOSIT * 5), COST);
    assert_eq!(
        world.send(get(again)).kind(),
        ProblemKind::VerificationFailed
    );
    assert_eq!((world.escrow.channels(), world.escrow.executions()), (1, 1));
    assert_eq!(world.figures().deposit, DEPOSIT);
}

#[test]
fn an_unknown_outcome_is_looked_up_when_the_same_credential_comes_again() {
    for lost in [Does::LosesAnswer, Does::LosesQuestion] {
        let world = World::new(4);
        let challenge = world.challenge();
        let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
        world.escrow.script([lost]);
        let answer = world.send(get(open.clone()));
        match lost {
            // It was found by looking at once.
            Does::LosesAnswer => drop(answer.served()),
            _ => {
                assert_eq!(answer.kind(), ProblemKind::OutcomeUnknown);
                assert_eq!(world.escrow.channels(), 0);
                world.send(get(open)).served();
            }
        }
        assert_eq!((world.escrow.channels(), world.figures().spent), (1, COST));
    }
}

#[test]
fn an_open_that_the_rail_refuses_leaves_nothing() {
    let world = World::new(5);
    let challenge = world.challenge();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
    world.escrow.script([Does::Refuses]);
    for _ in 0..2 {
        let refused = world.send(get(open.clone()));
        assert_eq!(refused.kind(), ProblemKind::VerificationFailed);
    }
    assert_eq!((world.escrow.channels(), world.figures().deposit), (0, 0));
}

#[test]
fn a_top_up_raises_the_deposit_once() {
    let world = World::new(6);
    let challenge = world.open();
    let over = world.payer.voucher(&challenge, DEPOSIT + COST);
    let refused = world.send(get(over.clone()));
    assert_eq!(refused.kind(), ProblemKind::SessionAmountExceedsDeposit);
    let fresh = world.challenge();
    let top_up = world.payer.top_up(&fresh, &usd(500), 1);
    for _ in 0..3 {
        let (status, receipt) = world.send(get(top_up.clone())).state();
        assert_eq!((status, member(&receipt, "spent")), (204, "10"));
    }
    // The same proof under another challenge.
    let other = world.payer.top_up(&world.challenge(), &usd(500), 1);
    assert_eq!(
        world.send(get(other)).kind(),
        ProblemKind::VerificationFailed
    );
    assert_eq!(world.figures().deposit, DEPOSIT + 500);
    let truth = world.escrow.truth(&world.payer.channel()).unwrap();
    assert_eq!(truth.deposit, DEPOSIT + 500);
    world.send(get(over)).served();
}

#[test]
fn a_channel_that_cannot_be_kept_is_not_funded() {
    let limits = SessionLimits {
        channels_max: 1,
        ..SessionLimits::default()
    };
    let world = World::with(7, limits);
    world.open();
    let second = EscrowPayer::new(2);
    let refused = world.send(get(second.open(&world.challenge(), &usd(DEPOSIT), COST)));
    assert_eq!(refused.kind(), ProblemKind::Unavailable);
    assert_eq!(world.escrow.executions(), 1);
}

/// A process that dies at any write of an open or a top-up leaves what recovery, or the same
/// credential, finishes.
#[test]
fn funding_that_is_cut_off_anywhere_is_finished_once() {
    let mut reached = 0;
    for cut in 1..40 {
        let mut world = World::new(100 + cut);
        let challenge = world.challenge();
        let open = world.payer.open(&challenge, &usd(DEPOSIT), COST);
        world.sim.disk.cut_power_after(cut);
        let it = exchange(world.gate.clone(), get(open.clone()), world.route());
        let slot = world.start(it);
        world.sim.run_for(Duration::from_secs(1));
        let served = matches!(slot.lock().unwrap().take(), Some(Answer::Served(Some(_))));
        world.restart();
        world.sim.run_for(Duration::from_millis(LEASE_MS));
        let gate = world.gate.clone();
        let recovered = world.run(async move { gate.recover().await.unwrap() });
        assert_eq!(recovered.errors, 0, "cut {cut}");
        reached += usize::from(recovered.settled > 0);
        let answer = world.send(get(open));
        match answer {
            Answer::Served(Some(_)) => assert!(!served, "cut {cut}: served twice"),
            // It was taken before the power went, and may not have been served.
            Answer::State(200, _) => {}
            other => panic!("cut {cut}: {other:?}"),
        }
        assert_eq!(world.escrow.channels(), 1, "cut {cut}");
        let figures = world.figures();
        assert_eq!(
            (figures.deposit, figures.spent),
            (DEPOSIT, COST),
            "cut {cut}"
        );
    }
    assert!(reached > 2, "recovery had something to do {reached} times");
}

#[test]
fn a_channel_that_its_payer_left_before_it_was_opened_here_serves_nothing() {
    let world = World::new(30);
    let already = |withdrawable_at, ended| ChannelState {
        deposit: DEPOSIT,
        settled: 0,
        withdrawable_at,
        ended,
    };
    let soon = fixtures::now().plus_millis(60_000);
    // The payer has brought the order to the rail itself, and asked for its money back.
    let leaving = EscrowPayer::new(31);
    world
        .escrow
        .is_already(leaving.channel(), already(Some(soon), None));
    let challenge = world.challenge();
    let open = leaving.open(&challenge, &usd(DEPOSIT), COST);
    let answer = world.send(get(open));
    assert_eq!(answer.kind(), ProblemKind::SessionChannelFinalized);
    let more = leaving.voucher(&challenge, COST * 2);
    let answer = world.send(get(more));
    assert_eq!(answer.kind(), ProblemKind::SessionChannelFinalized);
    for (n, ended) in [(32, Ended::Withdrawn), (33, Ended::Closed)] {
        let gone = EscrowPayer::new(n);
        world
            .escrow
            .is_already(gone.channel(), already(None, Some(ended)));
        let challenge = world.challenge();
        let open = gone.open(&challenge, &usd(DEPOSIT), COST);
        for _ in 0..2 {
            let refused = world.send(get(open.clone())).refused();
            assert!(refused.problem.detail.contains("ended"), "{refused:?}");
        }
        let kept = world.store.channels().channel(&gone.channel());
        assert_eq!(kept, None, "there is nothing to keep");
    }
}

#[test]
fn a_top_up_of_a_channel_that_is_being_left_buys_nothing() {
    let world = World::new(34);
    let challenge = world.open();
    let id = world.payer.channel();
    let ended = ChannelState {
        deposit: DEPOSIT,
        settled: 0,
        withdrawable_at: None,
        ended: Some(Ended::Withdrawn),
    };
    let top_up = world.payer.top_up(&world.challenge(), &usd(DEPOSIT), 1);
    world.escrow.script([Does::LosesAnswer]);
    world.escrow.leaves_after_next(id, ended);
    world.send(get(top_up));
    let more = world.payer.voucher(&challenge, COST * 2);
    let answer = world.send(get(more));
    assert_eq!(answer.kind(), ProblemKind::SessionChannelFinalized);
    assert_eq!(world.figures().deposit, DEPOSIT);
}

#[test]
fn what_funded_a_channel_is_no_payment_to_be_given_back() {
    let world = World::new(35);
    let challenge = world.open();
    let id = challenge.id.as_str().to_owned();
    let gate = world.gate.clone();
    let refused = world.run(async move { gate.refund(&id, None, "sorry", None).await });
    let refused = refused.unwrap_err();
    assert!(matches!(refused, RefundFailure::Channel), "{refused}");
    assert_eq!((world.captured(), world.figures().spent), (0, COST));
    // It is passed over in a list, and does not end it.
    let gate = world.gate.clone();
    let page = world.run(async move { gate.payments(None, 1).await });
    let page = page.unwrap();
    assert_eq!(page.payments, []);
    let (gate, after) = (world.gate.clone(), page.next.unwrap());
    let page = world.run(async move { gate.payments(Some(&after), 1).await });
    assert_eq!(page.unwrap().next, None);
}

#[test]
fn a_deposit_outside_of_what_the_route_takes_is_refused_before_anything_moves() {
    let world = World::new(40);
    let offer = world.offer().deposit_min(500).deposit_max(2_000);
    let route = Arc::new(stiver_server::Route::for_sessions(vec![offer]).unwrap());
    let asks = world.send_to(get(None), &route).refused();
    let challenge = asks.challenges[0].clone();
    let too_little = ProblemKind::PaymentInsufficient;
    let too_much = ProblemKind::VerificationFailed;
    for (deposit, kind, bound) in [(499, too_little, "500"), (2_001, too_much, "2000")] {
        let open = world.payer.open(&challenge, &usd(deposit), COST);
        let refused = world.send_to(get(open), &route).refused();
        assert_eq!(refused.problem.kind, kind);
        assert!(refused.problem.detail.contains(bound), "{refused:?}");
        assert_eq!(refused.challenges.len(), 1);
        assert_eq!((world.escrow.channels(), world.escrow.executions()), (0, 0));
    }
    // The challenge is as good as it was.
    for (n, deposit) in [(2, 500), (3, 2_000)] {
        let payer = EscrowPayer::new(n);
        let challenge = world.send_to(get(None), &route).refused().challenges[0].clone();
        let open = payer.open(&challenge, &usd(deposit), COST);
        world.send_to(get(open), &route).served();
    }
}
