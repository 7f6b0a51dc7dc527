//! Who wins a claim, and how long it stands in the way of others.

use futures_util::future::join_all;
use stiver_core::Timestamp;
use stiver_env::BoxFuture;
use stiver_store::{ClaimState, Command, Reply, TERMINAL_RETAIN_MS, limits};

use super::{Behaviour, LIMITS, Subject, delivered, failed, settled, settled_and_deliver};
use crate::fixtures::{self, MINUTE_MS, attempt, challenge_id, hash, new_claim};

pub(super) const ALL: &[Behaviour] = &[
    a_new_claim_is_won_and_kept_as_it_was_made,
    of_many_claims_for_one_challenge_one_wins,
    of_many_claims_for_one_replay_key_one_wins,
    an_unanswered_claim_may_be_repeated_by_its_attempt,
    an_attempt_that_was_taken_over_does_not_win_again,
    another_attempt_with_the_same_credential_is_told_of_the_claim,
    any_held_replay_key_refuses_the_claim,
    a_replay_key_named_twice_is_one_key,
    a_refused_claim_holds_nothing,
    a_terminal_claim_and_its_replay_keys_go_at_retain_until,
    a_claim_that_is_not_terminal_is_never_dropped,
    a_claim_that_ends_late_is_kept_a_while,
    a_full_store_refuses_until_a_claim_is_gone,
    a_full_store_still_answers_for_what_it_holds,
    parts_beyond_their_limit_are_refused,
    might_know_is_true_for_every_claim_kept,
    claims_are_counted_by_state,
];

fn a_new_claim_is_won_and_kept_as_it_was_made(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.pass(5);
        let new = new_claim(1);
        let claim = it.won(&new).await;
        assert_eq!(claim, it.found(1).await);
        assert_eq!(claim.challenge_id, new.challenge_id);
        assert_eq!(claim.credential_hash, new.credential_hash);
        assert_eq!(claim.request_hash, new.request_hash);
        assert_eq!(claim.details, new.details);
        assert!(
            matches!(claim.state, ClaimState::Settling { artefact } if artefact == new.artefact)
        );
        assert_eq!(
            (claim.owner, claim.epoch, claim.deliveries_started),
            (1, 1, 0)
        );
        assert_eq!(claim.created_at, fixtures::now().plus_millis(5));
        assert_eq!(
            claim.lease_until,
            fixtures::now().plus_millis(5 + new.lease_ms)
        );
        assert_eq!(claim.retain_until, new.retain_until);
        assert_eq!(it.get(2).await, Reply::Absent);
    })
}

fn of_many_claims_for_one_challenge_one_wins(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let rivals = (0..100).map(|n| {
            let mut new = new_claim(n);
            new.challenge_id = challenge_id(1);
            async move { it.claim(&new).await }
        });
        let replies = join_all(rivals).await;
        let won = replies
            .iter()
            .filter(|it| matches!(it, Reply::Won(_)))
            .count();
        let exists = replies
            .iter()
            .filter(|it| matches!(it, Reply::Exists(_)))
            .count();
        assert_eq!((won, exists), (1, 99));
    })
}

fn of_many_claims_for_one_replay_key_one_wins(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let rivals = (0..100).map(|n| {
            let mut new = new_claim(n);
            new.replay_keys.push(hash(b'k', 1000));
            async move { it.claim(&new).await }
        });
        let replies = join_all(rivals).await;
        let won = replies
            .iter()
            .filter(|it| matches!(it, Reply::Won(_)))
            .count();
        let used = replies
            .iter()
            .filter(|it| **it == Reply::ReplayKeyUsed)
            .count();
        assert_eq!((won, used), (1, 99));
    })
}

fn an_unanswered_claim_may_be_repeated_by_its_attempt(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let first = it.won(&new_claim(1)).await;
        it.pass(1000);
        assert_eq!(
            first,
            it.won(&new_claim(1)).await,
            "the lease is the first one's"
        );
        let mut other = new_claim(1);
        other.credential_hash = hash(b'c', 2);
        assert!(
            matches!(it.claim(&other).await, Reply::Exists(_)),
            "another credential"
        );
        let mut other = new_claim(1);
        other.owner = 2;
        assert!(
            matches!(it.claim(&other).await, Reply::Exists(_)),
            "another owner"
        );
    })
}

fn an_attempt_that_was_taken_over_does_not_win_again(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.pass(fixtures::LEASE_MS);
        assert!(
            matches!(it.take_over(1, 1).await, Reply::Won(_)),
            "by the same owner"
        );
        let Reply::Exists(claim) = it.claim(&new_claim(1)).await else {
            panic!("the first attempt must not be given the second epoch");
        };
        assert_eq!((claim.owner, claim.epoch), (1, 2));
    })
}

fn another_attempt_with_the_same_credential_is_told_of_the_claim(
    it: &Subject,
) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let first = it.won(&new_claim(1)).await;
        let mut again = new_claim(1);
        again.attempt = attempt(2);
        assert_eq!(it.claim(&again).await, Reply::Exists(Box::new(first)));
    })
}

fn any_held_replay_key_refuses_the_claim(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut first = new_claim(1);
        first.replay_keys = vec![hash(b'k', 1), hash(b'k', 2), hash(b'k', 3)];
        it.won(&first).await;
        for key in 1..=3 {
            let mut second = new_claim(2);
            second.replay_keys = vec![hash(b'k', 9), hash(b'k', key)];
            assert_eq!(it.claim(&second).await, Reply::ReplayKeyUsed);
        }
    })
}

fn a_replay_key_named_twice_is_one_key(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut new = new_claim(1);
        new.replay_keys = vec![hash(b'k', 1); limits::REPLAY_KEYS_MAX + 1];
        it.won(&new).await;
        it.advanced(1, failed()).await;
        it.pass(TERMINAL_RETAIN_MS);
        it.won(&new_claim(1)).await;
    })
}

fn a_refused_claim_holds_nothing(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        let mut refused = new_claim(2);
        refused.replay_keys = vec![hash(b'k', 2), hash(b'k', 1)];
        assert_eq!(it.claim(&refused).await, Reply::ReplayKeyUsed);
        assert_eq!(it.get(2).await, Reply::Absent);
        it.won(&new_claim(2)).await;
    })
}

fn a_terminal_claim_and_its_replay_keys_go_at_retain_until(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut new = new_claim(1);
        new.retain_until = fixtures::now().plus_millis(60 * MINUTE_MS);
        it.won(&new).await;
        it.advanced(1, failed()).await;
        let mut other = new_claim(2);
        other.replay_keys = new.replay_keys.clone();
        it.pass(60 * MINUTE_MS - 1);
        assert!(matches!(it.get(1).await, Reply::Found(_)));
        assert_eq!(it.claim(&other).await, Reply::ReplayKeyUsed);
        it.pass(1);
        assert_eq!(it.get(1).await, Reply::Absent);
        assert_eq!(it.advance(1, failed()).await, Reply::Absent);
        assert_eq!(it.take_over(1, 2).await, Reply::Absent);
        assert_eq!(it.renew(1, 1, 1).await, Reply::Absent);
        it.won(&other).await;
        it.won(&{
            let mut again = new_claim(1);
            again.replay_keys = vec![hash(b'k', 3)];
            again
        })
        .await;
    })
}

fn a_claim_that_is_not_terminal_is_never_dropped(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.won(&new_claim(2)).await;
        it.advanced(2, settled()).await;
        it.pass(1000 * MINUTE_MS);
        it.won(&new_claim(3)).await;
        assert_eq!(it.found(1).await.state.name(), "settling");
        assert_eq!(it.found(2).await.state.name(), "settled");
        let mut other = new_claim(4);
        other.replay_keys = new_claim(1).replay_keys;
        assert_eq!(it.claim(&other).await, Reply::ReplayKeyUsed);
    })
}

fn a_claim_that_ends_late_is_kept_a_while(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.pass(1000 * MINUTE_MS);
        let claim = it.advanced(1, failed()).await;
        let now = fixtures::now().plus_millis(1000 * MINUTE_MS);
        assert_eq!(claim.retain_until, now.plus_millis(TERMINAL_RETAIN_MS));
        it.pass(TERMINAL_RETAIN_MS - 1);
        assert_eq!(it.found(1).await, claim);
        it.pass(1);
        assert_eq!(it.get(1).await, Reply::Absent);
    })
}

fn a_full_store_refuses_until_a_claim_is_gone(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let max = u64::try_from(LIMITS.claims_max).expect("the limit is small");
        for n in 0..max {
            it.won(&new_claim(n)).await;
        }
        assert_eq!(it.claim(&new_claim(max)).await, Reply::Full);
        it.advanced(3, failed()).await;
        assert_eq!(it.claim(&new_claim(max)).await, Reply::Full);
        it.pass(TERMINAL_RETAIN_MS);
        it.won(&new_claim(max)).await;
        assert_eq!(it.claim(&new_claim(max + 1)).await, Reply::Full);
    })
}

fn a_full_store_still_answers_for_what_it_holds(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let max = u64::try_from(LIMITS.claims_max).expect("the limit is small");
        for n in 0..max {
            it.won(&new_claim(n)).await;
        }
        it.won(&new_claim(0)).await;
        let mut other = new_claim(max);
        other.challenge_id = challenge_id(0);
        assert!(matches!(it.claim(&other).await, Reply::Exists(_)));
        let mut replayed = new_claim(max);
        replayed.replay_keys = new_claim(0).replay_keys;
        assert_eq!(it.claim(&replayed).await, Reply::ReplayKeyUsed);
        it.advanced(0, settled()).await;
    })
}

fn parts_beyond_their_limit_are_refused(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let good = new_claim(1);
        let mut long_id = good.clone();
        long_id.challenge_id = "x".repeat(limits::CHALLENGE_ID_BYTES_MAX + 1);
        let mut details = good.clone();
        details.details = vec![0; limits::DETAILS_BYTES_MAX + 1].into();
        let mut artefact = good.clone();
        artefact.artefact = vec![0; limits::ARTEFACT_BYTES_MAX + 1].into();
        let mut keys = good.clone();
        keys.replay_keys = (0..=16).map(|n| hash(b'k', n)).collect();
        for new in [long_id, details, artefact, keys] {
            let reply = it.claim(&new).await;
            assert!(matches!(reply, Reply::TooLarge { .. }), "{reply:?}");
        }
        assert_eq!(it.get(1).await, Reply::Absent);
        let mut largest = good;
        largest.details = vec![0; limits::DETAILS_BYTES_MAX].into();
        largest.artefact = vec![0; limits::ARTEFACT_BYTES_MAX].into();
        it.won(&largest).await;
    })
}

fn might_know_is_true_for_every_claim_kept(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in 0..10 {
            it.won(&new_claim(n)).await;
            assert!(it.store.might_know(&challenge_id(n)));
        }
        it.advanced(1, settled_and_deliver()).await;
        it.advanced(1, delivered()).await;
        it.pass(TERMINAL_RETAIN_MS);
        assert_eq!(it.get(1).await, Reply::Absent);
        let mut again = new_claim(1);
        again.retain_until = Timestamp::MAX;
        it.won(&again).await;
        assert!((0..10).all(|n| it.store.might_know(&challenge_id(n))));
    })
}

fn claims_are_counted_by_state(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in 0..4 {
            it.won(&new_claim(n)).await;
        }
        it.advanced(1, settled()).await;
        it.advanced(2, failed()).await;
        let count = |settling, settled, failed| {
            let count = move |name| match name {
                "settling" => settling,
                "settled" => settled,
                "failed" => failed,
                _ => 0,
            };
            Reply::Counts(ClaimState::NAMES.map(|name| (name, count(name))).to_vec())
        };
        assert_eq!(it.submit(Command::Count).await, count(2, 1, 1));
        it.pass(TERMINAL_RETAIN_MS);
        assert_eq!(it.submit(Command::Count).await, count(2, 1, 0));
    })
}
