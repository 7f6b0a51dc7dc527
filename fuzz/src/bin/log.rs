//! The log on a damaged disk: what is read back is what was written, from the first event on and
//! in order, or an error. Never anything else, and never a panic.
#![no_main]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use stiver_core::Timestamp;
use stiver_testkit::simulation::Simulation;
use stiver_wal::{Config, Engine, Inconsistent, Machine, SEGMENT_BYTES_MIN};

/// Events of the intact log: enough for some segments and snapshots.
const EVENTS: u8 = 48;

/// Longest event, bytes.
const EVENT_BYTES: usize = 300;

/// Remembers every event.
#[derive(Default)]
struct Tape(Vec<Vec<u8>>);

impl Machine for Tape {
    const NAME: &'static str = "tape";
    const VERSION: u32 = 1;
    type Command = Vec<u8>;
    type Event = Vec<u8>;
    type Reply = Vec<Vec<u8>>;

    fn decide(&self, _: Timestamp, command: Vec<u8>) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        (self.0.clone(), (!command.is_empty()).then_some(command))
    }
    fn evolve(&mut self, _: Timestamp, event: &Vec<u8>) -> Result<(), Inconsistent> {
        self.0.push(event.clone());
        Ok(())
    }
    fn encode_event(event: &Vec<u8>, into: &mut Vec<u8>) {
        into.extend_from_slice(event);
    }
    fn decode_event(bytes: &[u8]) -> Result<Vec<u8>, Inconsistent> {
        Ok(bytes.to_vec())
    }
    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in &self.0 {
            bytes.extend_from_slice(&u32::try_from(event.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(event);
        }
        bytes
    }
    fn restore(mut bytes: &[u8]) -> Result<Self, Inconsistent> {
        let short = || Inconsistent("too short".to_owned());
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap();
            let (event, rest) = rest.split_at_checked(length).ok_or_else(short)?;
            events.push(event.to_vec());
            bytes = rest;
        }
        Ok(Self(events))
    }
    fn check(&self) -> Result<(), Inconsistent> {
        Ok(())
    }
}

/// The events that were acknowledged, and the files that hold them.
struct Intact {
    events: Vec<Vec<u8>>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

static INTACT: LazyLock<Intact> = LazyLock::new(|| {
    let simulation = Simulation::new(1);
    let events: Vec<Vec<u8>> = (1..=EVENTS)
        .map(|n| vec![n; usize::from(n) * 37 % EVENT_BYTES + 1])
        .collect();
    let engine = Engine::open(config(), &simulation.env(), Tape::default).expect("a new log opens");
    simulation.block_on(async {
        for event in &events {
            engine
                .submit(event.clone())
                .await
                .expect("an event is written");
        }
    });
    simulation.kill();
    let files = simulation
        .disk
        .files()
        .into_iter()
        .filter_map(|path| Some((path.clone(), simulation.disk.bytes(&path)?)))
        .collect();
    Intact { events, files }
});

fn config() -> Config {
    let mut config = Config::new(Path::new("/log"));
    config.segment_bytes = SEGMENT_BYTES_MIN;
    config
}

/// Byte 0 names a file; an even byte 1 has the rest replace it, an odd one has the rest change it:
/// three bytes each, an offset and what to flip there.
fn damage(data: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (&[file, how], rest) = data.split_first_chunk()?;
    let file = usize::from(file) % INTACT.files.len();
    if how % 2 == 0 {
        return Some((file, rest.to_vec()));
    }
    let mut bytes = INTACT.files[file].1.clone();
    for edit in rest.chunks_exact(3) {
        let offset = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        if let Some(byte) = bytes.get_mut(offset) {
            *byte ^= edit[2];
        }
    }
    Some((file, bytes))
}

fuzz_target!(|data: &[u8]| {
    let Some((damaged, bytes)) = damage(data) else {
        return;
    };
    let simulation = Simulation::new(2);
    for (index, (path, intact)) in INTACT.files.iter().enumerate() {
        simulation
            .disk
            .put(path, if index == damaged { &bytes } else { intact });
    }
    let env = simulation.env();
    let verified = stiver_wal::verify::<Tape>(Path::new("/log"), &env);
    let Ok(engine) = Engine::open(config(), &env, Tape::default) else {
        return;
    };
    let read = simulation
        .block_on(engine.submit(b"more".to_vec()))
        .expect("an open log is written");
    assert!(
        INTACT.events.starts_with(&read),
        "read what was never written"
    );
    if verified.is_ok_and(|verified| !verified.torn) {
        assert_eq!(
            read.len(),
            INTACT.events.len(),
            "verified, and yet events are gone"
        );
    }
    // What was acknowledged after the damage is there as well.
    simulation.kill();
    let engine = Engine::open(config(), &env, Tape::default).expect("what was opened opens again");
    let again = simulation
        .block_on(engine.submit(Vec::new()))
        .expect("an open log answers");
    assert_eq!(again.len(), read.len() + 1);
    assert_eq!(again.last().map(Vec::as_slice), Some(b"more".as_slice()));
});
