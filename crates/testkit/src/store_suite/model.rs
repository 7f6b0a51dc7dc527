//! Random commands, the same to two stores: each must say what the other says.

use std::sync::Arc;

use stiver_env::Clock;
use stiver_store::{Advance, Command, NewClaim, Reply, StoredResponse, TERMINAL_RETAIN_MS};

use super::{
    StepClock, Subject, delivered, failed, refund, refunded, settled, settled_and_deliver,
};
use crate::fixtures::{LEASE_MS, attempt, challenge_id, hash, new_claim};

/// Numbers of claims that random commands are about: few, so that they meet.
const CLAIMS: u64 = 20;

/// Gives two stores the same `steps` random commands one after the other, with the same time
/// passing between them, and compares what they say.
///
/// # Panics
///
/// When they differ; the message names seed and step.
pub fn compare_stores(one: &Subject, other: &Subject, seed: u64, steps: u32) {
    let mut random = Random(seed);
    for step in 0..steps {
        if random.below(4) == 0 {
            let millis = [1, LEASE_MS / 2, LEASE_MS, TERMINAL_RETAIN_MS][random.index(4)];
            one.clock.pass(millis);
            other.clock.pass(millis);
        }
        let command = random_command(&mut || random.draw(), &one.clock);
        let said = [one, other].map(|it| pollster::block_on(it.submit(command.clone())));
        let [first, second] = said;
        assert!(
            first == second,
            "seed {seed}, step {step}: {command:?}: {first:?} but {second:?}"
        );
    }
    for n in 0..CLAIMS {
        let knows = [one, other].map(|it| {
            let kept = matches!(pollster::block_on(it.get(n)), Reply::Found(_));
            assert!(
                !kept || it.store.might_know(&challenge_id(n)),
                "seed {seed}: claim {n}"
            );
            kept
        });
        assert_eq!(knows[0], knows[1], "seed {seed}: claim {n}");
    }
}

/// A command about one of a few claims. `draw` gives random numbers.
pub fn random_command(draw: &mut dyn FnMut() -> u64, clock: &StepClock) -> Command {
    let mut random = Drawing(draw);
    let n = random.below(CLAIMS);
    let challenge_id = challenge_id(n);
    let epoch = 1 + random.below(3) / 2;
    match random.below(16) {
        0..=4 => Command::Claim(random_claim(&mut random, n, clock)),
        5..=10 => Command::Advance {
            challenge_id,
            epoch,
            to: random_advance(&mut random, clock),
        },
        11 => Command::TakeOver {
            challenge_id,
            owner: random.below(3),
            lease_ms: random.below(2 * LEASE_MS),
        },
        12 => Command::Renew {
            challenge_id,
            epoch,
            lease_ms: random.below(2 * LEASE_MS),
        },
        13 => Command::Get { challenge_id },
        14 => Command::Unfinished {
            limit: random.index(5),
        },
        _ => Command::Count,
    }
}

fn random_claim(random: &mut Drawing<'_>, n: u64, clock: &StepClock) -> NewClaim {
    let now = clock.now();
    let keys = 1 + random.below(3);
    NewClaim {
        credential_hash: hash(b'c', n + random.below(4) / 3),
        request_hash: hash(b'r', random.below(3)),
        idempotency_key_hash: (random.below(2) == 0).then(|| hash(b'i', random.below(4))),
        replay_keys: (0..keys).map(|_| hash(b'k', random.below(60))).collect(),
        attempt: attempt(random.below(2)),
        owner: random.below(3),
        lease_ms: random.below(2 * LEASE_MS),
        retain_until: now.plus_millis(random.below(2 * TERMINAL_RETAIN_MS)),
        ..new_claim(n)
    }
}

fn random_advance(random: &mut Drawing<'_>, clock: &StepClock) -> Advance {
    let now = clock.now();
    match random.below(13) {
        0 => settled(),
        1 | 2 => settled_and_deliver(),
        3 => failed(),
        4 => Advance::Deliver,
        5 | 6 => Advance::Delivered {
            receipt: "receipt".into(),
            response: Some(Arc::new(StoredResponse {
                status: 200,
                headers: Vec::new(),
                body: vec![0; random.index(1200)],
                expires_at: now.plus_millis(random.below(2 * TERMINAL_RETAIN_MS)),
            })),
        },
        7 => delivered(),
        8 => Advance::DeliveryFailed,
        9 => refund(),
        10 => refunded(),
        11 => Advance::Release,
        _ if random.below(2) == 0 => Advance::Disputed,
        _ => Advance::Reversed,
    }
}

struct Drawing<'a>(&'a mut dyn FnMut() -> u64);

impl Drawing<'_> {
    fn below(&mut self, end: u64) -> u64 {
        (self.0)() % end
    }
    fn index(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("the end is small");
        usize::try_from(self.below(end)).expect("it is below the end")
    }
}

/// A SplitMix64 sequence.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
    fn index(&mut self, end: usize) -> usize {
        Drawing(&mut || self.draw()).index(end)
    }
}
