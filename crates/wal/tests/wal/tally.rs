//! A machine that remembers every entry in order, so that nothing can be lost unseen.

use std::path::PathBuf;

use stiver_core::Timestamp;
use stiver_testkit::simulation::Simulation;
use stiver_wal::{Config, Engine, Inconsistent, Machine, OpenError};

pub(crate) const FOLDER: &str = "/data/tally";

/// Entries in order, and their sum.
#[derive(Default)]
pub(crate) struct Tally {
    entries: Vec<u64>,
    sum: u64,
}

pub(crate) enum Command {
    /// Adds an entry; its event is `bytes` long beyond its number.
    Add { number: u64, bytes: usize },
    /// Asks for all entries.
    Read,
    /// Asks for the time.
    Time,
    /// Decides an event that cannot be followed.
    Contradict,
    /// Panics while deciding.
    Panic,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The place of the new entry.
    Added(usize),
    Entries(Vec<u64>),
    Time(Timestamp),
}

pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) padding: Vec<u8>,
}

/// The number of the event that [`Command::Contradict`] decides.
const IMPOSSIBLE: u64 = u64::MAX;

impl Machine for Tally {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 3;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;

    fn decide(&self, now: Timestamp, command: Command) -> (Reply, Option<Event>) {
        match command {
            Command::Add { number, bytes } => {
                let padding = padding(number, bytes);
                let reply = Reply::Added(self.entries.len());
                (reply, Some(Event { number, padding }))
            }
            Command::Read => (Reply::Entries(self.entries.clone()), None),
            Command::Time => (Reply::Time(now), None),
            Command::Contradict => {
                let padding = Vec::new();
                let number = IMPOSSIBLE;
                (Reply::Added(0), Some(Event { number, padding }))
            }
            Command::Panic => panic!("a command that panics"),
        }
    }

    fn evolve(&mut self, _now: Timestamp, event: &Event) -> Result<(), Inconsistent> {
        if event.number == IMPOSSIBLE {
            return Err(Inconsistent("an impossible entry".to_owned()));
        }
        if event.padding != padding(event.number, event.padding.len()) {
            return Err(Inconsistent(format!("entry {} is garbled", event.number)));
        }
        self.entries.push(event.number);
        self.sum = self.sum.wrapping_add(event.number);
        Ok(())
    }

    fn encode_event(event: &Event, into: &mut Vec<u8>) {
        into.extend_from_slice(&event.number.to_le_bytes());
        into.extend_from_slice(&event.padding);
    }

    fn decode_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
        let (number, padding) = bytes
            .split_first_chunk()
            .ok_or_else(|| Inconsistent("too short".to_owned()))?;
        Ok(Event {
            number: u64::from_le_bytes(*number),
            padding: padding.to_vec(),
        })
    }

    fn snapshot(&self) -> Vec<u8> {
        let numbers = self.entries.iter().chain([&self.sum]);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }

    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
        let (numbers, rest) = bytes.as_chunks();
        let mut numbers: Vec<u64> = numbers.iter().copied().map(u64::from_le_bytes).collect();
        let tally = numbers.pop().map(|sum| Self {
            entries: numbers,
            sum,
        });
        let tally = tally.filter(|_| rest.is_empty());
        let tally = tally.ok_or_else(|| Inconsistent("no tally".to_owned()))?;
        tally.check().map(|()| tally)
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let sum = self
            .entries
            .iter()
            .fold(0_u64, |sum, n| sum.wrapping_add(*n));
        if sum == self.sum {
            Ok(())
        } else {
            Err(Inconsistent(format!("{sum} is not {}", self.sum)))
        }
    }
}

/// Bytes that depend on the number; every third number has zeros, which also happen.
fn padding(number: u64, length: usize) -> Vec<u8> {
    let byte = match number % 3 {
        0 => 0,
        _ => number.to_le_bytes()[0] | 1,
    };
    vec![byte; length]
}

/// Small segments, so that they are often full.
pub(crate) fn config() -> Config {
    let mut config = Config::new(FOLDER);
    config.segment_bytes = 4096;
    config
}

pub(crate) fn open(simulation: &Simulation) -> Result<Engine<Tally>, OpenError> {
    open_with(simulation, config())
}

pub(crate) fn open_with(
    simulation: &Simulation,
    config: Config,
) -> Result<Engine<Tally>, OpenError> {
    Engine::open(config, &simulation.env(), Tally::default)
}

/// Adds entries one after the other.
pub(crate) fn add(simulation: &Simulation, engine: &Engine<Tally>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let bytes = usize::try_from(number % 50).unwrap();
        let command = Command::Add { number, bytes };
        simulation.block_on(engine.submit(command)).unwrap();
    }
}

pub(crate) fn entries(simulation: &Simulation, engine: &Engine<Tally>) -> Vec<u64> {
    match simulation.block_on(engine.submit(Command::Read)) {
        Ok(Reply::Entries(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

/// The files whose names begin with a prefix, sorted.
pub(crate) fn files(simulation: &Simulation, prefix: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(prefix)
    };
    simulation.disk.files().into_iter().filter(named).collect()
}

/// The whole chain of an error's messages.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
