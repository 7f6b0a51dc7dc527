//! Runs of the simulated world: whatever goes wrong, the books are right in the end.
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]

use stiver_sim::{
    attempt,
    plan::{Plan, Purchase},
};

/// Connections break off after every so many bytes here; `cargo xtask sim --cuts` does every byte.
const STEP: usize = 29;

/// Runs these seeds. Gives how many calls were charged.
fn all_hold(seeds: std::ops::Range<u64>) -> u64 {
    let mut paid = 0;
    for seed in seeds {
        let plan = Plan::draw(seed);
        match attempt(&plan) {
            Ok(report) => paid += report.paid,
            Err(why) => panic!("seed {seed}: {why}\n{plan}"),
        }
    }
    paid
}

#[test]
fn in_a_thousand_worlds_money_moves_once_is_never_stuck_and_buys_something() {
    let paid = all_hold(0..1_000);
    assert!(paid > 2_000, "{paid}");
}

#[test]
fn in_another_thousand_worlds_too() {
    let paid = all_hold(1_000_000..1_001_000);
    assert!(paid > 2_000, "{paid}");
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 0..24 {
        let plan = Plan::draw(seed);
        let (first, second) = (attempt(&plan), attempt(&plan));
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Buys one thing, over connections that break off or fall silent anywhere.
fn bought_whatever_is_cut(purchases: &[Purchase]) {
    for purchase in purchases {
        let plan = Plan::of(*purchase);
        let whole = attempt(&plan).unwrap_or_else(|why| panic!("{purchase:?}: {why}"));
        let cuts = plan.cut_everywhere(&whole.lengths, STEP);
        assert!(cuts.len() > 50, "{purchase:?}: {} cuts", cuts.len());
        for plan in cuts {
            let done = attempt(&plan).unwrap_or_else(|why| panic!("{why}\n{plan}"));
            let goods = done.attempts.get("goods").copied().unwrap_or(0);
            assert!(goods <= 1, "bought twice\n{plan}");
        }
    }
}

#[test]
fn a_charge_survives_a_connection_that_ends_after_any_byte() {
    bought_whatever_is_cut(&[Purchase::Reading, Purchase::Order]);
}

#[test]
fn a_session_survives_a_connection_that_ends_after_any_byte() {
    bought_whatever_is_cut(&[Purchase::Tick, Purchase::Stream { events: 6 }]);
}
