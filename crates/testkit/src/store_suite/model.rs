//! Random commands, the same to two stores: each must say what the other says.

use std::sync::Arc;

use stiver_core::Timestamp;
use stiver_env::Clock;
use stiver_store::{Advance, Command, NewClaim, Reply, StoredResponse, TERMINAL_RETAIN_MS};

use super::{Subject, bytes, delivered, failed, refund, refunded, settled, settled_and_deliver};
use crate::entropy::Random;
use crate::fixtures::{LEASE_MS, attempt, challenge_id, hash, new_claim};

/// Numbers of claims that random commands are about: few, so that they meet.
const CLAIMS: u64 = 14;

/// Gives two stores the same `steps` random commands one after the other, with the same time
/// passing between them, and compares what they say.
///
/// # Panics
///
/// When they differ; the message names seed and step.
pub fn compare_stores(one: &Subject, other: &Subject, seed: u64, steps: u32) {
    let mut random = Random::new(seed);
    for step in 0..steps {
        if random.once_in(10) {
            let millis = [1, LEASE_MS / 2, LEASE_MS, TERMINAL_RETAIN_MS][random.index(4)];
            one.pass(millis);
            other.pass(millis);
        }
        let command = random_command(&mut random, one.clock.now());
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

/// A command about one of a few claims.
pub fn random_command(random: &mut Random, now: Timestamp) -> Command {
    let n = random.below(CLAIMS);
    let challenge_id = challenge_id(n);
    let epoch = 1 + random.below(5) / 4;
    match random.below(17) {
        0..=2 => Command::Claim(random_claim(random, n, now)),
        3..=10 => Command::Advance {
            challenge_id,
            epoch,
            to: random_advance(random, now),
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
            after: random.once_in(2).then_some(challenge_id),
            limit: random.index(5),
        },
        15 => Command::List {
            after: random.once_in(2).then_some(challenge_id),
            limit: random.index(7),
        },
        _ => Command::Count,
    }
}

fn random_claim(random: &mut Random, n: u64, now: Timestamp) -> NewClaim {
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
        handler_first: random.once_in(2),
        ..new_claim(n)
    }
}

fn random_advance(random: &mut Random, now: Timestamp) -> Advance {
    match random.below(20) {
        0 => settled(),
        1 | 2 => settled_and_deliver(),
        3 => failed(),
        4 => Advance::Deliver,
        5 | 6 => Advance::Delivered {
            receipt: "receipt".into(),
            response: Some(random_response(random, now)),
        },
        7 => delivered(),
        8 => Advance::DeliveryFailed,
        9 => refund(),
        10 => refunded(),
        11 => Advance::Release,
        12 | 13 => Advance::Disputed,
        14 | 15 => Advance::Capture {
            response: random.once_in(4).then(|| random_response(random, now)),
        },
        16 | 17 => Advance::Captured {
            settlement: bytes("settlement"),
            receipt: "receipt".into(),
            response: random.once_in(2).then(|| random_response(random, now)),
        },
        _ => Advance::Reversed,
    }
}

fn random_response(random: &mut Random, now: Timestamp) -> Arc<StoredResponse> {
    Arc::new(StoredResponse {
        status: 200,
        headers: Vec::new(),
        body: vec![0; random.index(1200)],
        expires_at: now.plus_millis(random.below(2 * TERMINAL_RETAIN_MS)),
    })
}
