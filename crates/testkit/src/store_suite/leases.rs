//! Who works on a claim, and when somebody else may.

use futures_util::future::join_all;
use stiver_env::BoxFuture;
use stiver_store::{Advance, LEASE_MS_MAX, Reply, TERMINAL_RETAIN_MS};

use super::{Behaviour, Subject, delivered, failed, settled, settled_and_deliver};
use crate::fixtures::{self, LEASE_MS, challenge_id, new_claim};

pub(super) const ALL: &[Behaviour] = &[
    a_live_lease_is_left_alone,
    an_ended_lease_is_taken_over_with_the_next_epoch,
    of_many_that_take_over_one_wins,
    a_released_lease_may_be_taken_over_at_once,
    a_failed_delivery_frees_the_lease,
    a_terminal_claim_is_not_taken_over,
    renewing_extends_and_never_shortens,
    a_lease_is_cut_to_the_longest,
    unfinished_lists_ended_leases_oldest_first,
    unfinished_goes_on_after_a_claim,
    list_shows_open_claims_before_those_that_have_ended,
];

fn a_live_lease_is_left_alone(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let claim = it.won(&new_claim(1)).await;
        it.pass(LEASE_MS - 1);
        assert_eq!(it.take_over(1, 2).await, Reply::Refused(Box::new(claim)));
    })
}

fn an_ended_lease_is_taken_over_with_the_next_epoch(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        for round in 1..5 {
            it.pass(LEASE_MS);
            let Reply::Won(claim) = it.take_over(1, 10 + round).await else {
                panic!("an ended lease must be taken over");
            };
            assert_eq!((claim.owner, claim.epoch), (10 + round, 1 + round));
            let now = fixtures::now().plus_millis(LEASE_MS * round);
            assert_eq!(claim.lease_until, now.plus_millis(LEASE_MS));
            assert_eq!(claim.state.name(), "settling");
        }
    })
}

fn of_many_that_take_over_one_wins(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.pass(LEASE_MS);
        let replies = join_all((0..50).map(|owner| it.take_over(1, owner))).await;
        let won = replies
            .iter()
            .filter(|it| matches!(it, Reply::Won(_)))
            .count();
        let refused = replies
            .iter()
            .filter(|it| matches!(it, Reply::Refused(_)))
            .count();
        assert_eq!((won, refused), (1, 49));
        assert_eq!(it.found(1).await.epoch, 2);
    })
}

fn a_released_lease_may_be_taken_over_at_once(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.pass(10);
        let released = it.advanced(1, Advance::Release).await;
        assert_eq!(released.lease_until, fixtures::now().plus_millis(10));
        assert_eq!(released.state.name(), "settling");
        it.pass(10);
        assert_eq!(
            it.advanced(1, Advance::Release).await,
            released,
            "a repetition"
        );
        let Reply::Won(claim) = it.take_over(1, 2).await else {
            panic!("a released claim must be taken over");
        };
        assert_eq!(claim.epoch, 2);
        assert_eq!(it.advance(1, Advance::Release).await, Reply::Fenced);
    })
}

fn a_failed_delivery_frees_the_lease(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.advanced(1, settled_and_deliver()).await;
        let failed = it.advanced(1, Advance::DeliveryFailed).await;
        assert_eq!(failed.lease_until, fixtures::now());
        assert!(matches!(it.take_over(1, 2).await, Reply::Won(_)));
    })
}

fn a_terminal_claim_is_not_taken_over(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.advanced(1, settled_and_deliver()).await;
        let claim = it.advanced(1, delivered()).await;
        it.pass(LEASE_MS);
        assert_eq!(
            it.take_over(1, 2).await,
            Reply::Refused(Box::new(claim.clone()))
        );
        assert_eq!(
            it.renew(1, 1, LEASE_MS).await,
            Reply::Refused(Box::new(claim.clone()))
        );
        assert_eq!(
            it.advance(1, Advance::Release).await,
            Reply::Advanced(Box::new(claim))
        );
    })
}

fn renewing_extends_and_never_shortens(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let claim = it.won(&new_claim(1)).await;
        it.pass(10);
        assert_eq!(it.renew(1, 1, 1).await, Reply::Advanced(Box::new(claim)));
        let Reply::Advanced(claim) = it.renew(1, 1, 2 * LEASE_MS).await else {
            panic!("the lease must be extended");
        };
        assert_eq!(
            claim.lease_until,
            fixtures::now().plus_millis(10 + 2 * LEASE_MS)
        );
        assert_eq!(claim.epoch, 1);
        it.pass(2 * LEASE_MS - 1);
        assert!(matches!(it.take_over(1, 2).await, Reply::Refused(_)));
        it.pass(1);
        assert!(matches!(it.take_over(1, 2).await, Reply::Won(_)));
    })
}

fn a_lease_is_cut_to_the_longest(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut new = new_claim(1);
        new.lease_ms = u64::MAX;
        let claim = it.won(&new).await;
        assert_eq!(claim.lease_until, fixtures::now().plus_millis(LEASE_MS_MAX));
    })
}

fn unfinished_lists_ended_leases_oldest_first(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in [5, 3, 4, 1, 2] {
            it.won(&new_claim(n)).await;
        }
        assert_eq!(it.unfinished(None, 10).await, Vec::<String>::new());
        it.advanced(5, Advance::Release).await;
        it.advanced(4, settled()).await;
        it.advanced(1, failed()).await;
        assert_eq!(it.unfinished(None, 10).await, [challenge_id(5)]);
        it.renew(3, 1, 2 * LEASE_MS).await;
        it.pass(LEASE_MS);
        assert_eq!(it.unfinished(None, 10).await, [5, 4, 2].map(challenge_id));
        assert_eq!(it.unfinished(None, 2).await, [5, 4].map(challenge_id));
        assert_eq!(it.unfinished(None, 0).await, Vec::<String>::new());
    })
}

fn unfinished_goes_on_after_a_claim(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in [5, 3, 4, 1, 2] {
            it.won(&new_claim(n)).await;
        }
        it.advanced(4, failed()).await;
        it.pass(LEASE_MS);
        assert_eq!(it.unfinished(Some(5), 2).await, [3, 1].map(challenge_id));
        assert_eq!(
            it.unfinished(Some(4), 9).await,
            [1, 2].map(challenge_id),
            "a terminal one"
        );
        assert_eq!(it.unfinished(Some(2), 9).await, Vec::<String>::new());
        let all = [5, 3, 1, 2].map(challenge_id);
        assert_eq!(it.unfinished(Some(9), 9).await, all, "one that never was");
        it.pass(TERMINAL_RETAIN_MS);
        assert_eq!(it.unfinished(Some(4), 9).await, all, "one that is gone");
    })
}

fn list_shows_open_claims_before_those_that_have_ended(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in [5, 3, 4, 1, 2] {
            it.won(&new_claim(n)).await;
        }
        it.advanced(3, failed()).await;
        it.pass(1);
        it.advanced(5, failed()).await;
        let all = [2, 1, 4, 5, 3].map(challenge_id);
        assert_eq!(it.list(None, 10).await, all, "whatever their leases");
        assert_eq!(it.list(None, 2).await, all[..2]);
        assert_eq!(it.list(Some(1), 2).await, all[2..4]);
        assert_eq!(it.list(Some(5), 9).await, all[4..]);
        assert_eq!(it.list(Some(3), 9).await, Vec::<String>::new());
        assert_eq!(it.list(Some(9), 9).await, all, "one that never was");
        it.pass(TERMINAL_RETAIN_MS);
        assert_eq!(it.list(Some(5), 9).await, all[..3], "what is gone");
    })
}
