//! Idempotency-Keys of spends: nothing is taken twice under one key, answers are told again, and
//! nobody's keys or answers push out another's.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::sync::Arc;

use stiver_channel::{Caps, ChannelId, Op, Rules, Voucher};
use stiver_core::Timestamp;
use stiver_store::{
    Apply, Carried, ChannelCommand, ChannelReply, Conclude, Keep, KeptAnswer, Limits, NewChannel,
    Present, SpendAnswer, SpendKey, StoredResponse, Take, Taken,
    limits::{
        CHANNEL_ANSWERS_BYTES_MAX, CHANNEL_KEYS_MAX, SPEND_ANSWER_BYTES_MAX,
        SPEND_ANSWERS_BYTES_MAX, SPEND_KEY_RETAIN_MS, SPEND_KEY_SURE_MS, SPEND_KEYS_FEW,
        SPEND_KEYS_MAX, SPEND_KEYS_RESERVED_DIVISOR, SPEND_RECEIPT_BYTES_MAX,
    },
    state::{Answer, KnownClaims, Request, State},
};
use stiver_testkit::fixtures;
use stiver_wal::Machine;

const RULES: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};
const COST: u128 = 10;

fn id(n: u64) -> ChannelId {
    ChannelId(fixtures::hash(b'h', n))
}

fn key(n: u64) -> SpendKey {
    SpendKey {
        key: fixtures::hash(b'i', n),
        request: fixtures::hash(b'q', 1),
    }
}

fn at(millis: u64) -> Timestamp {
    fixtures::now().plus_millis(millis)
}

fn answer(body: usize) -> Arc<SpendAnswer> {
    Arc::new(SpendAnswer {
        receipt: b"how to print it"[..].into(),
        response: Arc::new(StoredResponse {
            status: 200,
            headers: vec![("x-unit".to_owned(), b"C".to_vec())],
            body: vec![b'b'; body],
            expires_at: at(SPEND_KEY_RETAIN_MS),
        }),
    })
}

/// A state, and the log that its engine would have written.
struct Logged {
    state: State,
    known: KnownClaims,
    log: Vec<(Timestamp, Vec<u8>)>,
}

impl Logged {
    fn new() -> Self {
        Self::of(State::new(Limits::default()))
    }

    fn of(state: State) -> Self {
        let configure = Request::Configure(Limits::default());
        let (Answer::Configured(known), _) = state.decide(fixtures::now(), configure) else {
            panic!("a configuration has a handle");
        };
        let log = Vec::new();
        Self { state, known, log }
    }

    fn run(&mut self, now: Timestamp, command: ChannelCommand) -> ChannelReply {
        let (answer, event) = self.state.decide(now, Request::Channel(command));
        if let Some(event) = event {
            let mut bytes = Vec::new();
            State::encode_event(&event, &mut bytes);
            self.state.evolve(now, &event).unwrap();
            self.log.push((now, bytes));
        }
        match answer {
            Answer::Channel(reply) => reply,
            _ => panic!("a channel was asked"),
        }
    }

    /// A channel that has authorised more than any test takes.
    fn open(&mut self, n: u64) {
        let new = NewChannel {
            id: id(n),
            rules: RULES,
            deposit: u128::MAX,
            settled: 0,
            voucher: Some(Voucher {
                channel: id(n),
                cumulative: u128::MAX,
                proof: [1; 64].into(),
            }),
            details: b"details"[..].into(),
        };
        self.run(at(0), ChannelCommand::Open(Box::new(new)));
    }

    fn take(&mut self, now: Timestamp, n: u64, take: Take, key: SpendKey, reruns: u32) -> Taken {
        let present = Present {
            id: id(n),
            rules: RULES,
            voucher: None,
            take,
            key: Some(key),
            reruns,
        };
        match self.run(now, ChannelCommand::Present(Box::new(present))) {
            ChannelReply::Presented(it) => it.taken,
            other => panic!("{other:?}"),
        }
    }

    fn reserve(&mut self, now: Timestamp, n: u64, key: SpendKey) -> Taken {
        self.take(now, n, Take::Reserve(COST), key, 0)
    }

    fn spend(&mut self, now: Timestamp, n: u64, key: SpendKey) -> Taken {
        self.take(now, n, Take::Spend(COST), key, 0)
    }

    /// Serves what was reserved under a key, and answers so.
    fn conclude(
        &mut self,
        now: Timestamp,
        n: u64,
        key: SpendKey,
        answer: Option<&Arc<SpendAnswer>>,
    ) {
        let conclude = Conclude {
            id: id(n),
            rules: RULES,
            spend: COST,
            from_reserved: COST,
            key: Some(key.key),
            answer: answer.cloned(),
            left: Vec::new(),
        };
        let reply = self.run(now, ChannelCommand::Conclude(conclude));
        assert!(matches!(reply, ChannelReply::Concluded { .. }), "{reply:?}");
    }

    fn serve(&mut self, n: u64, key: SpendKey, answer: &Arc<SpendAnswer>) {
        assert_eq!(self.reserve(at(0), n, key), Taken::Done);
        self.conclude(at(0), n, key, Some(answer));
    }

    fn spent(&self, n: u64) -> u128 {
        let channel = self.known.channels().channel(&id(n)).unwrap();
        channel.figures().spent
    }

    fn is_kept(&mut self, n: u64, key: SpendKey) -> bool {
        matches!(self.reserve(at(0), n, key), Taken::Kept(_))
    }
}

#[test]
fn an_answer_is_kept_with_what_is_spent_in_one_write_and_told_again_after_a_crash() {
    let mut logged = Logged::new();
    logged.open(1);
    let kept = answer(4);
    assert_eq!(logged.reserve(at(0), 1, key(1)), Taken::Done);
    let writes = logged.log.len();
    logged.conclude(at(0), 1, key(1), Some(&kept));
    assert_eq!(logged.log.len(), writes + 1);
    // Others go on in the channel meanwhile: what was told is told again.
    assert_eq!(logged.spend(at(1), 1, key(2)), Taken::Done);
    let told = Taken::Kept(Box::new(KeptAnswer {
        carried: Carried::default(),
        answer: kept,
        accepted: u128::MAX,
        spent: COST,
    }));
    assert_eq!(logged.reserve(at(2), 1, key(1)), told);
    let mut replayed = State::new(Limits::default());
    for (now, bytes) in &logged.log {
        let event = State::decode_event(bytes).unwrap();
        replayed.evolve(*now, &event).unwrap();
    }
    let restored = State::restore(&logged.state.snapshot()).unwrap();
    for state in [replayed, restored] {
        let mut again = Logged::of(state);
        assert_eq!(again.reserve(at(3), 1, key(1)), told);
        assert_eq!(again.spent(1), COST * 2, "nothing more was taken");
    }
}

#[test]
fn an_answer_is_told_to_a_voucher_that_was_overtaken_and_after_the_close() {
    let mut logged = Logged::new();
    let new = NewChannel {
        id: id(1),
        rules: RULES,
        deposit: 1_000,
        settled: 0,
        voucher: None,
        details: [].into(),
    };
    logged.run(at(0), ChannelCommand::Open(Box::new(new)));
    let presented = |logged: &mut Logged, cumulative, key| {
        let present = Present {
            id: id(1),
            rules: RULES,
            voucher: Some(Voucher {
                channel: id(1),
                cumulative,
                proof: [1; 64].into(),
            }),
            take: Take::Reserve(COST),
            key: Some(key),
            reruns: 0,
        };
        logged.run(at(0), ChannelCommand::Present(Box::new(present)))
    };
    presented(&mut logged, 10, key(1));
    logged.conclude(at(0), 1, key(1), Some(&answer(3)));
    presented(&mut logged, 20, key(2));
    logged.conclude(at(0), 1, key(2), None);
    let is_told = |reply: &ChannelReply| match reply {
        ChannelReply::Presented(it) => matches!(it.taken, Taken::Kept(_)),
        _ => false,
    };
    assert!(is_told(&presented(&mut logged, 10, key(1))));
    // Under another key it buys nothing.
    let other = presented(&mut logged, 10, key(3));
    assert!(matches!(other, ChannelReply::Refused { .. }), "{other:?}");
    let close = Apply::op(id(1), RULES, Op::BeginClose { voucher: None });
    logged.run(at(0), ChannelCommand::Apply(Box::new(close)));
    assert!(is_told(&presented(&mut logged, 10, key(1))));
    let late = presented(&mut logged, 30, key(4));
    assert!(matches!(late, ChannelReply::Refused { .. }), "{late:?}");
    assert_eq!(logged.spent(1), 20);
}

#[test]
fn a_handler_runs_again_so_many_times_and_no_more_whatever_crashes() {
    let mut logged = Logged::new();
    logged.open(1);
    assert_eq!(logged.spend(at(0), 1, key(1)), Taken::Done);
    let take = Take::Spend(COST);
    let other = SpendKey {
        request: [9; 32],
        ..key(1)
    };
    assert_eq!(logged.take(at(1), 1, take, other, 2), Taken::OtherRequest);
    assert_eq!(logged.take(at(1), 1, take, key(1), 0), Taken::Before);
    assert_eq!(logged.take(at(1), 1, take, key(1), 2), Taken::Again);
    let mut again = Logged::of(State::restore(&logged.state.snapshot()).unwrap());
    assert_eq!(again.take(at(2), 1, take, key(1), 2), Taken::Again);
    assert_eq!(again.take(at(3), 1, take, key(1), 2), Taken::Before);
    assert_eq!(again.spent(1), COST);
    // What the last run answered is told from then on.
    let keep = Keep {
        id: id(1),
        key: key(1).key,
        answer: answer(2),
    };
    again.run(at(4), ChannelCommand::Keep(keep));
    assert!(again.is_kept(1, key(1)));
    assert_eq!(again.state.check(), Ok(()));
}

#[test]
fn an_answer_that_is_too_large_too_late_or_of_no_key_is_not_kept() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.open(2);
    let largest = usize::try_from(SPEND_ANSWER_BYTES_MAX).unwrap();
    logged.serve(1, key(1), &answer(largest));
    assert_eq!(logged.reserve(at(0), 1, key(1)), Taken::Before);
    let mut late = answer(1);
    let response = &mut Arc::make_mut(&mut late).response;
    Arc::make_mut(response).expires_at = at(0);
    logged.serve(1, key(2), &late);
    assert_eq!(logged.reserve(at(0), 1, key(2)), Taken::Before);
    logged.serve(1, key(3), &answer(1));
    assert!(logged.is_kept(1, key(3)));
    let (events, spent) = (logged.log.len(), logged.spent(1));
    for (n, key) in [(2, key(3)), (1, key(9))] {
        let keep = Keep {
            id: id(n),
            key: key.key,
            answer: answer(5),
        };
        logged.run(at(0), ChannelCommand::Keep(keep));
    }
    let mut long = answer(1);
    Arc::make_mut(&mut long).receipt = vec![0; SPEND_RECEIPT_BYTES_MAX + 1].into();
    let keep = Keep {
        id: id(1),
        key: key(3).key,
        answer: long,
    };
    let reply = logged.run(at(0), ChannelCommand::Keep(keep));
    assert!(matches!(reply, ChannelReply::TooLarge { .. }), "{reply:?}");
    assert_eq!((logged.log.len(), logged.spent(1)), (events, spent));
    // An answer goes with its key.
    let usage = |logged: &Logged| logged.known.channels().usage();
    assert!(usage(&logged).answers_bytes > 0);
    logged.open(3);
    assert_eq!(
        logged.spend(at(SPEND_KEY_RETAIN_MS), 3, key(50)),
        Taken::Done
    );
    assert_eq!(usage(&logged).answers_bytes, 0);
    assert_eq!(usage(&logged).keys, 1);
}

#[test]
fn a_channel_that_answers_much_lets_its_own_answers_go() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.open(2);
    logged.serve(2, key(1_000), &answer(50));
    let each = 64 * 1024;
    let fit = CHANNEL_ANSWERS_BYTES_MAX / answer(each).weight();
    for n in 0..=fit {
        logged.serve(1, key(n), &answer(each));
    }
    assert!(!logged.is_kept(1, key(0)), "its oldest went");
    assert!(logged.is_kept(1, key(1)) && logged.is_kept(1, key(fit)));
    assert!(logged.is_kept(2, key(1_000)), "another channel's stands");
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn many_channels_that_answer_much_do_not_push_out_who_answers_little() {
    let mut logged = Logged::new();
    logged.open(0);
    logged.serve(0, key(0), &answer(50));
    let each = 80 * 1024;
    let fit = CHANNEL_ANSWERS_BYTES_MAX / answer(each).weight();
    let channels = SPEND_ANSWERS_BYTES_MAX / (fit * answer(each).weight()) + 3;
    for n in 1..=channels {
        logged.open(n);
        for m in 0..fit {
            logged.serve(n, key(n * 1_000 + m), &answer(each));
        }
    }
    let usage = logged.known.channels().usage();
    assert!(usage.answers_bytes <= SPEND_ANSWERS_BYTES_MAX);
    assert!(usage.answers_bytes > SPEND_ANSWERS_BYTES_MAX - 2 * SPEND_ANSWER_BYTES_MAX);
    assert!(logged.is_kept(0, key(0)), "the smallest one stands");
    let last = channels * 1_000 + fit - 1;
    assert!(
        logged.is_kept(channels, key(last)),
        "the newest one is kept"
    );
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn a_channel_that_binds_too_many_keys_has_to_wait_and_forgets_its_own_only() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.open(2);
    assert_eq!(logged.spend(at(0), 2, key(u64::MAX)), Taken::Done);
    let most = u64::try_from(CHANNEL_KEYS_MAX).unwrap();
    for n in 0..most {
        assert_eq!(logged.spend(at(0), 1, key(n)), Taken::Done);
    }
    let (spent, events) = (logged.spent(1), logged.log.len());
    let refused = logged.spend(at(10), 1, key(most));
    let wait_ms = SPEND_KEY_SURE_MS - 10;
    assert_eq!(refused, Taken::TooManyKeys { wait_ms });
    assert_eq!((logged.spent(1), logged.log.len()), (spent, events));
    // None of those that were bound is charged again, and others are served.
    assert_eq!(logged.spend(at(10), 1, key(0)), Taken::Before);
    assert_eq!(logged.spend(at(10), 2, key(u64::MAX - 1)), Taken::Done);
    // Without a key it goes on.
    let present = Present {
        id: id(1),
        rules: RULES,
        voucher: None,
        take: Take::Spend(COST),
        key: None,
        reruns: 0,
    };
    let reply = logged.run(at(10), ChannelCommand::Present(Box::new(present)));
    assert!(matches!(reply, ChannelReply::Presented(it) if it.taken == Taken::Done));
    let sure = at(SPEND_KEY_SURE_MS);
    assert_eq!(logged.spend(sure, 1, key(most)), Taken::Done);
    assert_eq!(logged.spend(sure, 1, key(1)), Taken::Before);
    assert_eq!(logged.spend(sure, 2, key(u64::MAX)), Taken::Before);
    assert_eq!(
        logged.spend(sure, 1, key(0)),
        Taken::Done,
        "its oldest went"
    );
    assert_eq!(logged.state.check(), Ok(()));
}

#[test]
fn busy_channels_leave_room_for_keys_of_channels_that_hold_few() {
    let mut logged = Logged::new();
    let theirs = SPEND_KEYS_MAX - SPEND_KEYS_MAX / SPEND_KEYS_RESERVED_DIVISOR;
    let each = u64::try_from(CHANNEL_KEYS_MAX).unwrap();
    let channels = u64::try_from(theirs / CHANNEL_KEYS_MAX).unwrap();
    for n in 0..channels {
        logged.open(n);
        for m in 0..each {
            assert_eq!(logged.spend(at(0), n, key(n * each + m)), Taken::Done);
        }
        logged.log.clear();
    }
    let (busy, small) = (channels, channels + 1);
    logged.open(busy);
    logged.open(small);
    let few = u64::try_from(SPEND_KEYS_FEW).unwrap();
    let mut next = channels * each;
    for n in [busy, small] {
        for _ in 0..few {
            assert_eq!(logged.spend(at(1), n, key(next)), Taken::Done);
            next += 1;
        }
        let full = logged.spend(at(1), n, key(next));
        assert!(matches!(full, Taken::TooManyKeys { .. }), "{full:?}");
    }
}

#[test]
fn a_key_that_was_freed_takes_no_room() {
    let mut logged = Logged::new();
    logged.open(1);
    // A handler that fails again and again.
    for n in 0..1_000_u64 {
        assert_eq!(logged.reserve(at(n), 1, key(1)), Taken::Done);
        let mut end = Conclude {
            id: id(1),
            rules: RULES,
            spend: 0,
            from_reserved: COST,
            key: Some(key(1).key),
            answer: Some(answer(1)),
            left: Vec::new(),
        };
        logged.run(at(n), ChannelCommand::Conclude(end.clone()));
        end.from_reserved = 0;
        logged.run(at(n), ChannelCommand::Conclude(end));
    }
    let usage = logged.known.channels().usage();
    assert_eq!((usage.keys, usage.answers_bytes), (0, 0));
    assert_eq!(logged.state.check(), Ok(()));
}
