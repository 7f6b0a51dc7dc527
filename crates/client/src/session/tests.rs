//! The journal's rules, without a method and without a network.

use proptest::prelude::*;
use stiver_core::{Currency, Timestamp};
use stiver_method::artefact::Artefact;
use stiver_testkit::simulation::Simulation;
use stiver_wal::Machine as _;
use zeroize::Zeroizing;

use super::*;
use crate::CallId;

const ID: SessionId = SessionId::from_bytes([7; 16]);

fn request(n: u8) -> CallId {
    CallId::from_bytes([n; 16])
}

fn terms() -> SessionTerms {
    SessionTerms {
        origin: "https://api.example".into(),
        realm: "api.example".into(),
        method: "ledger".into(),
        network: "a ledger".into(),
        payee: "merchant".into(),
        currency: Currency::new("usd", 6).unwrap(),
    }
}

fn artefact() -> Artefact {
    Artefact {
        rail_key: vec![1],
        bytes: Zeroizing::new(b"SECRET-ARTEFACT".to_vec()),
    }
}

fn intended(cap: u128, window: u128) -> SessionStep {
    SessionStep::Intended {
        terms: terms(),
        url: "https://api.example/feed".into(),
        challenge: "Payment id=\"c\"".into(),
        bounds: Bounds {
            cap,
            window,
            grain: 1,
        },
    }
}

fn opening(deposit: u128, grain: u128) -> SessionStep {
    SessionStep::Opening {
        channel: "c1".into(),
        deposit,
        grain,
        most: None,
    }
}

/// What is secret of a step.
fn secrets(step: &SessionStep) -> SessionSecrets {
    let record = ChannelRecord(Zeroizing::new(b"SECRET-RECORD".to_vec()));
    match step {
        SessionStep::Opening { .. } => SessionSecrets {
            record: Some(record),
            movement: Some(artefact()),
        },
        SessionStep::ToppingUp { .. } | SessionStep::Forcing | SessionStep::Withdrawing => {
            SessionSecrets::movement(artefact())
        }
        _ => SessionSecrets::default(),
    }
}

fn write(journal: &MemorySessions, step: SessionStep) -> Result<Session, SessionJournalError> {
    let secrets = secrets(&step);
    pollster::block_on(journal.record(ID, step, secrets))
}

fn signing(n: u8, cost: u128, cumulative: u128) -> SessionStep {
    SessionStep::Signing {
        request: request(n),
        cost,
        cumulative,
    }
}

fn answered(n: u8, accepted: u128, spent: u128) -> SessionStep {
    SessionStep::Answered {
        request: request(n),
        told: Some(Told { accepted, spent }),
        charged: None,
        note: None,
    }
}

fn charged(n: u8, charged: u128) -> SessionStep {
    SessionStep::Answered {
        request: request(n),
        told: None,
        charged: Some(charged),
        note: None,
    }
}

/// A journal in memory with one channel.
fn journal(steps: impl IntoIterator<Item = SessionStep>) -> (MemorySessions, Session) {
    let journal = MemorySessions::new(Simulation::new(1).env().clock);
    let mut last = None;
    for step in steps {
        last = Some(write(&journal, step).unwrap());
    }
    (journal, last.unwrap())
}

fn refused(journal: &MemorySessions, step: SessionStep) -> SessionRefusal {
    match write(journal, step) {
        Err(SessionJournalError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_voucher_is_never_signed_beyond_what_was_agreed_and_the_window() {
    let (journal, _) = journal([intended(100, 5), opening(100, 1), SessionStep::Opened]);
    let why = refused(&journal, signing(1, 10, 16));
    let allowed = 15;
    assert_eq!(why, SessionRefusal::TooMuch { asked: 16, allowed });
    assert_eq!(journal.all()[0].signed, 0, "a refused step changes nothing");
    let session = write(&journal, signing(1, 10, 15)).unwrap();
    assert_eq!((session.signed, session.agreed), (15, 10));
}

#[test]
fn what_a_payee_tells_settles_the_requests_in_doubt_up_to_what_is_signed() {
    let (journal, _) = journal([intended(1_000, 30), opening(1_000, 1), SessionStep::Opened]);
    write(&journal, signing(1, 0, 30)).unwrap();
    write(&journal, signing(2, 0, 30)).unwrap();
    let told = |spent| SessionStep::Settled {
        request: request(2),
        told: Told {
            accepted: 30,
            spent,
        },
    };
    // All of it was used by the one whose answer never came; nobody can claim more than is signed.
    let session = write(&journal, told(500)).unwrap();
    assert_eq!((session.agreed, session.signed), (30, 30));
    let left: Vec<CallId> = session.in_flight.into_keys().collect();
    assert_eq!(left, [request(2)]);
    write(&journal, signing(2, 0, 60)).unwrap();
    // Once they are settled, a word raises nothing more.
    let session = write(&journal, told(60)).unwrap();
    assert_eq!((session.agreed, session.spent), (30, 500));
    let most = IN_FLIGHT_MAX + 5;
    for n in 0..most {
        let step = SessionStep::Signing {
            request: CallId::from_bytes(u128::try_from(n).unwrap().to_be_bytes()),
            cost: 0,
            cumulative: 60,
        };
        write(&journal, step).unwrap();
    }
    assert_eq!(journal.all()[0].in_flight.len(), IN_FLIGHT_MAX);
}

#[test]
fn a_voucher_is_never_signed_beyond_the_deposit_or_below_another() {
    let (journal, _) = journal([intended(100, 90), opening(20, 1), SessionStep::Opened]);
    let why = refused(&journal, signing(1, 50, 21));
    let allowed = 20;
    assert_eq!(why, SessionRefusal::TooMuch { asked: 21, allowed });
    write(&journal, signing(1, 10, 10)).unwrap();
    let why = refused(&journal, signing(2, 1, 9));
    let signed = 10;
    assert_eq!(why, SessionRefusal::Lower { asked: 9, signed });
}

#[test]
fn deposits_and_top_ups_stay_below_the_cap() {
    let (journal, _) = journal([intended(100, 0)]);
    let cap = 100;
    let over = SessionRefusal::OverCap { asked: 101, cap };
    assert_eq!(refused(&journal, opening(101, 1)), over);
    write(&journal, opening(60, 1)).unwrap();
    write(&journal, SessionStep::Opened).unwrap();
    let top_up = |add| SessionStep::ToppingUp { add };
    assert_eq!(refused(&journal, top_up(41)), over);
    let session = write(&journal, top_up(40)).unwrap();
    assert_eq!((session.deposit, session.exposure()), (60, 100));
    let why = refused(&journal, signing(1, 61, 61));
    let allowed = 60;
    assert_eq!(why, SessionRefusal::TooMuch { asked: 61, allowed });
    let session = write(&journal, SessionStep::ToppedUp).unwrap();
    assert_eq!((session.deposit, session.asked), (100, 0));
}

#[test]
fn vouchers_of_a_hash_chain_may_round_up_by_less_than_one_word() {
    let (journal, session) = journal([intended(1_000, 0), opening(1_000, 64)]);
    assert_eq!(session.bounds.round_up(65), Some(128));
    assert_eq!(session.bounds.round_up(0), Some(0));
    assert_eq!(session.bounds.round_up(u128::MAX), None);
    let session = write(&journal, signing(1, 1, 64)).unwrap();
    assert_eq!(session.signed, 64);
    let why = refused(&journal, signing(2, 1, 128));
    let allowed = 65;
    assert_eq!(
        why,
        SessionRefusal::TooMuch {
            asked: 128,
            allowed
        }
    );
}

#[test]
fn a_request_that_is_not_charged_gives_back_what_was_agreed_and_nothing_that_was_signed() {
    let (_, session) = journal([
        intended(100, 0),
        opening(100, 1),
        SessionStep::Opened,
        signing(1, 10, 10),
        SessionStep::Released {
            request: request(1),
            note: "refused".into(),
        },
    ]);
    assert_eq!((session.signed, session.agreed), (10, 0));
    assert!(session.in_flight.is_empty());
}

#[test]
fn a_metered_request_is_agreed_to_up_to_what_is_signed_and_no_further() {
    let (_, session) = journal([
        intended(100, 8),
        opening(100, 1),
        SessionStep::Opened,
        signing(1, 10, 10),
        answered(1, 10, 10),
        signing(2, 0, 18),
        charged(2, 90),
    ]);
    assert_eq!((session.signed, session.agreed), (18, 18));
}

#[test]
fn a_closed_channel_signs_nothing_and_keeps_no_secret() {
    let (journal, session) = journal([
        intended(100, 0),
        opening(100, 1),
        SessionStep::Opened,
        signing(1, 10, 10),
        answered(1, 10, 10),
        SessionStep::Closing,
    ]);
    assert_eq!(session.exposure(), 100);
    let why = refused(&journal, signing(2, 1, 11));
    assert!(matches!(why, SessionRefusal::Order { .. }), "{why}");
    let secrets = pollster::block_on(journal.secrets(ID)).unwrap().unwrap();
    assert_eq!(secrets.record.unwrap().0.as_slice(), b"SECRET-RECORD");
    let closed = SessionStep::Closed {
        captured: Some(10),
        note: None,
    };
    let session = write(&journal, closed).unwrap();
    assert_eq!(session.exposure(), 10);
    assert!(pollster::block_on(journal.secrets(ID)).unwrap().is_none());
    let why = refused(&journal, SessionStep::Closing);
    assert_eq!(why, SessionRefusal::NotOpen(ID));
}

/// What a confused program, or one led by a hostile server, may ask the journal.
fn any_step() -> impl Strategy<Value = SessionStep> {
    let small = 0_u128..60;
    prop_oneof![
        1 => Just(intended(100, 7)),
        2 => (0_u128..120, 1_u128..9).prop_map(|(deposit, grain)| opening(deposit, grain)),
        2 => Just(SessionStep::Opened),
        8 => (1_u8..5, small.clone(), 0_u128..120)
            .prop_map(|(n, cost, cumulative)| signing(n, cost, cumulative)),
        4 => (1_u8..5, any::<u128>(), any::<u128>())
            .prop_map(|(n, accepted, spent)| answered(n, accepted, spent)),
        2 => (1_u8..5, any::<u128>()).prop_map(|(n, units)| charged(n, units)),
        2 => (1_u8..5).prop_map(|n| SessionStep::Released {
            request: request(n),
            note: "n".into(),
        }),
        2 => small.prop_map(|add| SessionStep::ToppingUp { add }),
        2 => Just(SessionStep::ToppedUp),
        1 => Just(SessionStep::TopUpVoid { note: "n".into() }),
        1 => Just(SessionStep::Closing),
        1 => Just(SessionStep::Forcing),
        1 => Just(SessionStep::Forced { withdrawable_at: Some(Timestamp::from_millis(9)) }),
        1 => Just(SessionStep::Withdrawing),
        1 => Just(SessionStep::Withdrawn { captured: Some(3) }),
        1 => Just(SessionStep::Closed { captured: None, note: Some("n".into()) }),
        1 => Just(SessionStep::Void { note: "n".into() }),
        1 => Just(SessionStep::Abandoned { note: "n".into() }),
        1 => Just(SessionStep::Noted { note: "n".into() }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_what_is_signed_stays_within_agreement_window_deposit_and_cap(
        steps in proptest::collection::vec(any_step(), 0..80),
    ) {
        let journal = MemorySessions::new(Simulation::new(1).env().clock);
        // The most that was ever agreed to at once, as an onlooker adds it up.
        let mut peak = 0_u128;
        let mut signed = 0_u128;
        for step in steps {
            let recorded = write(&journal, step);
            let Ok(session) = recorded else { continue };
            peak = peak.max(session.agreed);
            let over = session.bounds.window + session.bounds.grain - 1;
            prop_assert!(session.signed <= peak + over);
            prop_assert!(session.signed <= session.deposit + session.asked);
            prop_assert!(session.deposit + session.asked <= 100);
            prop_assert!(session.signed >= signed, "what was signed went down");
            signed = session.signed;
            prop_assert!(session.exposure() <= 100);
        }
    }

    #[test]
    fn every_state_and_event_survives_the_log(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let journal = MemorySessions::new(Simulation::new(1).env().clock);
        let mut machine = SessionMachine::default();
        let now = Timestamp::from_millis(5);
        for step in steps {
            let secrets = secrets(&step);
            let event = journal.sealed(ID, step, &secrets);
            let (_, written) = machine.decide(now, SessionCommand::Record(event));
            let Some(event) = written else { continue };
            let mut bytes = Vec::new();
            SessionMachine::encode_event(&event, &mut bytes);
            prop_assert_eq!(&SessionMachine::decode_event(&bytes).unwrap(), &event);
            machine.evolve(now, &event).unwrap();
            let restored = SessionMachine::restore(&machine.snapshot()).unwrap();
            prop_assert_eq!(&restored, &machine);
        }
    }
}

#[test]
fn a_damaged_snapshot_or_event_is_refused() {
    for bytes in [
        &b""[..],
        b"{}",
        b"{\"ended\":[],\"live\":[{\"id\":\"x\"}]}",
        b"{\"id\":\"07070707070707070707070707070707\",\"step\":\"signing\",\"request\":\"z\"}",
    ] {
        assert!(SessionMachine::decode_event(bytes).is_err());
        assert!(SessionMachine::restore(bytes).is_err());
    }
}

#[test]
fn what_is_secret_is_not_printed() {
    let journal = MemorySessions::new(Simulation::new(1).env().clock);
    let step = opening(1, 1);
    let secrets = secrets(&step);
    let event = journal.sealed(ID, step, &secrets);
    let text = format!("{event:?} {secrets:?}");
    assert!(text.contains("Sealed("), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}

#[test]
fn every_state_has_a_word_of_its_own() {
    let mut words: Vec<&str> = SessionState::all().map(SessionState::as_str).collect();
    for state in SessionState::all() {
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(
            json,
            format!("{:?}", state.as_str()),
            "the log has the same word"
        );
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!((words.len(), count), (11, 11));
}
