//! The durable journal of sessions: what it acknowledged survives every crash, processes never
//! share a channel, and what is final keeps no secret.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use proptest::prelude::*;
use stiver_client::{
    CallId,
    session::{
        Bounds, ChannelRecord, LaneSessions, Session, SessionId, SessionJournal,
        SessionJournalError, SessionSecrets, SessionState, SessionStep, SessionTerms, Told,
        session_history,
    },
};
use stiver_method::artefact::Artefact;
use stiver_testkit::{fixtures, simulation::Simulation};
use zeroize::Zeroizing;

const FOLDER: &str = "/home/sessions";

fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn artefact() -> Artefact {
    Artefact {
        rail_key: vec![1],
        bytes: Zeroizing::new(b"SECRET-ARTEFACT".to_vec()),
    }
}

fn opened() -> [SessionStep; 3] {
    [
        SessionStep::Intended {
            terms: SessionTerms {
                origin: "https://api.example".into(),
                realm: "api.example".into(),
                method: "ledger".into(),
                network: "a ledger".into(),
                payee: "merchant".into(),
                currency: fixtures::usd(),
            },
            url: "https://api.example/feed".into(),
            challenge: "Payment id=\"c\"".into(),
            bounds: Bounds {
                cap: 1_000,
                window: 5,
                grain: 1,
            },
        },
        SessionStep::Opening {
            channel: "c1".into(),
            deposit: 1_000,
            grain: 1,
            most: None,
        },
        SessionStep::Opened,
    ]
}

fn secrets(step: &SessionStep) -> SessionSecrets {
    let record = ChannelRecord(Zeroizing::new(b"SECRET-RECORD".to_vec()));
    match step {
        SessionStep::Opening { .. } => SessionSecrets {
            record: Some(record),
            movement: Some(artefact()),
        },
        _ => SessionSecrets::default(),
    }
}

fn call(n: u8) -> CallId {
    CallId::from_bytes([n; 16])
}

fn signing(n: u8) -> SessionStep {
    SessionStep::Signing {
        request: call(n),
        cost: 10,
        cumulative: u128::from(n) * 10,
    }
}

fn answered(n: u8) -> SessionStep {
    SessionStep::Answered {
        request: call(n),
        told: Some(Told {
            accepted: u128::from(n) * 10,
            spent: u128::from(n) * 10,
        }),
        charged: None,
        note: None,
    }
}

fn open(simulation: &Simulation) -> Result<LaneSessions, SessionJournalError> {
    let env = simulation.env();
    simulation.block_on(async move { LaneSessions::open(Path::new(FOLDER), &env).await })
}

fn all(simulation: &Simulation) -> Vec<Session> {
    session_history(Path::new(FOLDER), &simulation.env()).unwrap()
}

fn write(simulation: &Simulation, journal: &LaneSessions, n: u8, step: SessionStep) {
    let recorded = simulation.block_on(journal.record(id(n), step.clone(), secrets(&step)));
    recorded.unwrap();
}

#[test]
fn a_channel_and_its_secrets_come_back_after_a_restart() {
    let simulation = Simulation::new(1);
    let journal = open(&simulation).unwrap();
    for step in opened().into_iter().chain([signing(1)]) {
        write(&simulation, &journal, 1, step);
    }
    simulation.crash();
    drop(journal);
    let journal = open(&simulation).unwrap();
    let sessions = simulation.block_on(journal.sessions()).unwrap();
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!(session.state, SessionState::Open);
    assert_eq!((session.signed, session.agreed), (10, 10));
    assert_eq!(session.in_flight.get(&call(1)), Some(&10));
    let secrets = simulation
        .block_on(journal.secrets(id(1)))
        .unwrap()
        .unwrap();
    assert_eq!(secrets.record.unwrap().0.as_slice(), b"SECRET-RECORD");
    assert!(secrets.movement.is_none(), "the opening is confirmed");
}

#[test]
fn a_channel_belongs_to_one_process_until_that_one_ends() {
    let simulation = Simulation::new(1);
    let one = open(&simulation).unwrap();
    for step in opened() {
        write(&simulation, &one, 1, step);
    }
    let two = open(&simulation).unwrap();
    assert!(simulation.block_on(two.sessions()).unwrap().is_empty());
    assert!(
        simulation
            .block_on(two.record(id(1), signing(1), SessionSecrets::default()))
            .is_err()
    );
    for step in opened() {
        write(&simulation, &two, 2, step);
    }
    // Anybody may look at both.
    assert_eq!(all(&simulation).len(), 2);
    simulation.block_on(one.close()).unwrap();
    drop(one);
    let sessions = simulation.block_on(two.sessions()).unwrap();
    assert_eq!(sessions.len(), 2, "what nobody holds is taken over");
    write(&simulation, &two, 1, signing(1));
}

#[test]
fn what_is_final_keeps_no_secret_on_disk_and_stays_in_the_list() {
    let simulation = Simulation::new(1);
    let journal = open(&simulation).unwrap();
    for step in opened().into_iter().chain([signing(1), answered(1)]) {
        write(&simulation, &journal, 1, step);
    }
    let closed = SessionStep::Closed {
        captured: Some(10),
        note: None,
    };
    write(&simulation, &journal, 1, closed);
    simulation.block_on(journal.close()).unwrap();
    drop(journal);
    let keys = simulation.env().disk;
    let keys = keys
        .read(Path::new("/home/sessions/lane-0.keys"), 4096)
        .unwrap();
    let keys = String::from_utf8(keys).unwrap();
    // The header and the key that nothing was sealed under yet.
    assert_eq!(keys.lines().count(), 2, "{keys}");
    let journal = open(&simulation).unwrap();
    let sessions = simulation.block_on(journal.sessions()).unwrap();
    assert_eq!(sessions[0].state, SessionState::Closed);
    assert_eq!(sessions[0].captured, Some(10));
    assert!(
        simulation
            .block_on(journal.secrets(id(1)))
            .unwrap()
            .is_none()
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn after_a_power_cut_no_voucher_that_was_acknowledged_is_forgotten(
        seed in any::<u64>(),
        changes in 0_u64..40,
    ) {
        let simulation = Simulation::new(seed);
        let journal = open(&simulation).unwrap();
        for step in opened() {
            write(&simulation, &journal, 1, step);
        }
        simulation.disk.cut_power_after(changes);
        let mut acknowledged = 0;
        for n in 1..=10_u8 {
            for step in [signing(n), answered(n)] {
                let signs = matches!(step, SessionStep::Signing { .. });
                match simulation.block_on(journal.record(id(1), step, SessionSecrets::default())) {
                    Ok(_) if signs => acknowledged = u128::from(n) * 10,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
        simulation.crash();
        drop(journal);
        let journal = open(&simulation).unwrap();
        let sessions = simulation.block_on(journal.sessions()).unwrap();
        prop_assert_eq!(sessions.len(), 1);
        // One more may have reached the disk without anybody having been told.
        prop_assert!(sessions[0].signed >= acknowledged);
        prop_assert!(sessions[0].signed <= acknowledged + 10);
        prop_assert_eq!(&sessions, &all(&simulation));
        // And it goes on from there.
        let none = SessionSecrets::default();
        let far = simulation.block_on(journal.record(id(1), signing(30), none));
        prop_assert!(far.is_err(), "a voucher far beyond what was agreed");
    }
}
