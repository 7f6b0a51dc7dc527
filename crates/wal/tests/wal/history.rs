//! Reading a log, closed and while it runs.

use std::path::Path;

use stiver_env::Clock;
use stiver_testkit::simulation::Simulation;
use stiver_wal::{OpenError, history, verify};

use crate::tally::{Event, FOLDER, Tally, add, open};

/// Numbers of all events by [`history`].
fn read(simulation: &Simulation) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    let mut visit = |sequence, _, event: Event| {
        seen.push((sequence, event.number));
        true
    };
    history::<Tally>(FOLDER.as_ref(), &simulation.env(), &mut visit).unwrap();
    seen
}

fn numbered(count: u64) -> Vec<(u64, u64)> {
    (0..count).map(|number| (number + 1, number)).collect()
}

#[test]
fn history_gives_every_event_in_order_with_its_time() {
    let simulation = Simulation::new(1);
    let start = simulation.clock.now();
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..300);
    simulation.block_on(engine.close()).unwrap();
    assert_eq!(read(&simulation), numbered(300));
    let mut visit = |_, at, _: Event| {
        assert_eq!(at, start);
        true
    };
    history::<Tally>(FOLDER.as_ref(), &simulation.env(), &mut visit).unwrap();
}

#[test]
fn running_log_can_be_read_and_goes_on() {
    let simulation = Simulation::new(2);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..200);
    assert_eq!(read(&simulation), numbered(200));
    let mut count = 0;
    engine
        .history(&mut |sequence, _, event| {
            count += 1;
            assert_eq!((sequence, event.number), (count, count - 1));
            true
        })
        .unwrap();
    assert_eq!(count, 200);
    add(&simulation, &engine, 200..210);
    assert_eq!(
        verify::<Tally>(FOLDER.as_ref(), &simulation.env())
            .unwrap()
            .last,
        210
    );
}

#[test]
fn visitor_stops_the_reading() {
    let simulation = Simulation::new(3);
    let engine = open(&simulation).unwrap();
    add(&simulation, &engine, 0..200);
    let mut count = 0;
    let mut visit = |_, _, _: Event| {
        count += 1;
        count < 150
    };
    engine.history(&mut visit).unwrap();
    assert_eq!(count, 150);
}

#[test]
fn empty_log_has_no_history_and_verifies() {
    let simulation = Simulation::new(4);
    simulation
        .block_on(open(&simulation).unwrap().close())
        .unwrap();
    assert_eq!(read(&simulation), []);
    let verified = verify::<Tally>(FOLDER.as_ref(), &simulation.env()).unwrap();
    assert_eq!((verified.first, verified.last), (1, 0));
}

#[test]
fn folder_that_is_not_there_is_an_error_that_names_it() {
    let simulation = Simulation::new(5);
    let nowhere = Path::new("/nowhere");
    let error = verify::<Tally>(nowhere, &simulation.env()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere"));
}

#[test]
fn chain_hash_differs_when_any_event_differs() {
    let hash = |numbers: std::ops::Range<u64>| {
        let simulation = Simulation::new(6);
        let engine = open(&simulation).unwrap();
        add(&simulation, &engine, numbers);
        simulation.block_on(engine.close()).unwrap();
        verify::<Tally>(FOLDER.as_ref(), &simulation.env())
            .unwrap()
            .chain
    };
    assert_eq!(hash(0..20), hash(0..20));
    assert_ne!(hash(0..20), hash(0..21));
    assert_ne!(hash(0..20), hash(1..21));
}
