//! What users of an engine rely on while nothing breaks, and when the disk fails under it.

use std::{io, sync::Arc, time::Duration};

use crate::tally::{
    Command, FOLDER, Reply, Tally, add, chain, config, entries, files, open, open_with,
};
use stiver_core::Timestamp;
use stiver_env::Clock;
use stiver_testkit::{disk::Operation, simulation::Simulation};
use stiver_wal::{EVENT_BYTES_MAX, Engine, EngineError, Machine, OpenError, Retention};

#[test]
fn closed_log_opens_with_every_entry_and_replays_nothing() {
    let simulation = Simulation::new(1);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..500);
    simulation.block_on(engine.close()).unwrap();

    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), Vec::from_iter(0..500));
    assert_eq!(engine.recovery().snapshot, 500);
    assert_eq!(engine.recovery().replayed, 0);
    assert!(files(&simulation, "segment-").len() > 2);
}

#[test]
fn killed_log_opens_with_every_acknowledged_entry() {
    let simulation = Simulation::new(2);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..100);
    simulation.kill();

    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), Vec::from_iter(0..100));
    assert!(engine.recovery().replayed > 0);
    assert_eq!(engine.recovery().cut, None);
    assert_eq!(engine.durable(), 100);
}

#[test]
fn commands_that_wait_together_are_synced_once() {
    let simulation = Simulation::new(3);
    let engine = open_with(&simulation, stiver_wal::Config::new(FOLDER)).unwrap();
    add(&simulation, &engine, 0..1);
    let before = simulation.disk.syncs();
    for number in 1..101 {
        let answer = engine.submit(Command::Add { number, bytes: 10 });
        let task = async move { drop(answer.await.unwrap()) };
        simulation.env().spawner.spawn(Box::pin(task));
    }
    simulation.run_until_idle();
    assert_eq!(engine.durable(), 101);
    let syncs = simulation.disk.syncs() - before;
    assert!(syncs < 20, "{syncs} syncs for 100 commands");
}

#[test]
fn commands_submitted_together_are_synced_once_and_answered_each() {
    let simulation = Simulation::new(3);
    let engine = open_with(&simulation, stiver_wal::Config::new(FOLDER)).unwrap();
    add(&simulation, &engine, 0..1);
    let before = simulation.disk.syncs();
    let commands = (1..101).map(|number| Command::Add { number, bytes: 10 });
    let replies = simulation.block_on(engine.submit_all(commands.collect()));
    assert_eq!(replies.len(), 100);
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(engine.durable(), 101);
    assert_eq!(simulation.disk.syncs() - before, 1);
    assert_eq!(entries(&simulation, &engine), Vec::from_iter(0..101));

    simulation.block_on(engine.close()).unwrap();
    let late = vec![Command::Add {
        number: 101,
        bytes: 10,
    }];
    let replies = simulation.block_on(engine.submit_all(late));
    assert!(matches!(replies[..], [Err(EngineError::Closed)]));
}

#[test]
fn question_without_an_event_writes_nothing() {
    let simulation = Simulation::new(4);
    let engine = open(&simulation).unwrap();
    let before = simulation.disk.changes();
    assert!(entries(&simulation, &engine).is_empty());
    assert_eq!(simulation.disk.changes(), before);
}

#[test]
fn second_opener_of_a_folder_is_refused() {
    let simulation = Simulation::new(5);
    let engine = open(&simulation).unwrap();
    let refused = open(&simulation).err().unwrap();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    simulation.block_on(engine.close()).unwrap();
    assert!(open(&simulation).is_ok());
}

#[test]
fn dropping_every_handle_frees_the_lock() {
    let simulation = Simulation::new(6);
    let engine = open(&simulation).unwrap();
    let other = engine.clone();
    add(&simulation, &engine, 0..3);
    drop(engine);
    simulation.run_until_idle();
    assert!(open(&simulation).is_err());
    drop(other);
    simulation.run_until_idle();
    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), [0, 1, 2]);
}

#[test]
fn closed_engine_refuses_commands_and_closing_again_is_harmless() {
    let simulation = Simulation::new(7);
    let engine = open(&simulation).unwrap();
    simulation.block_on(engine.close()).unwrap();
    simulation.block_on(engine.close()).unwrap();
    let refused = simulation.block_on(engine.submit(Command::Read));
    assert!(matches!(refused, Err(EngineError::Closed)), "{refused:?}");
}

#[test]
fn commands_accepted_before_closing_are_carried_out() {
    let simulation = Simulation::new(8);
    let engine = open(&simulation).unwrap();
    let answers: Vec<_> = (0..20)
        .map(|number| {
            let mut answer = engine.submit(Command::Add { number, bytes: 1 });
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            // The first poll hands the command over.
            assert!(answer.as_mut().poll(&mut context).is_pending());
            answer
        })
        .collect();
    let mut closing = engine.close();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(closing.as_mut().poll(&mut context).is_pending());
    simulation.block_on(closing).unwrap();
    for answer in answers {
        assert!(matches!(simulation.block_on(answer), Ok(Reply::Added(_))));
    }
    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine).len(), 20);
}

#[test]
fn full_queue_makes_submitters_wait_and_loses_none() {
    let simulation = Simulation::new(9);
    let mut small = config();
    small.queue_max = 2;
    let engine = open_with(&simulation, small).unwrap();
    for number in 0..50 {
        let answer = engine.submit(Command::Add { number, bytes: 0 });
        let task = async move { drop(answer.await.unwrap()) };
        simulation.env().spawner.spawn(Box::pin(task));
    }
    simulation.run_until_idle();
    let mut found = entries(&simulation, &engine);
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(0..50));
}

#[test]
fn event_that_is_too_large_is_refused_and_changes_nothing() {
    let simulation = Simulation::new(10);
    let engine = open(&simulation).unwrap();
    let bytes = EVENT_BYTES_MAX;
    let refused = simulation.block_on(engine.submit(Command::Add { number: 1, bytes }));
    let Err(EngineError::EventTooLarge { bytes, max }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((bytes, max), (EVENT_BYTES_MAX + 8, EVENT_BYTES_MAX));
    add(&simulation, &engine, 2..3);
    assert_eq!(entries(&simulation, &engine), [2]);
}

#[test]
fn largest_event_survives_a_restart() {
    let simulation = Simulation::new(11);
    let engine = open(&simulation).unwrap();
    let bytes = EVENT_BYTES_MAX - 8;
    let command = Command::Add { number: 7, bytes };
    simulation.block_on(engine.submit(command)).unwrap();
    simulation.kill();
    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), [7]);
}

#[test]
fn disk_error_fails_every_command_from_then_on_with_its_reason() {
    for operation in [Operation::Write, Operation::Sync] {
        let simulation = Simulation::new(12);
        let engine = open(&simulation).unwrap();
        add(&simulation, &engine, 0..3);
        let kind = io::ErrorKind::TimedOut;
        simulation.disk.fail(operation, 0, kind);
        let number = 3;
        let failed = simulation.block_on(engine.submit(Command::Add { number, bytes: 0 }));
        let Err(EngineError::Failed(reason)) = failed else {
            panic!("{failed:?}");
        };
        assert!(reason.contains("segment-"), "{reason}");
        assert!(reason.contains("timed out"), "{reason}");
        let later = simulation.block_on(engine.submit(Command::Read));
        assert!(matches!(later, Err(EngineError::Failed(again)) if again == reason));
        assert!(simulation.block_on(engine.close()).is_err());
    }
}

#[test]
fn entry_whose_sync_failed_is_whole_or_absent_after_reopening_and_a_power_cut() {
    for seed in 0..40 {
        let simulation = Simulation::new(seed);
        let engine = open(&simulation).unwrap();
        add(&simulation, &engine, 0..3);
        let kind = io::ErrorKind::Other;
        simulation.disk.fail(Operation::Sync, 0, kind);
        let command = Command::Add {
            number: 3,
            bytes: 600,
        };
        assert!(simulation.block_on(engine.submit(command)).is_err());
        // The failed process reads its own unsynced memory, and serves what it finds there.
        let engine = open(&simulation).unwrap();
        let served = entries(&simulation, &engine);
        simulation.crash();
        let engine = open(&simulation).unwrap();
        assert_eq!(entries(&simulation, &engine), served, "seed {seed}");
    }
}

#[test]
fn full_disk_fails_the_command_and_room_lets_the_log_go_on() {
    let simulation = Simulation::new(13);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..3);
    simulation.disk.set_capacity(20_000);
    let mut acknowledged = 3;
    let reason = loop {
        let command = Command::Add {
            number: acknowledged,
            bytes: 100,
        };
        match simulation.block_on(engine.submit(command)) {
            Ok(_) => acknowledged += 1,
            Err(EngineError::Failed(reason)) => break reason,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(reason.contains("no storage space"), "{reason}");
    simulation.disk.set_capacity(u64::MAX);
    let engine = open(&simulation).unwrap();
    assert!(entries(&simulation, &engine).starts_with(&Vec::from_iter(0..acknowledged)));
}

#[test]
fn machine_that_contradicts_itself_stops_the_engine() {
    let simulation = Simulation::new(14);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..3);
    let failed = simulation.block_on(engine.submit(Command::Contradict));
    assert!(
        matches!(&failed, Err(EngineError::Failed(reason)) if reason.contains("impossible")),
        "{failed:?}"
    );
    assert!(simulation.block_on(engine.submit(Command::Read)).is_err());
    let engine = open(&simulation).unwrap();
    assert_eq!(entries(&simulation, &engine), [0, 1, 2]);
}

#[test]
fn engine_whose_writer_panicked_fails_its_commands_and_frees_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let env = stiver_env::native::env();
    let config = || stiver_wal::Config::new(folder.path());
    let engine = Engine::open(config(), &env, Tally::default).unwrap();
    let failed = pollster::block_on(engine.submit(Command::Panic));
    assert!(matches!(failed, Err(EngineError::Failed(_))), "{failed:?}");
    assert!(pollster::block_on(engine.close()).is_err());
    assert!(Engine::open(config(), &env, Tally::default).is_ok());
}

#[test]
fn pruning_keeps_two_snapshots_and_what_follows_the_older_one() {
    let simulation = Simulation::new(15);
    let mut pruned = config();
    pruned.retention = Retention::Prune;
    let engine = open_with(&simulation, pruned.clone()).unwrap();
    add(&simulation, &engine, 0..1000);
    assert_eq!(files(&simulation, "snapshot-").len(), 2);
    let segments = files(&simulation, "segment-");
    assert!((2..=3).contains(&segments.len()), "{segments:?}");
    simulation.kill();
    // The newest snapshot rots: the older one and its segments still give everything.
    let newest = files(&simulation, "snapshot-").pop().unwrap();
    simulation.disk.flip_bit(&newest, 1500);
    let engine = open_with(&simulation, pruned).unwrap();
    assert_eq!(entries(&simulation, &engine), Vec::from_iter(0..1000));
    let damaged = &engine.recovery().damaged_snapshots;
    assert_eq!(damaged.len(), 1);
    assert!(chain(&damaged[0]).contains(newest.to_str().unwrap()));
    // The next snapshot takes the damaged one's place.
    add(&simulation, &engine, 1000..1500);
    simulation.block_on(engine.close()).unwrap();
    assert!(!files(&simulation, "snapshot-").contains(&newest));
    assert!(stiver_wal::verify::<Tally>(FOLDER.as_ref(), &simulation.env()).is_ok());
}

#[test]
fn keeping_keeps_every_segment_and_the_first_state() {
    let simulation = Simulation::new(16);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..1000);
    let segments = files(&simulation, "segment-");
    assert!(segments.len() > 5);
    assert!(segments[0].ends_with("segment-00000000000000000001.log"));
    let snapshots = files(&simulation, "snapshot-");
    assert_eq!(snapshots.len(), 3);
    assert!(snapshots[0].ends_with("snapshot-00000000000000000000.snap"));
}

#[test]
fn log_time_never_decreases_and_follows_a_clock_that_jumps_only_slowly() {
    let simulation = Simulation::new(17);
    let engine = open(&simulation).unwrap();
    let time = |engine: &Engine<Tally>| match simulation.block_on(engine.submit(Command::Time)) {
        Ok(Reply::Time(time)) => time,
        other => panic!("{other:?}"),
    };
    let start = simulation.clock.now();
    assert_eq!(time(&engine), start);
    simulation.clock.set_wall(Timestamp::from_millis(0));
    simulation.clock.advance(Duration::from_secs(5));
    assert_eq!(time(&engine), start);
    // Forty years ahead: one day at once, then twice the speed of real time.
    let day = 24 * 60 * 60 * 1000;
    simulation.clock.set_wall(start.plus_millis(40 * 365 * day));
    assert_eq!(time(&engine), start.plus_millis(day));
    assert_eq!(time(&engine), start.plus_millis(day));
    simulation.clock.advance(Duration::from_secs(3));
    assert_eq!(time(&engine), start.plus_millis(day + 3_000));
    simulation.clock.advance(Duration::from_secs(1));
    assert_eq!(
        time(&engine),
        start.plus_millis(day + 3_000 + 1_000 + 3_000)
    );
    simulation.block_on(engine.close()).unwrap();
}

#[test]
fn log_time_goes_on_from_the_last_event_after_a_restart_with_a_clock_behind() {
    let simulation = Simulation::new(18);
    let start = simulation.clock.now();
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..1);
    simulation.kill();
    simulation.clock.set_wall(Timestamp::from_millis(5));
    let engine = open(&simulation).unwrap();
    let time = simulation.block_on(engine.submit(Command::Time)).unwrap();
    assert_eq!(time, Reply::Time(start));
}

#[test]
fn clock_more_than_ten_years_ahead_at_start_is_refused() {
    let simulation = Simulation::new(19);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..1);
    simulation.block_on(engine.close()).unwrap();
    let right = simulation.clock.now();
    let wrong = right.plus_millis(stiver_wal::START_JUMP_MAX_MS + 1);
    simulation.clock.set_wall(wrong);
    let refused = open(&simulation).err().unwrap();
    assert!(matches!(refused, OpenError::ClockAhead { .. }), "{refused}");
    simulation.clock.set_wall(right);
    assert!(open(&simulation).is_ok());
}

/// The same encodings under another name or version.
struct Other<const VERSION: u32>;

impl<const V: u32> Machine for Other<V> {
    const NAME: &'static str = if V == 0 { "other" } else { "tally" };
    const VERSION: u32 = V;
    type Command = ();
    type Event = ();
    type Reply = ();
    fn decide(&self, _: Timestamp, (): ()) -> ((), Option<()>) {
        ((), None)
    }
    fn evolve(&mut self, _: Timestamp, (): &()) -> Result<(), stiver_wal::Inconsistent> {
        Ok(())
    }
    fn encode_event((): &(), _: &mut Vec<u8>) {}
    fn decode_event(_: &[u8]) -> Result<(), stiver_wal::Inconsistent> {
        Ok(())
    }
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(_: &[u8]) -> Result<Self, stiver_wal::Inconsistent> {
        Ok(Self)
    }
    fn check(&self) -> Result<(), stiver_wal::Inconsistent> {
        Ok(())
    }
}

#[test]
fn log_of_another_machine_or_version_is_refused_untouched() {
    let simulation = Simulation::new(20);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..9);
    simulation.block_on(engine.close()).unwrap();
    let changes = simulation.disk.changes();
    let env = simulation.env();
    let foreign = Engine::open(config(), &env, || Other::<0>).err().unwrap();
    assert!(
        foreign
            .to_string()
            .contains(r#"log of a "tally", not of a "other""#),
        "{foreign}"
    );
    let newer = Engine::open(config(), &env, || Other::<4>).err().unwrap();
    assert!(
        newer.to_string().contains("version 3 of the tally"),
        "{newer}"
    );
    assert_eq!(simulation.disk.changes(), changes);
    assert!(open(&simulation).is_ok());
}

#[test]
fn engines_run_on_the_real_disk_from_many_threads() {
    let folder = tempfile::tempdir().unwrap();
    let env = stiver_env::native::env();
    let mut config = stiver_wal::Config::new(folder.path().join("log"));
    config.segment_bytes = 8192;
    let engine = Engine::open(config.clone(), &env, Tally::default).unwrap();
    let engine = Arc::new(engine);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let engine = engine.clone();
            scope.spawn(move || {
                for number in thread * 50..(thread + 1) * 50 {
                    let command = Command::Add { number, bytes: 30 };
                    pollster::block_on(engine.submit(command)).unwrap();
                }
            });
        }
    });
    pollster::block_on(engine.close()).unwrap();
    let engine = Engine::open(config.clone(), &env, Tally::default).unwrap();
    let Reply::Entries(mut found) = pollster::block_on(engine.submit(Command::Read)).unwrap()
    else {
        panic!("no entries");
    };
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(0..200));
    pollster::block_on(engine.close()).unwrap();
    assert_eq!(
        stiver_wal::verify::<Tally>(&config.folder, &env)
            .unwrap()
            .last,
        200
    );
}

#[test]
fn commands_after_a_panic_are_refused_as_failed_and_not_as_closed() {
    let folder = tempfile::tempdir().unwrap();
    let env = stiver_env::native::env();
    let config = stiver_wal::Config::new(folder.path());
    let engine = Engine::open(config, &env, Tally::default).unwrap();
    let mut unheard = engine.submit(Command::Panic);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // The caller goes before the answer comes.
    drop(unheard.as_mut().poll(&mut context));
    drop(unheard);
    assert!(pollster::block_on(engine.close()).is_err());
    let refused = pollster::block_on(engine.submit(Command::Read));
    assert!(
        matches!(refused, Err(EngineError::Failed(_))),
        "{refused:?}"
    );
}
