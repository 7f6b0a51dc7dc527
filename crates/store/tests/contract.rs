//! The embedded store and the plain one keep the same contract.

use std::sync::Arc;

use stiver_env::Env;
use stiver_store::{EmbeddedStore, Limits};
use stiver_testkit::{
    store_memory::MemoryStore,
    store_suite::{LIMITS, StepClock, Subject, check_store, compare_stores},
};
use tempfile::TempDir;

fn memory(limits: Limits, seed: u64) -> Subject {
    let clock = StepClock::new();
    Subject {
        store: Arc::new(MemoryStore::new(Arc::new(clock.clone()), limits, seed)),
        clock,
    }
}

fn embedded(folder: &TempDir, limits: Limits) -> Subject {
    let clock = StepClock::new();
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
