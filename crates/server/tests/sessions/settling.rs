//! What was earned is captured, exactly and once.

use std::time::Duration;

use stiver_channel::PhaseName;
use stiver_core::problem::ProblemKind;
use stiver_server::{limits::CLOSE_DRAIN_MS, session::SettleSchedule};
use stiver_store::{ChannelStore as _, limits::ENDED_CHANNEL_RETAIN_MS};
use stiver_testkit::escrow::{Does, EscrowPayer};

use crate::common::{COST, DEPOSIT, World, get, member};

fn phase(world: &World) -> PhaseName {
    let channel = world.store.channels().channel(&world.payer.channel());
    channel.unwrap().phase().name()
}

#[test]
fn a_close_captures_what_was_served_and_not_what_was_signed() {
    let world = World::new(1);
    let challenge = world.open();
    world
        .send(get(world.payer.voucher(&challenge, 300)))
        .served();
    let close = world.payer.close(&challenge, 300);
    let (status, receipt) = world.send(get(close.clone())).state();
    assert_eq!((status, member(&receipt, "spent")), (204, "20"));
    assert_eq!(member(&receipt, "acceptedCumulative"), "300");
    assert_eq!((world.captured(), phase(&world)), (20, PhaseName::Closed));
    // Asked again, the same receipt is told.
    let (status, again) = world.send(get(close)).state();
    assert_eq!((status, again), (200, receipt));
    assert_eq!(world.captured(), 20);
}

#[test]
fn a_close_whose_answer_is_lost_is_finished_by_recovery_or_by_asking_again() {
    for (lost, asks_again) in [
        (Does::LosesQuestion, true),
        (Does::LosesQuestion, false),
        (Does::LosesAnswer, true),
    ] {
        let mut world = World::new(2);
        let challenge = world.open();
        world.escrow.script([lost]);
        let close = world.payer.close(&challenge, COST);
        let answer = world.send(get(close.clone()));
        if lost == Does::LosesQuestion {
            assert_eq!(answer.kind(), ProblemKind::OutcomeUnknown);
            assert_eq!(phase(&world), PhaseName::Closing);
            world.restart();
            if asks_again {
                world.send(get(close)).state();
            } else {
                let gate = world.gate.clone();
                let report = world.run(async move { gate.recover_channels().await });
                assert_eq!((report.seen, report.closed), (1, 1));
            }
        }
        assert_eq!((world.captured(), phase(&world)), (COST, PhaseName::Closed));
    }
}

#[test]
fn a_schedule_settles_what_is_much_or_old_and_closes_what_is_idle() {
    let world = World::new(3);
    let challenge = world.open();
    let pass = |schedule: SettleSchedule| {
        let gate = world.gate.clone();
        world.run(async move { gate.settle_due(&schedule).await })
    };
    let much = SettleSchedule {
        unsettled_max: Some(COST * 3),
        ..SettleSchedule::default()
    };
    assert_eq!(pass(much).seen, 0);
    world
        .send(get(world.payer.voucher(&challenge, 20)))
        .served();
    world
        .send(get(world.payer.voucher(&challenge, 30)))
        .served();
    assert_eq!(pass(much).settled, 1);
    assert_eq!((world.captured(), world.figures().settled), (30, 30));
    assert_eq!(pass(much).seen, 0, "nothing is left to settle");
    world
        .send(get(world.payer.voucher(&challenge, 40)))
        .served();
    let quiet = SettleSchedule {
        quiet: Some(Duration::from_secs(60)),
        ..SettleSchedule::default()
    };
    assert_eq!(pass(quiet).seen, 0);
    world.sim.run_for(Duration::from_secs(60));
    assert_eq!(pass(quiet).settled, 1);
    assert_eq!((world.captured(), phase(&world)), (40, PhaseName::Active));
    let idle = SettleSchedule {
        idle: Some(Duration::from_secs(3600)),
        ..SettleSchedule::default()
    };
    world.sim.run_for(Duration::from_secs(3600));
    assert_eq!(pass(idle).closed, 1);
    assert_eq!((world.captured(), phase(&world)), (40, PhaseName::Closed));
}

#[test]
fn a_forced_close_is_seen_and_what_is_owed_is_taken_in_time() {
    let world = World::new(4);
    let challenge = world.open();
    let id = world.payer.channel();
    let soon = world.sim.env().clock.now().plus_millis(900_000);
    world.escrow.force_close(&id, soon);
    let gate = world.gate.clone();
    let watch = SettleSchedule {
        watch: Some(Duration::from_secs(60)),
        ..SettleSchedule::default()
    };
    let report = world.run(async move { gate.settle_due(&watch).await });
    assert_eq!(report.closed, 1, "{report:?}");
    assert_eq!((world.captured(), phase(&world)), (COST, PhaseName::Closed));
    let late = world.send(get(world.payer.voucher(&challenge, 20)));
    assert_eq!(late.kind(), ProblemKind::SessionChannelFinalized);
}

#[test]
fn an_operator_closes_a_channel() {
    let world = World::new(5);
    world.open();
    let (gate, id) = (world.gate.clone(), world.payer.channel());
    let closed = world.run(async move { gate.close_channel(id).await.unwrap() });
    assert_eq!(closed.captured, COST);
    assert_eq!(world.captured(), COST);
    let truth = world.escrow.truth(&id).unwrap();
    assert_eq!(truth.deposit, DEPOSIT);
}

#[test]
fn a_settlement_that_is_cut_off_anywhere_takes_what_was_earned_once() {
    for cut in 1..30 {
        let mut world = World::new(200 + cut);
        let challenge = world.open();
        world
            .send(get(world.payer.voucher(&challenge, 70)))
            .served();
        world.sim.disk.cut_power_after(cut);
        let close = get(world.payer.close(&challenge, 70));
        let it = crate::common::exchange(world.gate.clone(), close.clone(), world.route());
        drop(world.start(it));
        world.sim.run_for(Duration::from_secs(1));
        world.restart();
        let gate = world.gate.clone();
        let report = world.run(async move { gate.recover_channels().await });
        assert_eq!((report.errors, report.left), (0, 0), "cut {cut}");
        world.send(close).state();
        assert_eq!(phase(&world), PhaseName::Closed, "cut {cut}");
        assert_eq!(world.captured(), COST * 2, "cut {cut}");
    }
}

#[test]
fn a_schedule_settles_what_was_charged_often_also_after_a_restart() {
    let mut world = World::new(6);
    let challenge = world.open();
    let often = SettleSchedule {
        count_max: Some(3),
        ..SettleSchedule::default()
    };
    let pass = |world: &World| {
        let gate = world.gate.clone();
        world.run(async move { gate.settle_due(&often).await })
    };
    world
        .send(get(world.payer.voucher(&challenge, 20)))
        .served();
    assert_eq!(pass(&world).seen, 0, "twice so far");
    // A voucher that buys nothing is not counted, and the count survives.
    let ahead = get(world.payer.voucher(&challenge, 100)).method("HEAD");
    world.send(ahead.clone()).state();
    world.restart();
    assert_eq!(pass(&world).seen, 0);
    world.send(ahead.method("GET")).served();
    assert_eq!(pass(&world).settled, 1);
    assert_eq!((world.captured(), world.figures().settled), (30, 30));
    world
        .send(get(world.payer.voucher(&challenge, 100)))
        .served();
    assert_eq!(pass(&world).seen, 0, "it is counted anew");
}

/// Opens so many channels.
fn payers(world: &World, count: u8) -> Vec<EscrowPayer> {
    let payers: Vec<EscrowPayer> = (10..10 + count).map(EscrowPayer::new).collect();
    for payer in &payers {
        let open = payer.open(&world.challenge(), &crate::common::usd(DEPOSIT), COST);
        world.send(get(open)).served();
    }
    payers
}

#[test]
fn the_rail_is_asked_for_a_part_of_the_channels_in_each_pass_and_for_all_in_time() {
    let world = World::new(7);
    let payers = payers(&world, 12);
    let watch = SettleSchedule {
        watch: Some(Duration::from_secs(60)),
        ..SettleSchedule::default()
    };
    let pass = || {
        let gate = world.gate.clone();
        world.run(async move { gate.settle_due(&watch).await })
    };
    assert_eq!(pass().watched, 12, "the first pass knows of none");
    assert_eq!(pass().watched, 0, "no time has passed");
    let soon = world.sim.env().clock.now().plus_millis(900_000);
    for payer in &payers {
        world.escrow.force_close(&payer.channel(), soon);
    }
    let mut closed = 0;
    for _ in 0..4 {
        world.sim.run_for(Duration::from_secs(15));
        let report = pass();
        assert!(report.watched <= 3, "{report:?}");
        closed += report.closed;
    }
    assert_eq!(closed, 12, "all within the minute");
    for payer in payers {
        assert_eq!(world.escrow.truth(&payer.channel()).unwrap().settled, COST);
    }
}

#[test]
fn closes_that_wait_for_what_is_being_served_do_not_wait_for_each_other() {
    let world = World::new(8);
    let payers = payers(&world, 6);
    // Each channel is being served, and its handler never ends.
    let mut served = Vec::new();
    for payer in &payers {
        let voucher = payer.voucher(&world.challenge(), COST * 2);
        let (gate, route) = (world.gate.clone(), world.route());
        served.push(world.start(async move {
            let lines = [voucher.as_bytes()];
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
        }));
    }
    world.sim.run_until_idle();
    world.sim.run_for(Duration::from_secs(3600));
    let idle = SettleSchedule {
        idle: Some(Duration::from_secs(3600)),
        ..SettleSchedule::default()
    };
    let (gate, clock) = (world.gate.clone(), world.sim.env().clock);
    let (report, took) = world.run(async move {
        let begun = clock.monotonic();
        let report = gate.settle_due(&idle).await;
        (report, clock.monotonic().saturating_sub(begun))
    });
    assert_eq!((report.seen, report.left), (6, 6));
    assert!(took < Duration::from_millis(CLOSE_DRAIN_MS * 2), "{took:?}");
}

#[test]
fn a_channel_that_has_ended_is_remembered_from_its_end_on() {
    let mut world = World::new(9);
    let challenge = world.open();
    // Nobody uses it for a month, and then it is closed.
    world
        .sim
        .run_for(Duration::from_millis(ENDED_CHANNEL_RETAIN_MS));
    let close = world.payer.close(&challenge, COST);
    let (_, receipt) = world.send(get(close.clone())).state();
    world
        .sim
        .run_for(Duration::from_millis(ENDED_CHANNEL_RETAIN_MS - 1_000));
    world.restart();
    let (status, again) = world.send(get(close.clone())).state();
    assert_eq!((status, again), (200, receipt));
    world.sim.run_for(Duration::from_secs(2));
    // Something else happens, and it is forgotten.
    payers(&world, 1);
    let gone = world.send(get(close)).kind();
    assert_eq!(gone, ProblemKind::SessionChannelNotFound);
}

/// A rail that captures whole vouchers only.
fn whole(seed: u64) -> World {
    let mut world = World::new(seed);
    let caps = stiver_channel::Caps {
        partial_capture: false,
        ..stiver_channel::Caps::LEDGER
    };
    world.escrow = world.escrow.clone().with_caps(caps);
    world.restart();
    world
}

#[test]
fn whole_vouchers_are_captured_when_they_are_for_what_was_served_and_never_for_more() {
    // Each voucher is for what is served: all of it is taken, at once or at the close.
    let world = whole(10);
    let challenge = world.open();
    world
        .send(get(world.payer.voucher(&challenge, 20)))
        .served();
    let (gate, id) = (world.gate.clone(), world.payer.channel());
    let closed = world.run(async move { gate.close_channel(id).await.unwrap() });
    assert_eq!((closed.captured, world.captured()), (20, 20));

    // The payer has signed ahead, and shows one for what was served.
    let world = whole(11);
    let challenge = world.open();
    world
        .send(get(world.payer.voucher(&challenge, 100)))
        .served();
    let refused = world
        .send(get(world.payer.close(&challenge, 100)))
        .refused();
    assert_eq!(refused.problem.kind, ProblemKind::VerificationFailed);
    assert!(refused.problem.detail.contains("one for 20"), "{refused:?}");
    assert_eq!(phase(&world), PhaseName::Active, "it is not even fenced");
    world.send(get(world.payer.close(&challenge, 20))).state();
    assert_eq!((world.captured(), phase(&world)), (20, PhaseName::Closed));

    // The payer has signed ahead, and has gone: what was settled is all there is.
    let world = whole(12);
    let challenge = world.open();
    let (gate, id) = (world.gate.clone(), world.payer.channel());
    world.run(async move { gate.settle_channel(id).await.unwrap() });
    assert_eq!(world.captured(), COST);
    world
        .send(get(world.payer.voucher(&challenge, 100)))
        .served();
    let gate = world.gate.clone();
    let closed = world.run(async move { gate.close_channel(id).await.unwrap() });
    assert_eq!((closed.captured, world.captured()), (COST, COST));
    assert_eq!(phase(&world), PhaseName::Closed);
}

#[test]
fn a_close_with_a_whole_voucher_that_is_cut_off_anywhere_ends_and_takes_no_more_than_served() {
    let mut exact = 0;
    for cut in 0..16 {
        let mut world = whole(300 + cut);
        let challenge = world.open();
        world
            .send(get(world.payer.voucher(&challenge, 100)))
            .served();
        world.sim.disk.cut_power_after(cut);
        let close = get(world.payer.close(&challenge, 20));
        let it = crate::common::exchange(world.gate.clone(), close.clone(), world.route());
        drop(world.start(it));
        world.sim.run_for(Duration::from_secs(1));
        world.restart();
        world.send(close).state();
        let gate = world.gate.clone();
        let report = world.run(async move { gate.recover_channels().await });
        assert_eq!((report.errors, report.left), (0, 0), "cut {cut}");
        assert_eq!(phase(&world), PhaseName::Closed, "cut {cut}");
        exact += u32::from(world.captured() == 20);
        assert!(world.captured() <= 20, "cut {cut}");
    }
    assert_eq!(exact, 16, "the payer asked again each time");
}
