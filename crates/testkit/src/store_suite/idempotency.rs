//! One Idempotency-Key, one request, one charge.

use futures_util::future::join_all;
use stiver_env::BoxFuture;
use stiver_store::{NewClaim, Reply, TERMINAL_RETAIN_MS};

use super::{
    Behaviour, Subject, delivered, failed, refund, refunded, settled, settled_and_deliver,
};
use crate::fixtures::{challenge_id, hash, new_claim};

pub(super) const ALL: &[Behaviour] = &[
    the_same_request_under_another_challenge_is_given_the_earlier_claim,
    another_request_under_the_same_key_is_a_conflict,
    of_many_claims_with_one_key_one_wins,
    the_challenge_is_looked_at_before_the_key,
    the_key_is_looked_at_before_the_replay_keys,
    a_failed_claim_frees_its_key,
    a_refunded_claim_frees_its_key,
    a_claim_that_is_gone_frees_its_key,
    claims_without_a_key_do_not_meet,
];

/// The claim of a number for the request of another, under the key of a third.
fn keyed(n: u64, request: u64, key: u64) -> NewClaim {
    NewClaim {
        request_hash: hash(b'r', request),
        idempotency_key_hash: Some(hash(b'i', key)),
        ..new_claim(n)
    }
}

fn the_same_request_under_another_challenge_is_given_the_earlier_claim(
    it: &Subject,
) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut earlier = it.won(&keyed(1, 7, 7)).await;
        for to in [settled(), settled_and_deliver(), delivered()] {
            let reply = it.claim(&keyed(2, 7, 7)).await;
            assert_eq!(reply, Reply::IdempotencyHit(Box::new(earlier.clone())));
            if let Reply::Advanced(next) = it.advance(1, to).await {
                earlier = *next;
            }
        }
        assert_eq!(it.get(2).await, Reply::Absent, "nothing was claimed");
    })
}

fn another_request_under_the_same_key_is_a_conflict(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        assert_eq!(it.claim(&keyed(2, 8, 7)).await, Reply::IdempotencyConflict);
        assert_eq!(it.get(2).await, Reply::Absent);
        it.won(&keyed(2, 8, 8)).await;
    })
}

fn of_many_claims_with_one_key_one_wins(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let rivals = (0..100).map(|n| async move { it.claim(&keyed(n, 7, 7)).await });
        let replies = join_all(rivals).await;
        let won = replies
            .iter()
            .filter(|it| matches!(it, Reply::Won(_)))
            .count();
        let hit = replies
            .iter()
            .filter(|it| matches!(it, Reply::IdempotencyHit(_)))
            .count();
        assert_eq!((won, hit), (1, 99));
    })
}

fn the_challenge_is_looked_at_before_the_key(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        it.won(&keyed(2, 8, 8)).await;
        let mut both = keyed(3, 8, 8);
        both.challenge_id = challenge_id(1);
        let Reply::Exists(claim) = it.claim(&both).await else {
            panic!("the challenge has a claim");
        };
        assert_eq!(claim.challenge_id, challenge_id(1));
    })
}

fn the_key_is_looked_at_before_the_replay_keys(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        let mut again = keyed(2, 7, 7);
        again.replay_keys = keyed(1, 7, 7).replay_keys;
        assert!(matches!(it.claim(&again).await, Reply::IdempotencyHit(_)));
    })
}

fn a_failed_claim_frees_its_key(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        it.advanced(1, failed()).await;
        it.won(&keyed(2, 8, 7)).await;
        it.pass(TERMINAL_RETAIN_MS);
        assert_eq!(it.get(1).await, Reply::Absent);
        let reply = it.claim(&keyed(3, 8, 7)).await;
        assert!(
            matches!(reply, Reply::IdempotencyHit(_)),
            "the second keeps it: {reply:?}"
        );
    })
}

fn a_refunded_claim_frees_its_key(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        it.advanced(1, settled()).await;
        it.advanced(1, refund()).await;
        assert!(matches!(
            it.claim(&keyed(2, 7, 7)).await,
            Reply::IdempotencyHit(_)
        ));
        it.advanced(1, refunded()).await;
        it.won(&keyed(2, 7, 7)).await;
    })
}

fn a_claim_that_is_gone_frees_its_key(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&keyed(1, 7, 7)).await;
        it.advanced(1, settled_and_deliver()).await;
        it.advanced(1, delivered()).await;
        it.pass(TERMINAL_RETAIN_MS - 1);
        assert_eq!(it.claim(&keyed(2, 8, 7)).await, Reply::IdempotencyConflict);
        it.pass(1);
        it.won(&keyed(2, 8, 7)).await;
    })
}

fn claims_without_a_key_do_not_meet(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut second = new_claim(2);
        second.request_hash = new_claim(1).request_hash;
        it.won(&new_claim(1)).await;
        it.won(&second).await;
    })
}
