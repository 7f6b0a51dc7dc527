//! Real files under real processes: one is killed, several threads share one.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command as Process, Stdio},
};

use stiver_wal::{Config, Engine};

use crate::tally::{Command, Event, Reply, Tally};

/// Tells the test binary to be the process that is killed, and where its log is.
const VICTIM_FOLDER: &str = "STIVER_WAL_TEST_FOLDER";
/// How often it is killed.
const KILLS: u64 = 8;

fn config(folder: &Path) -> Config {
    let mut config = Config::new(folder);
    config.segment_bytes = 4096;
    config
}

fn open(folder: &Path) -> Engine<Tally> {
    Engine::open(config(folder), &stiver_env::native::env(), Tally::default).unwrap()
}

fn entries(engine: &Engine<Tally>) -> Vec<u64> {
    match pollster::block_on(engine.submit(Command::Read)) {
        Ok(Reply::Entries(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

/// Not a test by itself: what the killed process runs. Acknowledged entries go to its output.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM_FOLDER) else {
        return;
    };
    let engine = open(folder.as_ref());
    let first = u64::try_from(entries(&engine).len()).unwrap();
    for number in first.. {
        let command = Command::Add { number, bytes: 200 };
        let answer = pollster::block_on(engine.submit(command));
        assert!(matches!(answer, Ok(Reply::Added(_))));
        // Whoever killed it may be gone; that is no matter.
        let _ = writeln!(std::io::stdout(), "acknowledged {number}");
    }
}

#[test]
fn killed_process_loses_nothing_it_has_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut victim = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::victim", "--nocapture"])
            .env(VICTIM_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(|line| line.ok());
        let mut numbers = numbers.filter_map(|line| {
            line.strip_prefix("acknowledged ")
                .map(|number| number.parse::<u64>().unwrap())
        });
        let heard = numbers.nth(usize::try_from(3 + kill * 7).unwrap()).unwrap();
        victim.kill().unwrap();
        // What it had said before it died counts too.
        let last = numbers.last().unwrap_or(heard);
        victim.wait().unwrap();
        assert!(last >= acknowledged);
        acknowledged = last;

        let engine = open(folder.path());
        let found = entries(&engine);
        let count = u64::try_from(found.len()).unwrap();
        assert_eq!(found, Vec::from_iter(0..count), "kill {kill}");
        assert!(
            count > acknowledged,
            "kill {kill}: {acknowledged} of {count}"
        );
        pollster::block_on(engine.close()).unwrap();
        let env = stiver_env::native::env();
        assert_eq!(
            stiver_wal::verify::<Tally>(folder.path(), &env)
                .unwrap()
                .last,
            count
        );
    }
}

#[test]
fn history_read_beside_writers_is_whole_up_to_what_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let engine = engine.clone();
                scope.spawn(move || {
                    for count in 0..60 {
                        let number = thread * 1000 + count;
                        let command = Command::Add { number, bytes: 150 };
                        pollster::block_on(engine.submit(command)).unwrap();
                    }
                })
            })
            .collect();
        let mut readings = 0;
        while readings < 20 || writers.iter().any(|writer| !writer.is_finished()) {
            let durable = engine.durable();
            let mut last = 0;
            let mut visit = |sequence, _, _: Event| {
                assert_eq!(sequence, last + 1);
                last = sequence;
                true
            };
            engine.history(&mut visit).unwrap();
            assert!(last >= durable, "{last} of {durable}");
            readings += 1;
        }
    });
    assert_eq!(engine.durable(), 180);
}
