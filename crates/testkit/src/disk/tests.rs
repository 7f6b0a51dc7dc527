use std::{io, path::Path};

use stiver_env::disk::Disk;

use super::{Operation, SECTOR_BYTES, SimulatedDisk};

const FOLDER: &str = "/log";

fn disk(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    disk.create_folder(Path::new(FOLDER)).unwrap();
    disk
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(FOLDER).join(name)
}

#[test]
fn synced_content_survives_every_crash() {
    for seed in 0..50 {
        let disk = disk(seed);
        let mut file = disk.open(&path("a"), true).unwrap();
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        file.write_at(&[2; 100], 1950).unwrap();
        disk.crash();
        let bytes = disk.bytes(&path("a")).unwrap();
        assert_eq!(bytes[..1950], [1; 1950], "seed {seed}");
        assert!(bytes.len() == 2000 || bytes.len() == 2050, "seed {seed}");
    }
}

#[test]
fn unsynced_sectors_survive_independently_and_whole() {
    let (mut later_only, mut none, mut all) = (false, false, false);
    for seed in 0..200 {
        let disk = disk(seed);
        let mut file = disk.open(&path("a"), true).unwrap();
        file.allocate(4096).unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        file.write_at(&[7; 3 * SECTOR_BYTES], 0).unwrap();
        disk.crash();
        let bytes = disk.bytes(&path("a")).unwrap();
        let kept: Vec<bool> = bytes[..3 * SECTOR_BYTES]
            .chunks(SECTOR_BYTES)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}");
                sector[0] == 7
            })
            .collect();
        later_only |= kept == [false, false, true];
        none |= kept == [false; 3];
        all |= kept == [true; 3];
    }
    assert!(later_only && none && all);
}

#[test]
fn file_whose_folder_was_not_synced_may_vanish() {
    let survived = (0..50)
        .filter(|seed| {
            let disk = disk(*seed);
            disk.open(&path("a"), true).unwrap().sync().unwrap();
            disk.crash();
            disk.bytes(&path("a")).is_some()
        })
        .count();
    assert!((1..50).contains(&survived), "{survived} of 50");
}

#[test]
fn atomic_write_leaves_the_old_or_the_new_content_wherever_power_fails() {
    for seed in 0..30 {
        for skip in 0..4 {
            let disk = disk(seed);
            disk.write_atomic(&path("a"), b"old", false).unwrap();
            disk.cut_power_after(skip);
            assert!(disk.write_atomic(&path("a"), b"newer", false).is_err());
            disk.crash();
            let bytes = disk.bytes(&path("a")).unwrap();
            assert!(
                bytes == b"old" || bytes == b"newer",
                "seed {seed}, skip {skip}"
            );
        }
    }
}

#[test]
fn failed_sync_loses_what_it_was_for_even_if_the_next_one_succeeds() {
    let disk = disk(1);
    let mut file = disk.open(&path("a"), true).unwrap();
    file.allocate(3).unwrap();
    disk.sync_folder(Path::new(FOLDER)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    disk.fail(Operation::Sync, 0, io::ErrorKind::Other);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.bytes(&path("a")).unwrap(), b"abc");
    disk.crash();
    assert_eq!(disk.bytes(&path("a")).unwrap(), [0; 3]);
}

#[test]
fn full_disk_refuses_growth_and_removal_makes_room() {
    let disk = disk(1);
    disk.set_capacity(100);
    disk.write_atomic(&path("a"), &[1; 80], false).unwrap();
    let mut file = disk.open(&path("b"), true).unwrap();
    let error = file.allocate(21).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    disk.remove(&path("a")).unwrap();
    disk.sync_folder(Path::new(FOLDER)).unwrap();
    file.allocate(21).unwrap();
}

#[test]
fn killed_process_loses_its_lock_and_handles_but_no_writes() {
    let disk = disk(1);
    let lock = disk.lock(Path::new(FOLDER)).unwrap();
    assert_eq!(
        disk.lock(Path::new(FOLDER)).err().unwrap().kind(),
        io::ErrorKind::WouldBlock
    );
    let mut file = disk.open(&path("a"), true).unwrap();
    file.write_at(b"abc", 0).unwrap();
    disk.kill();
    assert!(file.write_at(b"xyz", 0).is_err());
    assert_eq!(disk.bytes(&path("a")).unwrap(), b"abc");
    let next = disk.lock(Path::new(FOLDER)).unwrap();
    // The dead process's lock frees nothing any more.
    drop(lock);
    assert!(disk.lock(Path::new(FOLDER)).is_err());
    drop(next);
    assert!(disk.lock(Path::new(FOLDER)).is_ok());
}

#[test]
fn planned_fault_hits_the_operation_it_names_and_only_once() {
    let disk = disk(1);
    let mut file = disk.open(&path("a"), true).unwrap();
    disk.fail(Operation::Write, 1, io::ErrorKind::TimedOut);
    file.write_at(b"1", 0).unwrap();
    assert_eq!(
        file.write_at(b"2", 0).unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    file.write_at(b"3", 0).unwrap();
    assert_eq!(disk.bytes(&path("a")).unwrap(), b"3");
}
