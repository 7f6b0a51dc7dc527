//! The embedded store and the plain one keep the same contract.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join_all;
use stiver_env::Env;
use stiver_store::{Command, EmbeddedStore, Limits, Reply, Store};
use stiver_testkit::{
    fixtures,
    store_memory::{Fault, MemoryStore},
    store_suite::{LIMITS, Subject, check_store, compare_stores},
    time::SimulatedClock,
};
use tempfile::TempDir;

fn memory(limits: Limits, seed: u64) -> Subject {
    let clock = SimulatedClock::new(fixtures::now());
    Subject {
        store: Arc::new(MemoryStore::new(Arc::new(clock.clone()), limits, seed)),
        clock,
    }
}

fn embedded(folder: &TempDir, limits: Limits) -> Subject {
    let clock = SimulatedClock::new(fixtures::now());
    let env = Env {
        clock: Arc::new(clock.clone()),
        ..stiver_env::native::env()
    };
    let config = EmbeddedStore::config(folder.path());
    let store = pollster::block_on(EmbeddedStore::open(config, &env, limits));
    Subject {
        store: Arc::new(store.expect("the folder is empty")),
        clock,
    }
}

#[test]
fn the_memory_store_keeps_the_contract() {
    for seed in 0..4 {
        check_store(|limits| memory(limits, seed));
    }
}

#[test]
fn the_embedded_store_keeps_the_contract() {
    let folders = std::cell::RefCell::new(Vec::new());
    check_store(|limits| {
        let folder = tempfile::tempdir().unwrap();
        let subject = embedded(&folder, limits);
        folders.borrow_mut().push(folder);
        subject
    });
}

#[test]
fn both_stores_say_the_same_to_random_commands() {
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        compare_stores(&embedded(&folder, LIMITS), &memory(LIMITS, seed), seed, 400);
    }
}

#[test]
fn what_the_memory_store_loses_can_be_asked_again() {
    let clock = Arc::new(SimulatedClock::new(fixtures::now()));
    let store = MemoryStore::new(clock, LIMITS, 1);
    let claim = |n| pollster::block_on(store.submit(Command::Claim(fixtures::new_claim(n))));
    store.script([Fault::LosesAnswer, Fault::None, Fault::LosesCommand]);
    assert!(claim(1).is_err());
    assert!(
        store.might_know(&fixtures::challenge_id(1)),
        "it was carried out"
    );
    assert!(matches!(claim(1), Ok(Reply::Won(_))));
    assert!(claim(2).is_err());
    assert!(!store.might_know(&fixtures::challenge_id(2)), "it was lost");
    assert!(matches!(claim(2), Ok(Reply::Won(_))));
}

#[test]
fn the_memory_store_lets_commands_overtake_each_other() {
    let clock = Arc::new(SimulatedClock::new(fixtures::now()));
    let winners = (0..20).map(|seed| {
        let store = MemoryStore::new(clock.clone(), LIMITS, seed);
        let claim = |n| {
            let mut new = fixtures::new_claim(n);
            new.challenge_id = fixtures::challenge_id(0);
            store.submit(Command::Claim(new))
        };
        let replies = pollster::block_on(join_all((0..4).map(claim)));
        replies
            .iter()
            .position(|it| matches!(it, Ok(Reply::Won(_))))
    });
    let winners: BTreeSet<Option<usize>> = winners.collect();
    assert!(
        winners.len() > 1,
        "the first is not always first: {winners:?}"
    );
}
