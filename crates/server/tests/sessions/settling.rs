//! What was earned is captured, exactly and once.

use std::time::Duration;

use stiver_channel::PhaseName;
use stiver_core::problem::ProblemKind;
use stiver_server::session::SettleSchedule;
use stiver_store::ChannelStore as _;
use stiver_testkit::escrow::Does;

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
        watch: true,
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
