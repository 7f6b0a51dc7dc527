//! The state by itself: what it writes it reads back, what it frees is gone, and it never drifts
//! from its log.
#![expect(clippy::panic, reason = "the functions that tests share are tests too")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stiver_core::Timestamp;
use stiver_env::Clock;
use stiver_store::{
    Advance, ClaimState, Command, Limits, NewClaim, Reply, StoredResponse, TERMINAL_RETAIN_MS,
    event::{Change, Event},
    limits::FREED_PER_EVENT_MAX,
    state::{Answer, KnownClaims, Request, State},
};
use stiver_testkit::{
    entropy::Random,
    fixtures::{self, challenge_id, new_claim},
    store_suite::{LIMITS, random_command},
    time::SimulatedClock,
};
use stiver_wal::Machine;

/// A state, and the log that its engine would have written.
struct Logged {
    state: State,
    log: Vec<(Timestamp, Vec<u8>)>,
}

impl Logged {
    fn new(limits: Limits) -> Self {
        Self {
            state: State::new(limits),
            log: Vec::new(),
        }
    }

    fn request(&mut self, now: Timestamp, request: Request) -> Answer {
        let (answer, event) = self.state.decide(now, request);
        if let Some(event) = event {
            self.state
                .evolve(now, &event)
                .expect("what was decided can be followed");
            self.log.push((now, encoded(&event)));
        }
        answer
    }

    fn run(&mut self, now: Timestamp, command: Command) -> Reply {
        match self.request(now, Request::Store(command)) {
            Answer::Store(reply) => reply,
            _ => panic!("a command has a reply"),
        }
    }

    fn claim(&mut self, now: Timestamp, new: &NewClaim) -> Reply {
        self.run(now, Command::Claim(new.clone()))
    }

    fn advance(&mut self, now: Timestamp, n: u64, to: Advance) -> Reply {
        let challenge_id = challenge_id(n);
        self.run(
            now,
            Command::Advance {
                challenge_id,
                epoch: 1,
                to,
            },
        )
    }

    fn known(&mut self) -> KnownClaims {
        match self.request(fixtures::now(), Request::Configure(LIMITS)) {
            Answer::Configured(known) => known,
            _ => panic!("a configuration has a handle"),
        }
    }
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    State::encode_event(event, &mut bytes);
    bytes
}

fn at(millis: u64) -> Timestamp {
    fixtures::now().plus_millis(millis)
}

fn failed() -> Advance {
    Advance::Failed {
        refusal: b"no"[..].into(),
    }
}

fn settle_and_deliver() -> Advance {
    Advance::Settled {
        settlement: b"settlement"[..].into(),
        deliver: true,
    }
}

fn delivered(body: usize, expires_at: Timestamp) -> Advance {
    Advance::Delivered {
        receipt: "receipt".into(),
        response: Some(Arc::new(StoredResponse {
            status: 200,
            headers: vec![("a".to_owned(), b"b".to_vec())],
            body: vec![7; body],
            expires_at,
        })),
    }
}

/// Runs random commands, and calls `each` after every one.
fn random_run(seed: u64, steps: u32, mut each: impl FnMut(&mut Logged, &Reply)) -> Logged {
    let (clock, mut random) = (SimulatedClock::new(fixtures::now()), Random::new(seed));
    let mut logged = Logged::new(LIMITS);
    for _ in 0..steps {
        if random.once_in(10) {
            clock.advance(Duration::from_millis(random.below(TERMINAL_RETAIN_MS)));
        }
        let command = random_command(&mut random, clock.now());
        let reply = logged.run(clock.now(), command);
        each(&mut logged, &reply);
    }
    logged
}

#[test]
fn every_invariant_holds_after_every_random_command() {
    for seed in 0..20 {
        random_run(seed, 500, |logged, reply| {
            let checked = logged.state.check();
            assert_eq!(checked, Ok(()), "seed {seed}, after {reply:?}");
        });
    }
}

#[test]
fn a_replayed_log_gives_the_same_state() {
    for seed in 0..20 {
        let logged = random_run(seed, 500, |_, _| {});
        let mut replayed = State::new(LIMITS);
        for (now, bytes) in &logged.log {
            let event = State::decode_event(bytes).unwrap();
            assert_eq!(&encoded(&event), bytes);
            replayed.evolve(*now, &event).unwrap();
        }
        assert_eq!(replayed.check(), Ok(()));
        assert_eq!(replayed.snapshot(), logged.state.snapshot(), "seed {seed}");
    }
}

#[test]
fn a_restored_snapshot_goes_on_as_if_nothing_had_happened() {
    for seed in 0..10 {
        let mut steps = 0;
        let mut logged = random_run(seed, 500, |logged, _| {
            steps += 1;
            if steps % 7 == 0 {
                let bytes = logged.state.snapshot();
                logged.state = State::restore(&bytes).unwrap();
                assert_eq!(logged.state.snapshot(), bytes);
            }
        });
        let plain = random_run(seed, 500, |_, _| {});
        assert_eq!(
            logged.state.snapshot(),
            plain.state.snapshot(),
            "seed {seed}"
        );
        let ids = (0..20).map(challenge_id).filter(|id| {
            let get = Command::Get {
                challenge_id: id.clone(),
            };
            matches!(logged.run(Timestamp::MAX, get), Reply::Found(_))
        });
        let ids: Vec<String> = ids.collect();
        let known = State::restore(&plain.state.snapshot()).map(|state| {
            let mut logged = Logged { state, log: vec![] };
            logged.known()
        });
        let known = known.unwrap();
        assert!(ids.iter().all(|id| known.might_know(id)), "seed {seed}");
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_never_panics() {
    let bytes = random_run(3, 200, |_, _| {}).state.snapshot();
    for end in 0..bytes.len() {
        assert!(State::restore(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(State::restore(&longer).is_err());
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x55;
        if let Ok(state) = State::restore(&damaged) {
            assert_eq!(state.check(), Ok(()), "byte {place}");
        }
    }
}

#[test]
fn a_damaged_event_is_refused_and_never_panics() {
    for (_, bytes) in random_run(4, 300, |_, _| {}).log {
        for end in 0..bytes.len() {
            assert!(State::decode_event(&bytes[..end]).is_err());
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let _ = State::decode_event(&damaged);
        }
    }
}

#[test]
fn the_encoding_of_events_stays_what_it_was() {
    let change = |change| Event::Changed {
        challenge_id: "x".to_owned(),
        change,
    };
    let table = [
        (
            Event::Claimed(Box::new(NewClaim {
                challenge_id: "x".to_owned(),
                credential_hash: [1; 32],
                request_hash: [2; 32],
                idempotency_key_hash: None,
                replay_keys: vec![[3; 32]],
                details: b"d"[..].into(),
                artefact: b"a"[..].into(),
                handler_first: false,
                owner: 4,
                lease_ms: 5,
                attempt: [6; 16],
                retain_until: Timestamp::from_millis(7),
            })),
            format!(
                "8c0161785820{}5820{}f6815820{}41644161040550{}07",
                "01".repeat(32),
                "02".repeat(32),
                "03".repeat(32),
                "06".repeat(16)
            ),
        ),
        (
            change(Change::Settled {
                settlement: b"s"[..].into(),
                deliver: true,
            }),
            "8302617883014173f5".to_owned(),
        ),
        (change(Change::Deliver), "830261788103".to_owned()),
        (
            change(Change::TakenOver {
                owner: 1,
                lease_ms: 2,
            }),
            "83026178830a0102".to_owned(),
        ),
        (
            change(Change::Delivered {
                receipt: "r".into(),
                response: None,
            }),
            "8302617883046172f6".to_owned(),
        ),
    ];
    for (event, expected) in table {
        let bytes = encoded(&event);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert!(State::decode_event(&bytes).unwrap() == event);
    }
}

#[test]
fn the_encoding_of_settlement_after_the_handler_stays_what_it_is() {
    let change = |change| Event::Changed {
        challenge_id: "x".to_owned(),
        change,
    };
    let mut new = new_claim(1);
    new.handler_first = true;
    let claimed = encoded(&Event::Claimed(Box::new(new)));
    assert_eq!(claimed[..2], [0x8c, 4], "and the rest as for other claims");
    let read = State::decode_event(&claimed).unwrap();
    assert!(matches!(read, Event::Claimed(new) if new.handler_first));
    let table = [
        (
            change(Change::Capture { response: None }),
            "83026178820df6".to_owned(),
        ),
        (
            change(Change::Captured {
                settlement: b"s"[..].into(),
                receipt: "r".into(),
                response: None,
            }),
            "83026178840e41736172f6".to_owned(),
        ),
    ];
    for (event, expected) in table {
        let bytes = encoded(&event);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert!(State::decode_event(&bytes).unwrap() == event);
    }
}

#[test]
fn an_event_of_a_newer_version_is_refused() {
    let error = State::decode_event(&[0x81, 0x18, 0x63]).err().unwrap();
    assert!(error.0.contains("newer version"), "{error}");
}

#[test]
fn events_that_cannot_have_happened_are_refused() {
    let mut logged = Logged::new(LIMITS);
    logged.claim(at(0), &new_claim(1));
    let changed = |n, change| Event::Changed {
        challenge_id: challenge_id(n),
        change,
    };
    let mut twin = new_claim(2);
    twin.replay_keys = new_claim(1).replay_keys;
    let impossible = [
        changed(9, Change::Deliver),
        changed(1, Change::Deliver),
        changed(
            1,
            Change::TakenOver {
                owner: 2,
                lease_ms: 1,
            },
        ),
        Event::Claimed(Box::new(new_claim(1))),
        Event::Claimed(Box::new(twin)),
    ];
    for event in impossible {
        let mut state = State::restore(&logged.state.snapshot()).unwrap();
        assert!(state.evolve(at(1), &event).is_err());
    }
}

#[test]
fn artefacts_are_not_in_later_snapshots() {
    let holds = |logged: &Logged, text: &[u8]| {
        logged
            .state
            .snapshot()
            .windows(text.len())
            .any(|bytes| bytes == text)
    };
    let mut logged = Logged::new(LIMITS);
    let mut new = new_claim(1);
    new.artefact = b"the payer's order"[..].into();
    logged.claim(at(0), &new);
    assert!(
        holds(&logged, b"the payer's order"),
        "a restart must be able to execute it"
    );
    logged.advance(at(0), 1, settle_and_deliver());
    assert!(!holds(&logged, b"the payer's order"));
    let artefact = b"the refund's order"[..].into();
    logged.advance(at(0), 1, Advance::Refund { artefact });
    assert!(holds(&logged, b"the refund's order"));
    let refund = b"refund"[..].into();
    logged.advance(at(0), 1, Advance::Refunded { refund });
    assert!(!holds(&logged, b"the refund's order"));
}

#[test]
fn what_is_gone_is_freed_with_later_events_a_bounded_number_at_a_time() {
    let limits = Limits {
        claims_max: 1000,
        ..Limits::default()
    };
    let mut logged = Logged::new(limits);
    for n in 0..200 {
        logged.claim(at(0), &new_claim(n));
        logged.advance(at(0), n, failed());
    }
    let known = logged.known();
    let kept = |known: &KnownClaims| {
        (0..200)
            .filter(|n| known.might_know(&challenge_id(*n)))
            .count()
    };
    assert_eq!(kept(&known), 200);
    let later = at(TERMINAL_RETAIN_MS);
    let mut left = 200;
    for n in 1000..1004 {
        let mut new = new_claim(n);
        new.lease_ms = 1;
        assert!(matches!(logged.claim(later, &new), Reply::Won(_)));
        left = usize::saturating_sub(left, FREED_PER_EVENT_MAX);
        assert_eq!(kept(&known), left);
    }
    assert_eq!(left, 0);
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn what_is_gone_but_not_freed_stands_in_nobodys_way() {
    let mut logged = Logged::new(Limits::default());
    let keyed = |n| NewClaim {
        idempotency_key_hash: Some([7; 32]),
        ..new_claim(n)
    };
    let last = 3 * u64::try_from(FREED_PER_EVENT_MAX).unwrap();
    for n in 0..last {
        logged.claim(at(0), &new_claim(n));
        logged.advance(at(0), n, failed());
    }
    // The last three are freed last: one's challenge, another's replay key, the third's call.
    logged.claim(at(0), &keyed(last));
    logged.advance(at(0), last, settle_and_deliver());
    logged.advance(at(0), last, delivered(1, at(1)));
    let again = NewClaim {
        challenge_id: challenge_id(last - 1),
        replay_keys: new_claim(last - 2).replay_keys,
        ..keyed(last + 1)
    };
    let reply = logged.claim(at(TERMINAL_RETAIN_MS), &again);
    assert!(matches!(reply, Reply::Won(_)), "{reply:?}");
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn expired_responses_that_are_not_freed_crowd_no_live_one_out() {
    let many = 8 * FREED_PER_EVENT_MAX;
    let weight = 1000;
    let mut logged = Logged::new(Limits {
        responses_bytes_max: u64::try_from(weight * many).unwrap(),
        ..Limits::default()
    });
    let deliver = |logged: &mut Logged, now, n, body, expires_at| {
        logged.claim(now, &new_claim(n));
        logged.advance(now, n, settle_and_deliver());
        logged.advance(now, n, delivered(body, expires_at));
    };
    deliver(&mut logged, at(0), 9999, 900, at(2000));
    for n in 1..u64::try_from(many).unwrap() {
        deliver(&mut logged, at(0), n, 900, at(1000));
    }
    deliver(&mut logged, at(1000), 9998, weight * many * 3 / 4, at(2000));
    for n in [9999, 9998] {
        let get = Command::Get {
            challenge_id: challenge_id(n),
        };
        let Reply::Found(claim) = logged.run(at(1000), get) else {
            panic!("claim {n} is there");
        };
        assert!(claim.state.delivery().unwrap().response.is_some(), "{n}");
    }
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn random_commands_reach_every_state_and_every_reply() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        random_run(seed, 500, |_, reply| {
            let name = format!("{reply:?}");
            let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
            seen.insert(name);
            if let Reply::Found(claim) | Reply::Advanced(claim) = reply {
                seen.insert(claim.state.name().to_owned());
            }
        });
    }
    let replies = [
        "Won",
        "Exists",
        "IdempotencyHit",
        "IdempotencyConflict",
        "ReplayKeyUsed",
        "Full",
        "Advanced",
        "Fenced",
        "Refused",
        "Found",
        "Absent",
        "Claims",
        "Counts",
    ];
    for name in replies.into_iter().chain(ClaimState::NAMES) {
        assert!(seen.contains(name), "never {name}");
    }
}

#[test]
fn a_store_full_of_bytes_refuses_and_forgives_what_is_gone() {
    let mut logged = Logged::new(Limits {
        claims_bytes_max: 20_000,
        ..Limits::default()
    });
    let large = |n| NewClaim {
        details: vec![0; 9_000].into(),
        ..new_claim(n)
    };
    for n in 0..3 {
        assert!(matches!(logged.claim(at(0), &large(n)), Reply::Won(_)));
    }
    assert_eq!(logged.claim(at(0), &new_claim(3)), Reply::Full);
    logged.advance(at(0), 1, failed());
    assert_eq!(
        logged.claim(at(TERMINAL_RETAIN_MS - 1), &new_claim(3)),
        Reply::Full
    );
    let reply = logged.claim(at(TERMINAL_RETAIN_MS), &new_claim(3));
    assert!(matches!(reply, Reply::Won(_)), "{reply:?}");
}

#[test]
fn opening_the_log_ends_every_lease_for_nobody_else_can_be_at_work() {
    let mut logged = Logged::new(LIMITS);
    assert!(matches!(logged.claim(at(1), &new_claim(1)), Reply::Won(_)));
    let challenge_id = challenge_id(1);
    let take_over = Command::TakeOver {
        challenge_id,
        owner: 9,
        lease_ms: 1000,
    };
    let reply = logged.run(at(2), take_over.clone());
    assert!(matches!(reply, Reply::Refused(_)), "its owner is at work");
    logged.request(at(3), Request::Configure(LIMITS));
    let Reply::Won(claim) = logged.run(at(3), take_over) else {
        panic!("the claim is still leased to an owner that is gone");
    };
    assert_eq!((claim.owner, claim.epoch), (9, 2));
}

#[test]
fn lower_limits_drop_responses_and_are_logged_once() {
    let mut logged = Logged::new(LIMITS);
    for n in 0..2 {
        logged.claim(at(0), &new_claim(n));
        logged.advance(at(0), n, settle_and_deliver());
        logged.advance(at(0), n, delivered(900, at(1000)));
    }
    let events = logged.log.len();
    logged.request(at(0), Request::Configure(LIMITS));
    assert_eq!(logged.log.len(), events, "nothing changed");
    let lower = Limits {
        responses_bytes_max: 1000,
        ..LIMITS
    };
    for _ in 0..2 {
        logged.request(at(0), Request::Configure(lower));
        assert_eq!(logged.log.len(), events + 1);
    }
    let mut kept = |n| {
        let get = Command::Get {
            challenge_id: challenge_id(n),
        };
        match logged.run(at(0), get) {
            Reply::Found(claim) => claim.state.delivery().unwrap().response.is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!kept(0));
    assert!(kept(1));
}

#[test]
fn secrets_and_bodies_are_not_printed() {
    let mut logged = Logged::new(LIMITS);
    let mut new = new_claim(1);
    new.details = b"hidden"[..].into();
    new.artefact = b"hidden"[..].into();
    let mut printed = format!("{new:?}");
    printed += &format!("{:?}", logged.claim(at(0), &new));
    printed += &format!("{:?}", logged.advance(at(0), 1, settle_and_deliver()));
    let to = delivered(10, at(1000));
    printed += &format!("{to:?}");
    printed += &format!("{:?}", logged.advance(at(0), 1, to));
    let Reply::Found(claim) = logged.run(
        at(0),
        Command::Get {
            challenge_id: challenge_id(1),
        },
    ) else {
        panic!("it is there");
    };
    printed += &format!("{:?}", claim.state.delivery().unwrap().response);
    for secret in ["hidden", "104, 105", "7, 7", "settlement", "\"receipt"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
