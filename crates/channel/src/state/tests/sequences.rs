//! Random operations on the machine and on the naive one.

use super::{
    model::{Model, Outcome},
    *,
};
use core::mem::{Discriminant, discriminant};
use std::env;

/// Operations in all, unless the environment says more.
const OPERATIONS: u64 = 1_000_000;
/// Set this to run more operations: `STIVER_CHANNEL_OPERATIONS=100000000`.
const VARIABLE: &str = "STIVER_CHANNEL_OPERATIONS";
/// Operations on one channel.
const LENGTH: u64 = 100;

/// xorshift64*: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    /// An amount at, just beside or a little beyond one of the channel's figures, or an extreme.
    fn amount(&mut self, figures: &Figures, caps: &Caps) -> u128 {
        let near = match self.below(16) {
            0..=3 => figures.accepted,
            4 => figures.spent,
            5 => figures.settled,
            6 => figures.published,
            7 => figures.deposit,
            8..=10 => figures.available(),
            11 => figures.reserved,
            12 => 0,
            13 => figures.spent + figures.reserved,
            14 if self.one_in(8) => u128::MAX,
            14 => 1_u128.checked_shl(u32::from(caps.bits)).unwrap_or(0),
            _ => figures.accepted / 2,
        };
        match self.below(8) {
            0 => near.saturating_sub(1),
            1 => near.saturating_add(1),
            2..=4 => near.saturating_add(u128::from(self.below(50))),
            _ => near,
        }
    }

    /// A part of an amount.
    fn part(&mut self, whole: u128) -> u128 {
        match self.below(4) {
            0 => whole,
            1 => whole / 2,
            2 => whole.saturating_add(1),
            _ => whole / 7,
        }
    }

    fn authority(&mut self, figures: &Figures, caps: &Caps) -> Authority {
        match self.below(3) {
            0 => Authority::Established,
            1 => Authority::Voucher {
                cumulative: figures.accepted,
            },
            _ => Authority::Voucher {
                cumulative: self.amount(figures, caps),
            },
        }
    }

    fn op(&mut self, channel: &Channel, caps: &Caps) -> Op {
        let figures = &channel.figures();
        let amount = self.amount(figures, caps);
        if channel.phase() == Phase::Opening && !self.one_in(8) {
            let voucher = self.below(100);
            return Op::ConfirmOpen {
                deposit: u128::from(self.below(1000)),
                settled: if self.one_in(4) { 5 } else { 0 },
                voucher: (!self.one_in(3)).then_some(voucher.into()),
            };
        }
        match self.below(60) {
            0..=13 => Op::Accept { cumulative: amount },
            14..=19 => Op::Reserve {
                amount: self.part(figures.available()),
                authority: self.authority(figures, caps),
            },
            20..=27 => Op::Spend {
                amount: self.part(figures.available()),
                from_reserved: self.part(figures.reserved),
                authority: self.authority(figures, caps),
            },
            28..=31 => Op::Spend {
                amount,
                from_reserved: 0,
                authority: self.authority(figures, caps),
            },
            32..=34 => Op::Release {
                amount: self.part(figures.reserved),
            },
            35..=39 => Op::TopUp {
                deposit: figures.deposit.saturating_add(self.below(200).into()),
            },
            40..=42 => Op::TopUp { deposit: amount },
            43..=45 => Op::Pause { required: amount },
            46 => Op::Resume,
            47..=48 => Op::Publish { cumulative: amount },
            49..=50 => Op::Settle { settled: amount },
            51 => Op::Suspend {
                withdrawable_at: if self.one_in(2) { NOW } else { LATER },
            },
            52..=53 => Op::CancelSuspension,
            _ => self.last_op(figures, amount),
        }
    }

    fn last_op(&mut self, figures: &Figures, amount: u128) -> Op {
        match self.below(12) {
            0 => Op::BeginClose { voucher: None },
            1 => Op::BeginClose {
                voucher: Some(amount),
            },
            2..=3 => Op::FixCapture { voucher: amount },
            4 => Op::FixCapture {
                voucher: figures.spent.max(figures.settled),
            },
            5 if self.one_in(3) => Op::Close {
                captured: figures.spent.max(figures.settled),
            },
            6 if self.one_in(3) => Op::Close { captured: amount },
            7 if self.one_in(6) => Op::Withdraw,
            8 => Op::RejectOpen,
            9 => Op::ConfirmOpen {
                deposit: amount,
                settled: 0,
                voucher: None,
            },
            _ => Op::Resume,
        }
    }
}

/// What was seen, so that the test cannot pass for want of trying.
#[derive(Default)]
struct Seen {
    /// The channel that is being tried, for a message of failure.
    seed: u64,
    changes: Vec<Discriminant<Change>>,
    refusals: Vec<Discriminant<Refusal>>,
    ends: Vec<PhaseName>,
}

fn note<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// One operation on both, and everything that has to hold after it.
fn step(channel: &mut Channel, model: &mut Model, rules: &Rules, op: &Op, seen: &mut Seen) {
    let before = channel.figures();
    let decided = channel.decide(rules, op, NOW);
    let expected = model.run(rules, op);
    let found = match &decided {
        Ok(Some(event)) => {
            note(&mut seen.changes, discriminant(&event.change));
            channel.apply(event).unwrap();
            Outcome::Changed
        }
        Ok(None) => Outcome::Unchanged,
        Err(refusal) => {
            note(&mut seen.refusals, discriminant(refusal));
            Outcome::Refused
        }
    };
    assert_eq!(
        found, expected,
        "seed {}: {op:?} said {decided:?} in {model:?}",
        seen.seed
    );
    let after = channel.figures();
    let seed = seen.seed;
    assert_eq!(after, model.figures(), "seed {seed}: {op:?} in {model:?}");
    assert_eq!(channel.phase().name(), model.phase(), "seed {seed}: {op:?}");
    assert!(after.spent + after.reserved <= after.accepted && after.accepted <= after.deposit);
    assert!(after.settled <= after.accepted && after.published <= after.accepted);
    assert!(before.deposit <= after.deposit && before.accepted <= after.accepted);
    assert!(before.spent <= after.spent && before.settled <= after.settled);
    let kept = Channel::restore(channel.phase(), after, channel.active_at());
    assert_eq!(kept.as_ref(), Ok(&*channel));
    if found == Outcome::Changed {
        // Said again, what names a state changes nothing; nothing is decided on another's behalf.
        let again = channel.decide(rules, op, NOW);
        let adds_up = matches!(
            op,
            Op::Reserve { .. } | Op::Spend { .. } | Op::Release { .. }
        );
        assert!(adds_up || again == Ok(None), "{op:?} again: {again:?}");
    }
}

#[test]
fn a_million_random_operations_agree_with_a_naive_channel() {
    let asked = env::var(VARIABLE).map(|text| text.parse().expect("a number"));
    let operations: u64 = asked.unwrap_or(OPERATIONS);
    let all = [
        Caps::TEMPO_V1,
        Caps::TEMPO_V2,
        Caps::EVM,
        Caps::HEDERA,
        Caps::SOLANA,
        Caps::LIGHTNING,
        Caps::LEDGER,
    ];
    let mut seen = Seen::default();
    for seed in 0..operations.div_ceil(LENGTH) {
        seen.seed = seed;
        let mut numbers = Numbers((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        numbers.next();
        let caps = all[usize::try_from(seed % 7).unwrap()];
        let rules = Rules {
            caps,
            voucher_delta_min: numbers.below(5).into(),
        };
        let (mut channel, mut model) = (Channel::opening(NOW), Model::new());
        for _ in 0..LENGTH {
            let op = numbers.op(&channel, &caps);
            step(&mut channel, &mut model, &rules, &op, &mut seen);
        }
        note(&mut seen.ends, channel.phase().name());
    }
    assert_eq!(seen.changes.len(), 17, "every change was seen");
    assert_eq!(seen.refusals.len(), 27, "every refusal was seen");
    // All but `Opening`, which no hundred operations leave.
    assert_eq!(seen.ends.len(), 7, "{:?}", seen.ends);
}

proptest! {
    /// Operations that no peer of ours would send: any numbers at all.
    #[test]
    fn no_operation_breaks_a_channel(
        amounts in prop::collection::vec((0_u8..15, any::<u128>(), any::<u128>()), 1..40),
        which in 0_usize..3,
    ) {
        let caps = [Caps::TEMPO_V2, Caps::LIGHTNING, Caps::LEDGER][which];
        let rules = Rules { caps, voucher_delta_min: 0 };
        let mut channel = Channel::opening(NOW);
        for (kind, a, b) in amounts {
            let authority = match a % 2 {
                0 => Authority::Established,
                _ => Authority::Voucher { cumulative: b },
            };
            let op = match kind {
                0 => Op::ConfirmOpen { deposit: a, settled: b, voucher: None },
                1 => Op::ConfirmOpen { deposit: a, settled: 0, voucher: Some(b) },
                2 => Op::TopUp { deposit: a },
                3 => Op::Accept { cumulative: a },
                4 => Op::Reserve { amount: b, authority },
                5 => Op::Spend { amount: a, from_reserved: b, authority },
                6 => Op::Release { amount: a },
                7 => Op::Pause { required: a },
                8 => Op::Publish { cumulative: a },
                9 => Op::Settle { settled: a },
                10 => SUSPEND,
                11 => Op::CancelSuspension,
                12 => Op::BeginClose { voucher: Some(a) },
                13 => Op::FixCapture { voucher: a },
                _ => Op::Close { captured: a },
            };
            if let Ok(Some(event)) = channel.decide(&rules, &op, NOW) {
                prop_assert_eq!(channel.apply(&event), Ok(()));
            }
            prop_assert_eq!(channel.check(), Ok(()));
        }
    }
}
