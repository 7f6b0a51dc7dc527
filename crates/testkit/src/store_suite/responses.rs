//! How long a response is kept, and how many.

use std::sync::Arc;

use stiver_core::Timestamp;
use stiver_env::BoxFuture;
use stiver_store::{Advance, Claim, Reply, StoredResponse, TERMINAL_RETAIN_MS};

use super::{Behaviour, LIMITS, Subject, settled_and_deliver};
use crate::fixtures::{self, MINUTE_MS, new_claim};

pub(super) const ALL: &[Behaviour] = &[
    a_response_is_kept_byte_for_byte_until_it_expires,
    a_claim_is_kept_as_long_as_its_response,
    a_large_response_is_not_kept_but_its_delivery_is,
    an_expired_response_is_not_kept,
    the_responses_delivered_longest_ago_make_room,
    expired_responses_make_room_before_live_ones,
    a_disputed_claim_keeps_its_response_and_a_reversed_one_does_not,
];

fn response(body: usize, expires_at: Timestamp) -> Arc<StoredResponse> {
    Arc::new(StoredResponse {
        status: 201,
        headers: vec![("x".to_owned(), vec![0xff]), ("x".to_owned(), vec![0])],
        body: vec![7; body],
        expires_at,
    })
}

fn at(millis: u64) -> Timestamp {
    fixtures::now().plus_millis(millis)
}

/// Claims, settles and delivers with a response of so many bytes of body.
async fn delivered(it: &Subject, n: u64, body: usize, expires_at: Timestamp) -> Claim {
    it.won(&new_claim(n)).await;
    it.advanced(n, settled_and_deliver()).await;
    let to = Advance::Delivered {
        receipt: "receipt".into(),
        response: Some(response(body, expires_at)),
    };
    it.advanced(n, to).await
}

async fn kept(it: &Subject, n: u64) -> Option<Arc<StoredResponse>> {
    let claim = it.found(n).await;
    claim
        .state
        .delivery()
        .expect("it was delivered")
        .response
        .clone()
}

fn a_response_is_kept_byte_for_byte_until_it_expires(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let claim = delivered(it, 1, 100, at(MINUTE_MS)).await;
        assert_eq!(claim, it.found(1).await);
        it.pass(MINUTE_MS - 1);
        assert_eq!(kept(it, 1).await, Some(response(100, at(MINUTE_MS))));
        it.pass(1);
        assert_eq!(kept(it, 1).await, None);
        let Reply::Exists(claim) = it
            .claim(&{
                let mut other = new_claim(1);
                other.attempt = [9; 16];
                other
            })
            .await
        else {
            panic!("the claim stays");
        };
        assert_eq!(claim.state.delivery().expect("delivered").response, None);
    })
}

fn a_claim_is_kept_as_long_as_its_response(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let end = 100 * TERMINAL_RETAIN_MS;
        let claim = delivered(it, 1, 100, at(end)).await;
        assert_eq!(claim.retain_until, at(end));
        it.pass(end - 1);
        assert!(kept(it, 1).await.is_some());
        it.pass(1);
        assert_eq!(it.get(1).await, Reply::Absent);
    })
}

fn a_large_response_is_not_kept_but_its_delivery_is(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        // Two fields of 50 bytes each count with the body.
        let fits = usize::try_from(LIMITS.response_bytes_max).expect("it is small") - 100;
        let claim = delivered(it, 1, fits + 1, at(MINUTE_MS)).await;
        let delivery = claim.state.delivery().expect("it was delivered");
        assert_eq!(delivery.response, None);
        assert_eq!(&*delivery.receipt, "receipt");
        delivered(it, 2, fits, at(MINUTE_MS)).await;
        assert!(kept(it, 2).await.is_some());
    })
}

fn an_expired_response_is_not_kept(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        delivered(it, 1, 100, at(0)).await;
        assert_eq!(kept(it, 1).await, None);
    })
}

fn the_responses_delivered_longest_ago_make_room(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        for n in [3, 1, 2, 4] {
            delivered(it, n, 800, at(MINUTE_MS)).await;
        }
        assert_eq!(kept(it, 3).await, None);
        assert_eq!(kept(it, 1).await, None);
        assert!(kept(it, 2).await.is_some());
        assert!(kept(it, 4).await.is_some());
        assert_eq!(
            it.found(3).await.state.name(),
            "delivered",
            "the claim stays"
        );
    })
}

fn expired_responses_make_room_before_live_ones(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        delivered(it, 1, 800, at(2 * MINUTE_MS)).await;
        delivered(it, 2, 800, at(MINUTE_MS)).await;
        it.pass(MINUTE_MS);
        delivered(it, 3, 800, at(2 * MINUTE_MS)).await;
        assert!(kept(it, 1).await.is_some());
        assert_eq!(kept(it, 2).await, None);
        assert!(kept(it, 3).await.is_some());
    })
}

fn a_disputed_claim_keeps_its_response_and_a_reversed_one_does_not(
    it: &Subject,
) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        delivered(it, 1, 800, at(MINUTE_MS)).await;
        it.advanced(1, Advance::Disputed).await;
        assert!(kept(it, 1).await.is_some());
        it.advanced(1, Advance::Reversed).await;
        assert_eq!(kept(it, 1).await, None);
        delivered(it, 2, 800, at(MINUTE_MS)).await;
        delivered(it, 3, 800, at(MINUTE_MS)).await;
        assert!(
            kept(it, 2).await.is_some(),
            "the reversed one's room is free"
        );
    })
}
