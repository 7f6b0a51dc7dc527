//! The durable outbox: what it acknowledged survives every crash, processes do not wait for each
//! other, and what is final keeps no secret.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use proptest::prelude::*;
use stiver_client::{
    CallId, MoneyMoved,
    outbox::{
        Entry, HistoryFilter, LaneOutbox, Outbox, OutboxError, Resource, State, Step, StepError,
        StoredRequest, Terms, history, totals,
    },
};
use stiver_core::Timestamp;
use stiver_method::artefact::Artefact;
use stiver_testkit::{fixtures, simulation::Simulation};
use zeroize::Zeroizing;

const FOLDER: &str = "/home/outbox";

fn id(n: u8) -> CallId {
    CallId::from_bytes([n; 16])
}

fn terms(units: u128) -> Terms {
    Terms {
        amount: fixtures::micro_usd(units),
        payee: "merchant".into(),
        network: "a rail".into(),
        realm: "api.example".into(),
        method: "hostile".into(),
        intent: "charge".into(),
        challenge_id: "c".into(),
        expires: Some(Timestamp::from_millis(5)),
    }
}

fn begun(units: u128) -> Step {
    Step::Begun {
        resource: Resource {
            origin: "https://api.example".into(),
            method: "POST".into(),
            url: "https://api.example/data".into(),
        },
        terms: terms(units),
        request: StoredRequest {
            fields: Zeroizing::new(vec![("x-key".into(), b"SECRET-FIELD".to_vec())]),
            body: Some(Zeroizing::new(b"SECRET-BODY".to_vec())),
            body_digest: [7; 32],
        },
        challenge: "Payment id=\"c\"".into(),
    }
}

fn authorised(n: u8) -> Step {
    let artefact = Artefact {
        rail_key: vec![n],
        bytes: Zeroizing::new(b"SECRET-ARTEFACT".to_vec()),
    };
    Step::Authorised { artefact }
}

fn sent() -> Step {
    Step::Sent {
        credential: Zeroizing::new("Payment SECRET-CREDENTIAL".into()),
    }
}

fn paid() -> Step {
    Step::Paid {
        receipt: Some("cmVjZWlwdA".into()),
        reference: Some("r1".into()),
        note: None,
    }
}

fn unread() -> Step {
    Step::Unread {
        receipt: Some("cmVjZWlwdA".into()),
        reference: Some("r1".into()),
        note: None,
    }
}

fn note(text: &str) -> String {
    text.to_owned()
}

/// A call that goes through every kind of step.
fn story() -> Vec<(Step, State)> {
    vec![
        (begun(10), State::Challenged),
        (authorised(1), State::Authorised),
        (sent(), State::Sent),
        (Step::Refused { note: note("no") }, State::Refused),
        (
            Step::Rechallenged {
                terms: terms(20),
                challenge: "Payment id=\"d\"".into(),
            },
            State::Challenged,
        ),
        (authorised(2), State::Authorised),
        (sent(), State::Sent),
        (Step::Unknown { note: note("?") }, State::Unknown),
        (unread(), State::Unread),
        // What is met when it is fetched again does not undo that it is paid.
        (Step::Unknown { note: note("?") }, State::Unread),
        (Step::Refused { note: note("no") }, State::Unread),
        (paid(), State::Paid),
    ]
}

fn open(simulation: &Simulation) -> Result<LaneOutbox, OutboxError> {
    let env = simulation.env();
    simulation.block_on(async move { LaneOutbox::open(Path::new(FOLDER), &env).await })
}

fn all(simulation: &Simulation) -> Vec<Entry> {
    let filter = HistoryFilter::default();
    history(Path::new(FOLDER), &simulation.env(), &filter).unwrap()
}

#[test]
fn a_call_is_kept_step_by_step_and_its_secrets_come_back() {
    let simulation = Simulation::new(1);
    let outbox = open(&simulation).unwrap();
    for (step, state) in story() {
        simulation.block_on(outbox.record(id(1), step)).unwrap();
        let stored = simulation.block_on(outbox.stored(id(1))).unwrap();
        if state.is_final() {
            assert!(stored.is_none());
            continue;
        }
        let stored = stored.unwrap();
        assert_eq!(stored.entry.state, state);
        assert_eq!(stored.request.fields[0].1, b"SECRET-FIELD");
        assert_eq!(stored.request.body.unwrap().as_slice(), b"SECRET-BODY");
        assert_eq!(stored.request.body_digest, [7; 32]);
        let signatures = usize::try_from(stored.entry.signatures).unwrap();
        assert_eq!(stored.artefacts.len(), signatures);
        if state == State::Sent {
            let credential = stored.credential.unwrap();
            assert_eq!(credential.as_str(), "Payment SECRET-CREDENTIAL");
        }
        if stored.entry.signatures == 2 {
            assert_eq!(stored.challenge, "Payment id=\"d\"");
            assert_eq!(stored.artefacts[1].rail_key, [2]);
            assert_eq!(stored.entry.terms, terms(20));
        }
    }
    let entries = all(&simulation);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].state, State::Paid);
    assert_eq!(entries[0].signatures, 2);
    assert_eq!(entries[0].receipt.as_deref(), Some("cmVjZWlwdA"));
}

#[test]
fn steps_out_of_order_change_nothing() {
    let simulation = Simulation::new(1);
    let outbox = open(&simulation).unwrap();
    let refused = |n, step| match simulation.block_on(outbox.record(id(n), step)) {
        Err(OutboxError::Step(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(1, sent()), StepError::NotOpen(id(1)));
    simulation.block_on(outbox.record(id(1), begun(1))).unwrap();
    assert_eq!(refused(1, begun(1)), StepError::Begun(id(1)));
    for step in [sent(), paid(), Step::Unknown { note: note("?") }] {
        assert!(matches!(refused(1, step), StepError::Order { .. }));
    }
    simulation
        .block_on(outbox.record(id(1), authorised(1)))
        .unwrap();
    let abandoned = Step::Abandoned { note: note("no") };
    assert!(matches!(refused(1, abandoned), StepError::Order { .. }));
    assert!(matches!(refused(1, authorised(1)), StepError::Order { .. }));
}

#[test]
fn two_processes_use_one_outbox_and_see_the_whole_history() {
    let simulation = Simulation::new(1);
    let one = open(&simulation).unwrap();
    let two = open(&simulation).unwrap();
    for (n, outbox) in [(1, &one), (2, &two)] {
        for step in [begun(1), authorised(1), sent()] {
            simulation.block_on(outbox.record(id(n), step)).unwrap();
        }
    }
    assert_eq!(all(&simulation).len(), 2);
    // Each sees its own open calls; the other's are the other's business.
    let own = simulation.block_on(one.open_calls()).unwrap();
    assert_eq!(own.iter().map(|e| e.id).collect::<Vec<_>>(), [id(1)]);
    assert!(simulation.block_on(one.stored(id(2))).unwrap().is_none());
    // When the other is gone, its open calls are taken over.
    simulation.block_on(two.close()).unwrap();
    let both = simulation.block_on(one.open_calls()).unwrap();
    assert_eq!(both.len(), 2);
    simulation.block_on(one.record(id(2), paid())).unwrap();
    let left = simulation.block_on(one.open_calls()).unwrap();
    assert_eq!(left.len(), 1);
    simulation.block_on(one.close()).unwrap();
}

#[test]
fn programs_that_run_one_after_the_other_share_a_lane() {
    let simulation = Simulation::new(1);
    for n in 0..5 {
        let outbox = open(&simulation).unwrap();
        for step in [begun(1), authorised(1), sent(), paid()] {
            simulation.block_on(outbox.record(id(n), step)).unwrap();
        }
        simulation.block_on(outbox.close()).unwrap();
    }
    assert_eq!(all(&simulation).len(), 5);
    let files = simulation.disk.files();
    let second = Path::new(FOLDER).join("lane-1");
    assert!(!files.iter().any(|file| file.starts_with(&second)));
}

#[test]
fn no_file_ever_holds_a_secret_in_clear_and_final_calls_cannot_be_unsealed() {
    let simulation = Simulation::new(1);
    let outbox = open(&simulation).unwrap();
    for (step, _) in story() {
        simulation.block_on(outbox.record(id(1), step)).unwrap();
        for file in simulation.disk.files() {
            let bytes = simulation.disk.bytes(&file).unwrap();
            let found = bytes.windows(7).any(|part| part == b"SECRET-");
            assert!(!found, "{}", file.display());
        }
    }
    let keys = Path::new(FOLDER).join("lane-0.keys");
    let before = simulation.disk.bytes(&keys).unwrap();
    simulation.block_on(outbox.close()).unwrap();
    let after = simulation.disk.bytes(&keys).unwrap();
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    };
    for key in lines(&before) {
        assert!(!lines(&after).contains(&key), "a key outlived its calls");
    }
}

#[test]
fn a_damaged_key_file_is_named_and_nothing_is_overwritten() {
    let simulation = Simulation::new(1);
    let outbox = open(&simulation).unwrap();
    simulation.block_on(outbox.record(id(1), begun(1))).unwrap();
    simulation.block_on(outbox.close()).unwrap();
    let keys = Path::new(FOLDER).join("lane-0.keys");
    simulation.disk.put(&keys, b"rubbish");
    let error = open(&simulation).err().unwrap();
    assert!(
        matches!(&error, OutboxError::Keys { path, .. } if *path == keys),
        "{error}"
    );
    assert_eq!(simulation.disk.bytes(&keys).unwrap(), b"rubbish");
}

/// Three calls, a second apart: one paid, one sent, one abandoned.
fn three_calls() -> Vec<Entry> {
    let simulation = Simulation::new(1);
    let outbox = open(&simulation).unwrap();
    let record = |n, step| simulation.block_on(outbox.record(id(n), step)).unwrap();
    for (n, units) in [(1, 5), (2, 7), (3, 11)] {
        record(n, begun(units));
        if n < 3 {
            record(n, authorised(1));
            record(n, sent());
        }
        simulation.run_for(std::time::Duration::from_secs(1));
    }
    record(1, paid());
    record(3, Step::Abandoned { note: note("no") });
    all(&simulation)
}

#[test]
fn history_is_filtered_and_summed() {
    let entries = three_calls();
    let sums = totals(&entries).unwrap();
    assert_eq!(sums["usd"].moved, fixtures::micro_usd(5));
    assert_eq!(sums["usd"].maybe, fixtures::micro_usd(7));
    let pick = |filter: HistoryFilter| -> Vec<CallId> {
        let entries = filter.apply(entries.clone());
        entries.iter().map(|entry| entry.id).collect()
    };
    let usual = HistoryFilter::default;
    assert_eq!(
        pick(HistoryFilter {
            unresolved: true,
            ..usual()
        }),
        [id(2)]
    );
    assert_eq!(
        pick(HistoryFilter {
            newest: Some(2),
            ..usual()
        }),
        [id(2), id(3)]
    );
    let second = entries[1].begun_at;
    assert_eq!(
        pick(HistoryFilter {
            since: Some(second),
            ..usual()
        }),
        [id(2), id(3)]
    );
    assert_eq!(
        pick(HistoryFilter {
            until: Some(second),
            ..usual()
        }),
        [id(1)]
    );
    for (states, expected) in [
        (vec![State::Paid], vec![id(1)]),
        (vec![State::Paid, State::Sent], vec![id(1), id(2)]),
        (vec![State::Void], vec![]),
    ] {
        assert_eq!(pick(HistoryFilter { states, ..usual() }), expected);
    }
    let authority = entries[0].resource.origin.split_once("://").unwrap().1;
    for (host, matches) in [
        (authority, 3),
        (&authority.to_uppercase(), 3),
        (&format!("x{authority}"), 0),
        ("", 0),
    ] {
        let host = Some(host.to_owned());
        let picked = pick(HistoryFilter { host, ..usual() });
        assert_eq!(picked.len(), matches);
    }
    let origin = Some("https://other.example".to_owned());
    assert!(pick(HistoryFilter { origin, ..usual() }).is_empty());
    assert_eq!(entries[2].money_moved(), MoneyMoved::No);
}

#[test]
fn a_folder_that_is_not_there_has_no_history() {
    assert!(all(&Simulation::new(1)).is_empty());
}

/// Runs the story with a power cut after `changes` disk operations; gives how many steps were
/// acknowledged.
fn until_the_power_fails(simulation: &Simulation, changes: u64) -> usize {
    let outbox = match open(simulation) {
        Ok(outbox) => outbox,
        Err(_) => return 0,
    };
    simulation.disk.cut_power_after(changes);
    let mut acknowledged = 0;
    for (step, _) in story() {
        if simulation.block_on(outbox.record(id(1), step)).is_err() {
            break;
        }
        acknowledged += 1;
    }
    acknowledged
}

fn state_after(steps: usize) -> Option<State> {
    let before = steps.checked_sub(1)?;
    story().get(before).map(|(_, state)| *state)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_acknowledged_survives_a_power_cut_at_any_moment(
        seed in any::<u64>(),
        changes in 0_u64..60,
    ) {
        let simulation = Simulation::new(seed);
        let acknowledged = until_the_power_fails(&simulation, changes);
        simulation.crash();
        let outbox = open(&simulation).unwrap();
        let entries = all(&simulation);
        let state = entries.first().map(|entry| entry.state);
        // The step that was under way may have made it or not.
        let may = [state_after(acknowledged), state_after(acknowledged + 1)];
        prop_assert!(may.contains(&state), "{state:?}, not {may:?}");
        let stored = simulation.block_on(outbox.stored(id(1))).unwrap();
        let open = state.is_some_and(|state| !state.is_final());
        prop_assert_eq!(stored.is_some(), open);
        if let Some(stored) = stored {
            prop_assert_eq!(Some(stored.entry.state), state);
            let body = stored.request.body.unwrap();
            prop_assert_eq!(body.as_slice(), b"SECRET-BODY");
        }
    }
}
