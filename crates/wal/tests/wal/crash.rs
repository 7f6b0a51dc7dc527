//! Power cuts at every point: what was acknowledged is there, and nothing contradicts it.

use std::sync::{Arc, Mutex};

use stiver_testkit::{disk::Operation, entropy::Random, simulation::Simulation};
use stiver_wal::{Config, Engine, Retention};

use crate::tally::{Command, FOLDER, Reply, Tally, config, entries, open_with};

/// Where entries were acknowledged to be.
type Acknowledged = Arc<Mutex<Vec<(usize, u64)>>>;

/// Tasks that submit at the same time.
const TASKS: u64 = 4;
/// Commands of each task.
const COMMANDS: u64 = 6;

/// Submits entries from several tasks at once until all are answered or refused.
fn work(
    simulation: &Simulation,
    engine: &Engine<Tally>,
    base: u64,
    random: &mut Random,
) -> Acknowledged {
    let acknowledged = Acknowledged::default();
    for task in 0..TASKS {
        let (engine, acknowledged) = (engine.clone(), acknowledged.clone());
        let mut random = random.fork();
        simulation.env().spawner.spawn(Box::pin(async move {
            for count in 0..COMMANDS {
                let number = base + task * COMMANDS + count;
                // Within a sector, around its size, and over several.
                let bytes = random.index([40, 600, 3000][random.clone().index(3)]);
                match engine.submit(Command::Add { number, bytes }).await {
                    Ok(Reply::Added(place)) => acknowledged.lock().unwrap().push((place, number)),
                    _ => return,
                }
            }
        }));
    }
    simulation.run_until_idle();
    acknowledged
}

/// What was acknowledged is where it was said to be, and nothing is there twice.
fn check(found: &[u64], acknowledged: &Acknowledged, before: &[u64], what: &str) {
    assert!(
        found.starts_with(before),
        "{what}: lost what an earlier start had served"
    );
    for (place, number) in acknowledged.lock().unwrap().iter() {
        assert_eq!(
            found.get(*place),
            Some(number),
            "{what}: lost an acknowledged entry"
        );
    }
    let mut sorted = found.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), found.len(), "{what}: an entry is there twice");
}

fn configs() -> [Config; 2] {
    let mut pruned = config();
    pruned.retention = Retention::Prune;
    [config(), pruned]
}

#[test]
fn power_cut_at_every_change_loses_nothing_acknowledged() {
    for (which, config) in configs().into_iter().enumerate() {
        for seed in 0..3 {
            let whole = {
                let simulation = Simulation::new(seed);
                let engine = open_with(&simulation, config.clone()).unwrap();
                work(&simulation, &engine, 0, &mut Random::new(seed));
                simulation.disk.changes()
            };
            assert!(whole > 40, "{whole} changes are too few to prove anything");
            for cut in 0..whole {
                let what = format!("config {which}, seed {seed}, cut {cut}");
                cut_once(seed, cut, &config, &what);
            }
        }
    }
}

fn cut_once(seed: u64, cut: u64, config: &Config, what: &str) {
    let simulation = Simulation::new(seed);
    simulation.disk.cut_power_after(cut);
    let acknowledged = match open_with(&simulation, config.clone()) {
        Ok(engine) => work(&simulation, &engine, 0, &mut Random::new(seed)),
        Err(_) => Acknowledged::default(),
    };
    simulation.crash();
    let engine = match open_with(&simulation, config.clone()) {
        Ok(engine) => engine,
        Err(error) => panic!("{what}: {}", crate::tally::chain(&error)),
    };
    let found = entries(&simulation, &engine);
    check(&found, &acknowledged, &[], what);
    // It goes on as if nothing had been.
    let base = 1000;
    let later = work(&simulation, &engine, base, &mut Random::new(seed));
    assert_eq!(
        later.lock().unwrap().len(),
        usize::try_from(TASKS * COMMANDS).unwrap()
    );
    simulation.block_on(engine.close()).unwrap();
    let verified = stiver_wal::verify::<Tally>(FOLDER.as_ref(), &simulation.env());
    assert!(verified.is_ok(), "{what}: {verified:?}");
    let engine = open_with(&simulation, config.clone()).unwrap();
    check(&entries(&simulation, &engine), &later, &found, what);
}

#[test]
fn many_faults_and_crashes_in_a_row_also_during_recovery_lose_nothing_acknowledged() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let simulation = Simulation::new(seed);
        let config = configs()[random.index(2)].clone();
        let mut before = Vec::new();
        for round in 0..12 {
            let what = format!("seed {seed}, round {round}");
            // Now and then things go wrong while the log is being opened.
            let most = if random.once_in(3) { 6 } else { 60 };
            let power_cut = random.once_in(2);
            if power_cut {
                simulation.disk.cut_power_after(random.below(most));
            } else {
                let kind = std::io::ErrorKind::Other;
                let operation = OPERATIONS[random.index(OPERATIONS.len())];
                simulation
                    .disk
                    .fail(operation, random.below(most / 3), kind);
            }
            let acknowledged = match open_with(&simulation, config.clone()) {
                Ok(engine) => {
                    let found = read(&simulation, &engine);
                    assert!(found.is_none_or(|found| found == before), "{what}");
                    work(&simulation, &engine, round * 1000, &mut random)
                }
                Err(_) => Acknowledged::default(),
            };
            if power_cut || random.once_in(2) {
                simulation.crash();
            } else {
                simulation.kill();
            }
            simulation.disk.heal();
            let engine = match open_with(&simulation, config.clone()) {
                Ok(engine) => engine,
                Err(error) => panic!("{what}: {}", crate::tally::chain(&error)),
            };
            let found = entries(&simulation, &engine);
            check(&found, &acknowledged, &before, &what);
            before = found;
            match random.below(4) {
                0 => simulation.block_on(engine.close()).unwrap(),
                1 => simulation.kill(),
                _ => simulation.crash(),
            }
        }
    }
}

/// What is made to fail.
const OPERATIONS: [Operation; 7] = [
    Operation::Open,
    Operation::Write,
    Operation::Sync,
    Operation::Allocate,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncFolder,
];

#[test]
fn new_segment_whose_folder_sync_failed_is_safe_once_it_is_served_from() {
    for seed in 0..40 {
        let simulation = Simulation::new(seed);
        let engine = open_with(&simulation, config()).unwrap();
        let kind = std::io::ErrorKind::Other;
        simulation.disk.fail(Operation::SyncFolder, 0, kind);
        let mut number = 0;
        let add = |engine: &Engine<Tally>, number| {
            simulation.block_on(engine.submit(Command::Add { number, bytes: 500 }))
        };
        while add(&engine, number).is_ok() {
            number += 1;
        }
        let engine = open_with(&simulation, config()).unwrap();
        add(&engine, 1000).unwrap();
        let served = entries(&simulation, &engine);
        simulation.crash();
        let engine = open_with(&simulation, config()).unwrap();
        assert_eq!(entries(&simulation, &engine), served, "seed {seed}");
    }
}

/// The entries, unless the power is off.
fn read(simulation: &Simulation, engine: &Engine<Tally>) -> Option<Vec<u64>> {
    match simulation.block_on(engine.submit(Command::Read)) {
        Ok(Reply::Entries(entries)) => Some(entries),
        _ => None,
    }
}

#[test]
fn torn_batch_is_cut_and_reported() {
    let mut cuts = 0;
    for seed in 0..60 {
        let simulation = Simulation::new(seed);
        let engine = open_with(&simulation, Config::new(FOLDER)).unwrap();
        crate::tally::add(&simulation, &engine, 0..5);
        // The next change is the write of this batch.
        simulation.disk.cut_power_after(0);
        let command = Command::Add {
            number: 7,
            bytes: 2000,
        };
        assert!(simulation.block_on(engine.submit(command)).is_err());
        simulation.crash();
        let engine = open_with(&simulation, Config::new(FOLDER)).unwrap();
        let found = entries(&simulation, &engine);
        match &engine.recovery().cut {
            Some(cut) => {
                assert_eq!(found, [0, 1, 2, 3, 4], "seed {seed}");
                assert!((1..=2100).contains(&cut.bytes), "seed {seed}: {cut:?}");
                let bytes = simulation.disk.bytes(&cut.file).unwrap();
                let offset = usize::try_from(cut.offset).unwrap();
                assert!(bytes[offset..].iter().all(|byte| *byte == 0));
                cuts += 1;
            }
            None => assert!(found.len() >= 5, "seed {seed}"),
        }
    }
    assert!(cuts > 10, "only {cuts} of 60 power cuts tore the batch");
}

#[test]
fn leftovers_of_interrupted_atomic_writes_are_removed() {
    let simulation = Simulation::new(1);
    let engine = open_with(&simulation, config()).unwrap();
    crate::tally::add(&simulation, &engine, 0..5);
    simulation.kill();
    let leftover = format!("{FOLDER}/.snapshot-00000000000000000005.snap.0.tmp");
    let other = format!("{FOLDER}/notes.tmp");
    for path in [&leftover, &other] {
        simulation.disk.put(path.as_ref(), b"half");
    }
    let engine = open_with(&simulation, config()).unwrap();
    assert_eq!(entries(&simulation, &engine).len(), 5);
    assert!(simulation.disk.bytes(leftover.as_ref()).is_none());
    assert!(simulation.env().disk.read(other.as_ref(), 10).is_ok());
}
