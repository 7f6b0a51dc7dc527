//! Channels in the store: figures never drift from the log, what is taken under one key is taken
//! once, and nothing stays reserved that nobody serves.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stiver_channel::{Caps, Channel, ChannelId, Op, Phase, Refusal, Rules, Voucher, meter::Carry};
use stiver_core::Timestamp;
use stiver_env::Clock;
use stiver_store::{
    Apply, ChannelCommand, ChannelReply, ChannelWork, Conclude, Keep, Left, Limits, NewChannel,
    Present, Presented, Settling, SpendAnswer, SpendKey, StoredResponse, Take, Taken,
    event::Event,
    limits::{
        CHANNEL_DETAILS_BYTES_MAX, ENDED_CHANNEL_RETAIN_MS, PROOF_BYTES_MAX,
        SPEND_ANSWER_BYTES_MAX, SPEND_KEY_RETAIN_MS,
    },
    state::{Answer, KnownClaims, Request, State},
};
use stiver_testkit::{entropy::Random, fixtures, time::SimulatedClock};
use stiver_wal::Machine;

const RULES: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};
const DEPOSIT: u128 = 10_000;

fn id(n: u64) -> ChannelId {
    ChannelId(fixtures::hash(b'h', n))
}

fn key(n: u64, request: u64) -> SpendKey {
    SpendKey {
        key: fixtures::hash(b'i', n),
        request: fixtures::hash(b'q', request),
    }
}

fn voucher(n: u64, cumulative: u128) -> Voucher {
    Voucher {
        channel: id(n),
        cumulative,
        proof: [u8::try_from(cumulative % 256).unwrap(); 64].into(),
    }
}

fn present(n: u64, cumulative: Option<u128>, take: Take) -> Present {
    Present {
        id: id(n),
        rules: RULES,
        voucher: cumulative.map(|it| voucher(n, it)),
        take,
        key: None,
        reruns: 0,
    }
}

fn new_channel(n: u64) -> NewChannel {
    NewChannel {
        id: id(n),
        rules: RULES,
        deposit: DEPOSIT,
        settled: 0,
        voucher: None,
        details: vec![b'd'; 100].into(),
    }
}

fn conclude(n: u64, spend: u128, from_reserved: u128) -> Conclude {
    Conclude {
        id: id(n),
        rules: RULES,
        spend,
        from_reserved,
        key: None,
        answer: None,
        left: Vec::new(),
    }
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
        let (answer, _) = state.decide(fixtures::now(), configure);
        let Answer::Configured(known) = answer else {
            panic!("a configuration has a handle");
        };
        Self {
            state,
            known,
            log: Vec::new(),
        }
    }

    fn request(&mut self, now: Timestamp, request: Request) -> Answer {
        let (answer, event) = self.state.decide(now, request);
        if let Some(event) = event {
            self.state.evolve(now, &event).unwrap();
            self.log.push((now, encoded(&event)));
        }
        answer
    }

    fn run(&mut self, now: Timestamp, command: ChannelCommand) -> ChannelReply {
        match self.request(now, Request::Channel(command)) {
            Answer::Channel(reply) => reply,
            _ => panic!("a command has a reply"),
        }
    }

    fn open(&mut self, n: u64) -> Channel {
        done(self.run(at(0), ChannelCommand::Open(Box::new(new_channel(n)))))
    }

    fn present(&mut self, present: Present) -> Presented {
        match self.run(at(0), ChannelCommand::Present(Box::new(present))) {
            ChannelReply::Presented(presented) => presented,
            other => panic!("{other:?}"),
        }
    }

    fn apply(&mut self, n: u64, op: Op) -> ChannelReply {
        let apply = Apply::op(id(n), RULES, op);
        self.run(at(0), ChannelCommand::Apply(Box::new(apply)))
    }

    fn channel(&self, n: u64) -> Channel {
        self.known.channels().channel(&id(n)).unwrap()
    }

    /// The log's last bytes.
    fn last(&self) -> &[u8] {
        &self.log.last().unwrap().1
    }
}

#[track_caller]
fn done(reply: ChannelReply) -> Channel {
    match reply {
        ChannelReply::Done(channel) | ChannelReply::Concluded { channel, .. } => channel,
        other => panic!("{other:?}"),
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

fn random_op(random: &mut Random) -> Op {
    let amount = u128::from(random.below(200));
    let withdrawable_at = at(random.below(100_000));
    match random.below(12) {
        0 => Op::TopUp {
            deposit: DEPOSIT + amount * 50,
        },
        1 => Op::Release { amount },
        2 => Op::Pause {
            required: amount * 60,
        },
        3 => Op::Resume,
        4 => Op::Publish {
            cumulative: amount * 20,
        },
        5 => Op::Settle {
            settled: amount * 10,
        },
        6 => Op::Suspend { withdrawable_at },
        7 => Op::CancelSuspension,
        8 if random.once_in(4) => Op::BeginClose { voucher: None },
        9 => Op::FixCapture {
            voucher: amount * 50,
        },
        10 if random.once_in(3) => Op::Close {
            captured: amount * 20,
        },
        11 if random.once_in(6) => Op::Withdraw,
        _ => Op::Resume,
    }
}

fn random_work(random: &mut Random) -> ChannelWork {
    match random.below(4) {
        0 => ChannelWork::Begin(Box::new(Settling {
            artefact: vec![7; 40].into(),
            capture: u128::from(random.below(3)),
            last: random.once_in(2),
        })),
        1 => ChannelWork::End(random.once_in(2).then(|| b"outcome"[..].into())),
        _ => ChannelWork::Same,
    }
}

fn random_answer(random: &mut Random) -> Arc<SpendAnswer> {
    let body = usize::try_from(random.below(SPEND_ANSWER_BYTES_MAX + 1_000)).unwrap();
    let lives = random.below(SPEND_KEY_RETAIN_MS);
    Arc::new(SpendAnswer {
        receipt: b"receipt"[..].into(),
        response: Arc::new(StoredResponse {
            status: 200,
            headers: vec![("content-type".to_owned(), b"text/plain".to_vec())],
            body: vec![b'b'; body],
            expires_at: fixtures::now().plus_millis(lives),
        }),
    })
}

fn random_command(random: &mut Random) -> ChannelCommand {
    let n = random.below(6);
    let amount = u128::from(random.below(120));
    match random.below(10) {
        0 => {
            let mut new = new_channel(n);
            new.voucher = random.once_in(2).then(|| voucher(n, amount));
            // Also figures that need more than 64 bits.
            if n == 5 {
                new.deposit = u128::from(u64::MAX) * 4;
            }
            ChannelCommand::Open(Box::new(new))
        }
        1..=5 => {
            let take = match random.below(3) {
                0 => Take::Nothing,
                1 => Take::Spend(amount),
                _ => Take::Reserve(amount),
            };
            let high = u128::from(random.below(12_000));
            let wide = u128::from(u64::MAX) + high;
            let cumulative = if n == 5 { wide } else { high };
            let mut it = present(n, (!random.once_in(3)).then_some(cumulative), take);
            it.key = random
                .once_in(3)
                .then(|| key(random.below(8), random.below(2)));
            it.reruns = u32::from(random.once_in(2));
            ChannelCommand::Present(Box::new(it))
        }
        6 | 7 => {
            let spend = if random.once_in(2) { 0 } else { amount };
            let mut it = conclude(n, spend, u128::from(random.below(60)));
            it.key = random.once_in(2).then(|| key(random.below(8), 0).key);
            it.answer = random.once_in(2).then(|| random_answer(random));
            if random.once_in(4) {
                return ChannelCommand::Keep(Keep {
                    id: id(n),
                    key: key(random.below(8), 0).key,
                    answer: random_answer(random),
                });
            }
            let meters = random.below(3);
            it.left = (0..meters).map(|_| random_left(random)).collect();
            ChannelCommand::Conclude(it)
        }
        8 => ChannelCommand::Read { id: id(n) },
        _ => ChannelCommand::Apply(Box::new(Apply {
            op: (!random.once_in(5)).then(|| random_op(random)),
            work: random_work(random),
            proof: None,
            id: id(n),
            rules: RULES,
        })),
    }
}

fn random_left(random: &mut Random) -> Left {
    let of = random.below(12) + 1;
    Left {
        meter: format!("meter-{}", random.below(20)).into(),
        carry: Carry::restore(random.below(of), of).unwrap(),
    }
}

fn random_run(seed: u64, steps: u32, mut each: impl FnMut(&mut Logged, &ChannelReply)) -> Logged {
    let (clock, mut random) = (SimulatedClock::new(fixtures::now()), Random::new(seed));
    let mut logged = Logged::new();
    for _ in 0..steps {
        let wait = match random.below(40) {
            0 => ENDED_CHANNEL_RETAIN_MS / 2,
            1..=9 => random.below(SPEND_KEY_RETAIN_MS),
            _ => 1,
        };
        clock.advance(Duration::from_millis(wait));
        let command = random_command(&mut random);
        let reply = logged.run(clock.now(), command);
        each(&mut logged, &reply);
        if random.once_in(50) {
            logged.request(clock.now(), Request::Configure(Limits::default()));
            for n in 0..6 {
                let channel = logged.known.channels().channel(&id(n));
                let reserved = channel.map_or(0, |it| it.figures().reserved);
                assert_eq!(reserved, 0, "whoever reserved is gone");
            }
        }
    }
    logged
}

#[test]
fn every_invariant_holds_after_every_random_command() {
    for seed in 0..20 {
        random_run(seed, 600, |logged, reply| {
            assert_eq!(logged.state.check(), Ok(()), "seed {seed}, after {reply:?}");
        });
    }
}

#[test]
fn a_replayed_log_and_a_restored_snapshot_give_the_same_channels() {
    for seed in 0..20 {
        let logged = random_run(seed, 600, |_, _| {});
        let mut replayed = State::new(Limits::default());
        for (now, bytes) in &logged.log {
            let event = State::decode_event(bytes).unwrap();
            assert_eq!(&encoded(&event), bytes);
            replayed.evolve(*now, &event).unwrap();
        }
        let snapshot = logged.state.snapshot();
        assert_eq!(replayed.snapshot(), snapshot, "seed {seed}");
        let restored = State::restore(&snapshot).unwrap();
        assert_eq!(restored.snapshot(), snapshot, "seed {seed}");
    }
}

/// What anybody may believe of the money, from the answers alone.
#[test]
fn what_was_taken_is_what_was_answered_and_never_beyond_the_vouchers() {
    for seed in 0..20 {
        let (mut random, mut logged) = (Random::new(seed), Logged::new());
        let mut spent: BTreeMap<u64, u128> = BTreeMap::new();
        let mut reserved: BTreeMap<u64, Vec<u128>> = BTreeMap::new();
        for n in 0..3 {
            logged.open(n);
        }
        for step in 1..400_u64 {
            let n = random.below(3);
            let amount = u128::from(random.below(40)) + 1;
            let held = reserved.entry(n).or_default();
            if let Some(part) = held.pop().filter(|_| random.once_in(2)) {
                let spend = amount.min(part);
                let it = ChannelCommand::Conclude(conclude(n, spend, part));
                done(logged.run(at(step), it));
                *spent.entry(n).or_default() += spend;
                continue;
            }
            let take = match random.once_in(2) {
                true => Take::Spend(amount),
                false => Take::Reserve(amount),
            };
            let cumulative = u128::from(step * 20);
            let presented = logged.present(present(n, Some(cumulative), take));
            assert!(presented.raised);
            match (presented.taken, take) {
                (Taken::Done, Take::Spend(amount)) => *spent.entry(n).or_default() += amount,
                (Taken::Done, _) => reserved.entry(n).or_default().push(amount),
                (Taken::Refused(Refusal::Insufficient { .. }), _) => {}
                (other, _) => panic!("{other:?}"),
            }
            let figures = logged.channel(n).figures();
            assert_eq!(figures.spent, spent.get(&n).copied().unwrap_or_default());
            assert!(figures.spent + figures.reserved <= figures.accepted);
        }
    }
}

#[test]
fn a_voucher_and_what_it_pays_for_are_one_small_event() {
    let mut logged = Logged::new();
    logged.open(1);
    done(logged.apply(1, Op::TopUp { deposit: 1 << 40 }));
    logged.present(present(1, Some(5_000_000_000), Take::Nothing));
    let before = logged.log.len();
    let it = present(1, Some(6_000_000_000), Take::Spend(1_000_000));
    assert_eq!(logged.present(it).taken, Taken::Done);
    assert_eq!(logged.log.len(), before + 1);
    assert!(logged.last().len() <= 128, "{} bytes", logged.last().len());
}

#[test]
fn an_equal_voucher_changes_nothing_and_buys_what_is_left() {
    let mut logged = Logged::new();
    logged.open(1);
    let first = logged.present(present(1, Some(30), Take::Spend(10)));
    assert_eq!((first.raised, first.taken), (true, Taken::Done));
    let events = logged.log.len();
    let same = logged.present(present(1, Some(30), Take::Nothing));
    assert_eq!((same.raised, same.taken), (false, Taken::Nothing));
    assert_eq!(logged.log.len(), events, "nothing is written");
    let more = logged.present(present(1, Some(30), Take::Spend(20)));
    assert_eq!(more.taken, Taken::Done);
    let none = logged.present(present(1, Some(30), Take::Spend(1)));
    let Taken::Refused(refusal) = none.taken else {
        panic!("{none:?}");
    };
    assert_eq!(refusal.required_top_up(), Some(1));
    assert_eq!(logged.channel(1).figures().spent, 30);
}

#[test]
fn a_voucher_that_is_refused_takes_nothing() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.present(present(1, Some(30), Take::Spend(1)));
    let before = (logged.channel(1), logged.log.len());
    for (cumulative, expected) in [
        (29, "below"),
        (DEPOSIT + 1, "exceeds the deposit"),
        (u128::MAX, "exceeds the deposit"),
    ] {
        let it = present(1, Some(cumulative), Take::Spend(1));
        match logged.run(at(0), ChannelCommand::Present(Box::new(it))) {
            ChannelReply::Refused { refusal, channel } => {
                assert!(refusal.to_string().contains(expected), "{refusal}");
                assert_eq!(channel, before.0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((logged.channel(1), logged.log.len()), before);
    let unknown = present(2, Some(1), Take::Nothing);
    let reply = logged.run(at(0), ChannelCommand::Present(Box::new(unknown)));
    assert_eq!(reply, ChannelReply::Absent);
}

#[test]
fn what_is_taken_under_one_key_is_taken_once() {
    let mut logged = Logged::new();
    logged.open(1);
    let keyed = |cumulative, take, key| Present {
        key: Some(key),
        ..present(1, Some(cumulative), take)
    };
    let spend = |cumulative, key| keyed(cumulative, Take::Spend(10), key);
    assert_eq!(logged.present(spend(10, key(1, 1))).taken, Taken::Done);
    // The retry may bring a higher voucher: that stands, and buys nothing.
    let again = logged.present(spend(25, key(1, 1)));
    assert_eq!((again.raised, again.taken), (true, Taken::Before));
    let other = logged.present(spend(25, key(1, 2)));
    assert_eq!(other.taken, Taken::OtherRequest);
    assert_eq!(logged.channel(1).figures().spent, 10);

    let reserve = keyed(25, Take::Reserve(10), key(2, 1));
    assert_eq!(logged.present(reserve.clone()).taken, Taken::Done);
    assert_eq!(logged.present(reserve.clone()).taken, Taken::InProgress);
    // Nothing was served under it: the same request may be paid for again.
    let mut end = conclude(1, 0, 10);
    end.key = Some(key(2, 1).key);
    done(logged.run(at(0), ChannelCommand::Conclude(end.clone())));
    assert_eq!(logged.present(reserve.clone()).taken, Taken::Done);
    end.spend = 10;
    done(logged.run(at(0), ChannelCommand::Conclude(end)));
    assert_eq!(logged.present(reserve.clone()).taken, Taken::Before);
    assert_eq!(logged.channel(1).figures().spent, 20);

    // From its time on a key is not known any more.
    let late = at(SPEND_KEY_RETAIN_MS);
    let reply = logged.run(
        late,
        ChannelCommand::Present(Box::new(spend(35, key(1, 2)))),
    );
    assert!(matches!(reply, ChannelReply::Presented(it) if it.taken == Taken::Done));
}

#[test]
fn reservations_that_nobody_serves_are_free_after_a_restart() {
    let mut logged = Logged::new();
    logged.open(1);
    let mut it = present(1, Some(30), Take::Reserve(20));
    it.key = Some(key(1, 1));
    logged.present(it.clone());
    done(logged.apply(1, Op::Pause { required: 50 }));
    let mut again = Logged::of(State::restore(&logged.state.snapshot()).unwrap());
    again.request(at(1), Request::Configure(Limits::default()));
    let channel = again.channel(1);
    assert_eq!(channel.phase(), Phase::Active);
    assert_eq!(channel.figures().available(), 30);
    assert_eq!(again.present(it).taken, Taken::Done, "its key is free too");
    // Nothing is written when there is nothing to free.
    let mut idle = Logged::new();
    idle.open(1);
    idle.request(at(1), Request::Configure(Limits::default()));
    assert_eq!(idle.log.len(), 1);
}

#[test]
fn opening_a_channel_again_changes_nothing() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.present(present(1, Some(30), Take::Spend(30)));
    let mut again = new_channel(1);
    again.deposit = DEPOSIT * 2;
    again.voucher = Some(voucher(1, 5));
    let reply = logged.run(at(1), ChannelCommand::Open(Box::new(again)));
    let ChannelReply::Exists(channel) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(channel.figures().spent, 30);
    assert_eq!(channel.figures().deposit, DEPOSIT);
}

#[test]
fn the_highest_voucher_is_kept_with_its_proof() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.present(present(1, Some(30), Take::Nothing));
    let mut longer = present(1, Some(40), Take::Nothing);
    longer.voucher = Some(Voucher {
        proof: vec![3; 100].into(),
        ..voucher(1, 40)
    });
    logged.present(longer.clone());
    let seen = logged.known.channels().read(&id(1)).unwrap();
    assert_eq!(seen.voucher, longer.voucher);
    assert_eq!(&seen.details[..], &[b'd'; 100]);
    // The payer's last voucher may come with the close.
    let close = Apply {
        proof: Some(vec![4; 64].into()),
        ..Apply::op(id(1), RULES, Op::BeginClose { voucher: Some(50) })
    };
    done(logged.run(at(0), ChannelCommand::Apply(Box::new(close))));
    let seen = logged.known.channels().read(&id(1)).unwrap();
    let kept = seen.voucher.unwrap();
    assert_eq!((kept.cumulative, &kept.proof[..]), (50, &[4; 64][..]));
}

#[test]
fn a_settlement_is_kept_until_it_has_ended_and_there_is_one_at_a_time() {
    let mut logged = Logged::new();
    logged.open(1);
    logged.present(present(1, Some(30), Take::Spend(20)));
    let settling = |capture| Settling {
        artefact: b"artefact"[..].into(),
        capture,
        last: false,
    };
    let begin = |capture| Apply {
        work: ChannelWork::Begin(Box::new(settling(capture))),
        ..Apply::op(id(1), RULES, Op::Publish { cumulative: 30 })
    };
    let run =
        |logged: &mut Logged, it: Apply| logged.run(at(0), ChannelCommand::Apply(Box::new(it)));
    done(run(&mut logged, begin(20)));
    let events = logged.log.len();
    done(run(&mut logged, begin(20)));
    assert_eq!(logged.log.len(), events, "the same one again");
    let second = run(&mut logged, begin(21));
    assert!(matches!(second, ChannelReply::Settling(_)), "{second:?}");
    // A voucher that was published buys nothing.
    let copied = logged.present(present(1, Some(30), Take::Spend(1)));
    let Taken::Refused(Refusal::Published { .. }) = copied.taken else {
        panic!("{copied:?}");
    };
    let mut again = Logged::of(State::restore(&logged.state.snapshot()).unwrap());
    let seen = again.known.channels().read(&id(1)).unwrap();
    assert_eq!(seen.settling, Some(settling(20)));
    let end = Apply {
        work: ChannelWork::End(Some(b"receipt"[..].into())),
        ..Apply::op(id(1), RULES, Op::Settle { settled: 20 })
    };
    assert_eq!(done(run(&mut again, end)).figures().settled, 20);
    let seen = again.known.channels().read(&id(1)).unwrap();
    assert_eq!(seen.settling, None);
    assert_eq!(seen.outcome.as_deref(), Some(&b"receipt"[..]));
}

#[test]
fn a_channel_that_has_ended_is_remembered_for_its_time() {
    let mut logged = Logged::new();
    logged.open(1);
    done(logged.apply(1, Op::Close { captured: 0 }));
    let usage = |logged: &Logged| logged.known.channels().usage();
    assert_eq!((usage(&logged).open, usage(&logged).ended), (0, 1));
    let read =
        |logged: &mut Logged, millis| logged.run(at(millis), ChannelCommand::Read { id: id(1) });
    let found = read(&mut logged, ENDED_CHANNEL_RETAIN_MS - 1);
    assert!(matches!(found, ChannelReply::Found(_)));
    let gone = read(&mut logged, ENDED_CHANNEL_RETAIN_MS);
    assert_eq!(gone, ChannelReply::Absent);
    // Its memory is freed by a later event.
    let open = ChannelCommand::Open(Box::new(new_channel(2)));
    logged.run(at(ENDED_CHANNEL_RETAIN_MS), open);
    assert_eq!((usage(&logged).open, usage(&logged).ended), (1, 0));
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let mut logged = Logged::new();
    let mut new = new_channel(1);
    new.details = vec![0; CHANNEL_DETAILS_BYTES_MAX + 1].into();
    let reply = logged.run(at(0), ChannelCommand::Open(Box::new(new)));
    assert!(matches!(
        reply,
        ChannelReply::TooLarge {
            part: "details",
            ..
        }
    ));
    logged.open(1);
    let mut it = present(1, Some(1), Take::Nothing);
    it.voucher.as_mut().unwrap().proof = vec![0; PROOF_BYTES_MAX + 1].into();
    let reply = logged.run(at(0), ChannelCommand::Present(Box::new(it)));
    assert!(matches!(
        reply,
        ChannelReply::TooLarge { part: "proof", .. }
    ));
    assert_eq!(logged.log.len(), 1);
}

/// A channel of the ledger has about 160 bytes of details.
#[test]
fn a_million_busy_channels_fit_the_memory_they_may_take() {
    let mut logged = Logged::new();
    let count = 1_000;
    for n in 0..count {
        let mut new = new_channel(n);
        new.details = vec![b'd'; 160].into();
        logged.run(at(0), ChannelCommand::Open(Box::new(new)));
        logged.present(present(n, Some(30), Take::Spend(10)));
    }
    let usage = logged.known.channels().usage();
    assert_eq!(usage.open, count);
    let each = usage.bytes / count;
    assert!(each * 1_000_000 < 512 << 20, "{each} bytes each");
}
