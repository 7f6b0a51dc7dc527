//! The receipt key's file.

use std::path::Path;

use stiver_env::disk::Disk as _;
use stiver_ledger::LedgerConfig;
use stiver_testkit::simulation::Simulation;

use super::setup::{ISSUER, key};
use crate::{EmbeddedError, EmbeddedLedger};

const KEY_FILE: &str = "/data/ledger/ledger.key";

fn open(simulation: &Simulation) -> Result<EmbeddedLedger, EmbeddedError> {
    let issuer = key(ISSUER).did();
    let config = LedgerConfig::new("/data/ledger", issuer, issuer);
    let opened = simulation.block_on(EmbeddedLedger::open(config, &simulation.env()));
    simulation.kill();
    opened
}

#[test]
fn the_receipt_key_is_made_once_and_kept() {
    let simulation = Simulation::new(1);
    let first = open(&simulation).unwrap().ledger().receipt_key();
    let again = open(&simulation).unwrap().ledger().receipt_key();
    assert_eq!(first, again);
    assert_ne!(first, key(ISSUER).did());
}

#[test]
fn a_lost_or_foreign_receipt_key_is_never_replaced() {
    let simulation = Simulation::new(1);
    drop(open(&simulation).unwrap());
    let good = simulation.disk.bytes(Path::new(KEY_FILE)).unwrap();

    simulation.disk.remove(Path::new(KEY_FILE)).unwrap();
    let lost = open(&simulation).err().unwrap();
    assert!(matches!(lost, EmbeddedError::KeyFileLost { .. }), "{lost}");
    assert_eq!(simulation.disk.bytes(Path::new(KEY_FILE)), None);

    for bad in [&b""[..], b"hello", &good[1..], &[0xff; 100], &[b'a'; 5000]] {
        simulation.disk.put(Path::new(KEY_FILE), bad);
        let error = open(&simulation).err().unwrap();
        let told = matches!(
            error,
            EmbeddedError::BadKeyFile { .. } | EmbeddedError::KeyFile { .. }
        );
        assert!(told, "{error}");
    }

    let foreign = key(9).to_file_text();
    simulation.disk.put(Path::new(KEY_FILE), foreign.as_bytes());
    assert!(matches!(open(&simulation), Err(EmbeddedError::Ledger(_))));

    simulation.disk.put(Path::new(KEY_FILE), &good);
    assert!(open(&simulation).is_ok());
}
