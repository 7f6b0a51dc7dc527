//! Bit rot and hostile files: a precise error, or no loss; never a panic, never a huge allocation.

use std::path::{Path, PathBuf};

use stiver_testkit::{entropy::Random, simulation::Simulation};
use stiver_wal::{Damage, OpenError, Verified};

use crate::tally::{Command, FOLDER, Tally, add, chain, config, entries, files, open, open_with};

/// A log of several segments with every kind of batch, whose process was killed.
fn killed_log(seed: u64) -> (Simulation, Vec<u64>) {
    let simulation = Simulation::new(seed);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..150);
    // The last batch spans sectors; every third entry is made of zeros.
    for number in [151, 153] {
        let command = Command::Add {
            number,
            bytes: 1800,
        };
        simulation.block_on(engine.submit(command)).unwrap();
    }
    let found = entries(&simulation, &engine);
    simulation.kill();
    (simulation, found)
}

/// Opens a damaged log: either all entries are there, or the error names the damage and nothing
/// was changed. True when it opened.
fn opens_whole_or_refuses(simulation: &Simulation, all: &[u64], file: &Path, what: &str) -> bool {
    let before = simulation.disk.copy();
    match open(simulation) {
        Ok(engine) => {
            assert_eq!(
                entries(simulation, &engine),
                all,
                "{what}: entries are lost"
            );
            simulation.kill();
            true
        }
        Err(error @ OpenError::Corrupt { .. }) => {
            let text = chain(&error);
            assert!(text.contains(file.to_str().unwrap()), "{what}: {text}");
            for path in before.files() {
                assert_eq!(simulation.disk.bytes(&path), before.bytes(&path), "{what}");
            }
            false
        }
        Err(error) => panic!("{what}: {}", chain(&error)),
    }
}

/// Flips a bit, tries, and flips it back.
fn flip(simulation: &Simulation, all: &[u64], file: &Path, bit: u64) -> bool {
    let whole = simulation.disk.bytes(file).unwrap();
    simulation.disk.flip_bit(file, bit);
    let what = format!("{} bit {bit}", file.display());
    let opened = opens_whole_or_refuses(simulation, all, file, &what);
    simulation.disk.put(file, &whole);
    opened
}

#[test]
fn flipped_bit_anywhere_in_the_last_segment_is_refused_or_harmless() {
    let (simulation, all) = killed_log(1);
    let file = files(&simulation, "segment-").pop().unwrap();
    let bytes = simulation.disk.bytes(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut random = Random::new(1);
    let mut byte = 0;
    while byte < bytes.len() {
        let bit = u64::try_from(byte).unwrap() * 8 + random.below(8);
        let opened = flip(&simulation, &all, &file, bit);
        assert!(
            !opened || byte > end,
            "the damage at byte {byte} was overlooked"
        );
        // Every byte of the file's header and of the first frame's.
        byte += if byte < 192 { 1 } else { 1 + random.index(9) };
    }
}

#[test]
fn flipped_bit_in_the_newest_snapshot_falls_back_to_the_one_before() {
    let (simulation, all) = killed_log(2);
    let file = files(&simulation, "snapshot-").pop().unwrap();
    let length = u64::try_from(simulation.disk.bytes(&file).unwrap().len()).unwrap();
    let mut random = Random::new(2);
    let mut byte = 0;
    while byte < length {
        assert!(flip(&simulation, &all, &file, byte * 8 + random.below(8)));
        byte += if byte < 128 { 1 } else { 1 + random.below(9) };
    }
}

#[test]
fn damage_to_every_snapshot_is_refused_with_the_name_of_the_newest() {
    let (simulation, _) = killed_log(3);
    let snapshots = files(&simulation, "snapshot-");
    for file in &snapshots {
        simulation.disk.flip_bit(file, 1100);
    }
    let error = open(&simulation).err().unwrap();
    let newest = snapshots.last().unwrap();
    assert!(matches!(
        &error,
        OpenError::Corrupt { file, what: Damage::SnapshotHash, .. } if file == newest
    ));
}

#[test]
fn verify_finds_a_flipped_bit_in_any_file() {
    let (simulation, all) = killed_log(4);
    let env = simulation.env();
    let verify = || stiver_wal::verify::<Tally>(FOLDER.as_ref(), &env);
    let Verified { last, torn, .. } = verify().unwrap();
    assert_eq!((last, torn), (u64::try_from(all.len()).unwrap(), false));
    let mut random = Random::new(4);
    for file in simulation.disk.files() {
        let bytes = simulation.disk.bytes(&file).unwrap();
        let Some(end) = bytes.iter().rposition(|byte| *byte != 0) else {
            continue;
        };
        for _ in 0..60 {
            let bit = random.below(u64::try_from(end + 1).unwrap() * 8);
            simulation.disk.flip_bit(&file, bit);
            let error = verify().expect_err(&format!("{} bit {bit}", file.display()));
            assert!(chain(&error).contains(file.to_str().unwrap()), "{error}");
            simulation.disk.flip_bit(&file, bit);
        }
    }
    assert!(verify().is_ok());
}

#[test]
fn file_cut_short_anywhere_is_refused() {
    let (simulation, all) = killed_log(5);
    let file = files(&simulation, "segment-").pop().unwrap();
    let whole = simulation.disk.bytes(&file).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for length in 0..end {
        simulation.disk.put(&file, &whole[..length]);
        let what = format!("cut to {length}");
        assert!(
            !opens_whole_or_refuses(&simulation, &all, &file, &what),
            "{what}"
        );
    }
    // Behind the last frame there must be room for the zeros that end the log.
    simulation.disk.put(&file, &whole[..end]);
    assert!(open(&simulation).is_err());
    simulation.disk.put(&file, &whole[..end + 64]);
    assert!(opens_whole_or_refuses(
        &simulation,
        &all,
        &file,
        "room for the end"
    ));
}

#[test]
fn missing_sector_before_an_intact_batch_is_damage_and_not_a_torn_tail() {
    let simulation = Simulation::new(6);
    let mut one_segment = config();
    one_segment.segment_bytes = 64 << 10;
    let open = || open_with(&simulation, one_segment.clone());
    let engine = open().unwrap();
    for number in 0..40 {
        let command = Command::Add { number, bytes: 300 };
        simulation.block_on(engine.submit(command)).unwrap();
    }
    simulation.kill();
    let file = files(&simulation, "segment-").pop().unwrap();
    let whole = simulation.disk.bytes(&file).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let last_frame = end + 1 - (64 + 4 + 8 + 300 + 8);
    for sector in 0..=end / 512 {
        let mut bytes = whole.clone();
        bytes[sector * 512..(sector + 1) * 512].fill(0);
        simulation.disk.put(&file, &bytes);
        match open() {
            Err(OpenError::Corrupt { .. }) => {
                assert!((sector * 512) <= last_frame, "sector {sector}");
                assert_eq!(simulation.disk.bytes(&file).unwrap(), bytes);
            }
            // The very last batch without one of its sectors is what a torn one looks like.
            Ok(engine) => {
                assert!((sector + 1) * 512 > last_frame, "sector {sector}");
                assert_eq!(entries(&simulation, &engine), Vec::from_iter(0..39));
                assert!(engine.recovery().cut.is_some());
                simulation.kill();
            }
            Err(error) => panic!("sector {sector}: {}", chain(&error)),
        }
    }
}

#[test]
fn closed_log_that_lost_its_last_batch_is_refused() {
    let (simulation, _) = killed_log(7);
    simulation
        .block_on(open(&simulation).unwrap().close())
        .unwrap();
    let file = files(&simulation, "segment-").pop().unwrap();
    let mut bytes = simulation.disk.bytes(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 1000..=end].fill(0);
    simulation.disk.put(&file, &bytes);
    let error = open(&simulation).err().unwrap();
    assert!(chain(&error).contains("the log ends with event 151, but a snapshot holds event 152"));
}

#[test]
fn removed_segment_is_named_by_the_event_it_held() {
    let (simulation, _) = killed_log(8);
    let segments = files(&simulation, "segment-");
    let newest = segments.last().unwrap();
    let first: u64 = newest.file_stem().unwrap().to_str().unwrap()[8..]
        .parse()
        .unwrap();
    simulation.env().disk.remove(newest).unwrap();
    let error = open(&simulation).err().unwrap();
    assert!(
        matches!(error, OpenError::NoSegment { sequence, .. } if sequence == first),
        "{error}"
    );
    // One in the middle is not needed for opening, but the history has a hole.
    let (simulation, _) = killed_log(8);
    simulation.env().disk.remove(&segments[2]).unwrap();
    assert!(open(&simulation).is_ok());
    simulation.kill();
    let hole = stiver_wal::verify::<Tally>(FOLDER.as_ref(), &simulation.env());
    let text = chain(&hole.err().unwrap());
    assert!(text.contains(segments[1].to_str().unwrap()), "{text}");
    assert!(text.contains("should be here"), "{text}");
}

#[test]
fn removed_only_segment_is_noticed() {
    let simulation = Simulation::new(8);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..3);
    simulation.kill();
    simulation
        .env()
        .disk
        .remove(&files(&simulation, "segment-")[0])
        .unwrap();
    let error = open(&simulation).err().unwrap();
    assert!(
        matches!(error, OpenError::NoSegment { sequence: 1, .. }),
        "{error}"
    );
}

#[test]
fn segment_of_another_log_is_refused() {
    let (one, _) = killed_log(9);
    let (two, _) = killed_log(10);
    let file = files(&one, "segment-").pop().unwrap();
    one.disk.put(&file, &two.disk.bytes(&file).unwrap());
    let error = open(&one).err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Corrupt {
                what: Damage::OtherLog,
                ..
            }
        ),
        "{error}"
    );
}

/// Files that were never written by this software.
fn hostile_contents() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = Random::new(11);
    let mut noise = vec![0; 20_000];
    random.fill(&mut noise);
    let mut claims = vec![0xff; 20_000];
    claims[..8].copy_from_slice(b"STIVERLG");
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![1]),
        ("zeros", vec![0; 10_000]),
        ("ones", vec![0xff; 10_000]),
        ("noise", noise),
        ("the mark and ones", claims),
        ("text", b"hello".repeat(1000)),
    ]
}

#[test]
fn hostile_files_in_place_of_any_file_are_refused() {
    let (simulation, all) = killed_log(12);
    let newest = |prefix| files(&simulation, prefix).pop().unwrap();
    for file in [newest("segment-"), newest("snapshot-")] {
        let whole = simulation.disk.bytes(&file).unwrap();
        for (name, bytes) in hostile_contents() {
            simulation.disk.put(&file, &bytes);
            let what = format!("{name} in {}", file.display());
            let opened = opens_whole_or_refuses(&simulation, &all, &file, &what);
            let snapshot = file.extension().is_some_and(|end| end == "snap");
            assert_eq!(opened, snapshot, "{what}");
        }
        simulation.disk.put(&file, &whole);
    }
}

#[test]
fn hostile_bytes_behind_the_last_frame_lose_nothing() {
    let (simulation, all) = killed_log(13);
    let file = files(&simulation, "segment-").pop().unwrap();
    let whole = simulation.disk.bytes(&file).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A length of four gigabytes, and the log's own frames once more.
    let giant = [&[0xff; 4][..], &[0x11; 60]].concat();
    let again = whole[128..end].to_vec();
    for (name, tail) in [("giant", giant), ("again", again)] {
        let bytes = [&whole[..end], &tail, &[0; 9000]].concat();
        simulation.disk.put(&file, &bytes);
        assert!(
            !opens_whole_or_refuses(&simulation, &all, &file, name),
            "{name}"
        );
    }
    let mut long = whole;
    long.resize(128 << 10, 0);
    long[100 << 10] = 1;
    simulation.disk.put(&file, &long);
    opens_whole_or_refuses(&simulation, &all, &file, "far away");
}

#[test]
fn folder_with_only_strange_names_starts_a_new_log() {
    let simulation = Simulation::new(14);
    for name in [
        "segment-1.log",
        "segment-0000000000000000000x.log",
        "snapshot-.snap",
        "x",
    ] {
        simulation
            .disk
            .put(&Path::new(FOLDER).join(name), b"not ours");
    }
    let engine = open(&simulation).unwrap();
    assert!(entries(&simulation, &engine).is_empty());
    let named: PathBuf = Path::new(FOLDER).join("segment-1.log");
    assert_eq!(simulation.disk.bytes(&named).unwrap(), b"not ours");
    assert_eq!(config().folder, Path::new(FOLDER));
}

#[test]
fn log_without_a_snapshot_is_refused() {
    let (simulation, _) = killed_log(15);
    for file in files(&simulation, "snapshot-") {
        simulation.env().disk.remove(&file).unwrap();
    }
    let error = open(&simulation).err().unwrap();
    assert!(matches!(error, OpenError::NoSnapshot { .. }), "{error}");
}
