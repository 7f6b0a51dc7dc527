use stiver_core::{Currency, Timestamp};
use stiver_wal::Machine;
use zeroize::Zeroizing;

use super::*;
use machine::{Command, OutboxMachine, Reply};

const CALL: CallId = CallId::from_bytes([3; 16]);

fn terms() -> Terms {
    Terms {
        amount: Currency::new("usd", 6).unwrap().units(u128::MAX),
        payee: "p\n\"quoted\"".into(),
        network: "n".into(),
        realm: "r".into(),
        method: "m".into(),
        intent: "charge".into(),
        challenge_id: "c".into(),
        expires: None,
    }
}

fn keys() -> Keys {
    Keys::new([1; 8], Zeroizing::new([2; 32]))
}

fn steps() -> Vec<Step> {
    let artefact = stiver_method::artefact::Artefact {
        rail_key: vec![0, 255],
        bytes: Zeroizing::new(vec![1, 2, 3]),
    };
    let note = || "why".to_owned();
    vec![
        Step::Begun {
            resource: Resource {
                origin: "o".into(),
                method: "GET".into(),
                url: "u".into(),
            },
            terms: terms(),
            request: StoredRequest {
                fields: Zeroizing::new(vec![("a".into(), vec![0xff, 0])]),
                body: None,
                body_digest: [9; 32],
            },
            challenge: "Payment x".into(),
        },
        Step::Authorised { artefact },
        Step::Sent {
            credential: Zeroizing::new("Payment y".into()),
        },
        Step::Refused { note: note() },
        Step::Rechallenged {
            terms: terms(),
            challenge: "Payment z".into(),
        },
        Step::Unknown { note: note() },
        Step::Unread {
            receipt: Some("r".into()),
            reference: Some("q".into()),
            note: Some(note()),
        },
        Step::Paid {
            receipt: Some("r".into()),
            reference: None,
            note: Some(note()),
        },
        Step::Settled {
            reference: "r".into(),
        },
        Step::Void { note: note() },
        Step::Abandoned { note: note() },
    ]
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    let mut keys = keys();
    for step in steps() {
        let change = seal_step(&mut keys, CALL, step).unwrap();
        let event = Event { id: CALL, change };
        let mut bytes = Vec::new();
        OutboxMachine::encode_event(&event, &mut bytes);
        assert_eq!(OutboxMachine::decode_event(&bytes).unwrap(), event);
        // No prefix of it is an event.
        for end in 0..bytes.len() {
            assert!(OutboxMachine::decode_event(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn a_snapshot_restores_the_state_and_rubbish_is_refused() {
    let mut keys = keys();
    let mut machine = OutboxMachine::default();
    let now = Timestamp::from_millis(7);
    for step in steps().into_iter().take(4) {
        let change = seal_step(&mut keys, CALL, step).unwrap();
        machine.evolve(now, &Event { id: CALL, change }).unwrap();
        let restored = OutboxMachine::restore(&machine.snapshot()).unwrap();
        assert_eq!(restored, machine);
        let live = restored.live().next().cloned().unwrap();
        open_live(&keys, live).unwrap();
    }
    // Paid and not read: the receipt is in the snapshot.
    for step in [4, 1, 2, 6].map(|step| steps().swap_remove(step)) {
        let change = seal_step(&mut keys, CALL, step).unwrap();
        machine.evolve(now, &Event { id: CALL, change }).unwrap();
    }
    let restored = OutboxMachine::restore(&machine.snapshot()).unwrap();
    assert_eq!(restored, machine);
    let live = restored.live().next().unwrap();
    assert_eq!(live.entry.state, State::Unread);
    assert_eq!(live.entry.receipt.as_deref(), Some("r"));
    for bytes in [b"".as_slice(), b"{}", b"[{}]", b"null", &[0xff; 9]] {
        assert!(OutboxMachine::restore(bytes).is_err());
        assert!(OutboxMachine::decode_event(bytes).is_err());
    }
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let mut keys = keys();
    let mut machine = OutboxMachine::default();
    let now = Timestamp::from_millis(7);
    for step in steps().into_iter().take(3) {
        let change = seal_step(&mut keys, CALL, step).unwrap();
        machine.evolve(now, &Event { id: CALL, change }).unwrap();
    }
    let text = String::from_utf8(machine.snapshot()).unwrap();
    for (good, bad) in [
        (r#""signatures":1"#, r#""signatures":2"#),
        (r#""state":"sent""#, r#""state":"paid""#),
        (r#""decimals":6"#, r#""decimals":99"#),
        (r#""currency":"usd""#, r#""currency":"""#),
        (r#""units":""#, r#""units":"-"#),
    ] {
        assert!(text.contains(good), "{text}");
        let altered = text.replace(good, bad);
        assert!(OutboxMachine::restore(altered.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn evolve_refuses_what_decide_would() {
    let mut machine = OutboxMachine::default();
    let now = Timestamp::from_millis(1);
    let change = Change::Paid {
        receipt: None,
        reference: None,
        note: None,
    };
    let event = Event { id: CALL, change };
    assert!(machine.evolve(now, &event).is_err());
    let (reply, written) = machine.decide(now, Command::Record(Box::new(event)));
    assert!(matches!(reply, Reply::Rejected(StepError::NotOpen(_))));
    assert!(written.is_none());
}

#[test]
fn what_is_secret_is_not_printed() {
    let mut keys = keys();
    for step in steps().into_iter().take(3) {
        let change = seal_step(&mut keys, CALL, step).unwrap();
        let text = format!("{change:?}");
        assert!(text.contains("Sealed("), "{text}");
        assert!(!text.contains("Payment"), "{text}");
    }
}
